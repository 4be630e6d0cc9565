//! Keys that join events, and the order of events.

use sensor_ecs::{Record, Scalar, Value};

use crate::compile::{Key, OrderFields};

/// The place of an event: time, then tiebreaker, then arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ordinal {
    pub(super) time: i64,
    tiebreaker: Option<i64>,
    arrival: u64,
}

impl Ordinal {
    /// `None` if the record has no time: it cannot be put in order.
    pub(super) fn of(record: &impl Record, fields: OrderFields, arrival: u64) -> Option<Self> {
        let time = match record.value(fields.timestamp) {
            Value::Date(ns) => ns,
            Value::Long(millis) => millis.saturating_mul(1_000_000),
            Value::Keyword(text) => crate::time::parse(std::str::from_utf8(text).ok()?)?,
            _ => return None,
        };
        let tiebreaker = fields.tiebreaker.and_then(|field| match record.value(field) {
            Value::Long(n) => Some(n),
            _ => None,
        });
        Some(Self { time, tiebreaker, arrival })
    }
}

/// One key value. Case-sensitive, and of one type: 5 and "5" are different keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyPart {
    Null,
    Bool(bool),
    Long(i64),
    /// Bits of the double.
    Double(u64),
    Date(i64),
    Text(Box<[u8]>),
}

impl KeyPart {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Absent | Value::List(_) => Self::Null,
            Value::Keyword(text) => Self::Text(text.into()),
            Value::Long(n) => Self::Long(n),
            Value::Double(n) => Self::Double(n.to_bits()),
            Value::Boolean(b) => Self::Bool(b),
            Value::Date(ns) => Self::Date(ns),
        }
    }

    /// A combination as bytes that [`Self::decode`] reads back: per value a tag, a length and the content.
    pub(super) fn encode(key: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in key {
            let mut fixed = |tag: u8, bytes: [u8; 8]| {
                out.push(tag);
                out.extend(bytes);
            };
            match part {
                Self::Null => out.push(b'0'),
                Self::Bool(b) => fixed(b'b', u64::from(*b).to_be_bytes()),
                Self::Long(n) => fixed(b'l', n.to_be_bytes()),
                Self::Double(bits) => fixed(b'f', bits.to_be_bytes()),
                Self::Date(ns) => fixed(b'd', ns.to_be_bytes()),
                Self::Text(text) => {
                    fixed(b't', u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                    out.extend_from_slice(text);
                }
            }
        }
        out
    }

    /// `None` if the bytes are not from [`Self::encode`].
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut key = Vec::new();
        while let Some((tag, rest)) = bytes.split_first() {
            if *tag == b'0' {
                key.push(Self::Null);
                bytes = rest;
                continue;
            }
            let (fixed, rest) = rest.split_first_chunk::<8>()?;
            bytes = rest;
            key.push(match tag {
                b'b' => Self::Bool(u64::from_be_bytes(*fixed) != 0),
                b'l' => Self::Long(i64::from_be_bytes(*fixed)),
                b'f' => Self::Double(u64::from_be_bytes(*fixed)),
                b'd' => Self::Date(i64::from_be_bytes(*fixed)),
                b't' => {
                    let (text, rest) =
                        bytes.split_at_checked(usize::try_from(u64::from_be_bytes(*fixed)).ok()?)?;
                    bytes = rest;
                    Self::Text(text.into())
                }
                _ => return None,
            });
        }
        Some(key)
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// Most combinations that one event may have; lists of keys multiply.
const COMBINATIONS_MAX: usize = 64;

/// The key combinations of one event, and how many were left out. Multi-valued fields give the product of their
/// distinct values; a null excludes the event unless the key is optional.
pub(super) fn combinations(record: &impl Record, keys: &[Key]) -> (Vec<Vec<KeyPart>>, u64) {
    let read = |key: &Key| key.field.map_or(Value::Absent, |f| record.value(f));
    if !keys.iter().any(|key| matches!(read(key), Value::List([_, _, ..]))) {
        return (single(keys, read).into_iter().collect(), 0);
    }
    let mut all: Vec<Vec<KeyPart>> = vec![Vec::with_capacity(keys.len())];
    let mut cut = 0;
    for key in keys {
        let value = read(key);
        let parts = match value {
            Value::List(items) => distinct(items),
            single => vec![KeyPart::of(single)],
        };
        let parts = if parts.is_empty() { vec![KeyPart::Null] } else { parts };
        if !key.optional && parts.contains(&KeyPart::Null) {
            return (Vec::new(), cut);
        }
        let mut next = Vec::with_capacity(all.len() * parts.len());
        for prefix in &all {
            for part in &parts {
                if next.len() == COMBINATIONS_MAX {
                    cut += 1;
                    continue;
                }
                let mut longer = prefix.clone();
                longer.push(part.clone());
                next.push(longer);
            }
        }
        all = next;
    }
    (all, cut)
}

/// The one combination where no field has several values.
fn single<'r>(keys: &[Key], read: impl Fn(&Key) -> Value<'r>) -> Option<Vec<KeyPart>> {
    let mut parts = Vec::with_capacity(keys.len());
    for key in keys {
        let part = KeyPart::of(match read(key) {
            Value::List([one]) => one.as_value(),
            value => value,
        });
        if part == KeyPart::Null && !key.optional {
            return None;
        }
        parts.push(part);
    }
    Some(parts)
}

fn distinct(items: &[Scalar]) -> Vec<KeyPart> {
    let mut seen = std::collections::HashSet::new();
    items.iter().map(|i| KeyPart::of(i.as_value())).filter(|p| seen.insert(p.clone())).collect()
}
