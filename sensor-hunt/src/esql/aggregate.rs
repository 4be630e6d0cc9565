//! Groups and what is made of their rows.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use arrow_array::Array as _;
use foldhash::fast::RandomState;

use super::bound::{Aggregate, Node, Reduce, Slot};
use super::eval::{Context, evaluate, truths};
use super::functions::percentile;
use super::hll::{Distinct, hash_of};
use super::numbered::Numbered;
use super::outcome::{Limits, RunError, Type};
use super::value::{Key, Val, order};
use super::vector::{Builder, Data, NONE, Vector, entry};

#[derive(Clone, Debug)]
enum State {
    Count(i64),
    Distinct(Distinct),
    Values(HashSet<Key>),
    Extreme(Val<'static>),
    /// `None` after an overflow.
    Sum(Option<i64>, bool),
    SumDouble(f64, bool),
    Avg(f64, i64),
    /// Every number, for what needs them in order.
    Numbers(Vec<f64>),
    /// How many, their mean, and the sum of squared distances from it.
    Moments(f64, f64, f64),
    /// The best so far, the best first.
    Top(Vec<Val<'static>>),
    /// The value of the row that comes first, or last, and what the row is ordered by.
    Placed(Option<(Val<'static>, Val<'static>)>),
}

/// The groups so far.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The values of each key, by the numbers that stand for them in `ids` and `keys`.
    values: Vec<Numbered>,
    ids: HashMap<Box<[u32]>, u32, RandomState>,
    keys: Vec<Box<[u32]>>,
    /// Where the group was first seen.
    seen: Vec<u64>,
    /// By group, then by aggregate.
    states: Vec<Vec<State>>,
    held_bytes: usize,
}

/// Which group a row belongs to; a row with several values of a key belongs to several.
pub(super) struct Assigned {
    rows: Vec<u32>,
    groups: Vec<u32>,
}

fn start(aggregate: &Aggregate) -> State {
    match aggregate.reduce {
        Reduce::Count | Reduce::Present | Reduce::Absent => State::Count(0),
        Reduce::CountDistinct => State::Distinct(Distinct::default()),
        Reduce::Values => State::Values(HashSet::new()),
        Reduce::Min | Reduce::Max => State::Extreme(Val::Null),
        Reduce::Sum if aggregate.ty == Type::Double => State::SumDouble(0.0, false),
        Reduce::Sum => State::Sum(Some(0), false),
        Reduce::Avg => State::Avg(0.0, 0),
        Reduce::Percentile | Reduce::MedianDeviation => State::Numbers(Vec::new()),
        Reduce::StdDev | Reduce::Variance => State::Moments(0.0, 0.0, 0.0),
        Reduce::Top => State::Top(Vec::new()),
        Reduce::First | Reduce::Last => State::Placed(None),
    }
}

impl Groups {
    /// Finds the group of each row, making new ones. `at` says where the batch stands in the whole.
    pub(super) fn assign(
        &mut self,
        keys: &[Vector],
        rows: usize,
        at: u64,
        aggregates: &[Aggregate],
        limits: &Limits,
    ) -> Result<Assigned, RunError> {
        self.values.resize_with(keys.len(), Numbered::default);
        let mut places: Vec<u32> = (0..rows as u32).collect();
        let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(keys.len());
        for (key, values) in keys.iter().zip(&mut self.values) {
            let (of_rows, several) = values.of(key, &places, &mut self.held_bytes);
            if let Some(repeated) = several {
                places = repeated.iter().filter_map(|place| places.get(*place as usize).copied()).collect();
                for before in &mut numbers {
                    *before = repeated.iter().filter_map(|at| before.get(*at as usize).copied()).collect();
                }
            }
            numbers.push(of_rows);
        }
        let mut groups = Vec::with_capacity(places.len());
        let mut key = vec![0; keys.len()];
        for position in 0..places.len() {
            for (part, column) in key.iter_mut().zip(&numbers) {
                *part = column.get(position).copied().unwrap_or(NONE);
            }
            groups.push(self.group(&key, at + position as u64, aggregates, limits)?);
        }
        Ok(Assigned { rows: places, groups })
    }

