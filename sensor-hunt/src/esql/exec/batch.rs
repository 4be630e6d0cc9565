//! Rows in columns, which are read when an expression first needs them.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::DataType;
use sensor_store::{OpenPart, StoreError};

use crate::esql::bound::{Slot, Source};
use crate::esql::outcome::Type;
use crate::esql::value::{Val, canonical_ip, order};
use crate::esql::vector::{Data, NONE, Vector, range};

/// Where columns are read from.
pub(super) struct Origin<'a> {
    pub(super) part: &'a OpenPart,
    pub(super) group: usize,
    /// `_index`
    pub(super) index: String,
    pub(super) sources: &'a [(Slot, Source)],
    /// Type of each slot.
    pub(super) types: &'a [Type],
    /// The rows of the group that are left.
    selection: Option<Vec<u32>>,
}

impl<'a> Origin<'a> {
    pub(super) fn new(
        part: &'a OpenPart,
        group: usize,
        index: String,
        sources: &'a [(Slot, Source)],
        types: &'a [Type],
    ) -> Self {
        Self { part, group, index, sources, types, selection: None }
    }
}

pub(super) struct Batch<'a> {
    pub(super) rows: usize,
    pub(super) columns: Vec<Option<Vector>>,
    origin: Option<Origin<'a>>,
}

impl<'a> Batch<'a> {
    pub(super) fn scanned(origin: Origin<'a>, slots: usize) -> Self {
        let rows = origin.part.rows(origin.group);
        Self { rows, columns: vec![None; slots], origin: Some(origin) }
    }

    pub(super) fn held(rows: usize, columns: Vec<Option<Vector>>) -> Self {
        Self { rows, columns, origin: None }
    }

    /// Makes sure that the columns are there.
    pub(super) fn load(&mut self, slots: &[Slot]) -> Result<(), StoreError> {
        let Some(origin) = &self.origin else { return Ok(()) };
        for slot in slots {
            let Some(place) = self.columns.get_mut(*slot) else { continue };
            let source = origin.sources.iter().find(|(of, _)| of == slot);
            if place.is_none()
                && let Some((_, source)) = source
            {
                let ty = origin.types.get(*slot).copied().unwrap_or(Type::Null);
                *place = Some(origin.read(*source, ty, self.rows)?);
            }
        }
        Ok(())
    }

    /// Keeps these rows.
    pub(super) fn keep(&mut self, rows: &[u32]) {
        if rows.len() == self.rows {
            return;
        }
        for column in self.columns.iter_mut().flatten() {
            *column = column.take(rows);
        }
        if let Some(origin) = &mut self.origin {
            origin.selection = Some(match &origin.selection {
                None => rows.to_vec(),
                Some(before) => rows.iter().filter_map(|row| before.get(*row as usize).copied()).collect(),
            });
        }
        self.rows = rows.len();
    }

    /// Every row so many times as it is named, in that order; columns not read yet follow.
    pub(super) fn repeat(&mut self, rows: &[u32]) {
        let whole = rows.len() == self.rows && rows.iter().enumerate().all(|(at, row)| at == *row as usize);
        if !whole {
            // `keep` takes the same way; only its shortcut does not hold here.
            self.rows = usize::MAX;
            self.keep(rows);
        }
    }

    pub(super) fn set(&mut self, slot: Slot, vector: Vector) {
        if let Some(place) = self.columns.get_mut(slot) {
            *place = Some(vector);
        }
    }

    pub(super) fn column(&self, slot: Slot) -> Option<&Vector> {
        self.columns.get(slot)?.as_ref()
    }

    pub(super) fn value(&self, slot: Slot, row: usize) -> Val<'_> {
        self.column(slot).map_or(Val::Null, |column| column.get(row))
    }
}

impl Origin<'_> {
    fn read(&self, source: Source, ty: Type, rows: usize) -> Result<Vector, StoreError> {
        let same = |value| Vector { ty, data: Data::Same(value, rows) };
        Ok(match source {
            Source::Index => same(Val::text(self.index.clone())),
            Source::Version => same(Val::Long(1)),
            Source::Nothing => same(Val::Null),
            Source::Column(index) => match self.part.read(self.group, index)? {
                None => same(Val::Null),
                Some(array) => {
                    let vector = vector_of(&array, ty);
                    match &self.selection {
                        Some(selection) => vector.take(selection),
                        None => vector,
                    }
                }
            },
        })
    }
}

