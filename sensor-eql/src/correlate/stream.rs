//! One query run over a stream of events, whatever its form.

use std::collections::VecDeque;
use std::sync::Arc;

use sensor_ecs::Record;

use super::keyed::{NewTermsState, ThresholdState};
use super::keys::Ordinal;
use super::sample::SampleState;
use super::sequence::SequenceState;
use super::{Held, Hold, Limits, Stats};
use crate::ast::Pipe;
use crate::compile::{Compiled, OrderFields, Place, Plan};
use crate::key::is_key;
use crate::matcher::Filters;

/// A query with its state. `T` is what the caller wants back for each event of a match: an id, or a shared event.
#[derive(Clone, Debug)]
pub struct Stream<T> {
    plan: Arc<Plan>,
    order: OrderFields,
    state: Form<T>,
    pipes: Vec<PipeState<T>>,
    arrivals: u64,
    newest: i64,
    late: u64,
    behind: u32,
}

/// So many late events without one in time mean that the clock was set back.
const LATE_IN_A_ROW: u32 = 64;

#[derive(Clone, Debug)]
enum Form<T> {
    Event,
    Sequence(SequenceState<T>),
    Sample(SampleState<T>),
    NewTerms(NewTermsState),
    Threshold(ThresholdState<T>),
}

#[derive(Clone, Debug)]
enum PipeState<T> {
    Head { left: u64 },
    Tail { keep: u64, last: VecDeque<Vec<Option<T>>> },
}

impl<T: Clone> Stream<T> {
    /// Starts a query. `look_back_ns` bounds the state of a sequence without maxspan and of a sample; without it,
    /// only `limits` do.
    #[must_use]
    pub fn new(compiled: &Compiled, look_back_ns: Option<i64>, limits: Limits) -> Self {
        let none = Vec::new();
        let (state, pipes) = match compiled.plan.as_ref() {
            Plan::Event { pipes, .. } => (Form::Event, pipes),
            Plan::Sequence(plan) => {
                (Form::Sequence(SequenceState::new(plan, look_back_ns, limits)), &plan.pipes)
            }
            Plan::Sample(plan) => (Form::Sample(SampleState::new(look_back_ns, limits)), &plan.pipes),
            Plan::NewTerms(_) => (Form::NewTerms(NewTermsState::new(limits)), &none),
            Plan::Threshold(_) => (Form::Threshold(ThresholdState::new(look_back_ns, limits)), &none),
        };
        let pipes = pipes
            .iter()
            .map(|pipe| match pipe {
                Pipe::Head(n) => PipeState::Head { left: *n },
                Pipe::Tail(n) => PipeState::Tail { keep: *n, last: VecDeque::new() },
            })
            .collect();
        Self {
            plan: Arc::clone(&compiled.plan),
            order: compiled.order,
            state,
            pipes,
            arrivals: 0,
            newest: i64::MIN,
            late: 0,
            behind: 0,
        }
    }

    /// Takes the next event. `weight` is what keeping `event` costs, in bytes. `out` gets each match in stage
    /// order; an event that had to be missing is `None`.
    pub fn push(
        &mut self,
        record: &impl Record,
        event: &T,
        weight: usize,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        self.push_held(record, &mut || Held { event: event.clone(), weight }, out);
    }

    /// Like [`Self::push`] with an event that is made when it is needed.
    fn push_held(&mut self, record: &impl Record, hold: Hold<'_, T>, out: &mut impl FnMut(&[Option<T>])) {
        if self.arrivals == 0 {
            self.begin(record);
        }
        // Most events concern no stage: they cost the filters and nothing else.
        let mut satisfied = Filters::default();
        for (number, filter) in self.plan.filters().enumerate() {
            if filter.matches(record) {
                satisfied.insert(number);
            }
        }
        if satisfied != Filters::default() {
            self.push_concerning(record, satisfied, hold, out);
            return;
        }
        self.arrivals += 1;
        if self.is_waiting() {
            self.pass_time(record, out);
        }
    }

    /// Takes an event that satisfies some filters of the query, by their order in the plan.
    pub(super) fn push_concerning(
        &mut self,
        record: &impl Record,
        satisfied: Filters,
        hold: Hold<'_, T>,
        out: &mut impl FnMut(&[Option<T>]),
    ) {
        self.arrivals += 1;
        let at = Ordinal::of(record, self.order, self.arrivals);
        if let Some(at) = at {
            self.note_time(at.time);
        }
        let Self { plan, state, pipes, .. } = self;
        let mut piped = |found: &[Option<T>]| pass(pipes, found, out);
        match (state, plan.as_ref(), at) {
            (Form::Event, ..) => piped(&[Some(hold().event)]),
            (Form::Sequence(state), Plan::Sequence(plan), Some(at)) => {
                state.push(plan, record, satisfied, at, hold, &mut piped);
            }
            (Form::Sample(state), Plan::Sample(plan), Some(at)) => {
                state.push(plan, record, satisfied, at, hold, &mut piped);
            }
            (Form::NewTerms(state), Plan::NewTerms(plan), Some(at)) => {
                state.push(plan, record, at, hold, &mut piped);
            }
            (Form::Threshold(state), Plan::Threshold(plan), Some(at)) => {
                state.push(plan, record, at, hold, &mut piped);
            }
            // Without a time it has no place among the others.
            _ => {}
        }
    }

    /// Whether an event that satisfies these filters can change anything, or match.
    pub(super) fn minds(&self, satisfied: Filters) -> bool {
        match (&self.state, self.plan.as_ref()) {
            (Form::Sequence(state), Plan::Sequence(plan)) => state.minds(plan, satisfied),
            _ => true,
        }
    }

