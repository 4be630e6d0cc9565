//! The same rules on the same events by others: the engine's own naive evaluator, a Sigma engine, Python's `eql`.

mod naive;
mod python;
mod sigma;

use std::time::Instant;

use sensor_ecs::Ecs;
use sensor_eql::{Kind, Language, RuleSet, RuleSource};

use crate::Subject;
use crate::rules;
use crate::workload::{Case, Workload};

/// What one engine made of it.
struct Outcome {
    rules: usize,
    ns: f64,
    matches: u64,
}

/// Rules on single events in EQL, which is what all of them can be compared on.
fn comparable() -> Vec<RuleSource> {
    let sources = rules::corpus().unwrap_or_else(|| rules::made_up(250));
    let loaded = RuleSet::load(sources.iter().cloned(), &Ecs);
    let is_wanted = |source: &RuleSource| {
        loaded.rules().iter().any(|rule| {
            rule.path == source.path
                && rule.compiled.kind() == Kind::Event
                && rule.rule.language == Language::Eql
        })
    };
    sources.iter().filter(|source| is_wanted(source)).cloned().collect()
}

pub fn all(workload: &Workload) {
    let sources = comparable();
    let mut events = workload.file_events();
    events.extend(workload.exec_events());
    println!("side by side: {} rules on single events, {} events, ns per event", sources.len(), events.len());
    let set = RuleSet::load(sources.iter().cloned(), &Ecs);
    tell("this engine", &ours(sources.iter().cloned(), &events));
    tell("this engine, naive evaluator", &naive::run(&set, &events));
    let translated = sigma::translate(&set);
    let subset = sources.iter().filter(|s| translated.iter().any(|(path, _)| *path == s.path)).cloned();
    let ours_on_subset = ours(subset, &events);
    tell("sigma-rust, on what Sigma can say", &sigma::run(&translated, &events));
    tell("this engine, on the same", &ours_on_subset);
    match python::run(&set, &events) {
        Ok(outcome) => {
            tell("Python eql", &outcome);
            println!("  (it ignores case everywhere and knows no missing field, so its matches may differ)");
        }
        Err(reason) => println!("  Python eql: skipped, {reason}"),
    }
}

fn tell(name: &str, outcome: &Outcome) {
    let Outcome { rules, ns, matches } = outcome;
    println!("  {name:<36} {rules:>4} rules {ns:>12.0} ns {matches:>6} matches");
}

fn ours(sources: impl Iterator<Item = RuleSource>, events: &[Case<'_>]) -> Outcome {
    let mut subject = Subject::new(sources);
    let (ns, matches) = subject.time(&mut events.to_vec());
    Outcome { rules: subject.set.rules().len(), ns, matches }
}

/// The best of a few rounds.
fn best_of(rounds: usize, events: usize, mut round: impl FnMut() -> u64) -> (f64, u64) {
    let (mut best, mut matches) = (f64::MAX, 0);
    for _ in 0..rounds {
        let start = Instant::now();
        matches = round();
        best = best.min(start.elapsed().as_nanos() as f64 / events as f64);
    }
    (best, matches)
}
