//! Sequences: events in order, one pending sequence per stage and key.
//!
//! Per stage and key only the newest pending sequence counts, and advancing consumes it, even if it is then
//! rejected for its span. Stages are tried last to first, so that no event fills two stages of one sequence.

use std::collections::VecDeque;

use sensor_ecs::Record;

use super::keys::{Keys, Ordinal};
use super::table::{State, Table};
use super::{Held, Hold, Limits, Stats};
use crate::compile::{Place, SequencePlan, Stage};
use crate::matcher::Filters;

/// A sequence under way: its positive stages so far, none of which means that there is no sequence.
#[derive(Clone, Debug)]
struct Pending<T> {
    first: Ordinal,
    last: Ordinal,
    /// Time of the newest leading event, which should be missing, before the first.
    leading: Option<i64>,
    events: Vec<Held<T>>,
}

impl<T> Pending<T> {
    fn none() -> Self {
        Self { first: Ordinal::MIN, last: Ordinal::MIN, leading: None, events: Vec::new() }
    }

    fn is_none(&self) -> bool {
        self.events.is_empty()
    }

    fn start(&mut self, at: Ordinal, leading: Option<i64>, event: Held<T>) {
        self.events.clear();
        self.events.push(event);
        (self.first, self.last, self.leading) = (at, at, leading);
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(|h| h.weight + size_of::<Held<T>>()).sum::<usize>()
    }
}

/// State of one key.
#[derive(Clone, Debug)]
struct Slots<T> {
    /// Position i holds what waits for positive stage i + 1; short until needed.
    pending: Vec<Pending<T>>,
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
        self.pending.iter().map(Pending::weight).sum()
    }

    fn is_empty(&self) -> bool {
        self.leading.is_none() && self.pending.iter().all(Pending::is_none)
    }

    fn clear(&mut self) {
        self.leading = None;
        self.drop_pending();
    }
}

impl<T> Slots<T> {
    fn drop_pending(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.events.clear());
    }

    /// What waits there, or room for it.
    fn at(&mut self, position: usize) -> Option<&mut Pending<T>> {
        if self.pending.len() <= position {
            self.pending.resize_with(position + 1, Pending::none);
        }
        self.pending.get_mut(position)
    }

    /// What waits after `position` for an event at `at`.
    fn ready(&mut self, position: usize, at: Ordinal) -> Option<&mut Pending<T>> {
        self.pending.get_mut(position).filter(|pending| !pending.is_none() && pending.last < at)
    }

    /// Takes an event in stage `position`, which is not the first.
    fn advance(&mut self, position: usize, at: Ordinal, span: Option<i64>, hold: Hold<'_, T>) -> bool {
        let Some(before) = position.checked_sub(1).and_then(|before| self.ready(before, at)) else {
            return false;
        };
        // Consumed even if too late: the newest pending sequence is the only one that counts.
        if span.is_some_and(|span| at.time.saturating_sub(before.first.time) > span) {
            before.events.clear();
            return false;
        }
        before.last = at;
        before.events.push(hold());
        self.at(position);
        if let Some([before, here]) = self.pending.get_mut(position - 1..=position) {
            std::mem::swap(before, here);
            before.events.clear();
        }
        true
    }
}

/// Complete but for events that must not follow.
#[derive(Clone, Debug)]
struct Waiting<T> {
    key: Box<[u8]>,
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
    keys: Keys,
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
            keys: Keys::default(),
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
        let mut keys = std::mem::take(&mut self.keys);
        for (position, term) in plan.positives.iter().enumerate().rev() {
            // A stage in the middle of nothing changes nothing.
            if position > 0 && self.table.is_empty() {
                continue;
            }
            let Some(term) = satisfied_term(plan, *term, record, satisfied) else { continue };
            keys.read(record, &term.keys);
            for key in keys.iter() {
                self.fill(plan, position, key, at, hold, out);
            }
        }
        for missing in &plan.missing {
            let Some(term) = satisfied_term(plan, missing.term, record, satisfied) else { continue };
            keys.read(record, &term.keys);
            for key in keys.iter() {
                self.unwanted(missing.place, key, at);
            }
        }
        if let Some(until) = &plan.until
            && !self.table.is_empty()
            && satisfied.contains(plan.terms.len(), || until.filter.matches(record))
        {
            keys.read(record, &until.keys);
            for key in keys.iter() {
                self.table.change(key, Slots::drop_pending);
            }
        }
        self.keys = keys;
    }

    /// Whether an event that satisfies these filters can change anything: where nothing is under way, only one that
    /// begins can.
    pub(super) fn minds(&self, plan: &SequencePlan, satisfied: Filters) -> bool {
        let leading = plan.missing.iter().filter(|missing| missing.place == Place::Leading);
        let mut beginning = plan.positives.iter().take(1).copied().chain(leading.map(|missing| missing.term));
        self.is_under_way() || beginning.any(|term| satisfied.contains(term, || true))
    }

    /// Whether anything is pending, so that stages beyond the first matter.
    pub(super) fn is_under_way(&self) -> bool {
        !self.table.is_empty() || !self.waiting.is_empty()
    }

    fn fill(
        &mut self,
        plan: &SequencePlan,
        position: usize,
        key: &[u8],
        at: Ordinal,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        let is_last = position + 1 == plan.positives.len();
        if position == 0 {
            let may_lead = plan.missing.iter().any(|missing| missing.place == Place::Leading);
            let slots = if may_lead { self.table.peek(key) } else { None };
            let leading = slots.and_then(|s| s.leading).filter(|l| *l < at).map(|l| l.time);
            if is_last {
                let mut pending = Pending::none();
                pending.start(at, leading, hold());
                self.complete(plan, key, pending, out);
            } else {
                self.table.touch(key, at.time, |slots| {
                    if let Some(pending) = slots.at(0) {
                        pending.start(at, leading, hold());
                    }
                });
            }
            return;
        }
        let span = self.span;
        let mut done = None;
        let advanced = self.table.change(key, |slots| {
            let advanced = slots.advance(position, at, span, hold);
            if advanced && is_last {
                done = slots.at(position).map(|pending| std::mem::replace(pending, Pending::none()));
            }
            advanced
        });
        match done {
            Some(pending) => self.complete(plan, key, pending, out),
            None if advanced == Some(true) => {
                self.table.touch(key, at.time, |_| {});
            }
            None => {}
        }
    }

    fn complete(
        &mut self,
        plan: &SequencePlan,
        key: &[u8],
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
        self.waiting.push_back(Waiting { key: key.into(), pending, until });
        while self.waiting.len() > self.limits.keys_max || self.waiting_bytes > self.limits.bytes_max {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(oldest.pending.weight());
            self.evicted += 1;
        }
    }

    /// An event that should be missing has come.
    fn unwanted(&mut self, place: Place, key: &[u8], at: Ordinal) {
        match place {
            Place::Leading => {
                self.table.touch(key, at.time, |slots| slots.leading = slots.leading.max(Some(at)));
            }
            Place::After(position) => {
                self.table.change(key, |slots| {
                    if let Some(pending) = slots.ready(position, at) {
                        pending.events.clear();
                    }
                });
            }
            Place::Trailing => {
                let Self { waiting, waiting_bytes, .. } = self;
                waiting.retain(|w| {
                    let within = w.until.is_some_and(|until| at.time <= until);
                    let void = within && w.pending.last < at && *w.key == *key;
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
        stats.combinations_cut = self.keys.cut();
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
