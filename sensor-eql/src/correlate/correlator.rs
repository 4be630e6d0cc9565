//! All rules of a set over one stream of events.

use sensor_ecs::Record;

use super::{Held, Hold, Limits, Stats, Stream};
use crate::compile::Kind;
use crate::matcher::{Hits, Known, Memory};
use crate::rules::{LoadedRule, RuleIndex, RuleSet, Selection};

/// A match of one rule.
#[derive(Clone, Copy, Debug)]
pub struct Match<'m, T> {
    /// The rule.
    pub rule: RuleIndex,
    /// Its events in stage order; `None` stands for an event that had to be missing.
    pub events: &'m [Option<T>],
}

/// Runs every rule of a set; single events are matched without state.
#[derive(Clone, Debug)]
pub struct Correlator<T> {
    /// In the order of the rules.
    streams: Vec<RuleStream<T>>,
    /// The stream of each rule.
    slots: Box<[Option<usize>]>,
    /// Streams in which a match can wait for time to pass.
    can_wait: Vec<usize>,
    /// Rules with something pending.
    under_way: Selection,
    memory: Memory,
    events: u64,
}

#[derive(Clone, Debug)]
struct RuleStream<T> {
    rule: RuleIndex,
    stream: Stream<T>,
    /// The number of the last event that concerned it.
    taken: u64,
}

impl<T: Clone> Correlator<T> {
    /// Starts all rules of `rules`, each with its own state within `limits`.
    #[must_use]
    pub fn new(rules: &RuleSet, limits: Limits) -> Self {
        let stream =
            |loaded: &LoadedRule| Stream::new(&loaded.compiled, Some(loaded.rule.look_back_ns), limits);
        let streams: Vec<RuleStream<T>> = rules
            .indexed()
            .filter(|(_, loaded)| loaded.compiled.kind() != Kind::Event)
            .map(|(rule, loaded)| RuleStream { rule, stream: stream(loaded), taken: 0 })
            .collect();
        let mut slots = vec![None; rules.rules().len()];
        for (slot, stream) in streams.iter().enumerate() {
            if let Some(of_rule) = slots.get_mut(stream.rule.0 as usize) {
                *of_rule = Some(slot);
            }
        }
        let can_wait =
            streams.iter().enumerate().filter(|(_, s)| s.stream.can_wait()).map(|(i, _)| i).collect();
        let under_way = rules.select(|_| false);
        Self { streams, slots: slots.into(), can_wait, under_way, memory: rules.memory(0), events: 0 }
    }

    /// The rules of which a match is under way: see [`RuleSet::look`].
    #[must_use]
    pub fn under_way(&self) -> &Selection {
        &self.under_way
    }

    /// Takes the next event; see [`Stream::push`]. `rules` must be the set that this was made from.
    pub fn push(
        &mut self,
        rules: &RuleSet,
        record: &impl Record,
        event: &T,
        weight: usize,
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        let mut memory = std::mem::replace(&mut self.memory, Memory::none());
        let hits = rules.look(record, Known::default(), &self.under_way, &mut memory);
        for rule in hits.matched() {
            out(Match { rule: *rule, events: &[Some(event.clone())] });
        }
        self.events += 1;
        self.push_to_streams(hits, record, None, &mut || Held { event: event.clone(), weight }, out);
        self.memory = memory;
    }

    /// Takes the next event for the rules with state only, and only for those selected. `hits` is what the event
    /// satisfies. `keep` makes what is to be kept of it, with its weight, if any rule keeps it.
    pub fn push_stateful(
        &mut self,
        hits: Hits<'_>,
        record: &impl Record,
        selection: &Selection,
        keep: &mut impl FnMut() -> (T, usize),
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        self.events += 1;
        self.push_again(hits, record, selection, keep, out);
    }

    /// Takes another look at the event of the call before, for rules that it did not concern so far: no event is
    /// two events, however many names it has.
    pub fn push_again(
        &mut self,
        hits: Hits<'_>,
        record: &impl Record,
        selection: &Selection,
        keep: &mut impl FnMut() -> (T, usize),
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        let mut kept: Option<Held<T>> = None;
        let mut hold = || {
            let make = || {
                let (event, weight) = keep();
                Held { event, weight }
            };
            kept.get_or_insert_with(make).clone()
        };
        self.push_to_streams(hits, record, Some(selection), &mut hold, out);
    }

    fn push_to_streams(
        &mut self,
        hits: Hits<'_>,
        record: &impl Record,
        selection: Option<&Selection>,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        let Self { streams, slots, can_wait, under_way, events, .. } = self;
        if *events == 1 {
            streams.iter_mut().for_each(|s| s.stream.begin(record));
        }
        for slot in can_wait.iter() {
            if let Some(RuleStream { rule, stream, .. }) = streams.get_mut(*slot)
                && stream.is_waiting()
            {
                stream.pass_time(record, &mut |events| out(Match { rule: *rule, events }));
            }
        }
        for concerned in hits.concerned() {
            if selection.is_some_and(|selection| !selection.contains(concerned.rule)) {
                continue;
            }
            let slot = slots.get(concerned.rule.0 as usize).copied().flatten();
            let Some(RuleStream { rule, stream, taken }) = slot.and_then(|slot| streams.get_mut(slot)) else {
                continue;
            };
            if *taken != *events && stream.minds(concerned.filters) {
                *taken = *events;
                let mut out = |events: &[Option<T>]| out(Match { rule: *rule, events });
                stream.push_concerning(record, concerned.filters, hold, &mut out);
                under_way.set(*rule, stream.is_under_way());
            }
        }
    }

    /// See [`Stream::advance`].
    pub fn advance(&mut self, now_ns: i64, out: &mut impl FnMut(Match<'_, T>)) {
        for RuleStream { rule, stream, .. } in &mut self.streams {
            stream.advance(now_ns, &mut |events| out(Match { rule: *rule, events }));
            self.under_way.set(*rule, stream.is_under_way());
        }
    }

    /// See [`Stream::finish`].
    pub fn finish(&mut self, out: &mut impl FnMut(Match<'_, T>)) {
        for RuleStream { rule, stream, .. } in &mut self.streams {
            stream.finish(&mut |events| out(Match { rule: *rule, events }));
        }
    }

    /// Takes over what rules remember from the correlator of a former set; `same` names the rule there that a rule here
    /// equals, if there is one.
    pub fn inherit(&mut self, former: &mut Self, same: impl Fn(RuleIndex) -> Option<RuleIndex>) {
        for RuleStream { rule, stream, .. } in &mut self.streams {
            if let Some(known) = same(*rule).and_then(|rule| former.stream_mut(rule)) {
                std::mem::swap(stream, known);
                self.under_way.set(*rule, stream.is_under_way());
            }
        }
    }

    /// The stream of one rule that has state, to keep or seed what it has seen.
    pub fn stream_mut(&mut self, rule: RuleIndex) -> Option<&mut Stream<T>> {
        self.streams.iter_mut().find(|s| s.rule == rule).map(|s| &mut s.stream)
    }

    /// The state of each rule that has any.
    pub fn stats(&self) -> impl Iterator<Item = (RuleIndex, Stats)> {
        self.streams.iter().map(|s| (s.rule, s.stream.stats()))
    }
}
