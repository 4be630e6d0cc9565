//! Rules on several events, live.

use super::super::several::Several;
use super::*;

use sensor_eql::Limits;

const EXEC_THEN_FILE: &str = r#"sequence by process.entity_id with maxspan=1m
    [process where event.action == "exec" and process.name == "cp"]
    [file where event.action == "creation" and file.path : "/etc/*"]"#;

pub(super) fn rules_of(language: &str, kind: &str, query: &str, more: &str) -> RuleSet {
    let text = format!(
        "[rule]\nname = \"A\"\ndescription = \"A\"\nrule_id = \"11111111-1111-1111-1111-111111111111\"\n\
         risk_score = 1\nseverity = \"low\"\nlanguage = \"{language}\"\ntype = \"{kind}\"\n\
         query = '''\n{query}\n'''\n{more}"
    );
    let rules =
        RuleSet::load([RuleSource { origin: Origin::User, path: "rule.toml".to_owned(), text }], &Ecs);
    assert_eq!(rules.rules().len(), 1, "{:?} {:?}", rules.errors(), rules.listed());
    rules
}

pub(super) fn eql(query: &str, more: &str) -> RuleSet {
    rules_of("eql", "eql", query, more)
}

fn run_rules(rules: RuleSet, records: &[Vec<u8>]) -> (Totals, Kept) {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine_with(root.path(), rules);
    engine.scanned(Vec::new());
    for bytes in records {
        engine.record(bytes);
    }
    engine.finish(None)
}

pub(super) fn copies(paths: &[&str]) -> Vec<Vec<u8>> {
    let (mut records, task) = started("/usr/bin/cp");
    let at = |nth: usize| (13 + nth as u64) * SECOND;
    records.extend(paths.iter().enumerate().map(|(nth, path)| synth::create(&task, at(nth), path, "/")));
    records
}

#[test]
fn a_sequence_raises_one_alert_with_both_events() {
    let mut records = copies(&["/tmp/x"]);
    // Another process's file is none of this one's.
    records.push(synth::create(&synth::task(77, SECOND), 13 * SECOND, "/etc/other", "/"));
    records.extend(copies(&["/etc/x", "/etc/y"]).split_off(3));
    let (totals, kept) = run_rules(eql(EXEC_THEN_FILE, ""), &records);
    assert_eq!(kept.several, ["Task exec - /usr/bin/cp, Task creation /etc/x /usr/bin/cp"]);
    assert_eq!((totals.matches, totals.alerts, kept.alerts.len()), (1, 1, 0));
    // The rest matched a stage that nothing waited for, or no stage at all.
    assert_eq!(kept.keeps.get(), 2);
    let several = totals.several.unwrap();
    assert_eq!((several.rules, several.evicted, several.late), (1, 0, 0));
}

#[test]
fn too_late_is_no_sequence() {
    let (mut records, task) = started("/usr/bin/cp");
    records.push(synth::create(&task, 73 * SECOND, "/etc/x", "/"));
    assert_eq!(run_rules(eql(EXEC_THEN_FILE, ""), &records).1.several, [""; 0]);
}

#[test]
fn a_rule_sees_only_the_data_streams_that_it_reads() {
    for (index, alerts) in
        [("logs-endpoint.events.*", 1), ("logs-endpoint.events.file*", 0), ("auditbeat-*", 0)]
    {
        let rules = eql(EXEC_THEN_FILE, &format!("index = [\"{index}\"]"));
        let (_, kept) = run_rules(rules, &copies(&["/etc/x"]));
        assert_eq!(kept.several.len(), alerts, "{index}");
    }
    for (index, alerts) in [("logs-endpoint.events.file*", 1), ("logs-endpoint.events.process*", 0)] {
        let rules = eql("file where file.path : \"/etc/*\"", &format!("index = [\"{index}\"]"));
        assert_eq!(run_rules(rules, &copies(&["/etc/x"])).1.alerts.len(), alerts, "{index}");
    }
}

fn threshold(value: u32, more: &str) -> RuleSet {
    let of = format!("{more}\n[rule.threshold]\nfield = [\"process.name\"]\nvalue = {value}\n");
    rules_of("kuery", "threshold", "event.category:file and file.path:/etc/*", &of)
}

#[test]
fn a_threshold_counts_and_starts_anew() {
    let (totals, kept) =
        run_rules(threshold(3, ""), &copies(&["/etc/a", "/tmp/b", "/etc/c", "/etc/d", "/etc/e"]));
    let of = |name: &str| format!("Task creation /etc/{name} /usr/bin/cp");
    assert_eq!(kept.several, [["a", "c", "d"].map(of).join(", ")]);
    assert_eq!(totals.alerts, 1);
}

#[test]
fn a_cap_holds_for_rules_on_several_events_too() {
    let paths: Vec<String> = (0..10).map(|nth| format!("/etc/{nth}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (totals, kept) = run_rules(threshold(2, "max_signals = 3\ninterval = \"1h\""), &copies(&paths));
    assert_eq!((kept.several.len(), kept.held_back.as_slice()), (3, [2].as_slice()));
    assert_eq!((totals.matches, totals.held_back, totals.alerts), (5, 2, 3));
}

#[test]
fn an_event_with_two_names_is_one_event() {
    let in_chroot = |path: &str| {
        let (mut records, task) = started("/usr/bin/cp");
        records.push(synth::create(&task, 13 * SECOND, path, "/etc/apt"));
        records
    };
    // Both names are below /etc, and still it happened once.
    assert_eq!(run_rules(threshold(2, ""), &in_chroot("/etc/x")).1.several, [""; 0]);
    let (_, kept) = run_rules(eql(EXEC_THEN_FILE, ""), &in_chroot("/x"));
    assert_eq!(kept.several, ["Task exec - /usr/bin/cp, Host creation /etc/apt/x /usr/bin/cp"]);
}

