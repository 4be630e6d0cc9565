//! `sensor replay`: rules matched on recorded events, in constant memory.

mod views;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sensor_ecs::{Document, OpenSchema};
use sensor_eql::{Correlator, Limits, Match, RuleIndex, RuleSet, Selection};

use crate::cli::args::{ReplayArgs, ReplayFormat};
use crate::cli::events::Events;
use crate::cli::rules::{Choice, Rules};
use crate::cli::say::{count, note};
pub(in crate::cli) use views::further_views;

/// What remembering an event costs beside its name.
const NAME_BYTES_EXTRA: usize = 64;

/// Matches rules on the events of a file, and prints each match.
///
/// # Errors
///
/// When rules or events cannot be read. Lines that are no events are reported and counted.
pub(in crate::cli) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let (events, user) = args.paths()?;
    let schema = OpenSchema::new();
    let rules = Rules::load(user, Choice::UserOrShipped, &schema)?;
    rules.vet(user, args.strict)?;
    let mut events = Events::open(events)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let ReplayFormat::Pairs = args.format;
    let mut replay = Replay::new(&schema, &rules.set);
    let ended = replay.all(&mut events, &mut out).and_then(|()| out.flush().map_err(End::Output));
    replay.say_lost();
    note(format_args!("{}, {} not an event", replay.totals, count(events.bad_lines(), "line")));
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever read the matches has seen enough.
        Err(End::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(End::Output(cause)) => Err(cause).context("standard output"),
        Err(End::Input(cause)) => Err(cause).with_context(|| format!("events {}", events.name())),
    }
}

impl ReplayArgs {
    /// The events and the rules. `--rules` takes any number of paths, and so swallows events that are named last.
    fn paths(&self) -> anyhow::Result<(&Path, &[std::path::PathBuf])> {
        match (&self.events, self.rules.split_last()) {
            (Some(events), _) => Ok((events, &self.rules)),
            (None, Some((last, others))) if !others.is_empty() => Ok((last, others)),
            (None, _) => bail!("which events? sensor replay EVENTS.ndjson --rules PATH..."),
        }
    }
}

#[derive(Default)]
struct Totals {
    events: u64,
    matches: u64,
    malformed: u64,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, matches, malformed } = self;
        write!(f, "{}, {matches} matched", count(*events, "event"))?;
        if *malformed > 0 {
            write!(f, ", {} not of the field's type", count(*malformed, "value"))?;
        }
        Ok(())
    }
}

enum End {
    Input(io::Error),
    Output(io::Error),
}

/// What a match remembers of an event: its id, ready to be printed.
type EventName = Arc<[u8]>;

/// Rules with their state.
pub(in crate::cli) struct Replay<'r> {
    schema: &'r OpenSchema,
    rules: &'r RuleSet,
    correlator: Correlator<EventName>,
    /// Every rule, whatever data stream it reads.
    every: Selection,
    totals: Totals,
    /// Rules that the event in hand has satisfied.
    matched: Vec<RuleIndex>,
}

impl<'r> Replay<'r> {
    pub(in crate::cli) fn new(schema: &'r OpenSchema, rules: &'r RuleSet) -> Self {
        let correlator = Correlator::new(rules, Limits::default());
        let every = rules.select(|_| true);
        Self { schema, rules, correlator, every, totals: Totals::default(), matched: Vec::new() }
    }

    fn all(&mut self, events: &mut Events<'_>, out: &mut impl Write) -> Result<(), End> {
        let mut document = Document::new();
        while let Some(number) = events.next(&mut document, self.schema).map_err(End::Input)? {
            self.event(number, &document, out).map_err(End::Output)?;
        }
        self.finish(out).map_err(End::Output)
    }

