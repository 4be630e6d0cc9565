//! What matching costs: `cargo xtask bench match`.
//!
//! Everything runs on one thread, on events that are decoded already. A time is the best of many rounds over all
//! events, in nanoseconds per event. In every round each process is another one than in the round before, so that
//! what is found once per process is found again, and its cost is spread over the file events of that process only.

mod count;
mod rivals;
mod rules;
mod workload;

use std::hint::black_box;
use std::time::Instant;

use sensor_ecs::{Ecs, Event, Record as _, field};
use sensor_eql::{Correlator, Kind, Known, Limits, Memory, ProcessVersion, RuleSet, RuleSource, Selection};

use workload::{Case, Workload};

const ROUNDS: usize = 150;
/// As the sensor has it.
const PROCESSES: usize = 2048;

/// Rules, with everything that they keep.
pub struct Subject {
    pub set: RuleSet,
    every: Selection,
    memory: Memory,
    correlator: Correlator<u64>,
    round: u64,
}

impl Subject {
    pub fn new(sources: impl IntoIterator<Item = RuleSource>) -> Self {
        let set = RuleSet::load(sources, &Ecs);
        Self {
            every: set.select(|_| true),
            memory: set.memory(PROCESSES),
            correlator: Correlator::new(&set, Limits::default()),
            round: 0,
            set,
        }
    }

    /// Rules on single events, and all.
    fn counts(&self) -> (usize, usize) {
        let single = self.set.rules().iter().filter(|rule| rule.compiled.kind() == Kind::Event).count();
        (single, self.set.rules().len())
    }

