//! What was seen, matched and lost, in one block at the end.

use std::fmt;

use sensor_common::wire::RecordKind;
use sensor_ecs::Action;
use sensor_eql::diag::printable;

use crate::enrich::EnrichStats;

use super::exceptions::Suppressed;
use super::several::SeveralTotals;
use super::source::{Lost, LostByKind};

/// Counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Events, in the order of [`Action::ALL`].
    events: [u64; Action::ALL.len()],
    /// Rule hits that no exception suppressed, those beyond a rule's cap included.
    pub(crate) matches: u64,
    /// Alerts handed to the output.
    pub(crate) alerts: u64,
    /// Hits beyond the cap of their rule.
    pub(crate) held_back: u64,
    /// Alerts that say how many were held back.
    pub(crate) notices: u64,
    /// Hits that exceptions suppressed.
    pub(crate) suppressed: Vec<Suppressed>,
    /// Events of processes whose image we had lost.
    pub(crate) degraded: u64,
    /// Records that were not what the wire types promise.
    pub(crate) undecodable: u64,
    /// Records from before all hooks were in place.
    pub(crate) early: u64,
    /// File records of our own doing.
    pub(crate) own: u64,
    /// What the kernel could not deliver; absent when its counters could not be read.
    pub(crate) lost: Option<LostByKind>,
    /// Gaps that the output was told of, and the records that are missing in them.
    pub(crate) gaps: u64,
    pub(crate) lost_in_gaps: u64,
    /// Programs may have been left out that the kernel does not count.
    pub(crate) are_misses_uncounted: bool,
    /// Records that neither arrived nor were counted as lost.
    pub(crate) unaccounted: u64,
    /// The state of rules that look at several events; absent when there is none.
    pub(crate) several: Option<SeveralTotals>,
    /// How often the process table had to be put right.
    pub(crate) enrich: EnrichStats,
}

impl Totals {
    /// Counts an event.
    pub(crate) fn count(&mut self, action: Action) {
        if let Some(at) = Action::ALL.iter().position(|known| *known == action)
            && let Some(count) = self.events.get_mut(at)
        {
            *count += 1;
        }
    }

    /// Events with this action.
    #[cfg(test)]
    pub(crate) fn events(&self, action: Action) -> u64 {
        self.by_action().find(|(known, _)| *known == action).map_or(0, |(_, count)| count)
    }

    /// Events by their action.
    pub(crate) fn by_action(&self) -> impl Iterator<Item = (Action, u64)> {
        Action::ALL.into_iter().zip(self.events)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events     {}", self.events.iter().sum::<u64>())?;
        // What a reader looks for stands there even when it is none.
        let always = [Action::Creation, Action::Rename, Action::Exec, Action::Fork, Action::End];
        let shown = self.by_action().filter(|(action, count)| *count > 0 || always.contains(action));
        write_list(f, shown.map(|(action, count)| (action.name(), count)))?;
        write!(f, "\nmatches    {}", self.matches)?;
        write_list(f, [("alerts", self.alerts), ("held back by max_signals", self.held_back)].into_iter())?;
        if self.notices > 0 {
            write!(f, ", notices of that {}", self.notices)?;
        }
        if !self.suppressed.is_empty() {
            write!(f, "\nsuppressed {}", self.suppressed.iter().map(|one| one.count).sum::<u64>())?;
            let named = self
                .suppressed
                .iter()
                .map(|one| (format!("{} ({})", printable(&one.exception), printable(&one.rule)), one.count));
            write_list(f, named)?;
        }
        if let Some(several) = &self.several {
            write!(f, "\nstate      {several}")?;
        }
        let enrich = &self.enrich;
        let odd = [
            ("events without their image", self.degraded),
            ("processes found late", enrich.discovered),
            ("execs repaired", enrich.repaired),
            ("processes evicted", enrich.evicted),
            ("undecodable records", self.undecodable),
            ("records before the start", self.early),
            ("own file records", self.own),
            ("records unaccounted for", self.unaccounted),
        ];
        if odd.iter().any(|(_, count)| *count > 0) {
            write!(f, "\nnoted      ")?;
            let mut separator = "";
            for (name, count) in odd.iter().filter(|(_, count)| *count > 0) {
                write!(f, "{separator}{name} {count}")?;
                separator = ", ";
            }
        }
        match self.lost {
            Some(lost) => {
                write!(f, "\nlost       {}", lost.iter().map(|lost| lost.total()).sum::<u64>())?;
                let by_kind =
                    RecordKind::ALL.iter().zip(lost).map(|(kind, lost)| (kind.name(), lost.total()));
                write_list(f, by_kind.filter(|(_, count)| *count > 0))?;
                write_reasons(f, &lost)?;
                if self.gaps > 0 {
                    write!(f, ", told in {} gaps", self.gaps)?;
                }
                if self.are_misses_uncounted {
                    f.write_str("; programs at breakpoints that did not run are not counted by this kernel")?;
                }
                Ok(())
            }
            None => write!(f, "\nlost       unknown: the kernel's counters could not be read"),
        }
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, lost: &LostByKind) -> fmt::Result {
    let sum = |reason: fn(&Lost) -> u64| lost.iter().map(reason).sum::<u64>();
    let reasons = [
        ("no room in the ring", sum(|lost| lost.ring_full)),
        ("no room to remember an operation", sum(|lost| lost.no_intent)),
        ("programs that did not run", sum(|lost| lost.missed)),
    ];
    let mut before = " (";
    for (reason, count) in reasons.into_iter().filter(|(_, count)| *count > 0) {
        write!(f, "{before}{reason} {count}")?;
        before = ", ";
    }
    if before == ", " { f.write_str(")") } else { Ok(()) }
}

/// `: a 1, b 2`, or nothing.
fn write_list(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = (impl fmt::Display, u64)>,
) -> fmt::Result {
    let mut separator = ": ";
    for (name, count) in items {
        write!(f, "{separator}{name} {count}")?;
        separator = ", ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_read_as_a_block() {
        let mut lost = LostByKind::default();
        lost[RecordKind::FileCreate.index()] = Lost { ring_full: 3, no_intent: 0, missed: 1 };
        lost[RecordKind::Exec.index()].ring_full = 1;
        let mut totals =
            Totals { matches: 3, alerts: 2, held_back: 1, lost: Some(lost), ..Totals::default() };
        totals.count(Action::Creation);
        totals.count(Action::Deletion);
        assert_eq!(
            totals.to_string(),
            "events     2: creation 1, rename 0, deletion 1, exec 0, fork 0, end 0\n\
             matches    3: alerts 2, held back by max_signals 1\n\
             lost       5: file_create 4, exec 1 (no room in the ring 4, programs that did not run 1)"
        );
        totals.several = Some(SeveralTotals { rules: 2, evicted: 5, late: 1, ..SeveralTotals::default() });
        assert!(totals.to_string().contains(
            "\nstate      rules on several events 2, keys held 0, bytes 0, expired 0, evicted 5, \
             combinations left out 0, late events 1\n"
        ));
        totals.undecodable = 7;
        totals.lost = None;
        assert!(totals.to_string().contains("\nnoted      undecodable records 7\nlost       unknown"));
    }
}
