//! A rule on new terms over a restart.

use super::several::rules_of;
use super::*;
use crate::memory::{Keeper, Start, load};

const NEW_FILES: &str = "[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"file.path\"]\n\
    [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-10s\"\n";

fn rules() -> RuleSet {
    rules_of("kuery", "new_terms", "event.category:file and file.path:/etc/*", NEW_FILES)
}

/// A run, with what a run before remembered, in which these files are created at these seconds.
fn run_with(state: &Path, files: &[(u64, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine_with(root.path(), rules());
    let now_ns = stored(state).map_or(0, |stored| stored["until_ns"].as_i64().unwrap());
    let warm = load(state, engine.rules(), now_ns).into_iter().filter_map(|(_, start)| match start {
        Start::Warm(memory) => Some(memory),
        Start::Cold(None) => None,
        Start::Cold(Some(why)) => panic!("{why}"),
    });
    let warm = warm.collect();
    let keeper = Keeper::start(state, engine.rules(), |text| panic!("{text}")).unwrap();
    engine.remember(warm, keeper);
    engine.scanned(Vec::new());
    for (second, path) in files {
        engine.record(&synth::create(&synth::task(900, SECOND), second * SECOND, path, "/"));
    }
    engine.finish(None).1.several
}

fn stored(state: &Path) -> Option<serde_json::Value> {
    let path = state.join("new_terms/11111111-1111-1111-1111-111111111111.json");
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[test]
fn what_was_seen_before_the_restart_is_not_new() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(run_with(state.path(), &[(10, "/etc/known")]), [""; 0], "the first window is for learning");
    let later = [(18, "/tmp/x"), (19, "/etc/known"), (21, "/etc/new"), (22, "/etc/new")];
    let found = run_with(state.path(), &later);
    assert!(found.len() == 1 && found[0].contains("/etc/new"), "{found:?}");
    // Without memory, the second run would still be learning.
    assert_eq!(run_with(tempfile::tempdir().unwrap().path(), &later), [""; 0]);
}
