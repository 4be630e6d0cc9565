//! Rule files and sets of them: validation, duplicates, reasons, and the rule that ships.

use crate::support::JsonSchema;
use sensor_ecs::FieldType;
use sensor_eql::{
    Correlator, Language, Limits, Origin, Reason, RuleSet, RuleSeverity, RuleSource, RuleType, Severity,
    parse_rule_file,
};

const SHIPPED: &str = include_str!("../../../rules/linux/persistence_apt_package_manager_file_creation.toml");

fn rule(id: &str, query: &str) -> String {
    format!(
        "[rule]\nname = \"n {id}\"\nrule_id = \"{id}\"\ntype = \"eql\"\nlanguage = \"eql\"\nseverity = \"low\"\n\
         risk_score = 21\nfuture_key = {{ a = 1 }}\nquery = '''\n{query}\n'''\n"
    )
}

fn source(origin: Origin, path: &str, text: impl Into<String>) -> RuleSource {
    RuleSource { origin, path: path.to_owned(), text: text.into() }
}

fn load(files: Vec<RuleSource>) -> RuleSet {
    RuleSet::load(files, &JsonSchema::ecs())
}

#[test]
fn the_shipped_rule_is_whole() {
    let file = parse_rule_file("apt.toml", SHIPPED).unwrap();
    let rule = file.rule.unwrap();
    assert_eq!((file.reason, file.warnings.len()), (None, 0));
    assert_eq!(rule.id, "7c2e1297-7664-42bc-af11-6d5d35220b6b");
    assert_eq!((rule.kind, rule.language, rule.version), (RuleType::Eql, Language::Eql, Some(5)));
    assert_eq!((rule.severity, rule.risk_score, rule.max_signals), (RuleSeverity::Medium, 47, 100));
    assert_eq!((rule.interval_ns, rule.look_back_ns), (300_000_000_000, 540_000_000_000));
    assert_eq!(rule.indices, ["logs-endpoint.events.file*"]);
    assert_eq!(
        (rule.license.as_deref(), rule.authors.as_slice()),
        (Some("Elastic License v2"), &["Elastic".to_owned()][..])
    );
    assert_eq!((rule.references.len(), rule.tags.len(), rule.threats.len()), (2, 7, 2));
    let ids: Vec<&str> = rule.threats[0].techniques.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, ["T1543", "T1546", "T1574"]);
    assert_eq!(rule.threats[0].techniques[1].subtechniques[0].id, "T1546.016");
    assert_eq!(rule.threats[1].tactic.id, "TA0005");
    assert!(rule.threats[1].techniques.is_empty());
}

/// The quoted strings of a list of the shipped query, which begins after `opening`.
fn shipped_list(opening: &str) -> Vec<&'static str> {
    let (_, list) = SHIPPED.split_once(opening).unwrap();
    let (list, _) = list.split_once(')').unwrap();
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_entry_of_every_exclusion_of_the_shipped_rule_suppresses_and_its_near_miss_does_not() {
    let schema = JsonSchema::ecs();
    let set = RuleSet::load([source(Origin::Shipped, "apt.toml", SHIPPED)], &schema);
    let alerts = |executable: &str, name: &str, file: serde_json::Value| {
        let mut file = file;
        file["path"] = format!("/etc/apt/apt.conf.d/{}", file["name"].as_str().unwrap()).into();
        let document = serde_json::json!({
            "event": {"category": ["file"], "action": "creation"},
            "host": {"os": {"type": "linux"}},
            "file": file,
            "process": {"executable": executable, "name": name},
        });
        let mut hits = 0;
        set.matches(&schema.document(&document), &mut |_| hits += 1);
        hits == 1
    };
    let plain = || serde_json::json!({"name": "99evil"});
    assert!(alerts("/usr/bin/sh", "sh", plain()));

    let patterns = shipped_list("process.executable : (");
    assert_eq!(patterns.len(), 8);
    let prefixes: Vec<&str> = patterns.iter().map(|pattern| pattern.strip_suffix('*').unwrap()).collect();
    for prefix in &prefixes {
        assert!(!alerts(&format!("{prefix}x/y"), "y", plain()), "{prefix}");
        assert!(!alerts(&prefix.to_uppercase(), "y", plain()), "{prefix} in capitals");
        assert!(alerts(&format!("/x{prefix}x/y"), "y", plain()), "{prefix} in the middle");
    }

    let executables = shipped_list("process.executable in (");
    assert_eq!(executables.len(), 46);
    for executable in executables {
        assert!(!alerts(executable, "x", plain()), "{executable}");
        let covered = prefixes.iter().any(|prefix| executable.starts_with(prefix));
        for near in [format!("{executable}x"), format!("/x{executable}"), executable.to_uppercase()] {
            let also_covered = covered && !near.starts_with("/x");
            assert_eq!(alerts(&near, "x", plain()), !also_covered, "{near}");
        }
    }

    for name in shipped_list("process.name in (") {
        assert!(!alerts("/opt/x", name, plain()), "{name}");
        assert!(alerts("/opt/x", &format!("{name}x"), plain()), "{name}x");
        assert!(alerts("/opt/x", &name.to_uppercase(), plain()), "{name} in capitals");
    }
    for extension in shipped_list("file.extension in (") {
        let file = |extension: &str| serde_json::json!({"name": "99", "extension": extension});
        assert!(!alerts("/usr/bin/sh", "sh", file(extension)), "{extension}");
        assert!(alerts("/usr/bin/sh", "sh", file(&format!("{extension}x1"))), "{extension}x1");
        assert!(alerts("/usr/bin/sh", "sh", file(&extension.to_uppercase())), "{extension} in capitals");
    }
}

