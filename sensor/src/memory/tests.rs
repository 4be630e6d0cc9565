//! Memories that are kept, damaged, outdated, and cannot be kept.

use std::sync::{Arc, Mutex};

use sensor_ecs::Ecs;
use sensor_eql::{Origin, RuleSource};

use super::*;

const DAY_NS: i64 = 86_400_000_000_000;
const NOW_NS: i64 = 1_800_000_000_000_000_000;

fn rules(query: &str) -> RuleSet {
    let text = format!(
        "[rule]\nname = \"A\"\ndescription = \"A\"\nrule_id = \"../a b\"\nrisk_score = 1\nseverity = \"low\"\n\
         language = \"kuery\"\ntype = \"new_terms\"\nquery = '''{query}'''\n\
         [rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"process.executable\"]\n\
         [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-7d\"\n"
    );
    let set = RuleSet::load([RuleSource { origin: Origin::User, path: "r.toml".into(), text }], &Ecs);
    assert_eq!(set.rules().len(), 1, "{:?} {:?}", set.errors(), set.listed());
    set
}

fn memory() -> Remembered {
    Remembered {
        rule: "../a b".to_owned(),
        since_ns: NOW_NS - 10 * DAY_NS,
        until_ns: NOW_NS - DAY_NS,
        seen: vec![(vec![b't', 0, 255], NOW_NS - 2 * DAY_NS), (vec![1], NOW_NS - DAY_NS)],
    }
}

/// Keeps a memory as a run would, and says what was reported.
fn kept(directory: &Path, rules: &RuleSet) -> Vec<String> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&said);
    let report = move |text: &str| into.lock().unwrap().push(text.to_owned());
    let keeper = Keeper::start(directory, rules, report).unwrap().unwrap();
    assert!(keeper.finish(vec![memory()]));
    let said = said.lock().unwrap();
    said.clone()
}

fn only_start(directory: &Path, rules: &RuleSet, now_ns: i64) -> Start {
    let mut starts = load(directory, rules, now_ns);
    assert_eq!(starts.len(), 1);
    starts.remove(0).1
}

fn why_cold(directory: &Path, rules: &RuleSet, now_ns: i64) -> String {
    match only_start(directory, rules, now_ns) {
        Start::Cold(Some(why)) => why,
        other => panic!("{other:?}"),
    }
}

const QUERY: &str = "event.category:process";

#[test]
fn what_was_kept_is_remembered() {
    let (state, rules) = (tempfile::tempdir().unwrap(), rules(QUERY));
    assert_eq!(only_start(state.path(), &rules, NOW_NS), Start::Cold(None));
    assert_eq!(kept(state.path(), &rules), [""; 0]);
    assert_eq!(only_start(state.path(), &rules, NOW_NS), Start::Warm(memory()));
    let names: Vec<_> =
        fs::read_dir(state.path().join(DIRECTORY)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["%2e%2e%2fa%20b.json"], "an id is no path");
}

#[test]
fn what_is_no_memory_of_this_rule_is_said_and_the_rule_starts_cold() {
    let (state, rules) = (tempfile::tempdir().unwrap(), rules(QUERY));
    kept(state.path(), &rules);
    let path = state.path().join(DIRECTORY).join(file_name("../a b"));
    assert!(why_cold(state.path(), &self::rules("event.category:file"), NOW_NS).contains("another query"));
    assert!(why_cold(state.path(), &rules, NOW_NS + 7 * DAY_NS).contains("older than the rule's window"));
    assert!(why_cold(state.path(), &rules, NOW_NS - 5 * DAY_NS).contains("from the future"));
    let whole = fs::read_to_string(&path).unwrap();
    for (text, mention) in [
        (&whole[..whole.len() / 2], "is damaged"),
        ("", "is damaged"),
        (&whole.replace("\"schema\":1", "\"schema\":2"), "has format 2"),
        (&whole.replace("\"AQ\"", "\"?\""), "is damaged"),
    ] {
        fs::write(&path, text).unwrap();
        let why = why_cold(state.path(), &rules, NOW_NS);
        assert!(why.contains(mention) && why.contains("%2e%2e%2fa%20b.json"), "{why}");
    }
    // And is replaced by the next that is kept.
    kept(state.path(), &rules);
    assert_eq!(only_start(state.path(), &rules, NOW_NS), Start::Warm(memory()));
}

#[test]
fn a_place_that_cannot_be_written_to_is_said_and_no_link_is_followed() {
    let (state, rules) = (tempfile::tempdir().unwrap(), rules(QUERY));
    fs::write(state.path().join(DIRECTORY), "").unwrap();
    let said = kept(state.path(), &rules);
    assert!(said.len() == 1 && said[0].contains("cannot be kept"), "{said:?}");
    fs::remove_file(state.path().join(DIRECTORY)).unwrap();
    fs::create_dir(state.path().join(DIRECTORY)).unwrap();
    let victim = state.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let fresh = state.path().join(DIRECTORY).join(file_name("../a b")).with_extension("new");
    std::os::unix::fs::symlink(&victim, &fresh).unwrap();
    assert!(kept(state.path(), &rules)[0].contains("cannot be kept"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
