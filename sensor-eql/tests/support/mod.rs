//! A schema inferred from JSON documents, for tests: the engine takes its schema as a parameter, and this is another.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its own part of this module"
)]

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use sensor_ecs::{Field, FieldId, FieldType, Record, Scalar, Schema, Value};

/// Field names with types; unknown names are added when asked for, if `open`.
pub struct JsonSchema {
    names: RefCell<(Vec<(String, FieldType)>, HashMap<String, u16>)>,
    open: bool,
    category: FieldId,
    timestamp: FieldId,
    tiebreaker: Option<FieldId>,
}

impl JsonSchema {
    pub fn new(category: &str, timestamp: &str, tiebreaker: Option<&str>, open: bool) -> Self {
        let mut schema = Self {
            names: RefCell::default(),
            open,
            category: FieldId(0),
            timestamp: FieldId(0),
            tiebreaker: None,
        };
        schema.category = schema.define(category, FieldType::Keyword);
        schema.timestamp = schema.define(timestamp, FieldType::Date);
        schema.tiebreaker = tiebreaker.map(|name| schema.define(name, FieldType::Long));
        schema
    }

    /// Elastic Common Schema names, any of them.
    pub fn ecs() -> Self {
        Self::new("event.category", "@timestamp", Some("event.sequence"), true)
    }

    pub fn define(&self, name: &str, ty: FieldType) -> FieldId {
        let mut names = self.names.borrow_mut();
        let (list, by_name) = &mut *names;
        let next = u16::try_from(list.len()).unwrap();
        let id = *by_name.entry(name.to_owned()).or_insert(next);
        if id == next {
            list.push((name.to_owned(), ty));
        }
        FieldId(id)
    }

    fn ty(&self, id: FieldId) -> FieldType {
        self.names.borrow().0[usize::from(id.0)].1
    }

    /// Reads a document, adding the fields it has.
    pub fn document(&self, json: &serde_json::Value) -> JsonRecord {
        let mut record = JsonRecord::default();
        self.flatten("", json, &mut record);
        record
    }

    fn flatten(&self, prefix: &str, json: &serde_json::Value, record: &mut JsonRecord) {
        match json {
            serde_json::Value::Object(members) => {
                for (key, value) in members {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    self.flatten(&name, value, record);
                }
            }
            serde_json::Value::Null => {}
            serde_json::Value::Array(items) => {
                let mut scalars = Vec::new();
                for item in items.iter().filter(|i| !i.is_null()) {
                    let id = self.define(prefix, infer(prefix, item));
                    scalars.push(scalar(item, self.ty(id)));
                }
                if let Some(id) = self.lookup(prefix) {
                    record.set(id.id, Stored::Many(scalars));
                }
            }
            one => {
                let id = self.define(prefix, infer(prefix, one));
                record.set(id, Stored::One(scalar(one, self.ty(id))));
            }
        }
    }
}

fn infer(name: &str, json: &serde_json::Value) -> FieldType {
    match json {
        serde_json::Value::Bool(_) => FieldType::Boolean,
        serde_json::Value::Number(n) if n.is_f64() => FieldType::Double,
        serde_json::Value::Number(_) => FieldType::Long,
        _ if name.ends_with(".ip") => FieldType::Ip,
        _ => FieldType::Keyword,
    }
}

fn scalar(json: &serde_json::Value, ty: FieldType) -> Scalar {
    match (json, ty) {
        (serde_json::Value::Bool(b), _) => Scalar::Boolean(*b),
        (serde_json::Value::Number(n), FieldType::Date) => Scalar::Date(n.as_i64().unwrap() * 1_000_000),
        (serde_json::Value::String(s), FieldType::Date) => Scalar::Date(date(s)),
        (serde_json::Value::Number(n), _) => {
            n.as_i64().map_or(Scalar::Double(n.as_f64().unwrap()), Scalar::Long)
        }
        (serde_json::Value::String(s), _) => Scalar::Keyword(Cow::Owned(s.clone().into_bytes())),
        _ => panic!("nested list"),
    }
}

/// Milliseconds, or the one date form that the test data uses.
fn date(text: &str) -> i64 {
    if let Ok(millis) = text.parse::<i64>() {
        return millis * 1_000_000;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let months: i64 = lengths[..usize::try_from(month).unwrap() - 1].iter().sum();
    let seconds =
        (years + months + day - 1) * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    (seconds * 1000 + number(20..23)) * 1_000_000
}

impl Schema for JsonSchema {
    fn lookup(&self, name: &str) -> Option<Field> {
        let known = self.names.borrow().1.get(name).copied().map(FieldId);
        let id = match known {
            None if self.open => self.define(name, infer(name, &serde_json::Value::Null)),
            known => known?,
        };
        Some(Field { id, ty: self.ty(id) })
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        self.names.borrow().0.get(usize::from(id.0)).map(|(n, _)| Cow::Owned(n.clone()))
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        self.names.borrow().0.iter().map(|(n, _)| Cow::Owned(n.clone())).collect()
    }

    fn category(&self) -> FieldId {
        self.category
    }

    fn timestamp(&self) -> FieldId {
        self.timestamp
    }

    fn tiebreaker(&self) -> Option<FieldId> {
        self.tiebreaker
    }
}

#[derive(Clone, Debug)]
pub enum Stored {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Clone, Debug, Default)]
pub struct JsonRecord(Vec<Option<Stored>>);

impl JsonRecord {
    pub fn set(&mut self, id: FieldId, value: Stored) {
        let slot = usize::from(id.0);
        if self.0.len() <= slot {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some(value);
    }

    pub fn get(&self, schema: &JsonSchema, name: &str) -> Option<Scalar> {
        match self.0.get(usize::from(schema.lookup(name)?.id.0))?.as_ref()? {
            Stored::One(scalar) => Some(scalar.clone()),
            Stored::Many(_) => None,
        }
    }
}

impl Record for JsonRecord {
    fn value(&self, field: FieldId) -> Value<'_> {
        match self.0.get(usize::from(field.0)).and_then(Option::as_ref) {
            None => Value::Absent,
            Some(Stored::One(scalar)) => scalar.as_value(),
            Some(Stored::Many(items)) => Value::List(items),
        }
    }
}

/// The directory of sample data, or `None` after saying why the test is skipped.
pub fn sample_data(part: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("SENSOR_TEST_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no sample data at {} (set SENSOR_TEST_DATA)", path.display());
    None
}
