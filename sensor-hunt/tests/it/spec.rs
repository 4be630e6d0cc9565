//! Elasticsearch's semantics, case by case: `spec/*.txt`.
//!
//! A file holds events under `@events`, then cases. A case is its name after `###`, the query, `---`, and what must come
//! out: a line of `name:type` and the rows, cells between ` | `; `warning:` lines, each a part of a warning, all of which
//! must be named; or one line `error LINE:COLUMN text`. Every case runs on sealed files and on the log.

use std::fmt::Write as _;
use std::path::Path;

use crate::common::{NOW_MS, sealed, unsealed};
use sensor_eql::diag::SourceFile;
use sensor_hunt::esql::{Outcome, Progress, Query, Settings};
use sensor_store::Store;

struct Case {
    name: String,
    query: String,
    expected: String,
}

fn cases(text: &str) -> (String, Vec<Case>) {
    let mut sections = text.split("\n### ");
    let head = sections.next().unwrap();
    let events = head.split_once("@events\n").map_or("", |(_, events)| events).to_owned();
    let all = sections.map(|section| {
        let (name, rest) = section.split_once('\n').unwrap();
        let (query, expected) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{name}: no `---`"));
        Case { name: name.to_owned(), query: query.to_owned(), expected: expected.trim().to_owned() }
    });
    (events, all.collect())
}

fn shown(outcome: &Outcome) -> String {
    let header = outcome.columns.iter().map(|column| format!("{}:{}", column.name, column.ty.name()));
    let mut text = header.collect::<Vec<_>>().join(" | ");
    for row in &outcome.rows {
        let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
        write!(text, "\n{}", cells.join(" | ")).unwrap();
    }
    for warning in &outcome.warnings {
        write!(text, "\nwarning: {warning}").unwrap();
    }
    text
}

fn got(query: &str, store: &Store) -> String {
    let parsed = match Query::parse(query) {
        Ok(parsed) => parsed,
        Err(findings) => {
            let located = SourceFile::new("q", query).locate(&findings.0[0]);
            return format!("error {}:{} {}", located.line, located.column, findings.0[0].message);
        }
    };
    match parsed.run(std::slice::from_ref(store), &Settings::at(NOW_MS), &Progress::default()) {
        Ok(outcome) => shown(&outcome),
        Err(error) => format!("error {error}"),
    }
}

#[test]
fn every_case_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut failures) = (0, String::new());
    for file in &files {
        let (events, cases) = cases(&std::fs::read_to_string(file).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let stores = [
            sealed(&folder.path().join("sealed"), &events),
            unsealed(&folder.path().join("unsealed"), &events),
        ];
        let before = count;
        for case in &cases {
            count += 1;
            for (store, form) in stores.iter().zip(["sealed", "unsealed"]) {
                let got = got(&case.query, store);
                if got != case.expected {
                    let name = file.file_name().unwrap().to_string_lossy();
                    write!(
                        failures,
                        "\n=== {name}: {} ({form})\n{}\n--- expected\n{}\n--- got\n{got}\n",
                        case.name, case.query, case.expected
                    )
                    .unwrap();
                }
            }
        }
        println!("{}: {} cases", file.file_stem().unwrap().to_string_lossy(), count - before);
    }
    println!("{count} cases in {} files, each on sealed files and on the log", files.len());
    assert!(failures.is_empty(), "{failures}");
    assert!(count > 100, "only {count} cases were found");
}
