//! `sensor rules test`: runs the tests beside each rule.

pub(in crate::cli) mod cases;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use cases::Cases;
use sensor_ecs::{Document, OpenSchema};
use sensor_eql::diag::printable;
use sensor_eql::{LoadedRule, RuleSet};

use super::explain::{tally, trees};
use super::{Choice, Rules, paths};
use crate::cli::args::RulesTestArgs;
use crate::cli::events::Events;
use crate::cli::replay::{Line, Pairs, Replay};
use crate::cli::say::{count, note, print};

/// Matches and events of a failed test that are shown.
const SHOWN_MAX: usize = 5;

/// Runs the tests of every rule at these paths.
///
/// # Errors
///
/// When a path cannot be read or has no rule file.
pub(in crate::cli) fn test(args: &RulesTestArgs) -> anyhow::Result<ExitCode> {
    let schema = OpenSchema::new();
    let paths = paths(&args.paths, &args.config)?;
    let rules = Rules::load(&paths, Choice::UserOrShipped, &schema)?;
    for problem in rules.errors() {
        note(format_args!("{problem}"));
    }
    let (mut passed, mut failed, mut without) = (0, 0, 0);
    for rule in rules.set.rules() {
        let mut alone = rules.set.clone();
        alone.retain(|other| other.rule.id == rule.rule.id, &schema);
        let name = format!("{} ({})", printable(&rule.rule.name), printable(&rule.path));
        let line = match run(rule, &alone, &schema) {
            Ok(None) => {
                without += 1;
                format!("none    {name}: no tests beside it\n")
            }
            Ok(Some(Outcome { done, failures })) if failures.is_empty() => {
                passed += 1;
                format!("ok      {name}: {done}\n")
            }
            Ok(Some(Outcome { failures, .. })) => {
                failed += 1;
                format!("FAILED  {name}\n{}", failures.concat())
            }
            Err(cause) => {
                failed += 1;
                format!("FAILED  {name}\n{cause:#}\n")
            }
        };
        print(&line).context("standard output")?;
    }
    note(format_args!(
        "{}: {passed} passed, {failed} failed, {without} without tests",
        count(passed + failed + without, "rule")
    ));
    let refused = failed > 0 || rules.broken() > 0 || (args.strict && without > 0);
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What became of a rule's tests.
struct Outcome {
    /// How much was tried.
    done: String,
    /// Each with what an author needs to see.
    failures: Vec<String>,
}

fn run(rule: &LoadedRule, alone: &RuleSet, schema: &OpenSchema) -> anyhow::Result<Option<Outcome>> {
    let path = cases::path_beside(Path::new(&rule.path));
    let Some(tests) = Cases::read(&path)? else { return Ok(None) };
    let mut failures = Vec::new();
    for case in &tests.cases {
        let input = tests.lines(case)?.join("\n");
        let (matches, _) = replayed(Events::new(input.as_bytes(), case.name.clone()), alone, schema)?;
        let found = matches.lines().count() as u64;
        if found != case.matches {
            let mut said = format!(
                "  case \"{}\": expected {}, found {found}\n",
                printable(&case.name),
                expected(case.matches)
            );
            said.push_str(&explained(&input, rule, schema, |_| true)?);
            failures.push(said);
        }
    }
    let mut silent = 0;
    for name in &tests.silent {
        let recorded = path.parent().unwrap_or(Path::new("")).join(name);
        let (matches, events) = replayed(Events::open(&recorded)?, alone, schema)?;
        silent += events;
        let tally = tally(&matches);
        if !tally.is_empty() {
            let mut said = format!(
                "  {}: {} in what must stay silent\n",
                recorded.display(),
                count(matches.lines().count() as u64, "match")
            );
            for (ids, times) in tally.iter().take(SHOWN_MAX) {
                said.push_str(&format!("    event {} ({times} times)\n", printable(ids)));
            }
            let text = std::fs::read_to_string(&recorded).context("events")?;
            said.push_str(&explained(&text, rule, schema, |id| {
                tally.keys().any(|ids| ids.split(',').any(|one| one == id))
            })?);
            failures.push(said);
        }
    }
    let done = format!(
        "{}, {} that must stay silent",
        count(tests.cases.len() as u64, "case"),
        count(silent, "event")
    );
    Ok(Some(Outcome { done, failures }))
}

fn expected(matches: u64) -> String {
    if matches == 1 { "1 match".to_owned() } else { format!("{matches} matches") }
}

/// What the rule matched, as replay prints it, and how many events there were.
fn replayed(mut events: Events<'_>, alone: &RuleSet, schema: &OpenSchema) -> anyhow::Result<(String, u64)> {
    let mut replay = Replay::new(schema, alone, Pairs { out: Vec::new() });
    let mut document = Document::new();
    let mut read = 0;
    while let Some(number) =
        events.next(&mut document, schema).with_context(|| format!("events {}", events.name()))?
    {
        read += 1;
        replay.event(Line::new(number, &[]), &document)?;
    }
    replay.finish()?;
    anyhow::ensure!(
        events.bad_lines() == 0,
        "{}: {} not an event",
        events.name(),
        count(events.bad_lines(), "line")
    );
    Ok((String::from_utf8_lossy(&replay.taker.out).into_owned(), read))
}

/// The trees of the first few events whose id is wanted.
fn explained(
    input: &str,
    rule: &LoadedRule,
    schema: &OpenSchema,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<String> {
    let mut events = Events::new(input.as_bytes(), "events".to_owned());
    let (mut text, mut shown) = (String::new(), 0);
    let mut document = Document::new();
    while let Some(number) = events.next(&mut document, schema)? {
        let id = document
            .id()
            .map_or_else(|| format!("line {number}"), |id| String::from_utf8_lossy(id).into_owned());
        if wanted(&id) {
            shown += 1;
            if shown > SHOWN_MAX {
                break;
            }
            text.push_str(&format!("  event {}\n{}", printable(&id), trees(rule, schema, &document)));
        }
    }
    Ok(text)
}