    /// Whether more than the filters that begin a match matter to it.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(&self.state, Form::Sequence(state) if state.is_under_way())
    }

    /// Counts late events. When they keep coming, the clock was set back: what lies in its future is forgotten.
    fn note_time(&mut self, time: i64) {
        if time >= self.newest {
            self.newest = time;
            self.behind = 0;
            return;
        }
        self.late += 1;
        self.behind += 1;
        if self.behind < LATE_IN_A_ROW {
            return;
        }
        match &mut self.state {
            Form::Sequence(state) => state.clock_set_back(time),
            Form::Sample(state) => state.clock_set_back(time),
            Form::NewTerms(state) => state.clock_set_back(time),
            Form::Threshold(state) => state.clock_set_back(time),
            Form::Event => {}
        }
        self.newest = time;
        self.behind = 0;
    }

    /// Tells when the stream begins, if not with its first pushed event: what is seen from then on is known.
    pub(super) fn begin(&mut self, record: &impl Record) {
        if let (Form::NewTerms(state), Plan::NewTerms(plan)) = (&mut self.state, self.plan.as_ref())
            && let Some(at) = Ordinal::of(record, self.order, 0)
        {
            state.begin(at.time, plan.history);
        }
    }

    /// Whether a match waits for an event to stay missing.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(&self.state, Form::Sequence(state) if state.is_waiting())
    }

    /// Whether one ever can.
    pub(super) fn can_wait(&self) -> bool {
        matches!(self.plan.as_ref(), Plan::Sequence(plan) if plan.missing.iter().any(|m| m.place == Place::Trailing))
    }

    /// Lets time pass up to an event that does not concern this query.
    pub(super) fn pass_time(&mut self, record: &impl Record, out: &mut impl FnMut(&[Option<T>])) {
        if let Some(at) = Ordinal::of(record, self.order, 0) {
            self.advance(at.time, out);
        }
    }

    /// Tells that it is `now_ns` by event time although no event came: what waited for an event to be missing
    /// may be due.
    pub fn advance(&mut self, now_ns: i64, out: &mut impl FnMut(&[Option<T>])) {
        let pipes = &mut self.pipes;
        let mut piped = |found: &[Option<T>]| pass(pipes, found, out);
        match (&mut self.state, self.plan.as_ref()) {
            (Form::Sequence(state), Plan::Sequence(plan)) => state.advance(plan, now_ns, &mut piped),
            (Form::Sample(state), _) => state.advance(now_ns),
            (Form::Threshold(state), _) => state.advance(now_ns),
            _ => {}
        }
    }

    /// Ends the stream: nothing more comes, so what must be missing is, and `tail` knows its last.
    pub fn finish(&mut self, out: &mut impl FnMut(&[Option<T>])) {
        let pipes = &mut self.pipes;
        if let (Form::Sequence(state), Plan::Sequence(plan)) = (&mut self.state, self.plan.as_ref()) {
            state.finish(plan, &mut |found| pass(pipes, found, out));
        }
        for i in 0..self.pipes.len() {
            let Some(PipeState::Tail { last, .. }) = self.pipes.get_mut(i) else { continue };
            let flushed = std::mem::take(last);
            if let Some((_, after)) = self.pipes.split_at_mut_checked(i + 1) {
                flushed.iter().for_each(|found| pass(after, found, out));
            }
        }
    }

    /// What a new_terms rule has seen, for keeping over a restart: opaque keys, each with its last time.
    #[must_use]
    pub fn seen(&self) -> Vec<(Vec<u8>, i64)> {
        match &self.state {
            Form::NewTerms(state) => state.seen().map(|(key, time)| (key.to_vec(), time)).collect(),
            _ => Vec::new(),
        }
    }

    /// Gives a new_terms rule what it had seen. The history is known from `since_ns` on; until that covers the
    /// rule's window, new terms are learnt silently.
    pub fn seed(&mut self, since_ns: i64, seen: impl IntoIterator<Item = (Vec<u8>, i64)>) {
        if let (Form::NewTerms(state), Plan::NewTerms(plan)) = (&mut self.state, self.plan.as_ref()) {
            let keys = seen.into_iter().filter(|(key, _)| is_key(key));
            state.seed(since_ns, plan.history, keys);
        }
    }

    /// Until when a new_terms rule only learns, if it has begun.
    #[must_use]
    pub fn learning_until(&self) -> Option<i64> {
        match &self.state {
            Form::NewTerms(state) => state.learning_until(),
            _ => None,
        }
    }

    /// What the state holds and what it lost.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = match &self.state {
            Form::Event => Stats::default(),
            Form::Sequence(state) => state.stats(),
            Form::Sample(state) => state.stats(),
            Form::NewTerms(state) => state.stats(),
            Form::Threshold(state) => state.stats(),
        };
        Stats { late: self.late, ..stats }
    }
}

fn pass<T: Clone>(pipes: &mut [PipeState<T>], found: &[Option<T>], out: &mut impl FnMut(&[Option<T>])) {
    for pipe in pipes {
        match pipe {
            PipeState::Head { left: 0 } => return,
            PipeState::Head { left } => *left -= 1,
            PipeState::Tail { keep, last } => {
                last.push_back(found.to_vec());
                if u64::try_from(last.len()).unwrap_or(u64::MAX) > *keep {
                    last.pop_front();
                }
                return;
            }
        }
    }
    out(found);
}