    fn group(
        &mut self,
        key: &[u32],
        seen: u64,
        aggregates: &[Aggregate],
        limits: &Limits,
    ) -> Result<u32, RunError> {
        if let Some(id) = self.ids.get(key) {
            if let Some(first) = self.seen.get_mut(*id as usize) {
                *first = (*first).min(seen);
            }
            return Ok(*id);
        }
        let id = self.keys.len() as u32;
        if self.keys.len() >= limits.groups_max {
            return Err(RunError::Limit(format!(
                "`stats` makes more than {} groups; group by fewer columns, or filter first",
                limits.groups_max
            )));
        }
        self.held_bytes += 2 * size_of_val(key) + 64 * (1 + aggregates.len());
        self.ids.insert(key.into(), id);
        self.keys.push(key.into());
        self.seen.push(seen);
        self.states.push(aggregates.iter().map(start).collect());
        self.check(limits)?;
        Ok(id)
    }

    fn check(&self, limits: &Limits) -> Result<(), RunError> {
        if self.held_bytes <= limits.held_bytes_max {
            return Ok(());
        }
        let mebibytes = limits.held_bytes_max >> 20;
        Err(RunError::Limit(format!(
            "`stats` holds more than {mebibytes} MiB; group by fewer columns, or filter first"
        )))
    }

    /// Adds the rows to their groups.
    pub(super) fn add(
        &mut self,
        assigned: &Assigned,
        aggregates: &[Aggregate],
        columns: &[Option<Vector>],
        rows: usize,
        context: &Context,
        limits: &Limits,
    ) -> Result<(), RunError> {
        for (position, aggregate) in aggregates.iter().enumerate() {
            let filter = aggregate.filter.as_ref().map(|node| truths(node, columns, rows, context));
            let input = aggregate.input.as_ref().map(|node: &Node| evaluate(node, columns, rows, context));
            let by = aggregate.by.as_ref().map(|node| evaluate(node, columns, rows, context));
            let hashes = match (&input, aggregate.reduce) {
                (Some(vector), Reduce::CountDistinct) => hashes_of(vector),
                _ => None,
            };
            for (row, group) in assigned.rows.iter().zip(&assigned.groups) {
                let row = *row as usize;
                if filter.as_ref().is_some_and(|all| all.get(row).copied().flatten() != Some(true)) {
                    continue;
                }
                let states = self.states.get_mut(*group as usize);
                let Some(state) = states.and_then(|states| states.get_mut(position)) else { continue };
                self.held_bytes += match (&input, &hashes, &mut *state) {
                    (None, _, State::Count(count)) => {
                        *count += 1;
                        0
                    }
                    (Some(_), Some(hashes), State::Distinct(set)) => {
                        hashes.get(row).copied().flatten().map_or(0, |hash| set.add(hash))
                    }
                    (Some(vector), _, state @ State::Placed(_)) => state.place(
                        vector.get(row),
                        by.as_ref().map_or(Val::Null, |by| by.get(row)),
                        aggregate,
                    ),
                    (Some(vector), _, state) => match vector.get(row) {
                        Val::List(items) => items.into_iter().map(|item| state.add(item, aggregate)).sum(),
                        one => state.add(one, aggregate),
                    },
                    (None, _, _) => 0,
                };
            }
            self.check(limits)?;
        }
        Ok(())
    }

