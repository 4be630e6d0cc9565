//! Samples: one event for each member, in any order, all different, sharing their keys. One match per key.

use sensor_ecs::Record;

use super::keys::{Keys, Ordinal};
use super::table::{State, Table};
use super::{Held, Hold, Limits, Stats};
use crate::compile::{SamplePlan, Stage};
use crate::matcher::Filters;

/// State of one key.
#[derive(Clone, Debug)]
struct Found<T> {
    events: Vec<Held<T>>,
    /// For each event, the members it can stand for.
    fits: Vec<Vec<bool>>,
    /// Once reported, a key stays silent until it expires.
    reported: bool,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { events: Vec::new(), fits: Vec::new(), reported: false }
    }
}

impl<T> State for Found<T> {
    fn weight(&self) -> usize {
        self.events.iter().map(|h| h.weight + size_of::<Held<T>>()).sum::<usize>() + size_of::<Self>()
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn clear(&mut self) {
        self.events.clear();
        self.fits.clear();
        self.reported = false;
    }
}

impl<T: Clone> Found<T> {
    /// Adds an event if some member it fits still lacks enough candidates, and tries to complete the sample.
    fn add(&mut self, fits: &[bool], hold: Hold<'_, T>) -> Option<Vec<Option<T>>> {
        let members = fits.len();
        // With as many candidates as there are members, more of the same kind never help.
        let useful = (0..members).any(|m| {
            let is = |row: &[bool]| row.get(m).copied().unwrap_or(false);
            is(fits) && self.fits.iter().filter(|row| is(row)).count() < members
        });
        if self.reported || !useful {
            return None;
        }
        self.events.push(hold());
        self.fits.push(fits.to_vec());
        let chosen = self.assign(members)?;
        let shown = chosen.into_iter().map(|e| self.events.get(e).map(|h| h.event.clone())).collect();
        self.reported = true;
        self.events = Vec::new();
        self.fits = Vec::new();
        Some(shown)
    }

    /// A different event for each member, by augmenting paths.
    fn assign(&self, members: usize) -> Option<Vec<usize>> {
        let mut taken: Vec<Option<usize>> = vec![None; self.events.len()];
        for member in 0..members {
            let mut seen = vec![false; self.events.len()];
            if !self.place(member, &mut taken, &mut seen, members) {
                return None;
            }
        }
        let event_of = |m: usize| taken.iter().position(|t| *t == Some(m));
        (0..members).map(event_of).collect()
    }

    fn place(&self, member: usize, taken: &mut [Option<usize>], seen: &mut [bool], depth: usize) -> bool {
        for (event, row) in self.fits.iter().enumerate() {
            let fits = row.get(member).copied().unwrap_or(false);
            let Some(seen_here) = seen.get_mut(event) else { continue };
            if !fits || std::mem::replace(seen_here, true) {
                continue;
            }
            let holder = taken.get(event).copied().flatten();
            let free = match holder {
                None => true,
                Some(other) => depth > 0 && self.place(other, taken, seen, depth - 1),
            };
            if free {
                if let Some(slot) = taken.get_mut(event) {
                    *slot = Some(member);
                }
                return true;
            }
        }
        false
    }
}

/// State of one sample query.
#[derive(Clone, Debug)]
pub(super) struct SampleState<T> {
    table: Table<Found<T>>,
    span: Option<i64>,
    keys: Keys,
}

impl<T: Clone> SampleState<T> {
    pub(super) fn new(look_back: Option<i64>, limits: Limits) -> Self {
        Self { table: Table::new(limits), span: look_back, keys: Keys::default() }
    }

    pub(super) fn push(
        &mut self,
        plan: &SamplePlan,
        record: &impl Record,
        satisfied: Filters,
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        self.advance(at.time);
        let is_fit = |(m, member): (usize, &Stage)| satisfied.contains(m, || member.filter.matches(record));
        let fits: Vec<bool> = plan.members.iter().enumerate().map(is_fit).collect();
        // Members may read different keys; the event is a candidate per distinct combination.
        let mut by_key: Vec<(Vec<u8>, Vec<bool>)> = Vec::new();
        for (m, member) in plan.members.iter().enumerate() {
            if !fits.get(m).copied().unwrap_or(false) {
                continue;
            }
            self.keys.read(record, &member.keys);
            for key in self.keys.iter() {
                let at = match by_key.iter().position(|(k, _)| *k == key) {
                    Some(at) => at,
                    None => {
                        by_key.push((key.to_vec(), vec![false; fits.len()]));
                        by_key.len() - 1
                    }
                };
                if let Some(slot) = by_key.get_mut(at).and_then(|(_, row)| row.get_mut(m)) {
                    *slot = true;
                }
            }
        }
        for (key, row) in by_key {
            let mut complete = None;
            self.table.touch(&key, at.time, |found| complete = found.add(&row, hold));
            if let Some(shown) = complete {
                out(&shown);
            }
        }
    }

    pub(super) fn advance(&mut self, now: i64) {
        if let Some(span) = self.span {
            self.table.expire(now.saturating_sub(span));
        }
    }

    pub(super) fn clock_set_back(&mut self, now: i64) {
        if let Some(span) = self.span {
            self.table.forget_after(now.saturating_add(span));
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { combinations_cut: self.keys.cut(), ..self.table.stats() }
    }
}
