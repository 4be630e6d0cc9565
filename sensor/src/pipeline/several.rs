//! Rules that look at several events: what is kept from event to event, within bounds, and what they find.

use std::fmt;
use std::sync::Arc;

use sensor_ecs::Record;
use sensor_eql::{Correlator, Hits, Kind, Limits, Match, RuleIndex, RuleSet, Selection, Stats};
use serde::{Deserialize, Serialize};

use super::output::Kept;
use crate::memory::Remembered;

/// Bytes that all rules together may keep; each has its share.
const STATE_BYTES_MAX: usize = 128 << 20;
/// The share of a rule when there are very many.
const STATE_BYTES_OF_RULE_MIN: usize = 512 << 10;

/// A match, until it is handed on.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) rule: RuleIndex,
    /// In stage order; `None` stands for an event that had to be missing.
    pub(super) events: Vec<Option<Arc<Kept>>>,
}

/// The state of these rules.
#[derive(Debug)]
pub(super) struct Several {
    correlator: Correlator<Arc<Kept>>,
    rules: usize,
    /// Time of the last event.
    event_ns: i64,
}

/// What the state came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeveralTotals {
    /// Rules that look at several events.
    pub(crate) rules: usize,
    /// Combinations of keys held.
    pub(crate) keys: usize,
    /// Bytes held.
    pub(crate) bytes: usize,
    /// Keys dropped for want of room.
    pub(crate) evicted: u64,
    /// Keys dropped because one event had too many.
    pub(crate) cut: u64,
    /// Keys whose time was over.
    pub(crate) expired: u64,
    /// Events that came after later ones; counted for each rule that they concerned.
    pub(crate) late: u64,
    /// Matches that waited for an event to stay missing when the run ended.
    pub(crate) waiting: usize,
}

impl fmt::Display for SeveralTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rules, keys, bytes, evicted, cut, expired, late, waiting } = self;
        write!(
            f,
            "rules on several events {rules}, keys held {keys}, bytes {bytes}, expired {expired}, \
             evicted {evicted}, combinations left out {cut}, late events {late}"
        )?;
        match waiting {
            0 => Ok(()),
            open => write!(f, ", undecided at the end {open}"),
        }
    }
}

impl SeveralTotals {
    fn add(&mut self, stats: Stats) {
        self.keys += stats.keys;
        self.bytes += stats.bytes;
        self.evicted += stats.evicted;
        self.cut += stats.combinations_cut;
        self.expired += stats.expired;
        self.late += stats.late;
        self.waiting += stats.waiting;
    }
}

impl Several {
    /// Nothing at all if no rule needs it.
    pub(super) fn new(rules: &RuleSet) -> Option<Self> {
        let count = rules.rules().iter().filter(|rule| rule.compiled.kind() != Kind::Event).count();
        let share = STATE_BYTES_MAX.checked_div(count)?;
        let limits = Limits::default();
        let bytes_max = share.clamp(STATE_BYTES_OF_RULE_MIN, limits.bytes_max);
        Some(Self::with_limits(rules, count, Limits { bytes_max, ..limits }))
    }

    pub(super) fn with_limits(rules: &RuleSet, count: usize, limits: Limits) -> Self {
        Self { correlator: Correlator::new(rules, limits), rules: count, event_ns: 0 }
    }

    /// Rules of which a match is under way.
    pub(super) fn under_way(&self) -> &Selection {
        self.correlator.under_way()
    }

    /// Takes the next event, as its document shows it.
    pub(super) fn event(
        &mut self,
        hits: Hits<'_>,
        record: &impl Record,
        time_ns: i64,
        selection: &Selection,
        keep: impl Fn() -> Kept,
        found: &mut Vec<Found>,
    ) {
        self.event_ns = time_ns;
        self.correlator
            .push_stateful(hits, record, selection, &mut || weighed(keep()), &mut |hit| add(&hit, found));
    }

    /// Takes another look at the same event, for rules that it did not concern so far.
    pub(super) fn look_again(
        &mut self,
        hits: Hits<'_>,
        record: &impl Record,
        selection: &Selection,
        keep: impl Fn() -> Kept,
        found: &mut Vec<Found>,
    ) {
        self.correlator
            .push_again(hits, record, selection, &mut || weighed(keep()), &mut |hit| add(&hit, found));
    }

    /// Lets time pass without events: up to `now_ns`, or, while records wait and so nobody knows what is still
    /// missing, up to the last event.
    pub(super) fn advance(&mut self, now_ns: Option<i64>, found: &mut Vec<Found>) {
        let now_ns = now_ns.unwrap_or(self.event_ns);
        self.correlator.advance(now_ns, &mut |hit| add(&hit, found));
    }

    /// What rules on new terms have seen up to now.
    pub(super) fn remembered(&mut self, rules: &RuleSet) -> Vec<Remembered> {
        let until_ns = self.event_ns;
        let remembering = rules.indexed().filter_map(|(index, loaded)| {
            let history_ns = loaded.rule.new_terms.as_ref()?.history_ns;
            let stream = self.correlator.stream_mut(index)?;
            let since_ns = stream.learning_until()?.saturating_sub(history_ns);
            Some(Remembered { rule: loaded.rule.id.clone(), since_ns, until_ns, seen: stream.seen() })
        });
        remembering.collect()
    }

    /// Gives a rule back what it had seen.
    pub(super) fn remember(&mut self, rules: &RuleSet, memory: Remembered) {
        let found = rules.indexed().find(|(_, loaded)| loaded.rule.id == memory.rule);
        if let Some(stream) = found.and_then(|(index, _)| self.correlator.stream_mut(index)) {
            let Remembered { since_ns, until_ns, mut seen, .. } = memory;
            self.event_ns = self.event_ns.max(until_ns);
            // Beyond the bounds, the oldest is what goes.
            seen.sort_by_key(|(_, time_ns)| *time_ns);
            stream.seed(since_ns, seen);
        }
    }

    /// Takes over the state of rules; `same` names the rule of the former set that a rule equals, if there is one.
    pub(super) fn inherit(&mut self, former: &mut Self, same: impl Fn(RuleIndex) -> Option<RuleIndex>) {
        self.correlator.inherit(&mut former.correlator, same);
        self.event_ns = former.event_ns;
    }

    /// What the state comes to now.
    pub(super) fn now(&self) -> SeveralTotals {
        let mut totals = SeveralTotals { rules: self.rules, ..SeveralTotals::default() };
        for (_, stats) in self.correlator.stats() {
            totals.add(stats);
        }
        totals
    }

    /// What the state came to; says which rules lost something.
    pub(super) fn totals(&self, rules: &RuleSet) -> SeveralTotals {
        let mut totals = SeveralTotals { rules: self.rules, ..SeveralTotals::default() };
        for (index, stats) in self.correlator.stats() {
            totals.add(stats);
            let lost = stats.evicted + stats.combinations_cut;
            if let Some(loaded) = rules.get(index).filter(|_| lost > 0) {
                tracing::warn!("{}: {lost} partial matches did not fit in memory", loaded.rule.id);
            }
        }
        totals
    }
}

fn weighed(kept: Kept) -> (Arc<Kept>, usize) {
    // Beside the counters of the shared pointer.
    let weight = kept.bytes.len() + kept.text.len() + size_of::<Kept>() + 2 * size_of::<usize>();
    (Arc::new(kept), weight)
}

fn add(hit: &Match<'_, Arc<Kept>>, found: &mut Vec<Found>) {
    found.push(Found { rule: hit.rule, events: hit.events.to_vec() });
}
