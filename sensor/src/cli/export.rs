//! `sensor export`: what other systems need to take what the sensor writes.

use std::process::ExitCode;

use anyhow::Context as _;
use sensor_ecs::FieldType;
use sensor_ecs::fields::TABLE;
use serde_json::{Map, Value, json};

use super::say::print;

/// Above the one that every cluster has for `logs-*-*`, below those of Elastic's integrations, which know more.
const PRIORITY: u32 = 150;
/// Longer values are kept, but not looked up, as in Elastic's own.
const IGNORE_ABOVE: u32 = 1024;

/// Fields of alerts that events do not have.
const OF_ALERTS: [(&str, &str); 20] = [
    ("event.code", "keyword"),
    ("event.risk_score", "float"),
    ("event.severity", "long"),
    ("rule.id", "keyword"),
    ("rule.name", "keyword"),
    ("rule.description", "keyword"),
    ("rule.reference", "keyword"),
    ("rule.ruleset", "keyword"),
    ("rule.version", "keyword"),
    ("threat.framework", "keyword"),
    ("threat.tactic.id", "keyword"),
    ("threat.tactic.name", "keyword"),
    ("threat.tactic.reference", "keyword"),
    ("threat.technique.id", "keyword"),
    ("threat.technique.name", "keyword"),
    ("threat.technique.reference", "keyword"),
    ("threat.technique.subtechnique.id", "keyword"),
    ("threat.technique.subtechnique.name", "keyword"),
    ("threat.technique.subtechnique.reference", "keyword"),
    ("sensor.view", "keyword"),
];

/// Prints the index template.
///
/// # Errors
///
/// When it cannot be printed.
pub(super) fn template() -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&index_template())?;
    print(&(text + "\n")).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn index_template() -> Value {
    let mut properties = Map::new();
    for row in TABLE {
        put(&mut properties, row.name, mapping(row.name, row.ty));
    }
    for (name, kind) in OF_ALERTS {
        put(&mut properties, name, of_kind(kind));
    }
    // Copies of whole documents, and columns of any name and type: kept for people and not looked up.
    for name in ["Events", "sensor.evidence", "sensor.hunt.row"] {
        put(&mut properties, name, json!({"type": "object", "enabled": false}));
    }
    json!({
        "index_patterns": [
            "logs-endpoint.events.file-*", "logs-endpoint.events.process-*", "logs-endpoint.alerts-*",
            "logs-sensor.gap-*", "logs-sensor.hunt-*", "logs-cloud_defend.file-*", "logs-cloud_defend.process-*"
        ],
        "data_stream": {},
        "priority": PRIORITY,
        "template": {
            "settings": {"index": {"mapping": {"total_fields": {"limit": 2000}}}},
            "mappings": {"dynamic": false, "date_detection": false, "properties": properties},
        },
        "_meta": {"description": concat!("Made by sensor ", env!("CARGO_PKG_VERSION"))},
    })
}

fn mapping(name: &str, kind: FieldType) -> Value {
    match kind {
        FieldType::Date => json!({"type": "date"}),
        FieldType::Ip => json!({"type": "ip"}),
        FieldType::Long => json!({"type": "long"}),
        FieldType::Double => json!({"type": "double"}),
        FieldType::Boolean => json!({"type": "boolean"}),
        FieldType::Keyword if name == "message" => json!({"type": "text"}),
        FieldType::Keyword => of_kind("keyword"),
    }
}

fn of_kind(kind: &str) -> Value {
    if kind == "keyword" {
        json!({"type": kind, "ignore_above": IGNORE_ABOVE})
    } else {
        json!({"type": kind})
    }
}

/// Puts a field where its name says.
fn put(properties: &mut Map<String, Value>, name: &str, mapping: Value) {
    match name.split_once('.') {
        None => {
            properties.insert(name.to_owned(), mapping);
        }
        Some((first, rest)) => {
            let object = properties.entry(first).or_insert_with(|| json!({"properties": {}}));
            if let Some(inner) = object.get_mut("properties").and_then(Value::as_object_mut) {
                put(inner, rest, mapping);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_mapped() {
        let template = index_template();
        let all = &template["template"]["mappings"]["properties"];
        for row in TABLE {
            let path = format!("/{}", row.name.replace('.', "/properties/"));
            assert!(all.pointer(&path).is_some_and(|field| field["type"].is_string()), "{}", row.name);
        }
        assert_eq!(all["file"]["properties"]["path"], json!({"type": "keyword", "ignore_above": 1024}));
        assert_eq!(all["rule"]["properties"]["id"]["type"], "keyword");
        assert_eq!(all["Events"]["enabled"], false);
        assert_eq!(all["sensor"]["properties"]["hunt"]["properties"]["row"]["enabled"], false);
        assert_eq!(template["data_stream"], json!({}));
    }
}
