//! A schema inferred from JSON documents, for tests: the engine takes its schema as a parameter, and this is another.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use sensor_ecs::{Ecs, Field, FieldId, FieldType, Lifetime, Record, Scalar, Schema, Value};

/// Field names with types; unknown names are added when asked for, if `open`.
pub(crate) struct JsonSchema {
    names: RefCell<Names>,
    open: bool,
    category: FieldId,
    timestamp: FieldId,
    tiebreaker: Option<FieldId>,
}

#[derive(Default)]
struct Names {
    list: Vec<(String, FieldType)>,
    by_name: HashMap<String, u16>,
}

impl JsonSchema {
    pub(crate) fn new(category: &str, timestamp: &str, tiebreaker: Option<&str>, open: bool) -> Self {
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
    pub(crate) fn ecs() -> Self {
        Self::new("event.category", "@timestamp", Some("event.sequence"), true)
    }

    pub(crate) fn define(&self, name: &str, ty: FieldType) -> FieldId {
        let mut names = self.names.borrow_mut();
        let Names { list, by_name } = &mut *names;
        let next = u16::try_from(list.len()).unwrap();
        let id = *by_name.entry(name.to_owned()).or_insert(next);
        if id == next {
            list.push((name.to_owned(), ty));
        }
        FieldId(id)
    }

    fn ty(&self, id: FieldId) -> FieldType {
        self.names.borrow().list[usize::from(id.0)].1
    }

    /// Reads a document, adding the fields it has.
    pub(crate) fn document(&self, json: &serde_json::Value) -> JsonRecord {
        let mut found: BTreeMap<String, (bool, Vec<&serde_json::Value>)> = BTreeMap::new();
        flatten(String::new(), json, false, &mut found);
        let mut record = JsonRecord::default();
        for (name, (many, values)) in found {
            let Some(first) = values.first() else { continue };
            let id = self.define(&name, infer(&name, first));
            let mut scalars: Vec<Scalar> = values.iter().map(|v| scalar(v, self.ty(id))).collect();
            record.set(id, if many { Stored::Many(scalars) } else { Stored::One(scalars.remove(0)) });
        }
        record
    }
}

/// Values by dotted name, through objects and lists of them; null is no value.
fn flatten<'j>(
    name: String,
    json: &'j serde_json::Value,
    many: bool,
    found: &mut BTreeMap<String, (bool, Vec<&'j serde_json::Value>)>,
) {
    match json {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                let longer = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(longer, value, many, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|i| flatten(name.clone(), i, true, found)),
        serde_json::Value::Null => {}
        one => {
            let entry = found.entry(name).or_default();
            entry.0 |= many;
            entry.1.push(one);
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
        let known = self.names.borrow().by_name.get(name).copied().map(FieldId);
        let id = match known {
            None if self.open => self.define(name, infer(name, &serde_json::Value::Null)),
            known => known?,
        };
        Some(Field { id, ty: self.ty(id) })
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        self.names.borrow().list.get(usize::from(id.0)).map(|(n, _)| Cow::Owned(n.clone()))
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        self.names.borrow().list.iter().map(|(n, _)| Cow::Owned(n.clone())).collect()
    }

    fn lifetime(&self, id: FieldId) -> Lifetime {
        // As ECS has it, of whatever number the field is here.
        self.name(id)
            .and_then(|name| Ecs.lookup(&name))
            .map_or(Lifetime::Event, |field| Ecs.lifetime(field.id))
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
pub(crate) enum Stored {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JsonRecord(Vec<Option<Stored>>);

impl JsonRecord {
    pub(crate) fn set(&mut self, id: FieldId, value: Stored) {
        let slot = usize::from(id.0);
        if self.0.len() <= slot {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some(value);
    }

    pub(crate) fn stored(&self, id: FieldId) -> Option<&Stored> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    pub(crate) fn get(&self, schema: &JsonSchema, name: &str) -> Option<Scalar> {
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
pub(crate) fn sample_data(part: &str) -> Option<PathBuf> {
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
