//! An event as bytes: what the hot path writes into memory and the log holds.
//!
//! `u32` length of what follows; `i64` time; `u8` length and name of the dataset; then for each value that is there a
//! `u16` column and the value. Text is a length and UTF-8; a list is a count and its values. Lengths and counts are
//! variable. Numbers are little-endian.

use std::collections::HashSet;

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
    /// Those that have one value in all records of a kind and a process in one state.
    of_process: HashSet<FieldId>,
    escaped: Option<u16>,
    kinds: Vec<Option<Box<OfKind>>>,
}

/// Kinds of record that are told apart.
const KINDS_MAX: usize = 256;
/// Processes of a kind whose values are kept: those that write in turns.
const PROCESSES_KEPT: usize = 8;
/// Longer ones, of a very long command line, are not.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// A process in one of its states: its number, and another one whenever anything of it changes. Records of one kind that
/// have the same agree in every field whose [`Lifetime`] is that of the process or longer.
pub type ProcessState = (u64, u64);

/// What all records of a kind have in common, found at the first.
#[derive(Debug)]
struct OfKind {
    /// Their constant values, as they stand in a row.
    constant: Vec<u8>,
    state: State,
    /// What may be another in each.
    fields: Vec<Place>,
    /// What is the same in all of one process, while nothing about it changes.
    of_process: Vec<Place>,
    processes: [Option<OfProcess>; PROCESSES_KEPT],
}

/// The values of a process, as they stand in a row.
#[derive(Debug)]
struct OfProcess {
    of: ProcessState,
    values: Vec<u8>,
    state: State,
}

impl OfKind {
    /// The values of the record's process, which are written if they are not kept.
    fn process<R: Record + ?Sized>(&mut self, of: ProcessState, record: &R) -> Option<&OfProcess> {
        let slot =
            usize::try_from(of.0 % PROCESSES_KEPT as u64).ok().and_then(|at| self.processes.get_mut(at))?;
        if slot.as_ref().is_none_or(|kept| kept.of != of) {
            let mut values = slot.take().map_or_else(Vec::new, |kept| kept.values);
            values.clear();
            let mut state = State::default();
            put(&self.of_process, record, &mut values, &mut state);
            if values.len() > KEPT_BYTES_MAX {
                return None;
            }
            *slot = Some(OfProcess { of, values, state });
        }
        slot.as_ref()
    }
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
        let is_of_process = |id| matches!(records.lifetime(id), Lifetime::Process | Lifetime::Program);
        Self {
            constant: fields.iter().filter(is_constant).copied().collect(),
            of_process: fields.iter().map(|(id, ..)| *id).filter(|id| is_of_process(*id)).collect(),
            fields,
            escaped: schema::find(schema::ESCAPED).and_then(|at| u16::try_from(at).ok()),
            kinds: Vec::new(),
        }
    }

    /// As [`Self::append`], for records that come by the thousand: what all of this kind have in common is written once,
    /// and what those of a process have in common while it is in one state. `has` says which fields any record of the
    /// kind can have; it is asked at the first.
    ///
    /// # Errors
    ///
    /// When the event cannot be stored; nothing is appended then.
    pub fn append_of_kind<R: Record + ?Sized>(
        &mut self,
        kind: u8,
        process: Option<ProcessState>,
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
            let (fields, of_process) = fields.copied().partition(|(id, ..)| !self.of_process.contains(id));
            Box::new(OfKind { constant, state, fields, of_process, processes: Default::default() })
        });
        let start = out.len();
        let mut state = of_kind.state;
        head(record, out)?;
        out.extend_from_slice(&of_kind.constant);
        match process.and_then(|of| of_kind.process(of, record)) {
            Some(kept) => {
                out.extend_from_slice(&kept.values);
                state.misfits += kept.state.misfits;
                state.escaped |= kept.state.escaped;
            }
            None => put(&of_kind.of_process, record, out, &mut state),
        }
        finish(record, &of_kind.fields, self.escaped, start, state, out)
    }

    /// Appends the record. Returns how many values did not fit their column: of several values only the first is kept
    /// where the schema has one, and what cannot be read as the column's type is left out.
    ///
    /// # Errors
    ///
    /// When the event cannot be stored; nothing is appended then.
    pub fn append<R: Record + ?Sized>(&self, record: &R, out: &mut Vec<u8>) -> Result<u32, Refused> {
        let start = out.len();
        head(record, out)?;
        finish(record, &self.fields, self.escaped, start, State::default(), out)
    }
}