    pub(super) fn merge(
        &mut self,
        other: Self,
        aggregates: &[Aggregate],
        limits: &Limits,
    ) -> Result<(), RunError> {
        // A thread that saw no row has no columns either.
        self.values.resize_with(self.values.len().max(other.values.len()), Numbered::default);
        let translated = self.values.iter_mut().zip(&other.values);
        let numbers: Vec<Vec<u32>> =
            translated.map(|(ours, theirs)| ours.all_of(theirs, &mut self.held_bytes)).collect();
        for ((key, seen), states) in other.keys.into_iter().zip(other.seen).zip(other.states) {
            let parts = key.iter().zip(&numbers);
            let key: Vec<u32> =
                parts.map(|(part, all)| all.get(*part as usize).copied().unwrap_or(NONE)).collect();
            let id = self.group(&key, seen, aggregates, limits)?;
            let Some(ours) = self.states.get_mut(id as usize) else { continue };
            for ((our, their), aggregate) in ours.iter_mut().zip(states).zip(aggregates) {
                self.held_bytes += our.merge(their, aggregate);
            }
        }
        self.check(limits)
    }

    /// The columns of aggregates, then those of the keys, in the order in which the groups were first seen.
    pub(super) fn finish(
        mut self,
        aggregates: &[Aggregate],
        by: &[(Slot, Node)],
        context: &Context,
    ) -> (usize, Vec<(Slot, Vector)>) {
        if by.is_empty() && self.keys.is_empty() {
            self.keys.push(Box::new([]));
            self.seen.push(0);
            self.states.push(aggregates.iter().map(start).collect());
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by_key(|at| self.seen.get(*at).copied());
        let mut columns = Vec::new();
        for (position, aggregate) in aggregates.iter().enumerate() {
            let mut builder = Builder::new(aggregate.ty);
            for at in &order {
                let state = self.states.get(*at).and_then(|states| states.get(position));
                if let Some(State::Sum(None, _)) = state {
                    context.warn(aggregate.span, "long overflow");
                }
                builder.push(&state.map_or(Val::Null, |state| state.finish(aggregate)));
            }
            columns.push((aggregate.slot, builder.finish()));
        }
        for (position, (slot, node)) in by.iter().enumerate() {
            let mut builder = Builder::new(node.ty);
            for at in &order {
                let number = self.keys.get(*at).and_then(|key| key.get(position));
                let value = self.values.get(position).zip(number).and_then(|(all, at)| all.get(*at));
                builder.push(value.unwrap_or(&Val::Null));
            }
            columns.push((*slot, builder.finish()));
        }
        (order.len(), columns)
    }

    /// The aggregates of each row's group; null for a row that is in several.
    pub(super) fn inline(
        &self,
        assigned: &Assigned,
        aggregates: &[Aggregate],
        rows: usize,
    ) -> Vec<(Slot, Vector)> {
        let mut group: Vec<Option<u32>> = vec![None; rows];
        let mut several = vec![false; rows];
        for (row, id) in assigned.rows.iter().zip(&assigned.groups) {
            let row = *row as usize;
            if let (Some(place), Some(several)) = (group.get_mut(row), several.get_mut(row)) {
                *several |= place.is_some();
                *place = Some(*id);
            }
        }
        let made = aggregates.iter().enumerate().map(|(position, aggregate)| {
            let values: Vec<Val<'static>> = self
                .states
                .iter()
                .map(|states| states.get(position).map_or(Val::Null, |state| state.finish(aggregate)))
                .collect();
            let mut builder = Builder::new(aggregate.ty);
            for (id, several) in group.iter().zip(&several) {
                let value = id.filter(|_| !several).and_then(|id| values.get(id as usize));
                builder.push(value.unwrap_or(&Val::Null));
            }
            (aggregate.slot, builder.finish())
        });
        made.collect()
    }
}

/// The hash of each row's only value, worked out once for each text.
fn hashes_of(vector: &Vector) -> Option<Vec<Option<u64>>> {
    let Data::Text(codes, dictionary) = &vector.data else { return None };
    let mut known: Vec<Option<Option<u64>>> = vec![None; dictionary.len()];
    let hash = |code: u32| entry(dictionary, code).map(|text| hash_of(&Val::text(text)));
    let all = codes.iter().map(|code| match known.get_mut(*code as usize) {
        Some(place) => *place.get_or_insert_with(|| hash(*code)),
        None => None,
    });
    Some(all.collect())
}

impl State {
    /// Returns by how many bytes it grew.
    fn add(&mut self, value: Val<'_>, aggregate: &Aggregate) -> usize {
        if value.is_null() {
            return 0;
        }
        match self {
            Self::Count(count) => *count += 1,
            Self::Distinct(set) => return set.add(hash_of(&value)),
            Self::Values(set) => {
                let bytes = value.held_bytes() + 16;
                return if set.insert(Key(value.into_owned())) { bytes } else { 0 };
            }
            Self::Extreme(best) => {
                let wanted = if aggregate.reduce == Reduce::Min { Ordering::Less } else { Ordering::Greater };
                if best.is_null() || order(&value, best, aggregate.ty) == Some(wanted) {
                    *best = value.into_owned();
                }
            }
            Self::Sum(sum, some) => {
                *sum = sum.and_then(|sum| sum.checked_add(value.as_long()?));
                *some = true;
            }
            Self::SumDouble(sum, some) => {
                *sum += value.as_double().unwrap_or(0.0);
                *some = true;
            }
            Self::Avg(sum, count) => {
                *sum += value.as_double().unwrap_or(0.0);
                *count += 1;
            }
            Self::Numbers(all) => {
                all.push(value.as_double().unwrap_or(0.0));
                return size_of::<f64>();
            }
            Self::Moments(..) => self.join(1.0, value.as_double().unwrap_or(0.0), 0.0),
            Self::Top(best) => {
                let better = |one: &Val<'_>| {
                    let wanted = if aggregate.descending { Ordering::Greater } else { Ordering::Less };
                    order(&value, one, aggregate.ty) == Some(wanted)
                };
                let place = best.iter().position(better).unwrap_or(best.len());
                if place as f64 >= aggregate.number {
                    return 0;
                }
                let bytes = value.held_bytes();
                best.insert(place, value.into_owned());
                best.truncate(aggregate.number as usize);
                return bytes;
            }
            // Of two fields: `place`.
            Self::Placed(_) => {}
        }
        0
    }

