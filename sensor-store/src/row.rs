//! An event as bytes: what the hot path writes into memory and the log holds.
//!
//! `u32` length of what follows; `i64` time; `u8` length and name of the dataset; then for each value that is there a
//! `u16` column and the value. Text is a length and UTF-8; a list is a count and its values. Lengths and counts are
//! variable. Numbers are little-endian.

use sensor_ecs::{FieldId, FieldType, Record, Schema, Value, escape, field};

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

/// Writes records of one schema.
#[derive(Debug)]
pub struct Encoder {
    /// Field of the record, position of the column.
    fields: Vec<(FieldId, u16, Column)>,
    escaped: Option<u16>,
}

impl Encoder {
    /// Looks up the columns in the schema of the records to come.
    #[must_use]
    pub fn new(records: &dyn Schema) -> Self {
        let columns = (0_u16..).zip(schema::columns());
        let fields = columns.filter(|(_, column)| column.name != schema::ESCAPED);
        let fields = fields.filter_map(|(at, column)| Some((records.lookup(column.name)?.id, at, *column)));
        let escaped = schema::find(schema::ESCAPED).and_then(|at| u16::try_from(at).ok());
        Self { fields: fields.collect(), escaped }
    }

    /// Appends the record. Returns how many values did not fit their column: of several values only the first is kept
    /// where the schema has one, and what cannot be read as the column's type is left out.
    ///
    /// # Errors
    ///
    /// When the event cannot be stored; nothing is appended then.
    pub fn append<R: Record + ?Sized>(&self, record: &R, out: &mut Vec<u8>) -> Result<u32, Refused> {
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
        let (mut misfits, mut escaped) = (0, false);
        for (id, at, column) in &self.fields {
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
                    misfits += (items.len() - count) as u32;
                    if count > 0 {
                        out.extend_from_slice(&at.to_le_bytes());
                        length(count, out);
                        fitting.for_each(|item| escaped |= single(item.as_value(), column.ty, out));
                    }
                }
                value => {
                    let first = match value {
                        Value::List(items) => {
                            misfits += items.len() as u32 - 1;
                            items.first().map_or(Value::Absent, |item| item.as_value())
                        }
                        value => value,
                    };
                    if !fits(first, column.ty) {
                        misfits += 1;
                        continue;
                    }
                    out.extend_from_slice(&at.to_le_bytes());
                    if column.list {
                        length(1, out);
                    }
                    escaped |= single(first, column.ty, out);
                }
            }
        }
        if let (true, Some(at)) = (escaped, self.escaped) {
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
        Ok(misfits)
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
