//! Exceptions, live: what they suppress, what they must not, and what the totals say of it.

use super::several::{copies, eql, rules_of};
use super::*;
use crate::config;

/// Runs records with exceptions as a configuration writes them.
fn excepted(rules: RuleSet, exceptions: &str, records: &[Vec<u8>]) -> (Totals, Kept) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sensor.toml");
    std::fs::write(&path, exceptions).unwrap();
    let loaded = config::load(Some(&path)).unwrap();
    let (exceptions, _) = loaded.exceptions(&rules, &Ecs).unwrap();
    let mut engine = engine_with_exceptions(root.path(), rules, exceptions);
    engine.scanned(Vec::new());
    for bytes in records {
        engine.record(bytes);
    }
    engine.finish(None)
}

fn exception(rules: &str, condition: &str) -> String {
    format!("[[exceptions]]\nname = \"mine\"\nrules = {rules}\ncondition = '{condition}'\n")
}

const OURS: &str = r#"["7c2e1297-7664-42bc-af11-6d5d35220b6b"]"#;
const COPIES: &str = r#"file where process.name == "cp" and file.name == "mine""#;

fn apt(names: &[&str]) -> Vec<Vec<u8>> {
    let paths: Vec<String> = names.iter().map(|name| format!("{APT_DIR}/{name}")).collect();
    copies(&paths.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_match_is_suppressed_and_counted_and_others_are_not() {
    for rules in [OURS, "\"all\""] {
        let (totals, kept) = excepted(apt_rule(), &exception(rules, COPIES), &apt(&["mine", "evil", "mine"]));
        assert_eq!((kept.alerts.len(), totals.matches, totals.alerts), (1, 1, 1));
        assert!(kept.alerts[0].contains("/evil "), "{:?}", kept.alerts);
        let said = totals.to_string();
        assert!(said.contains("\nsuppressed 2: mine (7c2e1297-7664-42bc-af11-6d5d35220b6b) 2\n"), "{said}");
    }
}

#[test]
fn what_is_about_another_rule_category_or_is_switched_off_suppresses_nothing() {
    let other = exception("[\"another\"]", COPIES);
    let process = exception(OURS, r#"process where process.name == "cp""#);
    let off = exception(OURS, COPIES) + "enabled = false\n";
    for text in [other, process, off] {
        let (totals, kept) = excepted(apt_rule(), &text, &apt(&["mine"]));
        assert_eq!((kept.alerts.len(), totals.suppressed.len()), (1, 0), "{text}");
    }
}

#[test]
fn what_the_sensor_lost_excuses_nobody() {
    let unseen = synth::task(900, 9 * SECOND);
    let record = synth::create(&unseen, 13 * SECOND, &format!("{APT_DIR}/x"), "/");
    let text = exception(OURS, "file where process.executable == null");
    assert_eq!(excepted(apt_rule(), &text, &[record]).1.alerts.len(), 1);
}

#[test]
fn one_event_of_a_sequence_suffices() {
    let rules = || {
        eql(
            r#"sequence by process.entity_id with maxspan=1m
                 [process where process.name == "cp"] [file where file.path : "/etc/*"]"#,
            "",
        )
    };
    for condition in [r#"file where file.path == "/etc/x""#, r#"process where process.name == "cp""#] {
        let (totals, kept) = excepted(rules(), &exception("\"all\"", condition), &copies(&["/etc/x"]));
        assert_eq!((kept.several.len(), totals.suppressed[0].count), (0, 1), "{condition}");
    }
    let nothing = exception("\"all\"", r#"file where file.path == "/etc/y""#);
    assert_eq!(excepted(rules(), &nothing, &copies(&["/etc/x"])).1.several.len(), 1);
}

#[test]
fn each_event_that_a_threshold_counted_must_be_excepted() {
    let rules = || {
        let threshold = "[rule.threshold]\nfield = [\"process.name\"]\nvalue = 2\n";
        rules_of("kuery", "threshold", "event.category:file and file.path:/etc/*", threshold)
    };
    let text = exception("\"all\"", r#"file where file.path : "/etc/mine*""#);
    let (_, kept) = excepted(rules(), &text, &copies(&["/etc/mine", "/etc/evil"]));
    assert_eq!(kept.several.len(), 1);
    let (totals, kept) = excepted(rules(), &text, &copies(&["/etc/mine", "/etc/mine2"]));
    assert_eq!((kept.several.len(), totals.suppressed[0].count), (0, 1));
}
