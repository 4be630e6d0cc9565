//! When to look into the ring again without being called.
//!
//! The kernel side calls for the first record after a quiet time and then leaves the reader alone: it looks often while
//! there is something, and goes on doing so for longer than the kernel side may keep quiet.

use std::time::Duration;

use sensor_common::limits::WAKE_NS;

/// While records come.
const ACTIVE: Duration = Duration::from_millis(10);
/// Looks in vain until nothing seems to happen.
const LOOKS_IN_VAIN: u32 = 8;
/// While nothing happens: a record that was made but not handed over at the last look, since its program was
/// interrupted, does not call.
const IDLE: Duration = Duration::from_millis(250);

const _: () = assert!(ACTIVE.as_nanos() * LOOKS_IN_VAIN as u128 > WAKE_NS as u128 + ACTIVE.as_nanos());

/// How often the ring was empty.
#[derive(Debug, Default)]
pub(super) struct Pace {
    in_vain: u32,
}

impl Pace {
    /// How long to wait after a look that found `taken` records.
    pub(super) fn after(&mut self, taken: usize) -> Duration {
        self.in_vain = if taken > 0 { 0 } else { self.in_vain.saturating_add(1) };
        if self.in_vain < LOOKS_IN_VAIN { ACTIVE } else { IDLE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_often_until_it_has_looked_in_vain_for_long_enough() {
        let mut pace = Pace::default();
        let waits: Vec<_> = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].map(|taken| pace.after(taken)).into();
        let (active, idle) = (waits.iter().filter(|wait| **wait == ACTIVE), IDLE);
        assert_eq!(active.count(), 9);
        assert_eq!((waits[8], waits[9], waits[10]), (idle, idle, ACTIVE));
    }
}
