//! An event as bytes: what the hot path writes into memory and the log holds.
//!
//! `u32` length of what follows; `i64` time; `u8` length and name of the dataset; then for each value that is there a
//! `u16` column and the value. Text is a length and UTF-8; a list is a count and its values. Lengths and counts are
//! variable. Numbers are little-endian.

use sensor_ecs::{FieldId, FieldType, Lifetime, Record, Schema, Value, escape, field};

use crate::schema::{self, Column};

/// What one event may take. A path has 4 KiB, a command line is bounded by the sensor.
pub(crate) const ROW_BYTES_MAX: usize = 1 << 20;

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has no `@timestamp`.
    NoTime,
    /// It is larger than [`ROW_BYTES_MAX`].
    TooLarge,
}

/// Field of the record, position of the column.
type Place = (FieldId, u16, Column);

/// Writes records of one schema.
#[derive(Debug)]
pub struct Encoder {
    fields: Vec<Place>,
    /// Those that have one value in all records of a kind.
    constant: Vec<Place>,
    escaped: Option<u16>,
    kinds: Vec<Option<OfKind>>,
}

/// Kinds of record that are told apart.
const KINDS_MAX: usize = 256;

/// What all records of a kind have in common, found at the first.
#[derive(Debug)]
struct OfKind {
    /// Their constant values, as they stand in a row.
    constant: Vec<u8>,
    state: State,
    /// What may be another in each.
    fields: Vec<Place>,
}

/// What became of values.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    misfits: u32,
    escaped: bool,
}

impl Encoder {
    /// Looks up the columns in the schema of the records to come.
    #[must_use]
    pub fn new(records: &dyn Schema) -> Self {
        let columns = (0_u16..).zip(schema::columns());
        let fields = columns.filter(|(_, column)| column.name != schema::ESCAPED);
        let fields = fields.filter_map(|(at, column)| Some((records.lookup(column.name)?.id, at, *column)));
        let fields: Vec<Place> = fields.collect();
        let is_constant = |(id, ..): &&Place| records.lifetime(*id) == Lifetime::Constant;
        Self {
            constant: fields.iter().filter(is_constant).copied().collect(),
            fields,
            escaped: schema::find(schema::ESCAPED).and_then(|at| u16::try_from(at).ok()),
            kinds: Vec::new(),
        }
    }

    /// As [`Self::append`], for records that come by the thousand: what all of this kind have in common is written once.
    /// `has` says which fields any record of the kind can have; it is asked at the first.
    ///
    /// # Errors
    ///
    /// When the event cannot be stored; nothing is appended then.
    pub fn append_of_kind<R: Record + ?Sized>(
        &mut self,
        kind: u8,
        has: impl Fn(FieldId) -> bool,
        record: &R,
        out: &mut Vec<u8>,
    ) -> Result<u32, Refused> {
        self.kinds.resize_with(KINDS_MAX, || None);
        let Some(slot) = self.kinds.get_mut(usize::from(kind)) else { return self.append(record, out) };
        let of_kind = slot.get_or_insert_with(|| {
            let (mut constant, mut state) = (Vec::new(), State::default());
            put(&self.constant, record, &mut constant, &mut state);
            let is_constant = |id: FieldId| self.constant.iter().any(|(known, ..)| *known == id);
            let fields = self.fields.iter().filter(|(id, ..)| has(*id) && !is_constant(*id));
            OfKind { constant, state, fields: fields.copied().collect() }
        });
        let OfKind { constant, state, fields } = of_kind;
        append(record, constant, *state, fields, self.escaped, out)
    }

    /// Appends the record. Returns how many values did not fit their column: of several values only the first is kept
    /// where the schema has one, and what cannot be read as the column's type is left out.
    ///
    /// # Errors
    ///
    /// When the event cannot be stored; nothing is appended then.
    pub fn append<R: Record + ?Sized>(&self, record: &R, out: &mut Vec<u8>) -> Result<u32, Refused> {
        append(record, &[], State::default(), &self.fields, self.escaped, out)
    }
}

/// A row: what is known of its values already, and those of the fields.
fn append<R: Record + ?Sized>(
    record: &R,
    known: &[u8],
    mut state: State,
    fields: &[Place],
    escaped: Option<u16>,
    out: &mut Vec<u8>,
) -> Result<u32, Refused> {
    let start = out.len();
    let Value::Date(time) = record.value(field::TIMESTAMP) else { return Err(Refused::NoTime) };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&time.to_le_bytes());
    let dataset = [field::DATA_STREAM_DATASET, field::EVENT_DATASET]
        .into_iter()
        .find_map(|id| record.value(id).as_keyword().filter(|name| is_dataset(name)))
        .unwrap_or(b"unknown");
    out.push(u8::try_from(dataset.len()).unwrap_or(0));
    out.extend_from_slice(dataset);
    out.extend_from_slice(known);
    put(fields, record, out, &mut state);
    if let (true, Some(at)) = (state.escaped, escaped) {
        out.extend_from_slice(&at.to_le_bytes());
        out.push(1);
    }
    let bytes = out.len() - start - 4;
    if bytes > ROW_BYTES_MAX {
        out.truncate(start);
        return Err(Refused::TooLarge);
    }
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&(bytes as u32).to_le_bytes());
    }
    Ok(state.misfits)
}

