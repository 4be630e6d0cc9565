//! Kernel time to wall time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A change of the offset below this is measuring noise.
const STEP_NS: i64 = 1_000_000;

/// Nanoseconds between the boot clock, which stamps records, and the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BootClock {
    offset_ns: i64,
}

impl BootClock {
    /// As the clocks stand now.
    pub(crate) fn now() -> Self {
        // The reading between the two closest boot times is the least disturbed by preemption.
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..3 {
            let before = nanoseconds(clock_gettime(ClockId::Boottime));
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = nanoseconds(clock_gettime(ClockId::Boottime));
            let width = after.saturating_sub(before);
            if best.is_none_or(|(narrowest, _)| width < narrowest) {
                best = Some((width, wall.saturating_sub(before.saturating_add(width / 2))));
            }
        }
        Self { offset_ns: best.map_or(0, |(_, offset_ns)| offset_ns) }
    }

    /// A clock with a known offset, for replay.
    #[cfg(test)]
    pub(crate) const fn with_offset(offset_ns: i64) -> Self {
        Self { offset_ns }
    }

    /// Follows a step of the wall clock; says whether there was one.
    pub(crate) fn resync(&mut self) -> bool {
        let now = Self::now();
        let stepped = now.offset_ns.abs_diff(self.offset_ns) > STEP_NS.unsigned_abs();
        if stepped {
            *self = now;
        }
        stepped
    }

    /// Nanoseconds since the Unix epoch at a time of the boot clock.
    pub(crate) fn wall_ns(&self, boot_ns: u64) -> i64 {
        i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(self.offset_ns)
    }
}

/// The boot clock now, the clock of every record.
pub(crate) fn boot_ns_now() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_now_is_wall_time_now() {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ours = BootClock::now().wall_ns(boot_ns_now());
        let apart = i128::from(ours) - i128::try_from(wall.as_nanos()).unwrap();
        assert!(apart.abs() < 1_000_000_000, "{apart}");
    }

    #[test]
    fn a_steady_clock_has_no_step() {
        assert!(!BootClock::now().resync());
        assert!(BootClock::with_offset(0).resync());
    }
}
