//! Whether an event that stayed missing may be one that was lost.

use std::collections::VecDeque;

use super::output::Gap;

/// Times with losses that are remembered one by one: as many minutes as gaps can fill one by one, and more.
const TIMES_MAX: usize = 1024;

/// A time in which records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time {
    start_ns: i64,
    end_ns: i64,
    lost: u64,
}

/// When records were lost.
#[derive(Debug, Default)]
pub(super) struct Absence {
    times: VecDeque<Time>,
}

impl Absence {
    /// Takes note of a gap. Beyond the bound, the oldest two become one: then more is doubted than need be.
    pub(super) fn add(&mut self, gap: &Gap) {
        self.times.push_back(Time { start_ns: gap.start_ns, end_ns: gap.end_ns, lost: gap.total() });
        if self.times.len() > TIMES_MAX
            && let Some(oldest) = self.times.pop_front()
            && let Some(next) = self.times.front_mut()
        {
            next.start_ns = next.start_ns.min(oldest.start_ns);
            next.end_ns = next.end_ns.max(oldest.end_ns);
            next.lost += oldest.lost;
        }
    }

    /// Records that were lost within these times, or around them.
    pub(super) fn lost_between(&self, start_ns: i64, end_ns: i64) -> u64 {
        let within = |time: &&Time| time.start_ns <= end_ns && time.end_ns >= start_ns;
        self.times.iter().filter(within).map(|time| time.lost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Lost;
    use sensor_common::wire::RecordKind;

    fn gap(start_ns: i64, end_ns: i64, ring_full: u64) -> Gap {
        let mut lost = [Lost::default(); RecordKind::ALL.len()];
        lost[0].ring_full = ring_full;
        Gap { start_ns, end_ns, lost, are_misses_uncounted: false }
    }

    #[test]
    fn only_what_was_lost_meanwhile_counts() {
        let mut absence = Absence::default();
        absence.add(&gap(10, 20, 3));
        absence.add(&gap(30, 40, 5));
        assert_eq!(absence.lost_between(0, 9), 0);
        assert_eq!(absence.lost_between(21, 29), 0);
        assert_eq!(absence.lost_between(15, 16), 3);
        assert_eq!(absence.lost_between(20, 30), 8);
    }

    #[test]
    fn the_oldest_become_one_and_are_never_forgotten() {
        let mut absence = Absence::default();
        (0..3 * TIMES_MAX as i64).for_each(|at| absence.add(&gap(10 * at, 10 * at + 1, 1)));
        assert_eq!(absence.times.len(), TIMES_MAX);
        assert_eq!(absence.lost_between(0, i64::MAX), 3 * TIMES_MAX as u64);
        assert!(absence.lost_between(0, 0) >= 1);
    }
}