#[test]
fn what_stays_missing_is_said_when_its_time_is_over() {
    let query = r#"sequence by process.entity_id with maxspan=5s
        [process where event.action == "exec" and process.name == "cp"]
        ![file where file.path : "/etc/*"]"#;
    let root = tempfile::tempdir().unwrap();
    let alone = "Task exec - /usr/bin/cp, nothing, by time";
    let mut engine = engine_with(root.path(), eql(query, ""));
    engine.scanned(Vec::new());
    started("/usr/bin/cp").0.iter().for_each(|bytes| engine.record(bytes));
    // While records wait, what is missing may be among them.
    engine.tick(true);
    assert_eq!(engine.matcher.output.several, [""; 0]);
    engine.tick(false);
    assert_eq!(engine.matcher.output.several, [alone]);
    assert_eq!(run_rules(eql(query, ""), &copies(&["/tmp/x"])).1.several, [alone]);
    assert_eq!(run_rules(eql(query, ""), &copies(&["/etc/x"])).1.several, [""; 0]);
}

#[test]
fn what_stays_missing_while_records_are_lost_is_in_doubt() {
    let root = tempfile::tempdir().unwrap();
    let query = r#"sequence by process.entity_id with maxspan=5s
        [process where event.action == "exec" and process.name == "cp"]
        ![file where file.path : "/etc/*"]"#;
    let mut counted = Counted::default();
    counted.lost[RecordKind::FileCreate.index()].ring_full = 2;
    let mut engine = engine_with(root.path(), eql(query, ""));
    engine.scanned(Vec::new());
    started("/usr/bin/cp").0.iter().for_each(|bytes| engine.record(bytes));
    engine.compare(&counted);
    engine.tick(false);
    assert_eq!(engine.matcher.output.several, ["Task exec - /usr/bin/cp, nothing, by time, in doubt"]);
    // A sequence whose events all came is none the less true.
    let mut engine = engine_with(root.path(), eql(EXEC_THEN_FILE, ""));
    engine.scanned(Vec::new());
    engine.compare(&counted);
    copies(&["/etc/x"]).iter().for_each(|bytes| engine.record(bytes));
    assert_eq!(engine.matcher.output.several, ["Task exec - /usr/bin/cp, Task creation /etc/x /usr/bin/cp"]);
}

#[test]
fn new_terms_are_learnt_before_they_are_told() {
    let rules = || {
        let more = "[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"file.path\"]\n\
             [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-1h\"\n";
        rules_of("kuery", "new_terms", "event.category:file and file.path:/etc/*", more)
    };
    let (mut records, task) = started("/usr/bin/cp");
    records.push(synth::create(&task, 13 * SECOND, "/etc/old", "/"));
    records.push(synth::create(&task, 3_000 * SECOND, "/etc/old", "/"));
    records.push(synth::create(&task, 4_000 * SECOND, "/etc/old", "/"));
    records.push(synth::create(&task, 4_001 * SECOND, "/etc/new", "/"));
    records.push(synth::create(&task, 4_002 * SECOND, "/etc/new", "/"));
    let (_, kept) = run_rules(rules(), &records);
    assert_eq!(kept.several, ["Task creation /etc/new /usr/bin/cp"]);
    assert_eq!(kept.keeps.get(), 1);
}

#[test]
fn state_is_bounded_and_what_it_cost_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let rules = eql(EXEC_THEN_FILE, "");
    let small = Several::with_limits(&rules, 1, Limits { keys_max: 16_384, bytes_max: 4_000 });
    let mut engine = engine_with(root.path(), rules);
    engine.matcher.several = Some(small);
    engine.scanned(Vec::new());
    let spec = ExecSpec { exe: "/usr/bin/cp", argv: &["cp"], ..ExecSpec::default() };
    let tasks: Vec<TaskFacts> = (0..100)
        .map(|nth| synth::after_exec(&synth::task(1_000 + nth, u64::from(nth + 1) * 1_000_000), 7))
        .collect();
    tasks.iter().for_each(|task| engine.record(&synth::exec(task, 10 * SECOND, &spec)));
    tasks.iter().for_each(|task| engine.record(&synth::create(task, 11 * SECOND, "/etc/x", "/")));
    let (totals, kept) = engine.finish(None);
    let several = totals.several.unwrap();
    // The newest are kept, each other is accounted for.
    assert!((1..100).contains(&kept.several.len()), "{}", kept.several.len());
    assert_eq!(several.evicted + kept.several.len() as u64, 100);
    assert!(several.bytes <= 4_000);
}

#[test]
fn late_events_take_part_by_their_own_time_and_are_counted() {
    let (mut records, task) = started("/usr/bin/cp");
    records.push(synth::create(&task, 11 * SECOND, "/etc/before-the-exec", "/"));
    records.push(synth::create(&task, 13 * SECOND, "/etc/x", "/"));
    let (totals, kept) = run_rules(eql(EXEC_THEN_FILE, ""), &records);
    assert_eq!(kept.several, ["Task exec - /usr/bin/cp, Task creation /etc/x /usr/bin/cp"]);
    assert_eq!(totals.several.unwrap().late, 1);
}

#[test]
fn without_such_a_rule_nothing_is_kept() {
    let (totals, kept) = run_rules(shipped_rules(), &copies(&["/etc/apt/apt.conf.d/99evil"]));
    assert_eq!((totals.several, kept.keeps.get(), kept.alerts.len()), (None, 0, 1));
}