    /// Takes the next event, and writes what it completes.
    pub(in crate::cli) fn event(
        &mut self,
        number: u64,
        document: &Document,
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.totals.events += 1;
        self.totals.malformed += document.malformed() as u64;
        let Self { rules, correlator, every, totals, matched, .. } = self;
        let name = event_name(number, document.id());
        let mut result = Ok(());
        matched.clear();
        let weight = name.len() + NAME_BYTES_EXTRA;
        correlator.push(rules, document, &name, weight, &mut |found| {
            matched.push(found.rule);
            totals.matches += 1;
            if result.is_ok() {
                result = write_match(rules, &found, out);
            }
        });
        for view in further_views(document) {
            rules.matches(&view, &mut |rule| {
                if !matched.contains(&rule) {
                    matched.push(rule);
                    totals.matches += 1;
                    if result.is_ok() {
                        result = write_match(rules, &Match { rule, events: &[Some(name.clone())] }, out);
                    }
                }
            });
            correlator.push_again(&view, every, &mut || (name.clone(), weight), &mut |found| {
                totals.matches += 1;
                if result.is_ok() {
                    result = write_match(rules, &found, out);
                }
            });
        }
        result
    }

    /// What was still waiting for an event to be missing, when the events end.
    pub(in crate::cli) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Self { rules, correlator, totals, .. } = self;
        let mut result = Ok(());
        correlator.finish(&mut |found| {
            totals.matches += 1;
            if result.is_ok() {
                result = write_match(rules, &found, out);
            }
        });
        result
    }

    fn say_lost(&self) {
        for (index, stats) in self.correlator.stats() {
            let lost = stats.evicted + stats.combinations_cut;
            if let Some(rule) = self.rules.get(index).filter(|_| lost > 0) {
                note(format_args!("{}: {lost} partial matches did not fit in memory", rule.rule.id));
            }
        }
    }
}

/// The event's id, in which nothing may end the line or the column; an event without one is named by its line.
fn event_name(number: u64, id: Option<&[u8]>) -> EventName {
    match id {
        None => format!("line {number}").into_bytes().into(),
        Some(id) if id.iter().any(u8::is_ascii_control) => id.escape_ascii().to_string().into_bytes().into(),
        Some(id) => id.into(),
    }
}

/// The rule's id, a tab, and the ids of the events in the order of the rule's stages.
fn write_match(rules: &RuleSet, found: &Match<'_, EventName>, out: &mut impl Write) -> io::Result<()> {
    let Some(rule) = rules.get(found.rule) else { return Ok(()) };
    out.write_all(rule.rule.id.as_bytes())?;
    for (position, name) in found.events.iter().flatten().enumerate() {
        out.write_all(if position == 0 { b"\t" } else { b"," })?;
        out.write_all(name)?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use sensor_eql::{Origin, RuleSource};

    use super::*;

    const RULE: &str = r#"
[rule]
name = "Any file"
description = "Any file"
rule_id = "11111111-1111-1111-1111-111111111111"
language = "eql"
type = "eql"
risk_score = 1
severity = "low"
query = 'file where file.path : "/etc/*" and destination.port == 443'
"#;

    fn replayed(input: &str) -> (String, String) {
        let schema = OpenSchema::new();
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text: RULE.to_owned() };
        let rules = RuleSet::load([source], &schema);
        assert_eq!(rules.rules().len(), 1, "{:?}", rules.errors());
        let mut replay = Replay::new(&schema, &rules);
        let mut events = Events::new(input.as_bytes(), "events".to_owned());
        let mut out = Vec::new();
        assert!(replay.all(&mut events, &mut out).is_ok());
        (String::from_utf8(out).unwrap(), format!("{}, {} bad", replay.totals, events.bad_lines()))
    }

    #[test]
    fn a_match_is_one_line_and_a_bad_line_is_counted() {
        let event = |id: &str| {
            format!(
                r#"{{"event":{{"category":["file"]{id}}},"file.path":"/etc/x","destination":{{"port":443}}}}"#
            )
        };
        let input = [
            &event(r#","id":"a""#),
            "",
            "{",
            &event(r#","id":"b\tc""#),
            "{\"event\":{\"category\":\"file\",\"id\":\"no\"}}",
            &event(""),
        ]
        .join("\n");
        let (out, totals) = replayed(&input);
        let rule = "11111111-1111-1111-1111-111111111111";
        assert_eq!(out, format!("{rule}\ta\n{rule}\tb\\tc\n{rule}\tline 6\n"));
        assert_eq!(totals, "4 events, 3 matched, 1 bad");
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let input = format!("{}\n{{}}\n", "x".repeat(crate::cli::events::LINE_BYTES_MAX + 5));
        assert_eq!(replayed(&input).1, "1 event, 0 matched, 1 bad");
    }
}