/// What a row begins with; nothing is appended for a record that cannot be stored.
fn head<R: Record + ?Sized>(record: &R, out: &mut Vec<u8>) -> Result<(), Refused> {
    let Value::Date(time) = record.value(field::TIMESTAMP) else { return Err(Refused::NoTime) };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&time.to_le_bytes());
    let dataset = named_dataset(record).or_else(|| dataset_of_category(record)).unwrap_or(b"unknown");
    out.push(u8::try_from(dataset.len()).unwrap_or(0));
    out.extend_from_slice(dataset);
    Ok(())
}

/// The dataset that a record says it is of.
pub(crate) fn named_dataset<R: Record + ?Sized>(record: &R) -> Option<&[u8]> {
    let ids = [field::DATA_STREAM_DATASET, field::EVENT_DATASET];
    ids.into_iter().find_map(|id| record.value(id).as_keyword().filter(|name| is_dataset(name)))
}

/// The dataset that has records of the category, for one that names none: hunts look for them there.
pub(crate) fn dataset_of_category<R: Record + ?Sized>(record: &R) -> Option<&'static [u8]> {
    let of = |value: Value<'_>| -> Option<&'static [u8]> {
        Some(match value.as_keyword()? {
            b"file" => b"endpoint.events.file",
            b"process" => b"endpoint.events.process",
            b"network" => b"endpoint.events.network",
            b"library" => b"endpoint.events.library",
            _ => return None,
        })
    };
    match record.value(field::EVENT_CATEGORY) {
        Value::List(items) => items.iter().find_map(|item| of(item.as_value())),
        one => of(one),
    }
}

/// The values of the fields, and the end of the row that begins at `start`.
fn finish<R: Record + ?Sized>(
    record: &R,
    fields: &[Place],
    escaped: Option<u16>,
    start: usize,
    mut state: State,
    out: &mut Vec<u8>,
) -> Result<u32, Refused> {
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

    use sensor_ecs::{
        Action, Agent, Document, Ecs, Event, EventId, EventMeta, FileFields, Host, Integration, OpenSchema,
    };

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
                    encoder.append_of_kind(kind, None, has, &event, &mut of_kind).unwrap();
                    let of_kind = of_kind.strip_prefix(b"before").unwrap();
                    assert_eq!(of_kind[..4], whole[..4]);
                    assert_eq!(values(of_kind), values(&whole));
                    assert!(values(&whole).contains_key(&encoder.escaped.unwrap()));
                }
            }
        }
    }

    #[test]
    fn what_events_of_a_process_have_in_common_is_kept_while_its_state_is_the_same() {
        let records = OpenSchema::new();
        let mut encoder = Encoder::new(&records);
        let long = "x".repeat(KEPT_BYTES_MAX);
        // Process, state, name, argument, file: 9 has the place of 1.
        let events = [
            (1, 1, "cp", "a", "/a"),
            (1, 1, "cp", "a", "/\u{f7fe}"),
            (1, 2, "cp", "\u{f7ff}", "/b"),
            (1, 2, "cp", "\u{f7ff}", "/c"),
            (9, 2, "mv", &long, "/d"),
            (9, 2, "mv", &long, "/e"),
            (1, 2, "cp", "\u{f7ff}", "/f"),
            (9, 3, "mv", "b", "/g"),
        ];
        let document = |(process, state, name, argument, file): (u64, u64, &str, &str, &str)| {
            let json = serde_json::json!({
                "@timestamp": "2026-01-02T03:04:05Z", "data_stream": {"dataset": "endpoint.events.file"},
                "event": {"action": "creation"}, "user": {"name": "root"}, "file": {"path": file},
                "process": {"pid": process, "name": name, "args": [name, argument], "entity_id": state.to_string()},
            });
            let mut document = Document::new();
            document.parse(json.to_string().as_bytes(), &records).unwrap();
            document
        };
        for event in events {
            let (mut whole, mut of_process) = (Vec::new(), Vec::new());
            let misfits = encoder.append(&document(event), &mut whole).unwrap();
            let state = Some((event.0, event.1));
            let again =
                encoder.append_of_kind(1, state, |_| true, &document(event), &mut of_process).unwrap();
            assert_eq!((misfits, values(&whole)), (again, values(&of_process)), "{event:?}");
        }
        // That they agree is not asked again.
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encoder
            .append_of_kind(1, Some((2, 1)), |_| true, &document((2, 1, "a", "a", "/a")), &mut first)
            .unwrap();
        encoder
            .append_of_kind(1, Some((2, 1)), |_| true, &document((2, 1, "b", "b", "/a")), &mut second)
            .unwrap();
        assert_eq!(values(&first), values(&second));
    }
}