    /// A row of `first` or `last`: rows without what they are ordered by come after all others; of several values of
    /// it the one that comes first counts.
    fn place(&mut self, value: Val<'_>, by: Val<'_>, aggregate: &Aggregate) -> usize {
        let Self::Placed(best) = self else { return 0 };
        let wanted = if aggregate.reduce == Reduce::First { Ordering::Less } else { Ordering::Greater };
        let ty = aggregate.by.as_ref().map_or(Type::Null, |node| node.ty);
        let before = |one: &Val<'_>, other: &Val<'_>| match (one.is_null(), other.is_null()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => order(one, other, ty) == Some(wanted),
        };
        let by =
            by.items().into_iter().fold(Val::Null, |best, one| if before(&one, &best) { one } else { best });
        let better = best.as_ref().is_none_or(|(held, held_by)| {
            // Of rows that come together, the same one whichever thread saw which.
            let together = !before(held_by, &by);
            before(&by, held_by) || together && order(&value, held, aggregate.ty) == Some(Ordering::Less)
        });
        if !better {
            return 0;
        }
        let bytes = |value: &Val<'_>, by: &Val<'_>| value.held_bytes() + by.held_bytes();
        let before = best.as_ref().map_or(0, |(value, by)| bytes(value, by));
        let grown = bytes(&value, &by).saturating_sub(before);
        *best = Some((value.into_owned(), by.into_owned()));
        grown
    }

    /// Joins so many values with that mean and spread (Chan's formula).
    fn join(&mut self, count: f64, mean: f64, squares: f64) {
        let Self::Moments(ours, our_mean, our_squares) = self else { return };
        let whole = *ours + count;
        if whole > 0.0 {
            let apart = mean - *our_mean;
            *our_squares += squares + apart * apart * *ours * count / whole;
            *our_mean += apart * count / whole;
            *ours = whole;
        }
    }

