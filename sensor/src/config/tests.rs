//! What a configuration may say, and how it is refused.

use sensor_ecs::Ecs;
use sensor_eql::{Origin, Rule, RuleSet, RuleSource};
use toml::{Table, Value};

use super::*;
use crate::sink::Target;

fn refusal(text: &str) -> String {
    parse("sensor.toml", text).unwrap_err().to_string()
}

/// Full names of all keys; those of a list of tables count once.
fn keys(table: &Table, prefix: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => keys(inner, &format!("{name}."), into),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for item in items.iter().filter_map(Value::as_table) {
                    keys(item, &format!("{name}."), into);
                }
            }
            _ => into.push(name),
        }
    }
}

/// The default file with the example of an exception in force: no key of it is a default.
fn uncommented() -> String {
    let example = DEFAULT_FILE
        .lines()
        .skip_while(|line| *line != "# [[exceptions]]")
        .take_while(|line| !line.is_empty());
    let keys = example
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = ") || *line == "[[exceptions]]");
    format!("{DEFAULT_FILE}\n{}\n", keys.collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_default_file_holds_every_default_and_every_key() {
    assert_eq!(parse("default.toml", DEFAULT_FILE).unwrap(), Config::default());
    let (mut of_types, mut of_file) = (Vec::new(), Vec::new());
    let one = parse("example", &uncommented()).unwrap().exceptions;
    assert_eq!(one.len(), 1);
    keys(&Table::try_from(Config { exceptions: one, ..Config::default() }).unwrap(), "", &mut of_types);
    keys(&uncommented().parse().unwrap(), "", &mut of_file);
    of_types.sort();
    of_file.sort();
    assert_eq!(of_types, of_file);
    let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), "nothing is said about {}", pair[1]);
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("sensor.toml", "").unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_located_and_the_nearest_named() {
    let said = refusal("[telemetry]\nscope = \"all\"\nring_byte = 4096\n");
    assert!(said.contains("unknown key `telemetry.ring_byte`"), "{said}");
    assert!(said.contains("sensor.toml:3:1") && said.contains("did you mean `ring_bytes`?"), "{said}");
    let said = refusal("outputs.alerts.zebra = 1\n");
    assert!(said.contains("unknown key `outputs.alerts.zebra`"), "{said}");
    assert!(said.contains("known here: path, format, journald, syslog, rotation"), "{said}");
    assert!(refusal("[telemetri]\n").contains("did you mean `telemetry`?"));
}

#[test]
fn a_wrong_value_names_its_key_and_place() {
    for (text, mentions) in [
        ("[telemetry]\nring_bytes = 5000", ["`telemetry.ring_bytes`", ":2:14", "power of two"]),
        ("[telemetry]\nring_bytes = \"8 MiB\"", ["`telemetry.ring_bytes`", ":2:14", "invalid type"]),
        (
            "[telemetry]\nscope = \"rule\"",
            ["`telemetry.scope` cannot be `rule`", ":2:9", "did you mean `rules`?"],
        ),
        ("[agent]\nnamespace = \"a-b\"", ["`agent.namespace`", ":2:13", "no upper case"]),
        ("[hunts]\nhours = 0", ["`hunts.hours`", ":2:9", "from 0.001 to 8760"]),
        ("[hunts]\nhours = nan", ["`hunts.hours`", ":2:9", "from 0.001 to 8760"]),
        ("[rules]\npaths = [\"a\", 5]", ["`rules.paths`", ":2:15", "invalid type"]),
        ("rules = 5", ["`rules`", ":1:9", "invalid type"]),
        ("[outputs.alerts]\npath = \"\"", ["`outputs.alerts.path`", ":2:8", "standard output"]),
        ("[telemetry]\nenvironment = [\"A=B\"]", ["`telemetry.environment`", ":2:15", "no variable's name"]),
        ("[rules\n", ["not valid TOML", ":1:", "^"]),
        ("[rules]\npaths = []\npaths = []", ["not valid TOML", ":3:1", "duplicate key"]),
    ] {
        let said = refusal(text);
        assert!(mentions.iter().all(|mention| said.contains(mention)), "{mentions:?}: {said}");
    }
}

#[test]
fn the_hours_between_hunts_may_be_parts_of_one() {
    for (hours, seconds) in [("24", 86_400.0), ("0.5", 1_800.0), ("0.001", 3.6)] {
        let config = parse("sensor.toml", &format!("[hunts]\nhours = {hours}\n")).unwrap();
        assert_eq!(config.hunts.hours.duration(), Duration::from_secs_f64(seconds));
    }
}

fn loaded(text: &str) -> (tempfile::TempDir, Loaded) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sensor.toml");
    fs::write(&path, text).unwrap();
    let loaded = load(Some(&path)).unwrap();
    (directory, loaded)
}

