//! All rules of a set over one stream of events.

use sensor_ecs::Record;

use super::{Limits, Stats, Stream};
use crate::compile::Kind;
use crate::rules::{RuleIndex, RuleSet};

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
}

impl<T: Clone> Correlator<T> {
    /// Starts all rules of `rules`, each with its own state within `limits`.
    #[must_use]
    pub fn new(rules: &RuleSet, limits: Limits) -> Self {
        let indexed = (0_u32..).map(RuleIndex).zip(rules.rules());
        let streams = indexed
            .filter(|(_, rule)| rule.compiled.kind() != Kind::Event)
            .map(|(index, rule)| (index, Stream::new(&rule.compiled, Some(rule.rule.look_back_ns), limits)))
            .collect();
        Self { streams }
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
        for (rule, stream) in &mut self.streams {
            stream.push(record, event, weight, &mut |events| out(Match { rule: *rule, events }));
        }
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

    /// The state of each rule that has any.
    pub fn stats(&self) -> impl Iterator<Item = (RuleIndex, Stats)> {
        self.streams.iter().map(|(rule, stream)| (*rule, stream.stats()))
    }
}
