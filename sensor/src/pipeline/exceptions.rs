//! What the user has said about matches that are nothing to him: looked at only after a rule has matched, and counted.

use std::collections::BTreeMap;

use sensor_ecs::Record;
use sensor_eql::{Compiled, Kind, RuleIndex, RuleSet, Selection};

/// An exception, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    pub(crate) name: String,
    /// The rules that it is about.
    pub(crate) rules: Selection,
    /// A query on single events.
    pub(crate) condition: Compiled,
}

/// Position of an exception in its [`Exceptions`].
pub(crate) type ExceptionIndex = u32;

/// All exceptions, with what they suppressed.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    all: Vec<Exception>,
    /// Those that are about a rule on several events.
    about_several: Vec<ExceptionIndex>,
    counts: BTreeMap<(ExceptionIndex, RuleIndex), u64>,
    /// What was suppressed before the last reload, by exception and rule.
    past: BTreeMap<(String, String), u64>,
    /// The position of the first one: what former ones said of events that are kept is nothing that these say.
    first: ExceptionIndex,
}

/// What an exception suppressed of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suppressed {
    pub(crate) exception: String,
    /// The rule's id.
    pub(crate) rule: String,
    pub(crate) count: u64,
}

impl Exceptions {
    /// Most of them; further ones are refused where they are read.
    pub(crate) const MAX: usize = u16::MAX as usize;

    pub(crate) fn new(all: Vec<Exception>, rules: &RuleSet) -> Self {
        let several = rules.select(|rule| rule.compiled.kind() != Kind::Event);
        let about_several =
            (0..).zip(&all).filter(|(_, one)| one.rules.meets(&several)).map(|(at, _)| at).collect();
        Self { all, about_several, ..Self::default() }
    }

    /// Goes on where those of before the reload end. `same` if they are the same ones.
    pub(crate) fn follow(&mut self, former: &mut Self, rules: &RuleSet, same: bool) {
        self.past = former.totals(rules);
        if same {
            self.shift(former.first);
        } else {
            self.shift(former.first.wrapping_add(u32::try_from(former.all.len()).unwrap_or(u32::MAX)));
        }
    }

    fn shift(&mut self, first: ExceptionIndex) {
        for at in &mut self.about_several {
            *at = at.wrapping_sub(self.first).wrapping_add(first);
        }
        self.first = first;
    }

    fn totals(&self, rules: &RuleSet) -> BTreeMap<(String, String), u64> {
        let mut totals = self.past.clone();
        for (&(at, rule), &count) in &self.counts {
            if let (Some(exception), Some(rule)) = (self.get(at), rules.get(rule)) {
                *totals.entry((exception.name.clone(), rule.rule.id.clone())).or_default() += count;
            }
        }
        totals
    }

    /// Looks at every exception for every event that is kept, whatever the rule: replay keeps what a rule matched, and
    /// nothing else.
    pub(crate) fn for_kept_events(mut self) -> Self {
        self.about_several = (self.first..).zip(&self.all).map(|(at, _)| at).collect();
        self
    }

    /// Whether one event's match is suppressed; counts it if so. `doubted` is the event as it may have been, if what
    /// is missing in it is missing because it was lost: what was lost excuses nobody.
    pub(crate) fn suppress(
        &mut self,
        rule: RuleIndex,
        event: &impl Record,
        doubted: Option<&impl Record>,
    ) -> bool {
        let found = (self.first..)
            .zip(&self.all)
            .find(|(_, one)| one.rules.contains(rule) && one.holds(event, doubted));
        let found = found.map(|(at, _)| at);
        self.counted(found, rule)
    }

    /// The exceptions about rules on several events that one of these satisfies.
    pub(crate) fn satisfied(
        &self,
        event: &impl Record,
        doubted: Option<&impl Record>,
    ) -> Box<[ExceptionIndex]> {
        let holds = |at: &ExceptionIndex| self.get(*at).is_some_and(|one| one.holds(event, doubted));
        self.about_several.iter().copied().filter(holds).collect()
    }

    /// Whether a match of several events is suppressed; counts it if so. Events of a sequence or sample belong
    /// together, so that what is said of one is said of all; those that a threshold counted have only their group in
    /// common, and each must be excepted.
    pub(crate) fn suppress_several<'s>(
        &mut self,
        rule: RuleIndex,
        kind: Kind,
        satisfied: impl Iterator<Item = &'s [ExceptionIndex]> + Clone,
    ) -> bool {
        let found = self.about_several.iter().copied().find(|at| {
            let mut each = satisfied.clone().map(|of_event| of_event.contains(at));
            let holds =
                if kind == Kind::Threshold { each.all(|holds| holds) } else { each.any(|holds| holds) };
            holds && self.get(*at).is_some_and(|one| one.rules.contains(rule))
        });
        self.counted(found, rule)
    }

    /// What was suppressed, by exception and rule.
    pub(crate) fn suppressed(&self, rules: &RuleSet) -> Vec<Suppressed> {
        let totals = self.totals(rules).into_iter();
        totals.map(|((exception, rule), count)| Suppressed { exception, rule, count }).collect()
    }

    fn get(&self, at: ExceptionIndex) -> Option<&Exception> {
        self.all.get(usize::try_from(at.wrapping_sub(self.first)).ok()?)
    }

    fn counted(&mut self, found: Option<ExceptionIndex>, rule: RuleIndex) -> bool {
        if let Some(at) = found {
            *self.counts.entry((at, rule)).or_default() += 1;
        }
        found.is_some()
    }
}

impl Exception {
    fn holds(&self, event: &impl Record, doubted: Option<&impl Record>) -> bool {
        self.condition.matches(event) && doubted.is_none_or(|doubted| self.condition.matches(doubted))
    }
}
