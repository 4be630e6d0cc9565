//! What an event says live, its document says on replay.

#![expect(clippy::unwrap_used, reason = "helpers of tests count as tests")]

mod common;

use std::collections::HashSet;

use common::world;
use proptest::prelude::*;
use sensor_ecs::{Document, FieldId, OpenSchema, Record, Value, fields, write_json};
use serde::Deserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};

/// The elements: a rule's leaf holds if any element satisfies it, so one value and a list of it are the same.
fn elements(value: Value<'_>) -> Vec<Value<'_>> {
    match value {
        Value::Absent => vec![],
        Value::List(items) => items.iter().map(|item| item.as_value()).collect(),
        one => vec![one],
    }
}

fn all_fields() -> impl Iterator<Item = (FieldId, &'static str)> {
    fields::TABLE.iter().enumerate().map(|(at, row)| (FieldId(u16::try_from(at).unwrap()), row.name))
}

proptest! {
    #[test]
    fn every_field_survives_json(world in world()) {
        let event = world.event();
        let mut json = Vec::new();
        write_json(&event, &mut json);
        prop_assert!(std::str::from_utf8(&json).unwrap().chars().all(|character| !character.is_control()));
        let mut document = Document::new();
        document.parse(&json, &OpenSchema::new()).unwrap();
        prop_assert_eq!(document.malformed(), 0);
        for (field, name) in all_fields() {
            let live = event.value(field);
            prop_assert_eq!(elements(live), elements(document.value(field)), "{}", name);
            prop_assert_ne!(live, Value::Keyword(b""), "{}", name);
        }
    }

    #[test]
    fn a_document_holds_every_key_once(world in world()) {
        let mut json = Vec::new();
        write_json(&world.event(), &mut json);
        let parsed: Result<KeysOnce, _> = serde_json::from_slice(&json);
        prop_assert!(parsed.is_ok(), "{}: {}", parsed.unwrap_err(), String::from_utf8(json).unwrap());
    }

    #[test]
    fn hostile_lines_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::new().parse(&bytes, &OpenSchema::new());
    }

    #[test]
    fn hostile_json_never_panics(line in json_like()) {
        let mut document = Document::new();
        if document.parse(line.as_bytes(), &OpenSchema::new()).is_ok() {
            for (field, _) in all_fields() {
                let _ = document.value(field);
            }
        }
    }

    #[test]
    fn a_torn_line_is_an_error_and_leaves_nothing(world in world(), cut in 0.0..1.0f64) {
        let mut json = Vec::new();
        write_json(&world.event(), &mut json);
        json.truncate((json.len() as f64 * cut) as usize);
        let mut document = Document::new();
        prop_assert!(document.parse(&json, &OpenSchema::new()).is_err());
        for (field, _) in all_fields() {
            prop_assert!(document.value(field).is_absent());
        }
    }
}

/// Any JSON in which no object has a key twice.
#[derive(Debug)]
struct KeysOnce;

impl<'de> serde::Deserialize<'de> for KeysOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for KeysOnce {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, Self)) = members.next_entry::<String, Self>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("{key} twice")));
            }
            seen.insert(key);
        }
        Ok(self)
    }
}

/// Objects whose keys are parts of real names and whose values have any type, nested and dotted.
fn json_like() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("process"),
        Just("file"),
        Just("parent"),
        Just("path"),
        Just("file.path"),
        Just("pid"),
        Just("args"),
        Just("@timestamp"),
        Just("event"),
        Just("category"),
        Just("sensor"),
        Just("escaped"),
        Just("start"),
        Just(""),
        Just("."),
        Just("process.parent"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| if value.is_finite() {
            format!("{value:e}")
        } else {
            "1e999".to_owned()
        }),
        any::<String>().prop_map(|value| serde_json::to_string(&value).unwrap()),
        Just("\"\u{f7ff}\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ];
    let tree = leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    tree.prop_map(|tree| format!("{{\"process\":{tree}}}"))
}
