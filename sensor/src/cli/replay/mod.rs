//! `sensor replay`: rules matched on recorded events, in constant memory.

mod alerts;
mod pairs;
mod stored;
mod views;

use std::collections::HashMap;
use std::io::{self, BufWriter};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sensor_ecs::{Agent, Document, OpenSchema, Record, Schema as _, Value, field};
use sensor_eql::{Correlator, Known, Language, Limits, Match, Memory, RuleIndex, RuleSet, Selection};

use crate::cli::args::{ReplayArgs, ReplayFormat, RuleLanguage};
use crate::cli::events::Events;
use crate::cli::rules::{Choice, Rules};
use crate::cli::say::{count, note, stdout};
use crate::config::{self, Loaded};
use crate::enrich::View as Way;
use alerts::Alerts;
pub(in crate::cli) use pairs::Pairs;
use stored::Stored;
pub(in crate::cli) use views::further_views;

/// Matches rules on the events of a file, and prints each match.
///
/// # Errors
///
/// When rules or events cannot be read. Lines that are no events are reported and counted.
pub(in crate::cli) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let (source, user) = args.paths()?;
    let mut loaded = config::load(args.config.config.as_deref())?;
    if !user.is_empty() {
        user.clone_into(&mut loaded.config.rules.paths);
    }
    let settings = &loaded.config.rules;
    let schema = OpenSchema::new();
    let mut rules = Rules::load(&settings.paths, Choice::UserOrShipped, &schema)?;
    rules.vet(&settings.paths, args.strict || settings.strict)?;
    if let Some(language) = args.language {
        rules.set.retain(|rule| language.is(&rule.rule.language), &schema);
    }
    let mut stored = None;
    let mut events = match source {
        Source::File(path) => Events::open(path)?,
        Source::Store => Events::new(stored.insert(Stored::open(args)?), "of the store".to_owned()),
    };
    let out = BufWriter::new(stdout().context("standard output")?);
    let (ended, summary) = match args.format {
        ReplayFormat::Pairs => {
            let mut replay = Replay::new(&schema, &rules.set, Pairs { out });
            let ended = replay.all(&mut events);
            (ended, replay.say())
        }
        ReplayFormat::Alerts => {
            let exceptions = rules.configure(&loaded, &schema)?;
            let alerts = Alerts::new(out, agent(&loaded), exceptions);
            let mut replay = Replay::new(&schema, &rules.set, alerts);
            let ended = replay.all(&mut events);
            (ended, format!("{}, {}", replay.say(), replay.taker.summary(&rules.set)))
        }
    };
    note(format_args!("{summary}, {} not an event", count(events.bad_lines(), "line")));
    let name = events.name().to_owned();
    drop(events);
    match ended {
        Ok(()) => stored.map_or(Ok(ExitCode::SUCCESS), Stored::close),
        // Whoever read the matches has seen enough.
        Err(End::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(End::Output(cause)) => Err(cause).context("standard output"),
        Err(End::Input(cause)) => Err(cause).with_context(|| format!("events {name}")),
    }
}

/// Alerts of a replay are nobody's on this host.
fn agent(loaded: &Loaded) -> Agent {
    Agent {
        id: b"replay".as_slice().into(),
        version: env!("CARGO_PKG_VERSION").as_bytes().into(),
        namespace: loaded.config.agent.namespace.as_bytes().into(),
    }
}

impl ReplayArgs {
    /// The events and the rules. `--rules` takes any number of paths, and so swallows events that are named last.
    fn paths(&self) -> anyhow::Result<(Source<'_>, &[std::path::PathBuf])> {
        match (&self.events, self.rules.split_last()) {
            _ if !self.store.is_empty() => Ok((Source::Store, &self.rules)),
            (Some(events), _) => Ok((Source::File(events), &self.rules)),
            (None, Some((last, others))) if !others.is_empty() => Ok((Source::File(last), others)),
            (None, _) => {
                bail!(
                    "which events? sensor replay EVENTS.ndjson --rules PATH..., or --store PATH --rules PATH..."
                )
            }
        }
    }
}

enum Source<'a> {
    File(&'a Path),
    Store,
}