/// Appends the values of these fields that are there.
fn put<R: Record + ?Sized>(fields: &[Place], record: &R, out: &mut Vec<u8>, state: &mut State) {
    let State { misfits, escaped } = state;
    for (id, at, column) in fields {
        let value = record.value(*id);
        match value {
            Value::Absent => {}
            // What nearly every value is: short, and nothing to escape.
            Value::Keyword(bytes)
                if !column.list
                    && bytes.len() < 0x80
                    && matches!(column.ty, FieldType::Keyword | FieldType::Ip)
                    && bytes.is_ascii() =>
            {
                let [low, high] = at.to_le_bytes();
                out.extend_from_slice(&[low, high, bytes.len() as u8]);
                out.extend_from_slice(bytes);
            }
            Value::List([]) => {}
            Value::List(items) if column.list => {
                let fitting = items.iter().filter(|item| fits(item.as_value(), column.ty));
                let count = fitting.clone().count();
                *misfits += (items.len() - count) as u32;
                if count > 0 {
                    out.extend_from_slice(&at.to_le_bytes());
                    length(count, out);
                    fitting.for_each(|item| *escaped |= single(item.as_value(), column.ty, out));
                }
            }
            value => {
                let first = match value {
                    Value::List(items) => {
                        *misfits += items.len() as u32 - 1;
                        items.first().map_or(Value::Absent, |item| item.as_value())
                    }
                    value => value,
                };
                if !fits(first, column.ty) {
                    *misfits += 1;
                    continue;
                }
                out.extend_from_slice(&at.to_le_bytes());
                if column.list {
                    length(1, out);
                }
                *escaped |= single(first, column.ty, out);
            }
        }
    }
}

/// A name that may be a folder's.
pub(crate) fn is_dataset(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= 100 && name.iter().all(plain) && !name.starts_with(b".")
}

fn fits(value: Value<'_>, ty: FieldType) -> bool {
    matches!(
        (value, ty),
        (Value::Keyword(_), FieldType::Keyword | FieldType::Ip)
            | (Value::Long(_), FieldType::Long | FieldType::Double)
            | (Value::Double(_), FieldType::Double)
            | (Value::Boolean(_), FieldType::Boolean)
            | (Value::Date(_), FieldType::Date)
    )
}

fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns whether text had to be escaped.
fn single(value: Value<'_>, ty: FieldType, out: &mut Vec<u8>) -> bool {
    match value {
        // Nothing of it can need the escape.
        Value::Keyword(bytes) if bytes.is_ascii() => {
            length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Value::Keyword(bytes) => {
            let text = escape::escape(bytes);
            length(text.len(), out);
            out.extend_from_slice(text.as_bytes());
            return matches!(text, std::borrow::Cow::Owned(_));
        }
        Value::Long(number) if ty == FieldType::Double => {
            out.extend_from_slice(&(number as f64).to_le_bytes())
        }
        Value::Long(number) | Value::Date(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Boolean(truth) => out.push(u8::from(truth)),
        Value::Absent | Value::List(_) => {}
    }
    false
}

#[cfg(feature = "files")]
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sensor_ecs::{Action, Agent, Ecs, Event, EventId, EventMeta, FileFields, Host, Integration};

    use super::*;
    use crate::read::Reader;

    /// The values by column.
    fn values(row: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        let mut reader = Reader { bytes: row, at: 12 };
        let name = usize::from(reader.take(1).unwrap()[0]);
        reader.take(name).unwrap();
        let mut found = BTreeMap::new();
        while reader.at < row.len() {
            let at = u16::from_le_bytes(reader.take(2).unwrap().try_into().unwrap());
            let start = reader.at;
            reader.skip(&schema::columns()[usize::from(at)]).unwrap();
            assert!(found.insert(at, row[start..reader.at].to_vec()).is_none(), "{at} stands twice");
        }
        found
    }

    #[test]
    fn what_events_of_a_kind_have_in_common_is_written_as_ever() {
        let text = |text: &[u8]| text.into();
        let agent = Agent { id: text(b"a"), version: text(b"1"), namespace: text(b"default") };
        let host = Host { hostname: text(b"h\xff"), name: text(b"h"), ..Host::default() };
        let mut encoder = Encoder::new(&Ecs);
        for (number, path) in [&b"/etc/a"[..], b"/etc/\xfe", b"/b"].into_iter().enumerate() {
            for action in [Action::Creation, Action::Rename, Action::Exec] {
                for integration in [Integration::Endpoint, Integration::CloudDefend] {
                    let meta = EventMeta {
                        id: EventId::new([7; 10], number as u64),
                        sequence: number as u64,
                        time_ns: 1_700_000_000_000_000_000,
                        action,
                        outcome: None,
                        integration,
                    };
                    let file = action.is_file().then(|| FileFields::new(path));
                    let event = Event { meta, host: &host, agent: &agent, file, process: None, actor: None };
                    let (mut whole, mut of_kind) = (Vec::new(), b"before".to_vec());
                    encoder.append(&event, &mut whole).unwrap();
                    let kind = action as u8 + 16 * integration as u8;
                    let has = |field| action.has(field);
                    encoder.append_of_kind(kind, has, &event, &mut of_kind).unwrap();
                    let of_kind = of_kind.strip_prefix(b"before").unwrap();
                    assert_eq!(of_kind[..4], whole[..4]);
                    assert_eq!(values(of_kind), values(&whole));
                    assert!(values(&whole).contains_key(&encoder.escaped.unwrap()));
                }
            }
        }
    }
}
