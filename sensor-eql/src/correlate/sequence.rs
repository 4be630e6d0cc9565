//! Sequences: events in order, one pending sequence per stage and key.
//!
//! Per stage and key only the newest pending sequence counts, and advancing consumes it, even if it is then
//! rejected for its span. Stages are tried last to first, so that no event fills two stages of one sequence.

use std::collections::VecDeque;

use sensor_ecs::Record;

use super::keys::{KeyPart, Ordinal, combinations};
use super::table::{State, Table};
use super::{Held, Hold, Limits, Stats};
use crate::compile::{Place, SequencePlan, Stage};
use crate::matcher::Filters;

/// A sequence under way: its positive stages so far.
#[derive(Clone, Debug)]
struct Pending<T> {
    first: Ordinal,
    last: Ordinal,
    /// Time of the newest leading event, which should be missing, before the first.
    leading: Option<i64>,
    events: Vec<Held<T>>,
}

impl<T> Pending<T> {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(|h| h.weight + size_of::<Held<T>>()).sum::<usize>()
    }
}

/// State of one key.
#[derive(Clone, Debug)]
struct Slots<T> {
    /// Position i holds what waits for positive stage i + 1; short until needed.
    pending: Vec<Option<Pending<T>>>,
    /// The newest leading event that should be missing.
    leading: Option<Ordinal>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { pending: Vec::new(), leading: None }
    }
}

impl<T> State for Slots<T> {
    fn weight(&self) -> usize {
        self.pending.iter().flatten().map(Pending::weight).sum()
    }

    fn is_empty(&self) -> bool {
        self.leading.is_none() && self.pending.iter().all(Option::is_none)
    }
}

/// Complete but for events that must not follow.
#[derive(Clone, Debug)]
struct Waiting<T> {
    key: Vec<KeyPart>,
    pending: Pending<T>,
    /// A trailing event up to this time voids it; `None` if none can.
    until: Option<i64>,
}

/// State of one sequence query.
#[derive(Clone, Debug)]
pub(super) struct SequenceState<T> {
    table: Table<Slots<T>>,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    limits: Limits,
    /// Longest time from first to last event.
    span: Option<i64>,
    evicted: u64,
    cut: u64,
}

impl<T: Clone> SequenceState<T> {
    pub(super) fn new(plan: &SequencePlan, look_back: Option<i64>, limits: Limits) -> Self {
        Self {
            table: Table::new(limits),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            limits,
            span: plan.maxspan.or(look_back),
            evicted: 0,
            cut: 0,
        }
    }

    pub(super) fn push(
        &mut self,
        plan: &SequencePlan,
        record: &impl Record,
        satisfied: Filters,
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        self.advance(plan, at.time, out);
        for (position, term) in plan.positives.iter().enumerate().rev() {
            // A stage in the middle of nothing changes nothing.
            if position > 0 && self.table.is_empty() {
                continue;
            }
            let Some(term) = satisfied_term(plan, *term, record, satisfied) else { continue };
            for key in self.keys(record, term) {
                self.fill(plan, position, key, at, hold, out);
            }
        }
        for missing in &plan.missing {
            let Some(term) = satisfied_term(plan, missing.term, record, satisfied) else { continue };
            for key in self.keys(record, term) {
                self.unwanted(missing.place, key, at);
            }
        }
        if let Some(until) = &plan.until
            && !self.table.is_empty()
            && satisfied.contains(plan.terms.len(), || until.filter.matches(record))
        {
            for key in self.keys(record, until) {
                self.table.change(&key, |slots| slots.pending.clear());
            }
        }
    }

    fn keys(&mut self, record: &impl Record, term: &Stage) -> Vec<Vec<KeyPart>> {
        let (keys, cut) = combinations(record, &term.keys);
        self.cut += cut;
        keys
    }

    fn fill(
        &mut self,
        plan: &SequencePlan,
        position: usize,
        key: Vec<KeyPart>,
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        let pending = match position.checked_sub(1) {
            None => {
                let may_lead = plan.missing.iter().any(|missing| missing.place == Place::Leading);
                let slots = if may_lead { self.table.peek(&key) } else { None };
                let leading = slots.and_then(|s| s.leading).filter(|l| *l < at).map(|l| l.time);
                Some(Pending { first: at, last: at, leading, events: vec![hold()] })
            }
            Some(before) => {
                self.table.change(&key, |slots| take_before(slots, before, at)).flatten().and_then(
                    |mut pending| {
                        // Consumed even if too late: the newest pending sequence is the only one that counts.
                        let late =
                            self.span.is_some_and(|span| at.time.saturating_sub(pending.first.time) > span);
                        if late {
                            return None;
                        }
                        pending.last = at;
                        pending.events.push(hold());
                        Some(pending)
                    },
                )
            }
        };
        let Some(pending) = pending else { return };
        if position + 1 == plan.positives.len() {
            self.complete(plan, key, pending, out);
        } else {
            self.table.touch(key, at.time, |slots| {
                if slots.pending.len() <= position {
                    slots.pending.resize_with(position + 1, || None);
                }
                if let Some(slot) = slots.pending.get_mut(position) {
                    *slot = Some(pending);
                }
            });
        }
    }

