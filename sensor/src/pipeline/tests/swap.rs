//! Rules swapped while the sensor runs.

use sensor_eql::RuleSource;

use super::*;
use crate::pipeline::engine::NextRules;

fn rule_file(id: &str, query: &str) -> String {
    format!(
        "[rule]\nname = \"{id}\"\ndescription = \"{id}\"\nrule_id = \"{id}\"\nrisk_score = 1\nseverity = \"low\"\n\
         language = \"eql\"\ntype = \"eql\"\nquery = '{query}'\n"
    )
}

fn set(rules: &[(&str, &str)]) -> RuleSet {
    let source = |(id, query): &(&str, &str)| RuleSource {
        origin: Origin::User,
        path: format!("{id}.toml"),
        text: rule_file(id, query),
    };
    let set = RuleSet::load(rules.iter().map(source), &Ecs);
    assert_eq!(set.rules().len(), rules.len(), "{:?}", set.errors());
    set
}

fn next(rules: RuleSet) -> NextRules {
    NextRules {
        left_out: None,
        rules,
        exceptions: Exceptions::default(),
        same_exceptions: true,
        memories: Vec::new(),
        keeper: None,
    }
}

const CREATIONS: (&str, &str) = ("creations", "file where event.action == \"creation\"");
const PAIR: (&str, &str) = (
    "pair",
    "sequence by process.entity_id with maxspan=1h [file where file.name == \"a\"] [file where file.name == \"b\"]",
);

#[test]
fn rules_that_stay_keep_their_counts_and_their_state() {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine_with(root.path(), set(&[CREATIONS, PAIR]));
    engine.scanned(Vec::new());
    let (records, task) = started("/usr/bin/dash");
    records.iter().for_each(|bytes| engine.record(bytes));
    engine.record(&synth::create(&task, 13 * SECOND, "/tmp/a", "/"));
    let board = Board::default();
    let names = |engine: &mut Engine<Kept>| {
        let vitals = engine.vitals(None, &board);
        let ids = vitals.rules.0.iter().map(|(id, _)| id.clone());
        ids.zip(vitals.matches.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut engine), [("creations".to_owned(), 1), ("pair".to_owned(), 0)]);
    // In another order, with one more.
    let renames = ("renames", "file where event.action == \"rename\"");
    engine.swap(next(set(&[renames, PAIR, CREATIONS])));
    engine.record(&synth::create(&task, 14 * SECOND, "/tmp/b", "/"));
    let expected = [("renames", 0), ("pair", 1), ("creations", 2)].map(|(id, count)| (id.to_owned(), count));
    assert_eq!(names(&mut engine), expected);
    // Of a rule that is another one now, nothing is remembered.
    engine.record(&synth::create(&task, 15 * SECOND, "/tmp/a", "/"));
    let other = (
        "pair",
        "sequence by process.entity_id [file where file.name == \"a\"] [file where file.name == \"b\"]",
    );
    engine.swap(next(set(&[other])));
    engine.record(&synth::create(&task, 16 * SECOND, "/tmp/b", "/"));
    let (totals, kept) = engine.finish(None);
    assert_eq!(kept.several.len(), 1, "{:?}", kept.several);
    assert_eq!((totals.matches, totals.alerts), (4, 4));
}

#[test]
fn a_cap_that_is_used_up_stays_so() {
    let root = tempfile::tempdir().unwrap();
    let capped = |id: &str| {
        let text = rule_file(id, CREATIONS.1).replace("[rule]\n", "[rule]\nmax_signals = 1\n");
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text };
        RuleSet::load([source], &Ecs)
    };
    let mut engine = engine_with(root.path(), capped("r"));
    engine.scanned(Vec::new());
    let (records, task) = started("/usr/bin/dash");
    records.iter().for_each(|bytes| engine.record(bytes));
    let create = |engine: &mut Engine<Kept>, second| {
        engine.record(&synth::create(&task, second * SECOND, "/tmp/x", "/"));
    };
    create(&mut engine, 13);
    create(&mut engine, 13);
    engine.swap(next(capped("r")));
    create(&mut engine, 13);
    let vitals = engine.vitals(None, &Board::default());
    assert_eq!(vitals.matches, [3]);
    let suppressed: Vec<_> = vitals.suppressed.iter().map(|one| (one.reason.as_str(), one.count)).collect();
    assert_eq!(suppressed, [("max_signals", 2)]);
    // What is held back of a rule that goes is told before.
    engine.swap(next(capped("another")));
    let (totals, kept) = engine.finish(None);
    assert_eq!((totals.alerts, totals.held_back, kept.held_back), (1, 2, vec![2]));
}

#[test]
fn the_loop_swaps_and_says_how_it_fares() {
    let root = tempfile::tempdir().unwrap();
    let (readable, writable) = io::pipe().unwrap();
    let mut source =
        Recorded { records: VecDeque::new(), readable: readable.into(), last: Vec::new(), refiltered: 0 };
    let board = Board::default();
    let (swap, swaps) = mpsc::channel(1);
    let (tell, told) = tokio::sync::oneshot::channel();
    let lines = Lines { board: &board, swaps };
    let engine = engine_with(root.path(), set(&[CREATIONS]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stop = async {
        let answer = Box::new(|done: io::Result<()>| tell.send(done.is_ok()).unwrap());
        swap.send(Swap { filter: (), rules: next(set(&[PAIR])), answer }).await.unwrap_or_else(|_| panic!());
        assert!(told.await.unwrap());
        while board.read().rules.0.first().is_none_or(|(id, _)| id != "pair") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    runtime.block_on(run(&mut source, engine, "/proc".into(), lines, stop, |_| {}, || {})).unwrap();
    drop(writable);
    assert_eq!(source.refiltered, 1);
    let vitals = board.read();
    assert!(vitals.ready && vitals.boot_ns > 0);
    let lost: Vec<_> = vitals.lost.iter().flatten().filter(|lost| lost.count > 0).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].reason.as_str(), lost[0].count), ("ring_full", 2));
}