#[test]
fn the_shipped_rule_warns_about_its_literal_star_at_its_place_in_the_file() {
    let set = load(vec![source(Origin::Shipped, "apt.toml", SHIPPED)]);
    let line = SHIPPED.lines().position(|l| l.contains("\"/dev/fd/*\", \"/usr/bin/pamac")).unwrap() + 1;
    let star = set.warnings().iter().find(|w| w.diagnostic.message.contains("not a wildcard")).unwrap();
    assert_eq!((star.file.as_str(), star.line), ("apt.toml", line));
    assert!(star.source_line[star.column - 1..].starts_with("\"/dev/fd/*\""));
    assert!(set.warnings().iter().any(|w| w.diagnostic.message == "this clause never decides"));
}

#[test]
fn the_users_rule_replaces_the_shipped_one_whatever_the_order() {
    let mine = |o, p: &str| source(o, p, rule("same", "any where true"));
    for files in [
        vec![mine(Origin::Shipped, "ours.toml"), mine(Origin::User, "yours.toml")],
        vec![mine(Origin::User, "yours.toml"), mine(Origin::Shipped, "ours.toml")],
    ] {
        let set = load(files);
        assert_eq!((set.rules().len(), set.rules()[0].path.as_str()), (1, "yours.toml"));
        let warning = set.warnings()[0].to_string();
        assert!(warning.contains("yours.toml") && warning.contains("ours.toml:3"), "{warning}");
    }
}

#[test]
fn of_two_user_files_the_later_wins_with_a_warning() {
    let mine = |p: &str| source(Origin::User, p, rule("same", "any where true"));
    let set = load(vec![mine("a.toml"), mine("b.toml")]);
    assert_eq!((set.rules()[0].path.as_str(), set.warnings().len()), ("b.toml", 1));
}

#[test]
fn a_broken_rule_stops_no_other_and_is_positioned_in_its_file() {
    let set = load(vec![
        source(Origin::User, "good.toml", rule("good", "file where true")),
        source(Origin::User, "bad.toml", rule("bad", "file where\n  file.name = \"x\"")),
        source(Origin::User, "torn.toml", "[rule\n"),
        source(Origin::User, "empty.toml", "[rule]\n"),
    ]);
    assert_eq!(set.rules().len(), 1);
    let bad = set.errors().iter().find(|e| e.file == "bad.toml").unwrap();
    assert_eq!((bad.line, bad.column, bad.diagnostic.severity), (11, 13, Severity::Error));
    assert!(set.errors().iter().any(|e| e.file == "torn.toml" && e.line == 1));
    for key in ["rule_id", "name", "query", "severity", "type"] {
        assert!(set.errors().iter().any(|e| e.diagnostic.message == format!("`{key}` is missing")), "{key}");
    }
}

#[test]
fn what_cannot_run_is_listed_with_its_reason() {
    let other = |kind: &str, language: &str| {
        rule("x", "anything at all ((")
            .replace("type = \"eql\"", kind)
            .replace("language = \"eql\"", language)
    };
    let set = load(vec![
        source(Origin::User, "esql.toml", other("type = \"esql\"", "language = \"esql\"")),
        source(Origin::User, "ml.toml", other("type = \"machine_learning\"", "")),
        source(Origin::User, "lucene.toml", other("type = \"query\"", "language = \"lucene\"")),
        source(Origin::User, "filters.toml", rule("f", "any where true") + "[[rule.filters]]\nquery = {}\n"),
        source(Origin::User, "hunt.toml", "[hunt]\nname = \"h\"\n"),
        source(Origin::User, "other.toml", "[package]\nname = \"h\"\n"),
    ]);
    assert!(set.errors().is_empty());
    let reasons: Vec<&Reason> = set.listed().iter().map(|l| &l.reason).collect();
    assert_eq!(
        reasons,
        [
            &Reason::Language("esql".into()),
            &Reason::Type("machine_learning".into()),
            &Reason::Language("lucene".into()),
            &Reason::Filters,
            &Reason::Hunt,
            &Reason::NotARule
        ]
    );
}

