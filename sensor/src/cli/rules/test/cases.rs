//! The file of tests beside a rule: what it may say, and the events that it stands for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sensor_ecs::{Action, PathView, Scalar};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config;

/// What the name of a file of tests ends in; the rest is that of the rule's file.
pub(in crate::cli) const SUFFIX: &str = ".tests.toml";

/// `NAME.tests.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    /// What every event says that does not say otherwise.
    #[serde(default)]
    pub(super) defaults: toml::Table,
    /// NDJSON files of recorded events, relative to this one, in which the rule must find nothing.
    #[serde(default)]
    pub(super) silent: Vec<PathBuf>,
    /// Events that are written down here.
    #[serde(default)]
    pub(super) cases: Vec<Case>,
}

/// `[[cases]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What happens, in words.
    pub(super) name: String,
    /// How often the rule must match.
    pub(super) matches: u64,
    /// In order.
    pub(super) events: Vec<toml::Table>,
}

/// Where the tests of a rule's file are.
pub(super) fn path_beside(rule: &Path) -> PathBuf {
    let mut name = rule.with_extension("").into_os_string();
    name.push(SUFFIX);
    name.into()
}

impl Cases {
    /// Reads a file of tests; `None` if there is none.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("tests {}", path.display()))?,
        };
        match toml::from_str::<Self>(&text) {
            Ok(cases) if cases.cases.is_empty() => bail!("{}: no [[cases]] in it", path.display()),
            Ok(cases) => Ok(Some(cases)),
            Err(error) => bail!("{}", config::locate(&path.display().to_string(), &text, &error)),
        }
    }

    /// A case's events as the lines of JSON that the sensor would have written, as far as the case says.
    pub(super) fn lines(&self, case: &Case) -> anyhow::Result<Vec<String>> {
        let defaults = object(&self.defaults)?;
        let mut lines = Vec::new();
        for (number, event) in (1_u64..).zip(&case.events) {
            let mut merged = defaults.clone();
            merge(&mut merged, object(event)?);
            derive(&mut merged, number);
            lines.push(Value::Object(merged).to_string());
        }
        Ok(lines)
    }
}

fn object(table: &toml::Table) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(table)? {
        Value::Object(object) => Ok(object),
        _ => bail!("not a table"),
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Adds what the sensor derives from what is there, and what no author wants to write.
fn derive(event: &mut Map<String, Value>, number: u64) {
    add(event, &["event", "id"], || json!(number.to_string()));
    add(event, &["event", "sequence"], || json!(number));
    // A second apart, from a time that means nothing.
    add(event, &["@timestamp"], || json!(1_767_225_600_000_u64 + number * 1000));
    add(event, &["host", "os", "type"], || json!("linux"));
    add(event, &["host", "id"], || json!("host"));
    let action = text(event, &["event", "action"]);
    if let Some(action) = Action::ALL.into_iter().find(|known| Some(known.name()) == action.as_deref()) {
        add(event, &["event", "category"], || texts(action.category()));
        add(event, &["event", "type"], || texts(action.event_type()));
    }
    for (path, name, extension) in [
        (&["file", "path"][..], &["file", "name"][..], &["file", "extension"][..]),
        (
            &["file", "Ext", "original", "path"],
            &["file", "Ext", "original", "name"],
            &["file", "Ext", "original", "extension"],
        ),
        (&["process", "executable"], &["process", "name"], &[]),
        (&["process", "parent", "executable"], &["process", "parent", "name"], &[]),
    ] {
        let Some(path) = text(event, path) else { continue };
        let view = PathView::new(path.as_bytes());
        for (to, part) in [(name, view.name()), (extension, view.extension())] {
            if let Some(part) = part.filter(|_| !to.is_empty()) {
                add(event, to, || json!(String::from_utf8_lossy(part)));
            }
        }
    }
}

fn texts(scalars: &[Scalar]) -> Value {
    let keywords = scalars.iter().filter_map(|scalar| scalar.as_value().as_keyword());
    keywords.map(|bytes| json!(String::from_utf8_lossy(bytes))).collect()
}

fn text(event: &Map<String, Value>, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let mut value = event.get(*first)?;
    for key in rest {
        value = value.get(*key)?;
    }
    value.as_str().map(str::to_owned)
}

/// Adds a value where there is none.
fn add(event: &mut Map<String, Value>, path: &[&str], value: impl FnOnce() -> Value) {
    match path {
        [] => {}
        [key] => {
            event.entry(*key).or_insert_with(value);
        }
        [key, rest @ ..] => {
            if let Value::Object(inner) = event.entry(*key).or_insert_with(|| json!({})) {
                add(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_completed_as_the_sensor_would() {
        let cases: Cases = toml::from_str(
            "[defaults]\nevent.action = \"rename\"\nprocess.executable = \"/usr/bin/mv\"\n\
             [[cases]]\nname = \"x\"\nmatches = 0\nevents = [\n\
             { file.path = \"/etc/a.conf\", file.Ext.original.path = \"/tmp/.b\", event.id = \"mine\" },\n]\n",
        )
        .unwrap();
        let lines = cases.lines(&cases.cases[0]).unwrap();
        let event: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["event"]["category"], json!(["file"]));
        assert_eq!(event["event"]["type"], json!(["change"]));
        assert_eq!(event["event"]["id"], json!("mine"));
        assert_eq!(event["file"]["extension"], json!("conf"));
        assert_eq!(event["file"]["Ext"]["original"]["name"], json!(".b"));
        assert_eq!(event["process"]["name"], json!("mv"));
        assert_eq!(path_beside(Path::new("/r/a.b.toml")), Path::new("/r/a.b.tests.toml"));
    }
}