fn validity(array: &dyn Array) -> Option<Vec<bool>> {
    (array.null_count() > 0).then(|| (0..array.len()).map(|row| array.is_valid(row)).collect())
}

/// A column of the store as the executor has it: dates in milliseconds, addresses in their shortest form, several
/// values sorted as doc values are.
fn vector_of(array: &ArrayRef, ty: Type) -> Vector {
    let data = match array.data_type() {
        DataType::Dictionary(..) => texts(array, ty),
        DataType::Int64 => Data::Long(array.as_primitive::<Int64Type>().values().to_vec(), validity(array)),
        DataType::Float64 => {
            Data::Double(array.as_primitive::<Float64Type>().values().to_vec(), validity(array))
        }
        DataType::Boolean => Data::Boolean(array.as_boolean().iter().collect()),
        DataType::Timestamp(..) => {
            let values = array.as_primitive::<TimestampNanosecondType>().values();
            Data::Long(values.iter().map(|ns| ns.div_euclid(1_000_000)).collect(), validity(array))
        }
        DataType::List(_) => return lists(array, ty),
        _ => Data::Same(Val::Null, array.len()),
    };
    Vector { ty, data }
}

fn texts(array: &ArrayRef, ty: Type) -> Data {
    let Some(all) = array.as_dictionary_opt::<Int32Type>() else { return Data::Same(Val::Null, array.len()) };
    let Some(values) = all.values().as_string_opt::<i32>() else { return Data::Same(Val::Null, array.len()) };
    let keys = all.keys();
    let mut codes: Vec<u32> = keys.values().iter().map(|key| u32::try_from(*key).unwrap_or(NONE)).collect();
    if keys.null_count() > 0 {
        for (row, code) in codes.iter_mut().enumerate() {
            if keys.is_null(row) {
                *code = NONE;
            }
        }
    }
    let dictionary = if ty == Type::Ip {
        Arc::new(values.iter().map(|text| text.and_then(canonical_ip)).collect::<StringArray>())
    } else {
        Arc::new(values.clone())
    };
    Data::Text(codes, dictionary)
}

fn lists(array: &ArrayRef, ty: Type) -> Vector {
    let lists = array.as_list::<i32>();
    let items = vector_of(lists.values(), ty);
    let offsets = lists.value_offsets();
    let (mut picked, mut ends, mut several) = (Vec::new(), Vec::with_capacity(lists.len()), false);
    for row in 0..lists.len() {
        let at = |row: usize| offsets.get(row).and_then(|at| u32::try_from(*at).ok()).unwrap_or(0);
        let start = picked.len();
        if lists.is_valid(row) {
            picked.extend((at(row)..at(row + 1)).filter(|item| !items.get(*item as usize).is_null()));
        }
        if picked.len() > start + 1 {
            sort_items(&items, &mut picked, start);
            several |= picked.len() > start + 1;
        }
        ends.push(picked.len() as u32);
    }
    if several {
        return Vector { ty, data: Data::List(ends, Box::new(items.take(&picked))) };
    }
    // A row number beyond the end is null.
    let single = (0..ends.len()).map(|row| {
        let (start, end) = range(&ends, row);
        if start == end { NONE } else { picked.get(start).copied().unwrap_or(NONE) }
    });
    let single: Vec<u32> = single.collect();
    items.take_or_null(&single)
}

/// Sorted, and for text each once, as doc values are.
fn sort_items(items: &Vector, picked: &mut Vec<u32>, start: usize) {
    let mut row = picked.split_off(start);
    let compare = |a: &u32, b: &u32| {
        let (a, b) = (items.get(*a as usize), items.get(*b as usize));
        order(&a, &b, items.ty).unwrap_or(Ordering::Equal)
    };
    row.sort_by(compare);
    if matches!(items.ty, Type::Keyword | Type::Ip) {
        row.dedup_by(|a, b| compare(a, b).is_eq());
    }
    picked.extend(row);
}
