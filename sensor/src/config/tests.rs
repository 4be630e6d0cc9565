//! What a configuration may say, and how it is refused.

use toml::{Table, Value};

use super::*;

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

#[test]
fn the_default_file_holds_every_default_and_every_key() {
    assert_eq!(parse("default.toml", DEFAULT_FILE).unwrap(), Config::default());
    let (mut of_types, mut of_file) = (Vec::new(), Vec::new());
    keys(&Table::try_from(Config::default()).unwrap(), "", &mut of_types);
    keys(&DEFAULT_FILE.parse().unwrap(), "", &mut of_file);
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
    assert!(said.contains("known here: path, format"), "{said}");
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
        ("[rules]\npaths = [\"a\", 5]", ["`rules.paths`", ":2:15", "invalid type"]),
        ("rules = 5", ["`rules`", ":1:9", "invalid type"]),
        ("[outputs.alerts]\npath = \"\"", ["`outputs.alerts.path`", ":2:8", "standard output"]),
        ("[rules\n", ["not valid TOML", ":1:", "^"]),
        ("[rules]\npaths = []\npaths = []", ["not valid TOML", ":3:1", "duplicate key"]),
    ] {
        let said = refusal(text);
        assert!(mentions.iter().all(|mention| said.contains(mention)), "{mentions:?}: {said}");
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sensor.toml");
    fs::write(&path, "rules.paths = [\"mine\", \"/abs\"]\noutputs.events.path = \"e.ndjson\"\n").unwrap();
    let config = load(Some(&path)).unwrap().config;
    assert_eq!(config.rules.paths, [directory.path().join("mine"), "/abs".into()]);
    assert_eq!(config.outputs.events.target(), Some(Target::File(directory.path().join("e.ndjson"))));
    assert_eq!(config.outputs.alerts.target(), Target::Stdout);
    assert_eq!(Config::default().outputs.events.target(), None);
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