#[test]
fn a_rule_reads_the_data_streams_that_its_index_names() {
    let rule = |index: &str| {
        let index = format!("risk_score = 21\nindex = {index}");
        let text = rule("x", "any where true").replace("risk_score = 21", &index);
        parse_rule_file("f", &text).unwrap().rule.unwrap()
    };
    let (file, process) = ("logs-endpoint.events.file-default", "logs-endpoint.events.process-default");
    let reads = |index: &str| (rule(index).reads(file), rule(index).reads(process));
    assert_eq!(reads("[\"logs-endpoint.events.file*\"]"), (true, false));
    assert_eq!(reads("[\"auditbeat-*\", \"logs-endpoint.events.*\"]"), (true, true));
    assert_eq!(reads("[]"), (true, true));
    assert_eq!(reads("[\"*:logs-*\", \"-logs-endpoint.events.file-*\"]"), (false, true));
    assert_eq!(reads("[\"auditbeat-*\"]"), (false, false));
}

#[test]
fn values_out_of_range_are_errors() {
    let good = rule("x", "any where true");
    for (from, to, message) in [
        ("risk_score = 21", "risk_score = 101", "`risk_score` must be from 0 to 100"),
        ("risk_score = 21", "risk_score = \"21\"", "`risk_score` must be an integer"),
        ("severity = \"low\"", "severity = \"lowish\"", "unknown severity"),
        ("risk_score = 21", "risk_score = 21\ninterval = \"soon\"", "`interval` is not a time span"),
        ("risk_score = 21", "risk_score = 21\nfrom = \"5m\"", "`from` is not a time span"),
        ("risk_score = 21", "risk_score = 21\nmax_signals = 0", "`max_signals` must be from 1 to 1000000"),
        ("risk_score = 21", "risk_score = 21\ntags = \"a\"", "`tags` must be a list"),
    ] {
        let errors = parse_rule_file("f", &good.replace(from, to)).unwrap_err();
        assert_eq!(errors[0].diagnostic.message, message);
    }
}

#[test]
fn ecs_knows_every_field_of_the_shipped_rule() {
    let set = RuleSet::load([source(Origin::Shipped, "apt.toml", SHIPPED)], &sensor_ecs::Ecs);
    assert_eq!(set.rules().len(), 1);
    assert!(set.rules()[0].compiled.unknown_fields().is_empty());
}

#[test]
fn a_rule_may_name_the_fields_that_categories_and_order_are_read_from() {
    let schema = JsonSchema::ecs();
    schema.define("event.created", FieldType::Date);
    schema.define("process.pid", FieldType::Long);
    let named = "type = \"eql\"\nevent_category_override = \"event.kind\"\ntimestamp_field = \"event.created\"\n\
                 tiebreaker_field = \"process.pid\"";
    let text = rule(
        "x",
        "sequence with maxspan=5s [alert where process.name == \"a\"] [alert where process.name == \"b\"]",
    )
    .replace("type = \"eql\"", named);
    let event = |name: &str, kind: &str, seconds: i64, pid: i64| {
        schema.document(&serde_json::json!({
            "@timestamp": 0, "event": {"category": "process", "kind": kind, "created": seconds * 1000},
            "process": {"name": name, "pid": pid},
        }))
    };
    // The second event of each pair: of another kind, too late, of the same time but before, in order.
    for (kind, seconds, pid, found) in
        [("event", 11, 9, 0), ("alert", 16, 9, 0), ("alert", 10, 3, 0), ("alert", 10, 9, 1)]
    {
        let events = [event("a", "alert", 10, 5), event("b", kind, seconds, pid)];
        let set = RuleSet::load([source(Origin::User, "x.toml", text.clone())], &schema);
        assert!(set.errors().is_empty(), "{}", set.errors()[0]);
        let mut all = Correlator::new(&set, Limits::default());
        let mut matches = 0;
        events.iter().for_each(|event| all.push(&set, event, &(), 1, &mut |_| matches += 1));
        assert_eq!(matches, found, "{kind} {seconds} {pid}");
    }
}

#[test]
fn a_pipe_behind_a_single_event_is_warned_of() {
    let warned = |query: &str| {
        let set = load(vec![source(Origin::User, "r.toml", rule("r", query))]);
        assert_eq!(set.rules().len(), 1, "{query}");
        set.warnings().iter().any(|found| found.diagnostic.message == "its pipe is left out")
    };
    assert!(warned("process where process.name == \"a\" | head 2"));
    assert!(!warned("process where process.name == \"a\""));
}
