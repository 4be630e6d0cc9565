//! Rules on single events that remember: combinations of values not seen before, and counts per group.

use std::collections::VecDeque;

use sensor_ecs::Record;

use super::keys::{Keys, Ordinal};
use super::table::{State, Table};
use super::{Held, Hold, Limits, Stats};
use crate::compile::{NewTermsPlan, ThresholdPlan};

/// When a combination was last seen is the key's own time in the table; it needs nothing beside.
#[derive(Clone, Copy, Debug, Default)]
struct Seen;

impl State for Seen {
    fn weight(&self) -> usize {
        0
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn clear(&mut self) {}
}

/// State of a new_terms rule.
#[derive(Clone, Debug)]
pub(super) struct NewTermsState {
    table: Table<Seen>,
    /// Until then everything counts as seen before, because nothing older is known.
    learning_until: Option<i64>,
    keys: Keys,
}

impl NewTermsState {
    pub(super) fn new(limits: Limits) -> Self {
        Self { table: Table::new(limits), learning_until: None, keys: Keys::default() }
    }

    pub(super) fn push<T: Clone>(
        &mut self,
        plan: &NewTermsPlan,
        record: &impl Record,
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        let learning_until = self.begin(at.time, plan.history);
        self.table.expire(at.time.saturating_sub(plan.history));
        self.keys.read(record, &plan.keys);
        let mut new = false;
        for key in self.keys.iter() {
            new |= self.table.touch(key, at.time, |_| {});
        }
        if new && at.time >= learning_until {
            out(&[Some(hold().event)]);
        }
    }

    /// Learning begins with the first event, whether or not it concerns the rule.
    pub(super) fn begin(&mut self, time: i64, history: i64) -> i64 {
        *self.learning_until.get_or_insert(time.saturating_add(history))
    }

    pub(super) fn seed(&mut self, since: i64, history: i64, seen: impl Iterator<Item = (Vec<u8>, i64)>) {
        for (key, time) in seen {
            self.table.touch(&key, time, |_| {});
        }
        self.learning_until = Some(since.saturating_add(history));
    }

    /// What was seen in the future was seen, at the latest now.
    pub(super) fn clock_set_back(&mut self, now: i64) {
        self.table.move_back(now);
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.table.iter()
    }

    pub(super) fn learning_until(&self) -> Option<i64> {
        self.learning_until
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { combinations_cut: self.keys.cut(), ..self.table.stats() }
    }
}

/// Those of one field of an event, as keys.
type Values = Vec<Box<[u8]>>;

/// The recent events of one group.
#[derive(Clone, Debug)]
struct Recent<T> {
    /// Each with its time and the values of the fields that are counted.
    events: VecDeque<(i64, Held<T>, Vec<Values>)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { events: VecDeque::new() }
    }
}

impl<T> State for Recent<T> {
    fn weight(&self) -> usize {
        self.events.iter().map(|(_, h, _)| h.weight + size_of::<(i64, Held<T>)>()).sum()
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn clear(&mut self) {
        self.events.clear();
    }
}

impl<T> Recent<T> {
    /// In the order of time, whatever the order in which events come.
    fn take(&mut self, time: i64, event: Held<T>, values: Vec<Values>) {
        let later = self.events.iter().rev().take_while(|(other, ..)| *other > time).count();
        self.events.insert(self.events.len() - later, (time, event, values));
    }
}

/// State of a threshold rule.
#[derive(Clone, Debug)]
pub(super) struct ThresholdState<T> {
    table: Table<Recent<T>>,
    span: i64,
    keys: Keys,
}

/// Events kept per group beyond what the count needs, when distinct values are counted too.
const CARDINALITY_EVENTS_MAX: usize = 10_000;

impl<T: Clone> ThresholdState<T> {
    pub(super) fn new(look_back: Option<i64>, limits: Limits) -> Self {
        Self { table: Table::new(limits), span: look_back.unwrap_or(i64::MAX), keys: Keys::default() }
    }

    pub(super) fn push(
        &mut self,
        plan: &ThresholdPlan,
        record: &impl Record,
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        let span = self.span;
        self.table.expire(at.time.saturating_sub(span));
        let values: Vec<Values> = plan
            .cardinality
            .iter()
            .map(|(key, _)| {
                self.keys.read(record, &[*key]);
                self.keys.iter().map(Box::from).collect()
            })
            .collect();
        self.keys.read(record, &plan.keys);
        let wanted = usize::try_from(plan.value).unwrap_or(usize::MAX);
        let keep = if plan.cardinality.is_empty() { wanted } else { wanted.max(CARDINALITY_EVENTS_MAX) };
        for key in self.keys.iter() {
            let mut reached = Vec::new();
            self.table.touch(key, at.time, |recent| {
                recent.take(at.time, hold(), values.clone());
                let newest = recent.events.back().map_or(at.time, |(time, ..)| *time);
                let oldest = newest.saturating_sub(span);
                while recent.events.len() > keep || recent.events.front().is_some_and(|(t, ..)| *t < oldest) {
                    recent.events.pop_front();
                }
                if recent.events.len() >= wanted && distinct_enough(plan, recent) {
                    // The count starts anew, so that one burst is one alert.
                    reached = recent.events.drain(..).map(|(_, h, _)| Some(h.event)).collect();
                }
            });
            if !reached.is_empty() {
                out(&reached);
            }
        }
    }

    pub(super) fn advance(&mut self, now: i64) {
        self.table.expire(now.saturating_sub(self.span));
    }

    pub(super) fn clock_set_back(&mut self, now: i64) {
        self.table.forget_after(now);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { combinations_cut: self.keys.cut(), ..self.table.stats() }
    }
}

fn distinct_enough<T>(plan: &ThresholdPlan, recent: &Recent<T>) -> bool {
    plan.cardinality.iter().enumerate().all(|(i, (_, least))| {
        let values = recent.events.iter().filter_map(|(_, _, v)| v.get(i)).flatten();
        let distinct: std::collections::HashSet<&Box<[u8]>> = values.collect();
        u64::try_from(distinct.len()).unwrap_or(u64::MAX) >= *least
    })
}