    fn complete(
        &mut self,
        plan: &SequencePlan,
        key: Vec<KeyPart>,
        pending: Pending<T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        let has = |place: Place| plan.missing.iter().any(|m| m.place == place);
        let span = self.span.unwrap_or(i64::MAX);
        let (leading, trailing) = (has(Place::Leading), has(Place::Trailing));
        if !trailing {
            let spoilt =
                leading && pending.leading.is_some_and(|l| pending.last.time.saturating_sub(l) <= span);
            if !spoilt {
                emit(plan, &pending, out);
            }
            return;
        }
        // With both, the span must fit somewhere between the unwanted events around the match.
        let until = if leading {
            pending.leading.map(|l| l.saturating_add(span))
        } else {
            Some(pending.first.time.saturating_add(span))
        };
        self.waiting_bytes += pending.weight();
        self.waiting.push_back(Waiting { key, pending, until });
        while self.waiting.len() > self.limits.keys_max || self.waiting_bytes > self.limits.bytes_max {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(oldest.pending.weight());
            self.evicted += 1;
        }
    }

    /// An event that should be missing has come.
    fn unwanted(&mut self, place: Place, key: Vec<KeyPart>, at: Ordinal) {
        match place {
            Place::Leading => {
                self.table.touch(key, at.time, |slots| slots.leading = slots.leading.max(Some(at)))
            }
            Place::After(position) => {
                self.table.change(&key, |slots| take_before(slots, position, at));
            }
            Place::Trailing => {
                let Self { waiting, waiting_bytes, .. } = self;
                waiting.retain(|w| {
                    let within = w.until.is_some_and(|until| at.time <= until);
                    let void = within && w.pending.last < at && w.key == key;
                    if void {
                        *waiting_bytes = waiting_bytes.saturating_sub(w.pending.weight());
                    }
                    !void
                });
            }
        }
    }

    /// Lets time pass: forgets what is over and reports what nothing can void any more.
    pub(super) fn advance(&mut self, plan: &SequencePlan, now: i64, out: &mut impl FnMut(&[Option<T>])) {
        if let Some(span) = self.span {
            self.table.expire(now.saturating_sub(span));
        }
        while let Some(front) = self.waiting.front() {
            if front.until.is_some_and(|until| now <= until) {
                break;
            }
            if let Some(done) = self.waiting.pop_front() {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(done.pending.weight());
                emit(plan, &done.pending, out);
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn clock_set_back(&mut self, now: i64) {
        if let Some(span) = self.span {
            self.table.forget_after(now.saturating_add(span));
        }
    }

    pub(super) fn finish(&mut self, plan: &SequencePlan, out: &mut impl FnMut(&[Option<T>])) {
        self.waiting_bytes = 0;
        for done in std::mem::take(&mut self.waiting) {
            emit(plan, &done.pending, out);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.table.stats();
        stats.evicted += self.evicted;
        stats.combinations_cut = self.cut;
        stats.bytes += self.waiting_bytes;
        stats.waiting = self.waiting.len();
        stats
    }
}

/// The term if the event satisfies it.
fn satisfied_term<'p>(
    plan: &'p SequencePlan,
    term: usize,
    record: &impl Record,
    satisfied: Filters,
) -> Option<&'p Stage> {
    plan.terms.get(term).filter(|stage| satisfied.contains(term, || stage.filter.matches(record)))
}

fn take_before<T>(slots: &mut Slots<T>, position: usize, at: Ordinal) -> Option<Pending<T>> {
    let slot = slots.pending.get_mut(position)?;
    if slot.as_ref().is_some_and(|p| p.last < at) { slot.take() } else { None }
}

fn emit<T: Clone>(plan: &SequencePlan, pending: &Pending<T>, out: &mut impl FnMut(&[Option<T>])) {
    let mut events = pending.events.iter();
    let shown: Vec<Option<T>> = plan
        .stages
        .iter()
        .map(|term| {
            let missing = plan.terms.get(*term).is_some_and(|t| t.missing);
            if missing { None } else { events.next().map(|h| h.event.clone()) }
        })
        .collect();
    out(&shown);
}