    /// Makes the next round's events: later ones, of other processes.
    fn prepare(&mut self, cases: &mut [Case<'_>]) {
        self.round += 1;
        for case in cases.iter_mut() {
            case.event.meta.time_ns += 3_600_000_000_000;
        }
        // As the sensor does every second.
        if let Some(first) = cases.first() {
            self.correlator.advance(first.event.meta.time_ns, &mut |_| {});
        }
    }

    /// Matches each event once; the number of matches.
    #[inline(never)]
    fn round(&mut self, cases: &[Case<'_>]) -> u64 {
        let mut matches = 0;
        for Case { event, process } in cases {
            let event: &Event<'_> = black_box(event);
            let process = ProcessVersion { process: *process, version: self.round };
            let known = Known { kind: Some(event.meta.action as u8), process: event.file.map(|_| process) };
            let hits = self.set.look(event, known, self.correlator.under_way(), &mut self.memory);
            matches += hits.matched().len() as u64;
            let mut keep = || (event.meta.sequence, 512);
            self.correlator.push_stateful(hits, event, &self.every, &mut keep, &mut |_| matches += 1);
        }
        matches
    }

    /// The best time of an event, and the matches of a round.
    fn time(&mut self, cases: &mut [Case<'_>]) -> (f64, u64) {
        let (mut best, mut matches) = (f64::MAX, 0);
        for _ in 0..ROUNDS {
            self.prepare(cases);
            let start = Instant::now();
            matches = self.round(cases);
            best = best.min(start.elapsed().as_nanos() as f64 / cases.len() as f64);
        }
        (best, matches)
    }
}

/// What a figure is measured on.
fn subject<'w>(figure: &str, workload: &'w Workload) -> Option<(Subject, Vec<Case<'w>>)> {
    match figure {
        "shipped_rules_no_match" => Some((Subject::new(rules::shipped()), workload.file_events())),
        "corpus_file_event" => Some((Subject::new(rules::corpus()?), workload.file_events())),
        "corpus_exec_event" => Some((Subject::new(rules::corpus()?), workload.exec_events())),
        _ => None,
    }
}

fn main() {
    let workload = Workload::new();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, figure] = args.as_slice()
        && mode == count::MODE
    {
        if let Some((mut subject, mut cases)) = subject(figure, &workload) {
            count::counted(&mut subject, &mut cases);
        }
        return;
    }
    println!("events: {}", workload.mix());
    for figure in ["shipped_rules_no_match", "corpus_file_event", "corpus_exec_event"] {
        let Some((mut subject, mut cases)) = subject(figure, &workload) else {
            println!("{figure}: skipped, there is no corpus (set SENSOR_TEST_DATA)");
            continue;
        };
        let (ns, matches) = subject.time(&mut cases);
        let (single, all) = subject.counts();
        let able = subject.set.rules().iter().filter(|rule| rule.compiled.can_match(&Ecs)).count();
        let instructions = count::instructions(figure, cases.len());
        let counted = instructions.map_or_else(|| "not counted".to_owned(), |n| format!("{n:.0}"));
        println!(
            "{figure}: {all} rules, {single} of them on single events, {able} able to match on file and process events; \
             {matches} matches of {} events; {counted} instructions per event",
            cases.len()
        );
        let instructions = instructions.map_or_else(String::new, |n| format!(" {n:.0}"));
        println!("figure {figure} {ns:.1}{instructions}");
    }
    allocations(&workload);
    curve(&workload);
    near_misses();
    rivals::all(&workload);
}

/// Allocations of a look at each event, once the memory is made.
fn allocations(workload: &Workload) {
    let sources = rules::corpus().unwrap_or_else(|| rules::made_up(250));
    let mut subject = Subject::new(sources);
    let mut cases = workload.file_events();
    cases.extend(workload.exec_events());
    let mut looks = 0_u64;
    let mut look_at_all = |version| {
        for Case { event, process } in &cases {
            let process = Some(ProcessVersion { process: *process, version });
            let known = Known { kind: Some(event.meta.action as u8), process };
            let hits = subject.set.look(event, known, &subject.every, &mut subject.memory);
            looks += hits.matched().len() as u64;
        }
    };
    // Regular expressions make their caches when they are first used.
    look_at_all(0);
    let looked = allocation_counter::measure(|| look_at_all(1));
    black_box(looks);
    let per_event = looked.count_total as f64 / cases.len() as f64;
    let (mut kept, mut quiet, mut quiet_allocations) = (0_u64, 0_u64, 0_u64);
    for case in &cases {
        let hits = subject.set.look(&case.event, Known::default(), &subject.every, &mut subject.memory);
        let concerned = hits.concerned().len();
        let pushed = allocation_counter::measure(|| {
            subject.round(std::slice::from_ref(case));
        });
        kept += pushed.count_total;
        if concerned == 0 {
            quiet += 1;
            quiet_allocations += pushed.count_total;
        }
    }
    println!(
        "allocations: {} for {} looks; with sequences and the like {kept}, of these {quiet_allocations} for the \
         {quiet} events that concern none",
        looked.count_total,
        cases.len()
    );
    println!("figure allocations {per_event}");
}

/// How cost grows with the number of rules.
fn curve(workload: &Workload) {
    let made_up = rules::made_up(250);
    let corpus = rules::corpus();
    let sources = corpus.as_ref().unwrap_or(&made_up);
    for (name, sources) in [("corpus", corpus.as_ref()), ("made up", Some(&made_up))] {
        let Some(sources) = sources else { continue };
        println!("curve over {name} rules: loaded, ns per file event, ns per exec event");
        for count in [10, 25, 50, 100, 150, 200, 250] {
            let (rules, files, execs) = point(sources, count, workload);
            println!("  {rules:>4} {files:>8.0} {execs:>8.0}");
        }
    }
    let both = |count| {
        let (_, files, execs) = point(sources, count, workload);
        files + execs
    };
    println!("figure cost_of_250_rules_over_10 {:.2}", both(250) / both(10));
}

/// As many rules as are wanted of those that load, spread over all: neighbours are of one kind.
fn point(sources: &[RuleSource], count: usize, workload: &Workload) -> (usize, f64, f64) {
    let loaded = RuleSet::load(sources.iter().cloned(), &Ecs);
    let all = loaded.rules();
    let count = count.min(all.len());
    let wanted: Vec<&str> =
        (0..count).filter_map(|i| all.get(i * all.len() / count)).map(|rule| rule.path.as_str()).collect();
    let mut subject = Subject::new(sources.iter().filter(|s| wanted.contains(&s.path.as_str())).cloned());
    let files = subject.time(&mut workload.file_events()).0;
    let execs = subject.time(&mut workload.exec_events()).0;
    (subject.set.rules().len(), files, execs)
}

/// Events made to satisfy the corpus or to fail it in one point only, nothing known of their processes: the worst
/// that an attacker could do to the matcher with events alone.
fn near_misses() {
    let Some((sources, dir)) = rules::corpus().zip(rules::sample_data("eql-generated")) else {
        println!("near misses: skipped, there is no corpus (set SENSOR_TEST_DATA)");
        return;
    };
    let schema = sensor_ecs::OpenSchema::new();
    let set = RuleSet::load(sources, &schema);
    let text = std::fs::read_to_string(dir.join("events.ndjson")).unwrap_or_default();
    for category in ["file", "process"] {
        let mut documents = Vec::new();
        for line in text.lines() {
            let mut document = sensor_ecs::Document::new();
            let is_wanted = document.parse(line.as_bytes(), &schema).is_ok()
                && matches!(document.value(field::EVENT_CATEGORY),
                    sensor_ecs::Value::List([one]) if one.as_value().as_keyword() == Some(category.as_bytes()));
            if is_wanted {
                documents.push(document);
            }
        }
        let (mut best, mut matches) = (f64::MAX, 0);
        let (mut memory, every) = (set.memory(0), set.select(|_| true));
        for _ in 0..ROUNDS {
            matches = 0;
            let start = Instant::now();
            for document in &documents {
                let hits = set.look(black_box(document), Known::default(), &every, &mut memory);
                matches += hits.matched().len();
            }
            best = best.min(start.elapsed().as_nanos() as f64 / documents.len() as f64);
        }
        println!("near misses: {best:.0} ns per {category} event of {}, {matches} matches", documents.len());
    }
}
