//! The demo's alerts as a person reads them, and the check that they are the right ones.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Path, process names and action of every alert that must be there, and no other.
const ALERTS: [(&str, &[&str], &str); 2] = [
    ("/etc/apt/apt.conf.d/98demo-moved", &["mv"], "rename"),
    // What /usr/bin/sh leads to differs between systems.
    ("/etc/apt/apt.conf.d/99demo-hook", &["sh", "dash", "bash"], "creation"),
];

/// Files that the sensor must have recorded without an alert: silence alone could be blindness.
const RECORDED: [&str; 2] = ["/etc/apt/apt.conf.d/96demo-edit.swp", "/etc/apt/apt.conf.d/97demo-package"];

/// Prints the alerts and whether they are the expected ones.
pub(super) fn print(out: &Path) -> Result<bool> {
    let alerts = read(&out.join("alerts.ndjson"))?;
    let events = read(&out.join("events.ndjson"))?;
    println!("\nAlerts: {}", alerts.len());
    for alert in &alerts {
        println!("{}", describe(alert, &events));
    }
    let wrong = check(&alerts, &events);
    for line in &wrong {
        println!("WRONG: {line}");
    }
    if wrong.is_empty() {
        println!(
            "\nAs expected: {} alerts; {} excluded files recorded without one; {} events in all.",
            ALERTS.len(),
            RECORDED.len(),
            events.len()
        );
    }
    Ok(wrong.is_empty())
}

fn check(alerts: &[Value], events: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wanted = ALERTS.to_vec();
    for alert in alerts {
        let (path, name) = (text(alert, "file.path"), text(alert, "process.name"));
        let found =
            wanted.iter().position(|(file, names, _)| *file == path && names.contains(&name.as_str()));
        match found {
            Some(index) => drop(wanted.remove(index)),
            None => wrong.push(format!("an alert that should not be: {path} by {name}")),
        }
    }
    wrong.extend(wanted.iter().map(|(path, names, _)| format!("no alert: {path} by {}", names.join(" or "))));
    let seen = |path: &str, action: &str| {
        events
            .iter()
            .filter(|event| text(event, "file.path") == path && text(event, "event.action") == action)
            .count()
    };
    for (path, _, action) in ALERTS {
        if seen(path, action) != 1 {
            wrong.push(format!("{} events of {action} {path} instead of one", seen(path, action)));
        }
    }
    for path in RECORDED {
        if seen(path, "creation") != 1 {
            wrong.push(format!("{} events of creation {path} instead of one", seen(path, "creation")));
        }
    }
    wrong
}

fn describe(alert: &Value, events: &[Value]) -> String {
    let field = |name: &str| text(alert, name);
    let original = field("file.Ext.original.path");
    let what = if original.is_empty() {
        format!("created {}", field("file.path"))
    } else {
        format!("renamed {original} to {}", field("file.path"))
    };
    let ancestors = [("by", "process"), ("parent", "process.parent")];
    let mut lines = vec![
        String::new(),
        format!("  {} (risk {})  {}", severity(alert), field("event.risk_score"), field("rule.name")),
        format!("    when    {}", field("@timestamp")),
        format!("    what    {what}"),
        format!("    user    {} (uid {})", field("user.name"), field("user.id")),
    ];
    for (label, prefix) in ancestors {
        lines.push(format!(
            "    {label:<7} {} [{}] {}",
            field(&format!("{prefix}.executable")),
            field(&format!("{prefix}.pid")),
            quoted(&field(&format!("{prefix}.command_line")))
        ));
    }
    let tactics: Vec<String> = lookup(alert, "threat")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|threat| format!("{} ({})", text(threat, "tactic.name"), text(threat, "tactic.id")))
        .collect();
    lines.push(format!("    tactic  {}", tactics.join(", ")));
    lines.push(format!("    rule    {} version {}", field("rule.id"), field("rule.version")));
    let pid = field("process.pid");
    let others = events.iter().filter(|event| text(event, "process.pid") == pid).count();
    lines.push(format!("    events  {others} of this process in events.ndjson"));
    lines.join("\n")
}

fn severity(alert: &Value) -> &'static str {
    match lookup(alert, "event.severity").and_then(Value::as_u64) {
        Some(0..=21) => "LOW",
        Some(22..=47) => "MEDIUM",
        Some(48..=73) => "HIGH",
        Some(_) => "CRITICAL",
        None => "ALERT",
    }
}

/// A command line on one line, whatever bytes are in it.
fn quoted(line: &str) -> String {
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}: not JSON", path.display(), number + 1))
    };
    content.lines().enumerate().map(parse).collect()
}

/// The field as text; empty where it is absent.
fn text(document: &Value, field: &str) -> String {
    match lookup(document, field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        Some(Value::Null | Value::Object(_)) | None => String::new(),
    }
}

fn lookup<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(document, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alert(path: &str, name: &str) -> Value {
        json!({"file": {"path": path}, "process": {"name": name}})
    }

    fn event(path: &str, action: &str) -> Value {
        json!({"file": {"path": path}, "event": {"action": action}})
    }

    #[test]
    fn exactly_the_expected_alerts_pass() {
        let mut alerts: Vec<Value> = ALERTS.iter().map(|(path, names, _)| alert(path, names[0])).collect();
        let mut events: Vec<Value> = ALERTS.iter().map(|(path, _, action)| event(path, action)).collect();
        events.extend(RECORDED.iter().map(|path| event(path, "creation")));
        assert!(check(&alerts, &events).is_empty());
        alerts.push(alert("/etc/apt/apt.conf.d/97demo-package", "dpkg"));
        assert_eq!(check(&alerts, &events).len(), 1);
        alerts.clear();
        assert_eq!(check(&alerts, &events).len(), 2);
        assert_eq!(check(&alerts, &[]).len(), 6);
    }

    #[test]
    fn control_bytes_are_shown_not_obeyed() {
        assert_eq!(quoted("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
    }
}
