//! All rules of a set over one stream of events.

use sensor_ecs::Record;

use super::{Limits, Stats, Stream};
use crate::compile::Kind;
use crate::rules::{Index, LoadedRule, RuleIndex, RuleSet};

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
    begun: bool,
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
            .collect();
        let filters = (0_u32..)
            .map(RuleIndex)
            .zip(&stateful)
            .flat_map(|(position, (_, rule))| rule.compiled.filters().map(move |filter| (position, filter)));
        let category =
            stateful.iter().flat_map(|(_, r)| r.compiled.filters()).map(|f| f.category_field).next();
        let index = category.map_or_else(Index::default, |category| Index::build(filters, category));
        Self { streams, index, begun: false }
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
        if !std::mem::replace(&mut self.begun, true) {
            self.streams.iter_mut().for_each(|(_, stream)| stream.begin(record));
        }
        for (rule, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.is_waiting()) {
            stream.pass_time(record, &mut |events| out(Match { rule: *rule, events }));
        }
        let Self { streams, index, .. } = self;
        let mut last = None;
        index.candidates(record, None, &mut |position| {
            // Several filters of one rule are several candidates, next to each other.
            if last.replace(position) == Some(position) {
                return;
            }
            let slot = usize::try_from(position.0).unwrap_or(usize::MAX);
            if let Some((rule, stream)) = streams.get_mut(slot) {
                stream.push(record, event, weight, &mut |events| out(Match { rule: *rule, events }));
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
