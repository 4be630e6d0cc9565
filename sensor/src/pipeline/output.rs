//! What the pipeline hands on.

use sensor_ecs::Event;
use sensor_eql::LoadedRule;

/// Which of a file's names satisfied the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// As the acting process sees it.
    Task,
    /// As the host sees it, which differs for a process with another root.
    Host,
}

/// An event that a rule matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) rule: &'a LoadedRule,
    /// With the paths of the view that matched.
    pub(crate) event: &'a Event<'a>,
    pub(crate) view: View,
}

/// Takes events and alerts. Called on the hot path: it must not wait.
pub(crate) trait Output {
    /// Every event.
    fn event(&mut self, event: &Event<'_>);

    /// A hit within the rule's cap.
    fn alert(&mut self, hit: &Hit<'_>);

    /// What a rule's cap held back in an interval that is over; `event` is the last that it raised or held back.
    fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64);

    /// Called from time to time, and when nothing else waits.
    fn flush(&mut self) {}
}
