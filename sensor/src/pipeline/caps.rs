//! How many alerts a rule may raise in one of its intervals: a flood says nothing that its first hundred did not.

use sensor_eql::{LoadedRule, RuleIndex, RuleSet};

/// Signals of one rule.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Which of the rule's intervals, counted from the epoch.
    number: i64,
    raised: u32,
    held_back: u64,
    last_ns: i64,
}

/// Hits that were held back in an interval that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    pub(crate) rule: RuleIndex,
    pub(crate) count: u64,
    /// Time of the last of them.
    pub(crate) last_ns: i64,
}

/// Whether a hit becomes an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) admitted: bool,
    /// What the interval before, now over, held back.
    pub(crate) before: Option<HeldBack>,
}

/// The state of all rules.
#[derive(Debug, Default)]
pub(crate) struct Caps {
    windows: Vec<Window>,
}

impl Caps {
    /// Counts a hit at an event's time.
    pub(crate) fn admit(&mut self, index: RuleIndex, loaded: &LoadedRule, time_ns: i64) -> Admission {
        let at = usize::try_from(index.0).unwrap_or(usize::MAX);
        if at >= self.windows.len() {
            self.windows.resize(at.saturating_add(1), Window::default());
        }
        let Some(window) = self.windows.get_mut(at) else {
            return Admission { admitted: true, before: None };
        };
        let number = time_ns.div_euclid(loaded.rule.interval_ns.max(1));
        let mut before = None;
        if window.is_over_in(number) {
            before = window.close(index);
            window.number = number;
            window.raised = 0;
        }
        let admitted = window.raised < loaded.rule.max_signals;
        if admitted {
            window.raised += 1;
        } else {
            window.held_back += 1;
            window.last_ns = time_ns;
        }
        Admission { admitted, before }
    }

    /// Takes over what is counted of rules; `same` names the rule of the former set that a rule equals, if there is one.
    pub(crate) fn inherit(
        &mut self,
        former: &mut Self,
        rules: &RuleSet,
        same: impl Fn(RuleIndex) -> Option<RuleIndex>,
    ) {
        let mut window =
            |rule| former.windows.get_mut(usize::try_from(same(rule)?.0).ok()?).map(std::mem::take);
        self.windows = rules.indexed().map(|(rule, _)| window(rule).unwrap_or_default()).collect();
    }

    /// What intervals that are over at `now_ns` have held back.
    pub(crate) fn close_until(
        &mut self,
        now_ns: i64,
        rules: &[LoadedRule],
        close: &mut impl FnMut(HeldBack),
    ) {
        for ((at, window), loaded) in self.windows.iter_mut().enumerate().zip(rules) {
            let is_over = window.is_over_in(now_ns.div_euclid(loaded.rule.interval_ns.max(1)));
            if is_over && let Some(held_back) = window.close(RuleIndex(u32::try_from(at).unwrap_or(u32::MAX)))
            {
                close(held_back);
            }
        }
    }
}

impl Window {
    /// Records of other CPUs can be a little late: they count in the interval that has begun. Long before it is a clock
    /// that was set back, and the rule must not stay silent until it is what it was.
    fn is_over_in(&self, number: i64) -> bool {
        number > self.number || number < self.number.saturating_sub(1)
    }

    fn close(&mut self, rule: RuleIndex) -> Option<HeldBack> {
        let count = std::mem::take(&mut self.held_back);
        (count > 0).then_some(HeldBack { rule, count, last_ns: self.last_ns })
    }
}