impl RuleLanguage {
    fn is(self, language: &Language) -> bool {
        match self {
            Self::Eql => *language == Language::Eql,
            Self::Kuery => *language == Language::Kuery,
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

/// An event as it is written.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Line<'l> {
    pub(in crate::cli) number: u64,
    pub(in crate::cli) text: &'l [u8],
    /// By which way its file is named.
    pub(in crate::cli) way: Way,
}

impl<'l> Line<'l> {
    /// An event as it is, under the names that its document gives.
    pub(in crate::cli) fn new(number: u64, text: &'l [u8]) -> Self {
        Self { number, text, way: Way::Task }
    }
}

/// What is made of matches.
pub(in crate::cli) trait Taker {
    /// What is remembered of an event that may become part of a match.
    type Event: Clone;

    /// Remembers an event, and says what that costs in bytes; `record` is the event as the rule saw it.
    fn keep(&self, line: Line<'_>, document: &Document, record: &impl Record) -> (Self::Event, usize);

    /// A match.
    fn found(&mut self, rules: &RuleSet, found: &Match<'_, Self::Event>) -> io::Result<()>;

    /// After the last.
    fn end(&mut self, rules: &RuleSet) -> io::Result<()>;
}

/// Rules with their state.
pub(in crate::cli) struct Replay<'r, T: Taker> {
    schema: &'r OpenSchema,
    rules: &'r RuleSet,
    correlator: Correlator<T::Event>,
    streams: Streams,
    memory: Memory,
    totals: Totals,
    /// Events behind a later one.
    late: u64,
    newest_ns: i64,
    /// Rules that the event in hand has satisfied.
    matched: Vec<RuleIndex>,
    pub(in crate::cli) taker: T,
}

impl<'r, T: Taker> Replay<'r, T> {
    pub(in crate::cli) fn new(schema: &'r OpenSchema, rules: &'r RuleSet, taker: T) -> Self {
        let correlator = Correlator::new(rules, Limits::default());
        let streams = Streams::new(rules);
        // Documents may be of any host and any time, so that nothing is known of their processes.
        let memory = rules.memory(0);
        Self {
            schema,
            rules,
            correlator,
            streams,
            memory,
            totals: Totals::default(),
            late: 0,
            newest_ns: i64::MIN,
            matched: Vec::new(),
            taker,
        }
    }

    fn all(&mut self, events: &mut Events<'_>) -> Result<(), End> {
        let mut document = Document::new();
        while let Some(number) = events.next(&mut document, self.schema).map_err(End::Input)? {
            let line = Line::new(number, events.text());
            self.event(line, &document).map_err(End::Output)?;
        }
        self.finish().map_err(End::Output)
    }

    /// Takes the next event, and hands on what it completes.
    pub(in crate::cli) fn event(&mut self, line: Line<'_>, document: &Document) -> io::Result<()> {
        self.totals.events += 1;
        self.totals.malformed += document.malformed() as u64;
        if let Value::Date(ns) = document.value(self.schema.timestamp()) {
            self.late += u64::from(ns < self.newest_ns);
            self.newest_ns = self.newest_ns.max(ns);
        }
        self.matched.clear();
        self.look(line, document, document, false)?;
        for view in further_views(document) {
            self.look(Line { way: view.way(), ..line }, document, &view, true)?;
        }
        Ok(())
    }

    fn look(
        &mut self,
        line: Line<'_>,
        document: &Document,
        record: &impl Record,
        again: bool,
    ) -> io::Result<()> {
        let Self { rules, correlator, streams, memory, totals, matched, taker, .. } = self;
        let selection = streams.read_by(rules, document);
        let first = matched.len();
        let hits = rules.look(record, Known::default(), correlator.under_way(), memory);
        for rule in hits.matched().iter().filter(|rule| selection.contains(**rule)) {
            if !matched.contains(rule) {
                matched.push(*rule);
            }
        }
        let mut result = Ok(());
        for rule in matched.get(first..).unwrap_or_default() {
            let (event, _) = taker.keep(line, document, record);
            totals.matches += 1;
            result = result.and_then(|()| taker.found(rules, &Match { rule: *rule, events: &[Some(event)] }));
        }
        // What keeps an event and what takes a match are the same: matches wait until the event is through.
        let mut found: Vec<(RuleIndex, Vec<Option<T::Event>>)> = Vec::new();
        let mut keep = || taker.keep(line, document, record);
        let mut take = |hit: Match<'_, T::Event>| found.push((hit.rule, hit.events.to_vec()));
        if again {
            correlator.push_again(hits, record, selection, &mut keep, &mut take);
        } else {
            correlator.push_stateful(hits, record, selection, &mut keep, &mut take);
        }
        for (rule, events) in &found {
            totals.matches += 1;
            result = result.and_then(|()| taker.found(rules, &Match { rule: *rule, events }));
        }
        result
    }

    /// What was still waiting for an event to be missing, when the events end.
    pub(in crate::cli) fn finish(&mut self) -> io::Result<()> {
        let Self { rules, correlator, totals, taker, .. } = self;
        let mut result = Ok(());
        correlator.finish(&mut |found| {
            totals.matches += 1;
            if result.is_ok() {
                result = taker.found(rules, &found);
            }
        });
        result.and_then(|()| taker.end(rules))
    }

    /// What a rule on new terms has seen.
    pub(in crate::cli) fn seen(&mut self, rule: RuleIndex) -> Vec<(Vec<u8>, i64)> {
        self.correlator.stream_mut(rule).map(|stream| stream.seen()).unwrap_or_default()
    }

    /// Events behind a later one, if that means anything to a rule.
    fn late(&self) -> Option<u64> {
        let is_for_several = self.correlator.stats().next().is_some();
        (is_for_several && self.late > 0).then_some(self.late)
    }

    /// What was seen, in a line; says which rules lost something.
    fn say(&self) -> String {
        if let Some(late) = self.late() {
            note(format_args!(
                "{late} events are behind a later one: rules on several events take them in the order of the input, \
                 and may miss what a store, which has them in the order of time, shows"
            ));
        }
        for (index, stats) in self.correlator.stats() {
            let lost = stats.evicted + stats.combinations_cut;
            if let Some(rule) = self.rules.get(index).filter(|_| lost > 0) {
                note(format_args!("{}: {lost} partial matches did not fit in memory", rule.rule.id));
            }
        }
        self.totals.to_string()
    }
}

/// Which rules read the data stream of an event. One that does not name its data stream is read by all.
struct Streams {
    every: Selection,
    by_name: HashMap<Vec<u8>, Selection>,
    name: Vec<u8>,
}

/// Data streams that are remembered; there are few in any real recording.
const STREAMS_MAX: usize = 256;

impl Streams {
    fn new(rules: &RuleSet) -> Self {
        Self { every: rules.select(|_| true), by_name: HashMap::new(), name: Vec::new() }
    }

    fn read_by(&mut self, rules: &RuleSet, document: &Document) -> &Selection {
        let part = |id| document.value(id).as_keyword();
        let Some(dataset) = part(field::DATA_STREAM_DATASET) else { return &self.every };
        let kind = part(field::DATA_STREAM_TYPE).unwrap_or(b"logs");
        let namespace = part(field::DATA_STREAM_NAMESPACE).unwrap_or(b"default");
        self.name.clear();
        for piece in [kind, b"-", dataset, b"-", namespace] {
            self.name.extend_from_slice(piece);
        }
        if !self.by_name.contains_key(&self.name) {
            if self.by_name.len() >= STREAMS_MAX {
                self.by_name.clear();
            }
            let name = String::from_utf8_lossy(&self.name).into_owned();
            let selection = rules.select(|rule| rule.rule.reads(&name));
            self.by_name.insert(self.name.clone(), selection);
        }
        self.by_name.get(&self.name).unwrap_or(&self.every)
    }
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
        replayed_with(RULE, input)
    }

    fn replayed_with(rule: &str, input: &str) -> (String, String) {
        let schema = OpenSchema::new();
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text: rule.to_owned() };
        let rules = RuleSet::load([source], &schema);
        assert_eq!(rules.rules().len(), 1, "{:?}", rules.errors());
        let mut replay = Replay::new(&schema, &rules, Pairs { out: Vec::new() });
        let mut events = Events::new(input.as_bytes(), "events".to_owned());
        assert!(replay.all(&mut events).is_ok());
        let totals = format!("{}, {} bad", replay.totals, events.bad_lines());
        (String::from_utf8(replay.taker.out).unwrap(), totals)
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
    fn what_is_out_of_order_is_told() {
        let event = |second: u64, name: &str| {
            format!(
                r#"{{"@timestamp":"2026-01-01T00:00:0{second}Z","event":{{"category":["process"]}},"process":{{"name":"{name}"}}}}"#
            )
        };
        let query = "sequence with maxspan=1m [process where process.name == \"a\"] \
                     [process where process.name == \"b\"]";
        let (head, _) = RULE.split_once("query").unwrap();
        let rule = format!("{head}query = '''{query}'''\n");
        let schema = OpenSchema::new();
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text: rule };
        let rules = RuleSet::load([source], &schema);
        let (one, other) = (event(1, "a"), event(2, "b"));
        for (input, late) in [(format!("{one}\n{other}"), None), (format!("{other}\n{one}"), Some(1))] {
            let mut replay = Replay::new(&schema, &rules, Pairs { out: Vec::new() });
            assert!(replay.all(&mut Events::new(input.as_bytes(), "events".to_owned())).is_ok());
            assert_eq!((replay.late(), replay.totals.matches), (late, u64::from(late.is_none())));
        }
    }

    #[test]
    fn an_event_is_seen_by_the_rules_that_read_its_data_stream() {
        let event = |stream: &str| {
            format!(
                r#"{{"event":{{"category":"file","id":"{stream}"}},"file.path":"/etc/x","destination":{{"port":443}},"data_stream":{{"dataset":"{stream}"}}}}"#
            )
        };
        let input = [event("endpoint.events.file"), event("endpoint.events.process")].join("\n");
        assert_eq!(replayed(&input).0.lines().count(), 2, "a rule without index patterns reads everything");
        let rule = RULE.replace("risk_score", "index = [\"logs-endpoint.events.file*\"]\nrisk_score");
        let (out, _) = replayed_with(&rule, &input);
        assert_eq!(out, "11111111-1111-1111-1111-111111111111\tendpoint.events.file\n");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_event() {
        let input = "\u{feff}{\"event\":{\"category\":\"file\"},\"file.path\":\"/etc/x\",\"destination\":{\"port\":443}}";
        assert_eq!(replayed(input).1, "1 event, 1 matched, 0 bad");
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let input = format!("{}\n{{}}\n", "x".repeat(crate::cli::events::LINE_BYTES_MAX + 5));
        assert_eq!(replayed(&input).1, "1 event, 0 matched, 1 bad");
    }
}
