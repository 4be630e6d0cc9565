//! Runs the literate cases in `tests/cases/*.md`.
//!
//! A case file is prose with fenced blocks. ` ```eql ` or ` ```kql ` holds a query, ` ```toml ` a rule file, ` ```rule `
//! the path of one; they apply
//! until the next one. ` ```json base ` holds fields that all events share; ` ```json match ` and
//! ` ```json no match ` hold events laid over the base, where null removes a field. ` ```json stream ` holds events
//! in order, each with an `id`, and the ` ```matches ` after it the ids of each match, one line a match. After ` ```eql error `,
//! ` ```eql warning `, ` ```toml error ` or ` ```toml warning `, a ` ```text ` block holds what the finding must show, a
//! ` ```whole ` block all that it shows.

use std::path::Path;

use crate::support::JsonSchema;
use sensor_eql::diag::SourceFile;
use sensor_eql::{
    Compiled, Correlator, Diagnostics, Limits, Origin, RuleSet, RuleSource, Stream, compile, parse, parse_kql,
};

enum Subject {
    Nothing,
    Query(Box<Compiled>),
    Rules(Box<RuleSet>),
    Shown(String),
}

#[derive(Default)]
struct Tally {
    checks: usize,
    failures: Vec<String>,
}

#[test]
fn every_case_holds() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "md"));
    files.sort();
    assert!(!files.is_empty());
    let mut tally = Tally::default();
    for file in &files {
        let before = tally.checks;
        run_file(file, &mut tally);
        println!("{}: {} checks", file.file_name().unwrap().display(), tally.checks - before);
    }
    assert!(tally.failures.is_empty(), "{} failures\n{}", tally.failures.len(), tally.failures.join("\n"));
}

fn run_file(path: &Path, tally: &mut Tally) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut schema = JsonSchema::ecs();
    let mut subject = Subject::Nothing;
    let mut base = serde_json::json!({});
    let mut heading = String::new();
    let mut stream = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.starts_with('#') {
            heading = line.trim_start_matches(['#', ' ']).to_owned();
        }
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: String =
            lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect();
        let at = format!("{}:{}: {heading}", path.file_name().unwrap().display(), number + 1);
        match info.trim() {
            "eql" | "kql" => {
                schema = JsonSchema::ecs();
                base = serde_json::json!({});
                let parsed = if info.trim() == "kql" { parse_kql(&body) } else { parse(&body) };
                subject = match parsed.and_then(|q| compile(&q, &schema)) {
                    Ok(compiled) => Subject::Query(Box::new(compiled)),
                    Err(found) => {
                        tally.failures.push(format!("{at}: {}", shown(&found, &body)));
                        Subject::Nothing
                    }
                };
            }
            "eql error" => {
                let found = parse(&body).and_then(|q| compile(&q, &closed()).map(|_| ()));
                subject = Subject::Shown(shown(&found.err().unwrap_or_default(), &body));
            }
            "eql warning" => {
                let compiled = parse(&body).and_then(|q| compile(&q, &closed())).unwrap();
                subject = Subject::Shown(shown(&Diagnostics(compiled.warnings().to_vec()), &body));
            }
            "rule" => {
                schema = JsonSchema::ecs();
                base = serde_json::json!({});
                subject = Subject::Rules(Box::new(load(body.trim(), &schema)));
            }
            "toml" => {
                schema = JsonSchema::ecs();
                base = serde_json::json!({});
                let file = RuleSource { origin: Origin::User, path: at.clone(), text: body };
                let set = RuleSet::load([file], &schema);
                assert!(set.errors().is_empty(), "{}", set.errors()[0]);
                subject = Subject::Rules(Box::new(set));
            }
            "toml error" | "toml warning" => {
                let file = RuleSource { origin: Origin::User, path: "rule.toml".to_owned(), text: body };
                let set = RuleSet::load([file], &closed());
                let found = if info.trim() == "toml error" { set.errors() } else { set.warnings() };
                subject = Subject::Shown(found.iter().map(ToString::to_string).collect());
            }
            "json stream" => stream = stream_of(&body, &base, &schema, &subject),
            "matches" => {
                tally.checks += 1;
                if stream != body {
                    tally.failures.push(format!("{at}: wanted matches\n{body}have\n{stream}"));
                }
            }
            "text" => {
                tally.checks += 1;
                let Subject::Shown(have) = &subject else { panic!("{at}: text without a finding") };
                if !have.contains(body.trim_end()) {
                    tally.failures.push(format!("{at}: wanted\n{body}\nhave\n{have}"));
                }
            }
            "whole" => {
                tally.checks += 1;
                let Subject::Shown(have) = &subject else { panic!("{at}: text without a finding") };
                // A caret's gutter may end in a blank, which a file must not.
                let have: Vec<&str> = have.trim_end().lines().map(str::trim_end).collect();
                let have = have.join("\n");
                if have != body.trim_end() {
                    tally.failures.push(format!("{at}: wanted all of\n{body}\nhave\n{have}"));
                }
            }
            "json base" => base = serde_json::from_str(&body).unwrap(),
            "json match" => check(true, &body, &base, &schema, &subject, &at, tally),
            "json no match" => check(false, &body, &base, &schema, &subject, &at, tally),
            other => panic!("{at}: unknown block {other}"),
        }
    }
}

