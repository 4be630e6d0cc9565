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

#[test]
fn what_a_negation_leaves_out_for_want_of_a_field_is_told() {
    let event = |name: &str, extension: &str| {
        format!(
            "{{\"@timestamp\":\"2026-01-09T00:00:01Z\",\"data_stream\":{{\"dataset\":\"endpoint.events.file\"}},\
             \"event\":{{\"action\":\"creation\",\"type\":[\"creation\",\"change\"]}},\"file\":{{\"name\":\"{name}\"{extension}}}}}\n"
        )
    };
    let extension = |it: &str| format!(",\"extension\":\"{it}\"");
    let events = [
        event("evil", ""),
        event("tool", ""),
        event("tmp.x", ""),
        event("a.swp", &extension("swp")),
        event("a.txt", &extension("txt")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let store = sealed(&folder.path().join("store"), &events.concat());
    let asked = |condition: &str| {
        let query =
            format!("from logs-endpoint.events.file-*\n| where event.action == \"creation\" and {condition}");
        let query = Query::parse(&query).unwrap();
        let outcome =
            query.run(std::slice::from_ref(&store), &Settings::at(NOW_MS), &Progress::default()).unwrap();
        let notes = outcome.notes.into_iter().filter(|note| note.contains("left out")).collect::<Vec<_>>();
        (outcome.rows.len(), notes)
    };
    let (rows, notes) = asked("not (file.extension in (\"swp\", \"swx\") or file.name like \"tmp.*\")");
    assert_eq!(rows, 1, "as in Elasticsearch");
    assert_eq!(
        notes,
        [
            "2 events without file.extension left out by [not (file.extension in (\"swp\", \"swx\") or file.name like \"tmp...] \
          (line 2:40), which is null for them"
        ]
    );
    assert_eq!(asked("file.extension != \"swp\"").1.len(), 1);
    for whole in ["(file.extension is null or not file.extension == \"swp\")", "file.extension is not null"] {
        assert_eq!(asked(whole).1, Vec::<String>::new(), "{whole}");
    }
    let (rows, notes) = asked("not event.type == \"change\"");
    assert_eq!((rows, notes.len()), (0, 0), "several values are warned about");
}
