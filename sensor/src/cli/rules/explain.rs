//! `sensor rules explain`: the query as a tree, with what each leaf read in an event and whether it holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sensor_ecs::{Document, OpenSchema, Record, Scalar, Schema};
use sensor_eql::ast::{EventFilter, Expr, ExprKind, Query, Term};
use sensor_eql::diag::printable;
use sensor_eql::reference::{Explanation, by_name, explain as explain_condition};
use sensor_eql::{Language, LoadedRule, Span, parse, parse_kql};

use super::{Choice, Rules, paths};
use crate::cli::args::RulesExplainArgs;
use crate::cli::events::Events;
use crate::cli::replay::{Line, Pairs, Replay, further_views};
use crate::cli::say::{note, print};

/// Events that are shown; all of them are matched.
const EVENTS_SHOWN_MAX: u64 = 1000;

/// Prints how each event fares with the rule, and what the rule matched in the end.
///
/// # Errors
///
/// When there is no such rule, or the events cannot be read.
pub(in crate::cli) fn explain(args: &RulesExplainArgs) -> anyhow::Result<ExitCode> {
    let schema = OpenSchema::new();
    let mut rules = found(args, &schema)?;
    let Some(rule) = rules.set.rules().iter().find(|rule| is_named(rule, args)).cloned() else {
        for problem in rules.errors() {
            note(format_args!("{problem}"));
        }
        for listed in rules.set.listed() {
            if listed.id.as_deref() == Some(&args.rule) || Path::new(&args.rule) == Path::new(&listed.path) {
                bail!("{} does not run: {}", printable(&args.rule), listed.reason);
            }
        }
        bail!("no rule that runs has the id {}, and no such file is there", printable(&args.rule));
    };
    rules.set.retain(|other| other.rule.id == rule.rule.id, &schema);
    let mut events = Events::open(&args.events)?;
    let mut replay = Replay::new(&schema, &rules.set, Pairs { out: Vec::new() });
    let mut document = Document::new();
    let mut shown = 0_u64;
    while let Some(number) =
        events.next(&mut document, &schema).with_context(|| format!("events {}", events.name()))?
    {
        shown += 1;
        if shown <= EVENTS_SHOWN_MAX {
            let id = document.id().map(|id| String::from_utf8_lossy(id).into_owned());
            let title = id.map_or_else(String::new, |id| format!(" {}", printable(&id)));
            let text = format!("event{title} (line {number})\n{}", trees(&rule, &schema, &document));
            print(&text).context("standard output")?;
        } else if shown == EVENTS_SHOWN_MAX + 1 {
            note(format_args!("further events are only matched"));
        }
        replay.event(Line::new(number, &[]), &document).context("matches")?;
    }
    replay.finish().context("matches")?;
    print(&verdict(&rule, &String::from_utf8_lossy(&replay.taker.out))).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn found(args: &RulesExplainArgs, schema: &OpenSchema) -> anyhow::Result<Rules> {
    let file = Path::new(&args.rule);
    if file.is_file() {
        return Rules::load(&[file.to_owned()], Choice::UserOrShipped, schema);
    }
    let paths = paths(&args.rules, &args.config)?;
    Rules::load(&paths, Choice::UserAndShipped, schema)
}

fn is_named(rule: &LoadedRule, args: &RulesExplainArgs) -> bool {
    rule.rule.id == args.rule || Path::new(&rule.path) == Path::new(&args.rule)
}

fn verdict(rule: &LoadedRule, matches: &str) -> String {
    let name = printable(&rule.rule.name).into_owned();
    let mut text = match matches.lines().count() {
        0 => format!("{name}: no match\n"),
        1 => format!("{name}: 1 match\n"),
        more => format!("{name}: {more} matches\n"),
    };
    for found in matches.lines() {
        let _ = writeln!(text, "  {}", found.split_once('\t').map_or(found, |(_, ids)| ids));
    }
    let rule = &rule.rule;
    if let Some(terms) = &rule.new_terms {
        let fields = terms.fields.join(", ");
        let hours = terms.history_ns / 3_600_000_000_000;
        let _ = writeln!(text, "  (matches only what is new in {fields} after {hours} h of history)");
    }
    if let Some(threshold) = &rule.threshold {
        let by = if threshold.fields.is_empty() {
            String::new()
        } else {
            format!(" with the same {}", threshold.fields.join(", "))
        };
        let _ = writeln!(text, "  (matches {} such events{by})", threshold.value);
    }
    text
}

/// The trees of an event, in each way that the rule looks at it.
pub(super) fn trees(rule: &LoadedRule, schema: &OpenSchema, document: &Document) -> String {
    let mut text = tree(rule, schema, document);
    for view in further_views(document) {
        let _ = writeln!(text, "  as {}", view.describe());
        text.push_str(&tree(rule, schema, &view));
    }
    text
}

fn tree(rule: &LoadedRule, schema: &dyn Schema, record: &impl Record) -> String {
    let source = &rule.rule.query;
    let parsed = if rule.rule.language == Language::Kuery { parse_kql(source) } else { parse(source) };
    // It compiled, and so it parses.
    let Ok(query) = parsed else { return String::new() };
    let seen = |name: &str| by_name(schema, record)(name);
    let own = || schema.name(schema.category()).unwrap_or_default().into_owned();
    let category = rule.rule.event_fields.category.clone().unwrap_or_else(own);
    let mut text = String::new();
    match &query {
        Query::Event(event) => text.push_str(&filter(&event.filter, source, &category, schema, &seen)),
        Query::Sequence(sequence) => {
            for (number, term) in (1..).zip(&sequence.terms) {
                let label = format!("stage {number} of {}", sequence.terms.len());
                text.push_str(&stage(&label, term, &sequence.by, source, &category, schema, &seen));
            }
            if let Some(until) = &sequence.until {
                text.push_str(&stage("until", until, &sequence.by, source, &category, schema, &seen));
            }
        }
        Query::Sample(sample) => {
            for (number, term) in (1..).zip(&sample.terms) {
                let label = format!("member {number} of {}", sample.terms.len());
                text.push_str(&stage(&label, term, &sample.by, source, &category, schema, &seen));
            }
        }
    }
    text
}

type Seen<'s> = dyn Fn(&str) -> Vec<Scalar> + 's;

fn stage(
    label: &str,
    term: &Term,
    shared: &[Expr],
    source: &str,
    category: &str,
    schema: &dyn Schema,
    seen: &Seen<'_>,
) -> String {
    let mut line = format!("  {label}");
    if term.missing {
        line.push_str(" (must be missing)");
    }
    if term.runs > 1 {
        let _ = write!(line, " ({} times)", term.runs);
    }
    let mut separator = " by ";
    for key in shared.iter().chain(&term.by) {
        let value = explain_condition(key, schema, &|name| seen(name)).values;
        let shown = value.into_iter().map(|(_, value)| value).next().unwrap_or_default();
        let _ = write!(line, "{separator}{} = {}", cut(source, key.span), printable(&shown));
        separator = ", ";
    }
    line.push('\n');
    line + &filter(&term.filter, source, category, schema, seen)
}

fn filter(
    filter: &EventFilter,
    source: &str,
    category_field: &str,
    schema: &dyn Schema,
    seen: &Seen<'_>,
) -> String {
    let condition = explain_condition(&filter.condition, schema, &|name| seen(name));
    let Some(category) = &filter.category else { return shown(&condition, source) };
    let name = category_field.to_owned();
    let field = Expr { kind: ExprKind::Field { name, optional: false }, span: Span::default() };
    let holds =
        seen(category_field).iter().any(|value| value.as_value().as_keyword() == Some(category.as_bytes()));
    let head = Explanation {
        span: Span { start: filter.span.start, end: condition.span.start },
        holds,
        values: explain_condition(&field, schema, &|name| seen(name)).values,
        parts: Vec::new(),
    };
    shown(&head, source) + &shown(&condition, source)
}

fn shown(explanation: &Explanation, source: &str) -> String {
    let mut text = String::new();
    for line in explanation.render(source).lines() {
        let _ = writeln!(text, "  {}", printable(line));
    }
    text
}

fn cut(source: &str, span: Span) -> &str {
    let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    source.get(at(span.start)..at(span.end)).unwrap_or_default()
}

/// How often each thing was matched, for a message.
pub(super) fn tally(matches: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in matches.lines() {
        *counts.entry(line.split_once('\t').map_or(line, |(_, ids)| ids)).or_default() += 1;
    }
    counts
}
