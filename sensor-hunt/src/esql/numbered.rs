//! The different values of a column that is grouped by, each with a number.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::value::{Key, Val};
use super::vector::{Data, NONE, Vector, entry};

/// Values and their numbers; null is [`NONE`].
#[derive(Debug, Default)]
pub(super) struct Numbered {
    values: Vec<Val<'static>>,
    texts: HashMap<Box<str>, u32, RandomState>,
    others: HashMap<Key, u32, RandomState>,
}

impl Numbered {
    pub(super) fn get(&self, number: u32) -> Option<&Val<'static>> {
        self.values.get(number as usize)
    }

    /// The numbers of a column's values at these rows. Where a row has several values, each different one gets its
    /// turn: the second list then says, for each number, at which of `rows` it stands.
    pub(super) fn of(
        &mut self,
        column: &Vector,
        rows: &[u32],
        held_bytes: &mut usize,
    ) -> (Vec<u32>, Option<Vec<u32>>) {
        let at = |row: &u32| *row as usize;
        let mut number = |numbered: &mut Self, value: Val<'_>| numbered.number(value, held_bytes);
        match &column.data {
            Data::Text(codes, dictionary) => {
                let mut known: Vec<Option<u32>> = vec![None; arrow_array::Array::len(dictionary.as_ref())];
                let all = rows.iter().map(|row| {
                    let code = codes.get(at(row)).copied().unwrap_or(NONE);
                    match known.get_mut(code as usize) {
                        None => NONE,
                        Some(place) => *place.get_or_insert_with(|| {
                            number(self, entry(dictionary, code).map_or(Val::Null, Val::text))
                        }),
                    }
                });
                (all.collect(), None)
            }
            Data::Same(value, _) => {
                let mut several = Vec::new();
                let mut numbers: Vec<u32> =
                    value.clone().items().into_iter().map(|item| number(self, item)).collect();
                unique_from(&mut numbers, 0);
                match numbers.as_slice() {
                    [] => (vec![NONE; rows.len()], None),
                    [one] => (vec![*one; rows.len()], None),
                    each => {
                        let mut all = Vec::new();
                        for position in 0..rows.len() as u32 {
                            all.extend(each);
                            several.extend(each.iter().map(|_| position));
                        }
                        (all, Some(several))
                    }
                }
            }
            Data::List(..) => {
                let (mut all, mut several) = (Vec::new(), Vec::new());
                for (position, row) in (0_u32..).zip(rows) {
                    let first = all.len();
                    all.extend(column.get(at(row)).items().into_iter().map(|item| number(self, item)));
                    if all.len() == first {
                        all.push(NONE);
                    }
                    unique_from(&mut all, first);
                    several.resize(all.len(), position);
                }
                (all, Some(several))
            }
            _ => (rows.iter().map(|row| number(self, column.get(at(row)))).collect(), None),
        }
    }

    /// For each number of the other, the number here.
    pub(super) fn all_of(&mut self, other: &Self, held_bytes: &mut usize) -> Vec<u32> {
        other.values.iter().map(|value| self.number(super::vector::borrow(value), held_bytes)).collect()
    }

    fn number(&mut self, value: Val<'_>, held_bytes: &mut usize) -> u32 {
        let next = self.values.len() as u32;
        let known = match &value {
            Val::Null => return NONE,
            Val::Text(text) => self.texts.get(&**text).copied(),
            _ => None,
        };
        if let Some(number) = known {
            return number;
        }
        let value = value.into_owned();
        let number = match &value {
            Val::Text(text) => {
                self.texts.insert(text.as_ref().into(), next);
                next
            }
            other => *self.others.entry(Key(other.clone())).or_insert(next),
        };
        if number == next {
            *held_bytes += 2 * value.held_bytes() + 32;
            self.values.push(value);
        }
        number
    }
}

/// Leaves each number once of those from `first` on.
fn unique_from(all: &mut Vec<u32>, first: usize) {
    let row = all.split_off(first.min(all.len()));
    for number in row {
        if !all.iter().skip(first).any(|other| *other == number) {
            all.push(number);
        }
    }
}