/// A schema with a handful of fields, so that unknown ones are findings.
fn closed() -> JsonSchema {
    let schema = JsonSchema::new("event.category", "@timestamp", Some("event.sequence"), false);
    let document = serde_json::json!({
        "process": {"name": "", "pid": 1, "executable": "", "args": [""], "interactive": true},
        "file": {"path": "", "name": "", "extension": ""},
        "destination": {"ip": ""},
    });
    schema.document(&document);
    schema
}

fn shown(found: &Diagnostics, query: &str) -> String {
    found.render(&SourceFile::new("query", query))
}

fn load(path: &str, schema: &JsonSchema) -> RuleSet {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
    let set = RuleSet::load([RuleSource { origin: Origin::Shipped, path: path.to_owned(), text }], schema);
    assert!(set.errors().is_empty(), "{}", set.errors()[0]);
    assert_eq!(set.rules().len(), 1);
    set
}

fn check(
    wanted: bool,
    body: &str,
    base: &serde_json::Value,
    schema: &JsonSchema,
    subject: &Subject,
    at: &str,
    tally: &mut Tally,
) {
    for event in serde_json::Deserializer::from_str(body).into_iter::<serde_json::Value>() {
        let event = event.unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut whole = base.clone();
        overlay(&mut whole, &event);
        let record = schema.document(&whole);
        let matched = match subject {
            Subject::Query(compiled) => compiled.matches(&record),
            Subject::Rules(set) => {
                let mut hits = 0;
                set.matches(&record, &mut |_| hits += 1);
                hits > 0
            }
            Subject::Nothing | Subject::Shown(_) => panic!("{at}: event without a query"),
        };
        tally.checks += 1;
        if matched != wanted {
            tally.failures.push(format!("{at}: matched={matched}, wanted {wanted}: {event}"));
        }
    }
}

/// The matches of a stream of events, one line each; `-` stands for an event that had to be missing.
fn stream_of(body: &str, base: &serde_json::Value, schema: &JsonSchema, subject: &Subject) -> String {
    let mut lines = String::new();
    let mut out = |found: &[Option<String>]| {
        let ids: Vec<&str> = found.iter().map(|e| e.as_deref().unwrap_or("-")).collect();
        lines.push_str(&format!("{}\n", ids.join(" ")));
    };
    let events = serde_json::Deserializer::from_str(body).into_iter::<serde_json::Value>().map(|event| {
        let mut whole = base.clone();
        overlay(&mut whole, &event.unwrap());
        let id = whole["id"].as_str().unwrap().to_owned();
        (schema.document(&whole), id)
    });
    match subject {
        Subject::Query(compiled) => {
            let mut stream = Stream::new(compiled, None, Limits::default());
            events.for_each(|(record, id)| stream.push(&record, &id, 10, &mut out));
            stream.finish(&mut out);
        }
        Subject::Rules(set) => {
            let mut all = Correlator::new(set, Limits::default());
            events.for_each(|(record, id)| all.push(set, &record, &id, 10, &mut |m| out(m.events)));
            all.finish(&mut |m| out(m.events));
        }
        Subject::Nothing | Subject::Shown(_) => panic!("stream without a query"),
    }
    lines
}

fn overlay(base: &mut serde_json::Value, change: &serde_json::Value) {
    let serde_json::Value::Object(change) = change else {
        *base = change.clone();
        return;
    };
    if !base.is_object() {
        *base = serde_json::json!({});
    }
    for (key, value) in change {
        match value {
            serde_json::Value::Null => {
                base.as_object_mut().unwrap().remove(key);
            }
            value => overlay(&mut base[key], value),
        }
    }
}
