//! The published Linux hunts and ES|QL rules: each query runs, or what it needs is named.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use sensor_hunt::esql::{Progress, Query, Settings};

use crate::common::{NOW_MS, sealed};

const EVENTS: &str = r#"
{"@timestamp":"2026-01-09T00:00:01Z","data_stream":{"dataset":"endpoint.events.file"},"event":{"action":"creation","type":["creation"]},"host":{"os":{"type":"linux"}},"file":{"path":"/etc/rc.local","name":"rc.local"},"agent":{"id":"1"},"process":{"name":"cp","executable":"/usr/bin/cp"}}
{"@timestamp":"2026-01-09T00:00:02Z","data_stream":{"dataset":"endpoint.events.process"},"event":{"action":"exec","type":["start"]},"host":{"os":{"type":"linux"}},"agent":{"id":"1"},"process":{"name":"CURL","executable":"/tmp/.x/CURL","command_line":"CURL 10.0.0.1","parent":{"executable":"/var/lib/dpkg/info/a.postinst","name":"a.postinst","command_line":"/bin/sh a.postinst"}},"user":{"id":"0"}}
"#;

fn corpus() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("SENSOR_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let corpus = shared.join("data/corpus");
    if corpus.is_dir() { Some(corpus) } else { None }
}

fn queries(folder: &std::path::Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let table: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        if let Some(hunt) = table.get("hunt") {
            for (at, query) in hunt["query"].as_array().unwrap().iter().enumerate() {
                let query = query.as_str().unwrap();
                let body = query.trim_start().trim_start_matches("sql\n").trim_start();
                if body.to_ascii_lowercase().starts_with("from ") {
                    all.push((format!("{name} {at}"), query.to_owned()));
                }
            }
        } else if table["rule"].get("type").and_then(toml::Value::as_str) == Some("esql") {
            all.push((name, table["rule"]["query"].as_str().unwrap().to_owned()));
        }
    }
    all
}

#[test]
fn every_hunt_runs() {
    let Some(corpus) = corpus() else {
        println!("skipped: there is no corpus of hunts beside this repository");
        return;
    };
    let all = queries(&corpus.join("hunts"));
    let folder = tempfile::tempdir().unwrap();
    let store = sealed(&folder.path().join("store"), EVENTS);
    let mut failed = Vec::new();
    for (name, query) in &all {
        let parsed = match Query::parse(query) {
            Ok(parsed) => parsed,
            Err(findings) => {
                failed.push(format!("{name}: {findings}"));
                continue;
            }
        };
        match parsed.run(std::slice::from_ref(&store), &Settings::at(NOW_MS), &Progress::default()) {
            Ok(outcome) => println!("{name}: {} rows; {}", outcome.rows.len(), outcome.notes.join("; ")),
            Err(cause) => failed.push(format!("{name}: {cause}")),
        }
    }
    println!("{} of {} ES|QL queries of hunts run", all.len() - failed.len(), all.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(all.len() > 30);
}

#[test]
fn every_rule_binds_or_says_what_it_needs() {
    let Some(corpus) = corpus() else {
        println!("skipped: there is no corpus of rules beside this repository");
        return;
    };
    let mut bound = 0;
    let all = queries(&corpus.join("rules"));
    for (name, query) in &all {
        match Query::parse(query) {
            Ok(_) => bound += 1,
            Err(findings) => {
                println!("{name}: {findings}");
                let text = findings.to_string();
                let named = ["not supported", "Unknown column"].iter().any(|why| text.contains(why));
                assert!(named, "{name}: {text}");
            }
        }
    }
    println!("{bound} of {} ES|QL rules bind", all.len());
    assert!(all.len() > 20);
}

/// The script beside this file makes events of what the hunts ask for, rewrites their queries as SQL and asks DuckDB.
#[test]
fn rows_are_those_of_another_engine() {
    let Some(corpus) = corpus() else {
        println!("skipped: there is no corpus of hunts beside this repository");
        return;
    };
    let Some(python) = std::env::var_os("SENSOR_READERS") else {
        println!("skipped: SENSOR_READERS does not name a Python with duckdb");
        return;
    };
    let run = |args: &[&OsStr]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/corpus_rows.py");
        let output = Command::new(&python).arg(script).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let hunts = corpus.join("hunts");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = sealed(&root, &run(&["make".as_ref(), hunts.as_ref()]));
    let asked = run(&["ask".as_ref(), hunts.as_ref(), root.as_ref(), "2026-01-10 00:00:00+00".as_ref()]);
    let (mut count, mut with_rows) = (0, 0);
    for line in asked.lines() {
        let theirs: Theirs = serde_json::from_str(line).unwrap();
        let query = Query::parse(&theirs.query).unwrap();
        let outcome =
            query.run(std::slice::from_ref(&store), &Settings::at(NOW_MS), &Progress::default()).unwrap();
        let line = |row: &Vec<_>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
        let mut ours: Vec<String> = outcome.rows.iter().map(line).collect();
        ours.sort();
        if theirs.limit.is_some_and(|limit| limit < theirs.rows.len()) {
            // Which of equal ones a limit leaves is anybody's choice.
            assert_eq!(Some(ours.len()), theirs.limit, "{}", theirs.name);
            assert!(ours.iter().all(|row| theirs.rows.contains(row)), "{}: {ours:#?}", theirs.name);
        } else {
            assert_eq!(ours, theirs.rows, "{}\n{}\n{}", theirs.name, theirs.query, theirs.sql);
        }
        count += 1;
        with_rows += usize::from(!ours.is_empty());
    }
    println!("{count} queries of hunts, each answered alike; {with_rows} have rows");
    assert!(with_rows > 32 && with_rows > count * 4 / 5, "{with_rows} of {count}");
}

/// What DuckDB says of a query.
#[derive(serde::Deserialize)]
struct Theirs {
    name: String,
    query: String,
    sql: String,
    rows: Vec<String>,
    limit: Option<usize>,
}
