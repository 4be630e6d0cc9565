//! The log is written off the hot path, and its losses are noted.

use super::*;

#[test]
fn a_store_that_another_process_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = Keeping { root: folder.path().join("store"), program: None, days: 31, bytes: 1 << 30 };
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
