//! All rules of a set over one stream of events.

use sensor_ecs::Record;

use super::{Held, Hold, Limits, Stats, Stream};
use crate::compile::Kind;
use crate::rules::{Index, LoadedRule, RuleIndex, RuleSet, Selection};

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
    streams: Vec<(RuleIndex, Stream<T>)>,
    /// Which streams an event can concern; positions in `streams`, not in the set.
    index: Index,
    /// Streams in which a match can wait for time to pass.
    can_wait: Vec<usize>,
    /// For each stream, the number of the last event that concerned it.
    taken: Vec<u64>,
    events: u64,
}

impl<T: Clone> Correlator<T> {
    /// Starts all rules of `rules`, each with its own state within `limits`.
    #[must_use]
    pub fn new(rules: &RuleSet, limits: Limits) -> Self {
        let stateful: Vec<(RuleIndex, &LoadedRule)> =
            rules.indexed().filter(|(_, rule)| rule.compiled.kind() != Kind::Event).collect();
        let streams = stateful
            .iter()
            .map(|(index, rule)| (*index, Stream::new(&rule.compiled, Some(rule.rule.look_back_ns), limits)))
            .collect::<Vec<(RuleIndex, Stream<T>)>>();
        let filters = (0_u32..)
            .map(RuleIndex)
            .zip(&stateful)
            .flat_map(|(position, (_, rule))| rule.compiled.filters().map(move |filter| (position, filter)));
        let category =
            stateful.iter().flat_map(|(_, r)| r.compiled.filters()).map(|f| f.category_field).next();
        let index = category.map_or_else(Index::default, |category| Index::build(filters, category));
        let can_wait =
            streams.iter().enumerate().filter(|(_, (_, s))| s.can_wait()).map(|(i, _)| i).collect();
        let taken = vec![0; streams.len()];
        Self { streams, index, can_wait, taken, events: 0 }
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
        rules.matches(record, &mut |rule| out(Match { rule, events: &[Some(event.clone())] }));
        self.events += 1;
        self.push_to_streams(record, None, &mut || Held { event: event.clone(), weight }, out);
    }

    /// Takes the next event for the rules with state only, and only for those selected. `keep` makes what is to be
    /// kept of it, with its weight, if any rule keeps it.
    pub fn push_stateful(
        &mut self,
        record: &impl Record,
        selection: &Selection,
        keep: &mut impl FnMut() -> (T, usize),
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        self.events += 1;
        self.push_again(record, selection, keep, out);
    }

    /// Takes another look at the event of the call before, for rules that it did not concern so far: no event is
    /// two events, however many names it has.
    pub fn push_again(
        &mut self,
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
        self.push_to_streams(record, Some(selection), &mut hold, out);
    }

    fn push_to_streams(
        &mut self,
        record: &impl Record,
        selection: Option<&Selection>,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(Match<'_, T>),
    ) {
        let Self { streams, index, can_wait, taken, events, .. } = self;
        if *events == 1 {
            streams.iter_mut().for_each(|(_, stream)| stream.begin(record));
        }
        for slot in can_wait.iter() {
            if let Some((rule, stream)) = streams.get_mut(*slot)
                && stream.is_waiting()
            {
                stream.pass_time(record, &mut |events| out(Match { rule: *rule, events }));
            }
        }
        let mut last = None;
        index.candidates(record, None, &mut |position| {
            // Several filters of one rule are several candidates, next to each other.
            if last.replace(position) == Some(position) {
                return;
            }
            let slot = usize::try_from(position.0).unwrap_or(usize::MAX);
            let (Some((rule, stream)), Some(taken)) = (streams.get_mut(slot), taken.get_mut(slot)) else {
                return;
            };
            if *taken == *events || selection.is_some_and(|selection| !selection.contains(*rule)) {
                return;
            }
            if stream.push_held(record, hold, &mut |events| out(Match { rule: *rule, events })) {
                *taken = *events;
            }
        });
    }

    /// See [`Stream::advance`].
    pub fn advance(&mut self, now_ns: i64, out: &mut impl FnMut(Match<'_, T>)) {
        for (rule, stream) in &mut self.streams {
            stream.advance(now_ns, &mut |events| out(Match { rule: *rule, events }));
        }
    }

    /// See [`Stream::finish`].
    pub fn finish(&mut self, out: &mut impl FnMut(Match<'_, T>)) {
        for (rule, stream) in &mut self.streams {
            stream.finish(&mut |events| out(Match { rule: *rule, events }));
        }
    }

    /// The stream of one rule that has state, to keep or seed what it has seen.
    pub fn stream_mut(&mut self, rule: RuleIndex) -> Option<&mut Stream<T>> {
        self.streams.iter_mut().find(|(index, _)| *index == rule).map(|(_, stream)| stream)
    }

    /// The state of each rule that has any.
    pub fn stats(&self) -> impl Iterator<Item = (RuleIndex, Stats)> {
        self.streams.iter().map(|(rule, stream)| (*rule, stream.stats()))
    }
}
