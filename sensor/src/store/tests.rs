//! The log is written off the hot path, and its losses are noted.

use std::path::PathBuf;

use super::*;

fn keeping(root: PathBuf) -> Keeping {
    Keeping { root, within: None, program: None, days: 31, bytes: 1 << 30 }
}

#[test]
fn a_store_that_is_removed_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let (reports, report) = std::sync::mpsc::channel();
    let said = move |text: &str| drop(reports.send(text.to_owned()));
    let storing = Storing::open(keeping(root.clone()), "agent", Scope::default(), Box::new(said)).unwrap();
    let removals: [(&str, &dyn Fn()); 3] = [
        ("all of it", &|| std::fs::remove_dir_all(&root).unwrap()),
        ("what it holds", &|| {
            std::fs::rename(&root, folder.path().join("elsewhere")).unwrap();
            std::fs::create_dir(&root).unwrap();
        }),
        ("its log", &|| std::fs::remove_dir_all(root.join("wal")).unwrap()),
    ];
    for (what, remove) in removals {
        remove();
        let said = report.recv().unwrap();
        assert!(said.contains("was removed: what it held is gone"), "{what}: {said}");
        // The last thing that a new one is given. Where only the log is gone, the former sessions are still told.
        let sessions = if what == "its log" { 2 } else { 1 };
        let text = || std::fs::read_to_string(root.join("coverage.ndjson")).unwrap_or_default();
        while text().matches("{\"session\"").count() < sessions {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // In its place is something else: said once, and tried again.
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::write(&root, "").unwrap();
    assert!(report.recv().unwrap().contains("was removed"));
    assert!(report.recv().unwrap().contains("cannot be stored"));
    assert!(storing.gauge().trouble().is_some());
    std::fs::remove_file(&root).unwrap();
    assert_eq!(report.recv().unwrap(), "events can be stored again");
    assert_eq!(storing.gauge().trouble(), None);
    storing.gap(3);
    storing.close();
    let coverage = std::fs::read_to_string(root.join("coverage.ndjson")).unwrap();
    assert!(coverage.contains("\"session\"") && coverage.contains("\"events\":3"), "{coverage}");
    assert!(report.recv().is_err());
}

#[test]
fn a_store_that_another_process_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = keeping(folder.path().join("store"));
    let report = || -> Report { Box::new(|_| {}) };
    let first = Storing::open(keeping.clone(), "agent", Scope::default(), report()).unwrap();
    let second = Storing::open(keeping.clone(), "agent", Scope::default(), report());
    assert!(second.err().unwrap().to_string().contains("another process"));
    assert_eq!(first.close(), StoreTotals::default());
    let storing = Storing::open(keeping, "agent", Scope::default(), report()).unwrap();
    storing.gap(1);
    storing.gap(2);
    storing.close();
    let coverage = std::fs::read_to_string(folder.path().join("store/coverage.ndjson")).unwrap();
    let lost = coverage.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["gap"]["events"].as_u64()
    });
    assert_eq!(lost.sum::<u64>(), 3, "{coverage}");
}

#[test]
fn a_change_of_what_is_recorded_is_a_session_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut storing =
        Storing::open(keeping(root.clone()), "agent", Scope::default(), Box::new(|_| {})).unwrap();
    for left_out in [Some("much"), Some("much"), None] {
        storing.leaves_out(left_out);
    }
    storing.close();
    let coverage = std::fs::read_to_string(root.join("coverage.ndjson")).unwrap();
    let sessions: Vec<serde_json::Value> =
        coverage.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let left_out: Vec<_> =
        sessions.iter().filter_map(|line| line.pointer("/session/scope/left_out")).collect();
    assert_eq!(
        left_out,
        [&serde_json::json!([]), &serde_json::json!(["much"]), &serde_json::json!([])],
        "{coverage}"
    );
    // Each lasts until the next begins.
    let alive = sessions.iter().filter_map(|line| line["alive"].as_i64());
    let begun = sessions.iter().filter_map(|line| line.pointer("/session/first_ns")?.as_i64()).skip(1);
    assert!(begun.eq(alive.take(2)), "{coverage}");
}

/// A hunting program that says what it was asked, and a row that is no line.
fn program(folder: &Path, last: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("hunts");
    std::fs::write(&path, format!("#!/bin/sh\necho \"$*\"\n{last}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn hunted(last: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let hunting = Hunting {
        program: program(folder.path(), last),
        hunts: vec!["/hunts".into()],
        store: Some("/store".into()),
        agent: "me".to_owned(),
        namespace: "default".to_owned(),
        every: Duration::from_millis(1),
    };
    let ((rows, row), (reports, report)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let take = move |line: &[u8]| rows.send(String::from_utf8_lossy(line).into_owned()).is_ok();
    let said = move |text: &str| drop(reports.send(text.to_owned()));
    let hunter = Hunter::start(hunting, Box::new(take), Box::new(said)).unwrap();
    let answer = (row.recv().unwrap(), report.recv().unwrap());
    drop(hunter);
    answer
}

#[test]
fn rows_of_a_hunt_are_taken_and_a_failed_one_is_told() {
    let (row, report) = hunted("exit 1");
    assert_eq!(row, "hunt --format events --agent-id me --namespace default --store /store -- /hunts");
    assert!(report.contains("exit status: 1"), "{report}");
    let (_, report) = hunted("printf half");
    assert!(report.contains("cut off"), "{report}");
}

#[test]
fn an_ending_sensor_does_not_wait_for_a_hunt() {
    let folder = tempfile::tempdir().unwrap();
    let hunting = Hunting {
        program: program(folder.path(), "exec sleep 1000"),
        hunts: Vec::new(),
        store: None,
        agent: String::new(),
        namespace: String::new(),
        every: Duration::from_millis(1),
    };
    let (rows, row) = std::sync::mpsc::channel();
    let take = move |_: &[u8]| rows.send(()).is_ok();
    let hunter = Hunter::start(hunting, Box::new(take), Box::new(|_| {})).unwrap();
    row.recv().unwrap();
    drop(hunter);
}
