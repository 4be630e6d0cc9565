//! Keys that join events, and the order of events.

use sensor_ecs::{Record, Value};

use crate::compile::{Key, OrderFields};
use crate::key::encode;

/// The place of an event: time, then tiebreaker, then arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ordinal {
    pub(super) time: i64,
    tiebreaker: Option<i64>,
    arrival: u64,
}

impl Ordinal {
    pub(super) const MIN: Self = Self { time: i64::MIN, tiebreaker: None, arrival: 0 };

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

/// The key combinations of one event, each as bytes. Used again for each event, it takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Where each combination ends.
    ends: Vec<usize>,
    /// The distinct values of all keys, one after the other, and where each ends.
    parts: Vec<u8>,
    part_ends: Vec<usize>,
    /// For each key, which of the values are its own, and which one is in the combination in hand.
    choices: Vec<Choice>,
    /// Combinations left out because one event had too many.
    cut: u64,
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    first: usize,
    count: usize,
    chosen: usize,
}

/// Most combinations that one event may have; lists of keys multiply.
const COMBINATIONS_MAX: usize = 64;

impl Keys {
    /// Reads the combinations of an event. Multi-valued fields give the product of their distinct values; a null
    /// excludes the event unless the key is optional.
    pub(super) fn read(&mut self, record: &impl Record, keys: &[Key]) {
        self.bytes.clear();
        self.ends.clear();
        let read = |key: &Key| key.field.map_or(Value::Absent, |f| record.value(f));
        for key in keys {
            let value = match read(key) {
                Value::List([_, _, ..]) => return self.product(keys, read),
                Value::List([one]) => one.as_value(),
                value => value,
            };
            if !encode(value, &mut self.bytes) && !key.optional {
                self.bytes.clear();
                return;
            }
        }
        self.ends.push(self.bytes.len());
    }

    fn product<'r>(&mut self, keys: &[Key], read: impl Fn(&Key) -> Value<'r>) {
        self.bytes.clear();
        self.parts.clear();
        self.part_ends.clear();
        self.choices.clear();
        for key in keys {
            let first = self.part_ends.len();
            let mut has_null = false;
            match read(key) {
                Value::List([]) => has_null |= !self.part(first, Value::Absent),
                Value::List(items) => {
                    for item in items {
                        has_null |= !self.part(first, item.as_value());
                    }
                }
                single => has_null |= !self.part(first, single),
            }
            if has_null && !key.optional {
                return;
            }
            self.choices.push(Choice { first, count: self.part_ends.len() - first, chosen: 0 });
        }
        let product =
            self.choices.iter().fold(1, |n: u64, c| n.saturating_mul(u64::try_from(c.count).unwrap_or(0)));
        let wanted = product.min(COMBINATIONS_MAX as u64);
        self.cut = self.cut.saturating_add(product - wanted);
        for _ in 0..wanted {
            for choice in &self.choices {
                let part = part(&self.parts, &self.part_ends, choice.first + choice.chosen);
                self.bytes.extend_from_slice(part);
            }
            self.ends.push(self.bytes.len());
            // The next one: the last key changes fastest.
            for choice in self.choices.iter_mut().rev() {
                choice.chosen += 1;
                if choice.chosen < choice.count {
                    break;
                }
                choice.chosen = 0;
            }
        }
    }

    /// Adds a value of the key whose values begin at `first`, if it is a new one; whether it is not null.
    fn part(&mut self, first: usize, value: Value<'_>) -> bool {
        let start = self.parts.len();
        let is_some = encode(value, &mut self.parts);
        let (known, new) = self.parts.split_at_checked(start).unwrap_or_default();
        let is_known = (first..self.part_ends.len()).any(|i| part(known, &self.part_ends, i) == new);
        if is_known {
            self.parts.truncate(start);
        } else if self.part_ends.len() - first == COMBINATIONS_MAX {
            // No combination could have it.
            self.parts.truncate(start);
            self.cut = self.cut.saturating_add(1);
        } else {
            self.part_ends.push(self.parts.len());
        }
        is_some
    }

    /// The combinations that were read last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            let key = self.bytes.get(start..*end);
            start = *end;
            key
        })
    }

    /// How many combinations were left out so far.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
}

fn part<'p>(parts: &'p [u8], ends: &[usize], i: usize) -> &'p [u8] {
    let start = i.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    ends.get(i).and_then(|end| parts.get(start..*end)).unwrap_or_default()
}
