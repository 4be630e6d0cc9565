//! A column of a batch.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, StringArray};

use super::outcome::Type;
use super::value::Val;

/// The code of null in a column of text.
pub(super) const NONE: u32 = u32::MAX;

/// A column: as many values as the batch has rows.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    pub(super) ty: Type,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// The same in every row, so many times.
    Same(Val<'static>, usize),
    Boolean(Vec<Option<bool>>),
    /// Numbers and dates; no list of validity means that all are there.
    Long(Vec<i64>, Option<Vec<bool>>),
    Double(Vec<f64>, Option<Vec<bool>>),
    /// Codes of a dictionary, [`NONE`] for null.
    Text(Vec<u32>, Arc<StringArray>),
    /// Where each row's values end in the inner column.
    List(Vec<u32>, Box<Vector>),
}

fn valid(validity: Option<&Vec<bool>>, row: usize) -> bool {
    validity.is_none_or(|all| all.get(row).copied().unwrap_or(false))
}

/// A dictionary's entry.
pub(super) fn entry(dictionary: &StringArray, code: u32) -> Option<&str> {
    let code = code as usize;
    (code < dictionary.len() && dictionary.is_valid(code)).then(|| dictionary.value(code))
}

impl Vector {
    pub(super) fn nulls(ty: Type, rows: usize) -> Self {
        Self { ty, data: Data::Same(Val::Null, rows) }
    }

    /// Several values that are the same in every row, as a list of each row.
    pub(super) fn spread(self) -> Self {
        let Data::Same(value @ Val::List(_), rows) = &self.data else { return self };
        let mut builder = Builder::new(self.ty);
        (0..*rows).for_each(|_| builder.push(value));
        builder.finish()
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Same(_, rows) => *rows,
            Data::Boolean(values) => values.len(),
            Data::Long(values, _) => values.len(),
            Data::Double(values, _) => values.len(),
            Data::Text(codes, _) => codes.len(),
            Data::List(ends, _) => ends.len(),
        }
    }

    pub(super) fn get(&self, row: usize) -> Val<'_> {
        match &self.data {
            Data::Same(value, _) => borrow(value),
            Data::Boolean(values) => values.get(row).copied().flatten().map_or(Val::Null, Val::Boolean),
            Data::Long(values, validity) => match values.get(row) {
                Some(value) if valid(validity.as_ref(), row) => self.whole(*value),
                _ => Val::Null,
            },
            Data::Double(values, validity) => match values.get(row) {
                Some(value) if valid(validity.as_ref(), row) => Val::Double(*value),
                _ => Val::Null,
            },
            Data::Text(codes, dictionary) => {
                let text = codes.get(row).and_then(|code| entry(dictionary, *code));
                text.map_or(Val::Null, |text| Val::Text(Cow::Borrowed(text)))
            }
            Data::List(ends, items) => {
                let (start, end) = range(ends, row);
                Val::from_items((start..end).map(|item| items.get(item)).collect())
            }
        }
    }

    fn whole(&self, value: i64) -> Val<'static> {
        if self.ty == Type::Date { Val::Date(value) } else { Val::Long(value) }
    }

    /// The rows named, in that order.
    pub(super) fn take(&self, rows: &[u32]) -> Self {
        let at = |row: &u32| *row as usize;
        let pick = |validity: &Option<Vec<bool>>| {
            validity
                .as_ref()
                .map(|all| rows.iter().map(|r| all.get(at(r)).copied().unwrap_or(false)).collect())
        };
        let data = match &self.data {
            Data::Same(value, _) => Data::Same(value.clone(), rows.len()),
            Data::Boolean(values) => {
                Data::Boolean(rows.iter().map(|r| values.get(at(r)).copied().flatten()).collect())
            }
            Data::Long(values, validity) => Data::Long(
                rows.iter().map(|r| values.get(at(r)).copied().unwrap_or(0)).collect(),
                pick(validity),
            ),
            Data::Double(values, validity) => Data::Double(
                rows.iter().map(|r| values.get(at(r)).copied().unwrap_or(0.0)).collect(),
                pick(validity),
            ),
            Data::Text(codes, dictionary) => Data::Text(
                rows.iter().map(|r| codes.get(at(r)).copied().unwrap_or(NONE)).collect(),
                Arc::clone(dictionary),
            ),
            Data::List(ends, items) => {
                let (mut picked, mut new_ends) = (Vec::new(), Vec::with_capacity(rows.len()));
                for row in rows {
                    let (start, end) = range(ends, at(row));
                    picked.extend((start..end).map(|item| item as u32));
                    new_ends.push(picked.len() as u32);
                }
                Data::List(new_ends, Box::new(items.take(&picked)))
            }
        };
        Self { ty: self.ty, data }
    }

    /// [`Self::take`], where a row that is not there is null.
    pub(super) fn take_or_null(&self, rows: &[u32]) -> Self {
        let mut taken = self.take(rows);
        if let Data::Long(_, validity) | Data::Double(_, validity) = &mut taken.data
            && rows.contains(&NONE)
        {
            let there = |row: &u32| (*row as usize) < self.len() && !self.get(*row as usize).is_null();
            *validity = Some(rows.iter().map(there).collect());
        }
        taken
    }
}