    fn merge(&mut self, other: Self, aggregate: &Aggregate) -> usize {
        match (self, other) {
            (Self::Count(ours), Self::Count(theirs)) => *ours += theirs,
            (Self::Distinct(ours), Self::Distinct(theirs)) => ours.merge(theirs),
            (Self::Values(ours), Self::Values(theirs)) => {
                let bytes: usize = theirs.iter().map(|key| key.0.held_bytes() + 16).sum();
                ours.extend(theirs);
                return bytes;
            }
            (ours @ Self::Extreme(_), Self::Extreme(theirs)) => return ours.add(theirs, aggregate),
            (Self::Sum(ours, some), Self::Sum(theirs, theirs_some)) => {
                *ours = ours.and_then(|ours| ours.checked_add(theirs?));
                *some |= theirs_some;
            }
            (Self::SumDouble(ours, some), Self::SumDouble(theirs, theirs_some)) => {
                *ours += theirs;
                *some |= theirs_some;
            }
            (Self::Avg(ours, count), Self::Avg(theirs, their_count)) => {
                *ours += theirs;
                *count += their_count;
            }
            (Self::Numbers(ours), Self::Numbers(theirs)) => {
                ours.extend(&theirs);
                return theirs.len() * size_of::<f64>();
            }
            (ours @ Self::Moments(..), Self::Moments(count, mean, squares)) => {
                ours.join(count, mean, squares)
            }
            (ours @ Self::Top(_), Self::Top(theirs)) => {
                return theirs.into_iter().map(|value| ours.add(value, aggregate)).sum();
            }
            (ours @ Self::Placed(_), Self::Placed(Some((value, by)))) => {
                return ours.place(value, by, aggregate);
            }
            _ => {}
        }
        0
    }

    fn finish(&self, aggregate: &Aggregate) -> Val<'static> {
        match self {
            Self::Count(count) if aggregate.reduce == Reduce::Present => Val::Boolean(*count > 0),
            Self::Count(count) if aggregate.reduce == Reduce::Absent => Val::Boolean(*count == 0),
            Self::Count(count) => Val::Long(*count),
            Self::Distinct(set) => Val::Long(set.count()),
            Self::Values(set) => {
                // Elasticsearch promises no order; the same question gets the same answer here.
                let mut all: Vec<Val<'static>> = set.iter().map(|key| key.0.clone()).collect();
                all.sort_by(|a, b| order(a, b, aggregate.ty).unwrap_or(Ordering::Equal));
                Val::from_items(all)
            }
            Self::Extreme(value) => value.clone(),
            Self::Sum(Some(sum), true) => Val::Long(*sum),
            Self::SumDouble(sum, true) => Val::Double(*sum),
            Self::Avg(sum, count) if *count > 0 => Val::Double(sum / *count as f64),
            Self::Numbers(all) => {
                let sorted = |mut all: Vec<f64>| {
                    all.sort_by(f64::total_cmp);
                    all
                };
                let all = sorted(all.clone());
                let found = if aggregate.reduce == Reduce::MedianDeviation {
                    let middle = percentile(&all, 50.0).unwrap_or(0.0);
                    percentile(&sorted(all.iter().map(|one| (one - middle).abs()).collect()), 50.0)
                } else {
                    percentile(&all, aggregate.number)
                };
                found.map_or(Val::Null, Val::Double)
            }
            Self::Moments(count, _, squares) if *count > 0.0 => {
                let variance = squares / count;
                Val::Double(if aggregate.reduce == Reduce::StdDev { variance.sqrt() } else { variance })
            }
            Self::Top(best) => Val::from_items(best.clone()),
            Self::Placed(best) => best.as_ref().map_or(Val::Null, |(value, _)| value.clone()),
            Self::Sum(..) | Self::SumDouble(..) | Self::Avg(..) | Self::Moments(..) => Val::Null,
        }
    }
}