fn rules() -> RuleSet {
    let rule = |id: &str, tags: &str| RuleSource {
        origin: Origin::User,
        path: format!("{id}.toml"),
        text: format!(
            "[rule]\nname = \"{id}\"\ndescription = \"{id}\"\nrule_id = \"{id}\"\nlanguage = \"eql\"\ntype = \"eql\"\n\
             risk_score = 1\nseverity = \"low\"\nquery = 'file where true'\ntags = {tags}\n"
        ),
    };
    let set = RuleSet::load([rule("r1", r#"["A", "B"]"#), rule("r2", r#"["A"]"#), rule("r3", "[]")], &Ecs);
    assert_eq!(set.rules().len(), 3, "{:?}", set.errors());
    set
}

#[test]
fn an_id_beats_a_tag_which_beats_the_default_and_disabling_wins() {
    for (text, enabled) in [
        ("", "r1 r2 r3"),
        ("disable.ids = [\"r1\"]\nenable.ids = [\"r1\"]", "r2 r3"),
        ("disable.tags = [\"A\"]", "r3"),
        ("disable.tags = [\"A\"]\nenable.ids = [\"r2\"]", "r2 r3"),
        ("disable.tags = [\"B\"]\nenable.tags = [\"A\"]", "r2 r3"),
        ("enabled_by_default = false", ""),
        ("enabled_by_default = false\nenable.tags = [\"A\"]", "r1 r2"),
        ("enabled_by_default = false\nenable.tags = [\"A\"]\ndisable.ids = [\"r1\"]", "r2"),
        ("enabled_by_default = false\nenable.ids = [\"r3\"]\ndisable.tags = [\"A\"]", "r3"),
    ] {
        let config = parse("sensor.toml", &format!("[rules]\n{text}")).unwrap();
        let set = rules();
        let ids = set.rules().iter().filter(|rule| config.rules.disables(&rule.rule).is_none());
        assert_eq!(ids.map(|rule| rule.rule.id.as_str()).collect::<Vec<_>>().join(" "), enabled, "{text}");
    }
}

#[test]
fn what_no_rule_has_is_a_warning_with_its_place() {
    let (_directory, loaded) = loaded(
        "[rules]\nenable.ids = [\"r1\", \"r9\"]\ndisable.tags = [\"A\", \"nothing like it\"]\n\
         [[exceptions]]\nname = \"x\"\nrules = [\"zz\"]\ncondition = 'any where true'\n",
    );
    let set = rules();
    let all: Vec<&Rule> = set.rules().iter().map(|rule| &rule.rule).collect();
    let said =
        loaded.unmatched(&all, &["r1", "r2", "r3"]).iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains("no rule has this id: r9") && said.contains(":2:21"), "{said}");
    assert!(said.contains("did you mean \"r1\"?"), "{said}");
    assert!(said.contains("no rule has this tag: nothing like it") && said.contains(":3:22"), "{said}");
    assert!(said.contains("no rule has this id: zz") && said.contains(":6:10"), "{said}");
    assert_eq!(said.matches("warning:").count(), 3, "{said}");
}

#[test]
fn a_broken_condition_is_located_in_the_file() {
    let broken = |condition: &str| {
        let (_directory, loaded) =
            loaded(&format!("[[exceptions]]\nname = \"x\"\nrules = \"all\"\n{condition}\n"));
        let errors = loaded.exceptions(&rules(), &Ecs).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<String>()
    };
    let said = broken("condition = '''\nfile where\n  process.nmae == \"x\"'''");
    assert!(said.contains("sensor.toml:6:3") && said.contains("process.name"), "{said}");
    let said = broken("condition = \"file where process.name = 'x'\"\nenabled = false");
    assert!(said.contains("sensor.toml:4:"), "{said}");
    let said = broken("condition = 'process.name == \"x\"'");
    assert!(said.contains("sensor.toml:4:") && said.contains("write `file where ...`"), "{said}");
    let said = broken("condition = 'sequence [file where true] [file where true]'");
    assert!(said.contains("one event at a time"), "{said}");
    assert!(broken("condition = ''").contains("sensor.toml:4:14"));
}

#[test]
fn an_exception_says_what_it_is_about() {
    let with = |rules: &str| {
        refusal(&format!("[[exceptions]]\nname = \"x\"\n{rules}\ncondition = 'any where true'\n"))
    };
    assert!(with("").contains("missing field `rules`"), "{}", with(""));
    let said = with("rules = \"al\"");
    assert!(said.contains("`exceptions.rules`") && said.contains("\"all\" or a list of rule ids"), "{said}");
    assert!(with("rules = [5]").contains(":3:10"), "{}", with("rules = [5]"));
}

#[test]
fn paths_are_relative_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sensor.toml");
    fs::write(&path, "rules.paths = [\"mine\", \"/abs\"]\noutputs.events.path = \"e.ndjson\"\n").unwrap();
    let config = load(Some(&path)).unwrap().config;
    assert_eq!(config.rules.paths, [directory.path().join("mine"), "/abs".into()]);
    assert_eq!(
        config.outputs.events.place(None).unwrap().target,
        Target::File(directory.path().join("e.ndjson"))
    );
    assert_eq!(config.outputs.alerts.place(None).target, Target::Stdout);
    assert_eq!(Config::default().outputs.events.place(None), None);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(Some(&directory.path().join("none.toml"))).unwrap_err();
    assert!(error.to_string().ends_with("none.toml"), "{error}");
    assert!(load(Some(directory.path())).is_err());
    fs::write(directory.path().join("bytes.toml"), b"\xff\xfe").unwrap();
    assert!(load(Some(&directory.path().join("bytes.toml"))).is_err());
}

#[test]
fn the_service_keeps_events_in_its_store_and_alerts_in_a_file_and_the_journal() {
    let file = service_file();
    assert!(file.contains(SERVICE_HEAD), "{file}");
    let config = parse("service.toml", &file).unwrap();
    assert_eq!(config.store.path, Path::new("/var/lib/sensor/store"));
    assert_eq!(config.outputs.alerts.path, Path::new("/var/log/sensor/alerts.ndjson"));
    assert!(config.outputs.alerts.journald && config.outputs.alerts.rotation.bytes > 0);
    assert_eq!(config.outputs.events, EventOutput::default());
}

#[test]
fn addresses_are_looked_at_where_they_are_written() {
    for (text, mentions) in [
        (
            "[outputs.elasticsearch]\nurl = \"http://es.example\"",
            ["`outputs.elasticsearch.url`", ":2:7", "only https"],
        ),
        ("[outputs.webhook]\nurl = \"nowhere\"", ["`outputs.webhook.url`", ":2:7", "not an address"]),
        ("[health]\nlisten = \"0.0.0.0:9464\"", ["`health.listen`", ":2:10", "of this machine"]),
        ("[health]\nlisten = \"9464\"", ["`health.listen`", ":2:10", "and a port"]),
    ] {
        let said = refusal(text);
        assert!(mentions.iter().all(|mention| said.contains(mention)), "{mentions:?}: {said}");
    }
}