/// Where a row's values are in the inner column of a list.
pub(super) fn range(ends: &[u32], row: usize) -> (usize, usize) {
    let start = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(row).copied().unwrap_or(start);
    (start as usize, end as usize)
}

pub(super) fn borrow<'a>(value: &'a Val<'static>) -> Val<'a> {
    match value {
        Val::Text(text) => Val::Text(Cow::Borrowed(text)),
        Val::List(items) => Val::List(items.iter().map(borrow).collect()),
        Val::Null => Val::Null,
        Val::Boolean(value) => Val::Boolean(*value),
        Val::Long(value) => Val::Long(*value),
        Val::Double(value) => Val::Double(*value),
        Val::Date(ms) => Val::Date(*ms),
        Val::Period(ms, months) => Val::Period(*ms, *months),
    }
}

/// Makes a column from values.
pub(super) struct Builder {
    ty: Type,
    items: Items,
    ends: Vec<u32>,
    several: bool,
}

enum Items {
    Boolean(Vec<Option<bool>>),
    Long(Vec<i64>, Vec<bool>),
    Double(Vec<f64>, Vec<bool>),
    Text { codes: Vec<u32>, texts: StringBuilder, known: HashMap<Box<str>, u32> },
}

impl Builder {
    pub(super) fn new(ty: Type) -> Self {
        let items = match ty {
            Type::Boolean => Items::Boolean(Vec::new()),
            Type::Integer | Type::Long | Type::Date | Type::Null | Type::Period => {
                Items::Long(Vec::new(), Vec::new())
            }
            Type::Double => Items::Double(Vec::new(), Vec::new()),
            Type::Keyword | Type::Ip => {
                Items::Text { codes: Vec::new(), texts: StringBuilder::new(), known: HashMap::new() }
            }
        };
        Self { ty, items, ends: Vec::new(), several: false }
    }

    pub(super) fn push(&mut self, value: &Val<'_>) {
        match value {
            Val::List(items) => {
                items.iter().for_each(|item| self.items.push(item));
                self.several = true;
            }
            one => self.items.push(one),
        }
        self.ends.push(self.items.len() as u32);
    }

    pub(super) fn finish(self) -> Vector {
        let data = match self.items {
            Items::Boolean(values) => Data::Boolean(values),
            Items::Long(values, validity) => Data::Long(values, some_null(validity)),
            Items::Double(values, validity) => Data::Double(values, some_null(validity)),
            Items::Text { codes, mut texts, .. } => Data::Text(codes, Arc::new(texts.finish())),
        };
        let inner = Vector { ty: self.ty, data };
        if self.several {
            return Vector { ty: self.ty, data: Data::List(self.ends, Box::new(inner)) };
        }
        inner
    }
}

fn some_null(validity: Vec<bool>) -> Option<Vec<bool>> {
    (!validity.iter().all(|valid| *valid)).then_some(validity)
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Long(values, _) => values.len(),
            Self::Double(values, _) => values.len(),
            Self::Text { codes, .. } => codes.len(),
        }
    }

    fn push(&mut self, value: &Val<'_>) {
        match self {
            Self::Boolean(values) => values.push(match value {
                Val::Boolean(value) => Some(*value),
                _ => None,
            }),
            Self::Long(values, validity) => {
                values.push(value.as_long().unwrap_or(0));
                validity.push(value.as_long().is_some());
            }
            Self::Double(values, validity) => {
                values.push(value.as_double().unwrap_or(0.0));
                validity.push(value.as_double().is_some());
            }
            Self::Text { codes, texts, known } => {
                let Some(text) = value.as_text() else {
                    codes.push(NONE);
                    return;
                };
                let code = match known.get(text) {
                    Some(code) => *code,
                    None => {
                        let code = known.len() as u32;
                        texts.append_value(text);
                        known.insert(text.into(), code);
                        code
                    }
                };
                codes.push(code);
            }
        }
    }
}
