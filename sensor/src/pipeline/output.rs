//! What the pipeline hands on.

use std::sync::Arc;

use sensor_ecs::{Action, Event};
use sensor_eql::{LoadedRule, ProcessVersion};

use crate::enrich::View;

use super::exceptions::ExceptionIndex;
use super::source::LostByKind;

/// What is missing from the stream, each record once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// The lost events would have been between these two times.
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) lost: LostByKind,
    /// There may be more, which this kernel does not count.
    pub(crate) are_misses_uncounted: bool,
}

impl Gap {
    /// How many.
    pub(crate) fn total(&self) -> u64 {
        self.lost.iter().map(|lost| lost.total()).sum()
    }
}

/// An event that a rule matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) rule: &'a LoadedRule,
    /// With the paths of the view that matched.
    pub(crate) event: &'a Event<'a>,
    pub(crate) view: View,
}

/// What is kept of an event for an alert that may come of it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// As a document.
    pub(crate) bytes: Box<[u8]>,
    /// As people read it, if they do.
    pub(crate) text: Box<[u8]>,
    pub(crate) action: Action,
    pub(crate) time_ns: i64,
    /// `event.sequence`
    pub(crate) sequence: u64,
    /// The view in which it concerned a rule.
    pub(crate) view: View,
    /// Exceptions about rules on several events that it satisfies.
    pub(crate) satisfied: Box<[ExceptionIndex]>,
}

/// Events that a rule matched together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeveralHit<'a> {
    pub(crate) rule: &'a LoadedRule,
    /// In stage order; `None` stands for an event that had to be missing.
    pub(crate) events: &'a [Option<Arc<Kept>>],
    /// Records that were lost while an event had to be missing: it may be among them.
    pub(crate) lost_meanwhile: u64,
    /// The event that completed the match, unless time did.
    pub(crate) current: Option<&'a Event<'a>>,
}

/// Takes events and alerts. Called on the hot path: it must not wait.
pub(crate) trait Output {
    /// Every event, and whose it is: those of the same agree in every field of the process.
    fn event(&mut self, event: &Event<'_>, process: Option<ProcessVersion>);

    /// A hit within the rule's cap.
    fn alert(&mut self, hit: &Hit<'_>);

    /// What an alert will need of an event that may become part of one: its document, and what people read.
    fn keep(&self, event: &Event<'_>, view: View) -> (Box<[u8]>, Box<[u8]>);

    /// A hit of several events, or of a rule that remembers events, within the rule's cap.
    fn alert_of_several(&mut self, hit: &SeveralHit<'_>);

    /// What a rule's cap held back in an interval that is over; `event` is the last that it raised or held back.
    fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64);

    /// From now on this is left out of what is recorded, in words.
    fn leaves_out(&mut self, left_out: Option<&'static str>);

    /// Events are missing here.
    fn gap(&mut self, gap: &Gap);
}
