//! How long to wait before the next attempt.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// What a server may ask for at most.
const ASKED_MAX: Duration = Duration::from_secs(3600);

/// Attempts in vain since the last success.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// After a failure: twice as long each time, of which the second half is left to chance, so that many sensors do not
    /// come back as one; never less than the server asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let chance = RandomState::new().hash_one(self.attempts) % 1024;
        let wait = whole / 2 + whole.mul_f64(chance as f64 / 2048.0);
        asked.map_or(wait, |asked| asked.min(ASKED_MAX).max(wait))
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::default();
        for (attempt, whole) in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0].into_iter().enumerate() {
            let wait = backoff.next(None).as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&wait), "{attempt}: {wait}");
        }
        assert!(backoff.next(Some(Duration::from_secs(90))) == Duration::from_secs(90));
        assert_eq!(backoff.next(Some(Duration::from_secs(1 << 40))), ASKED_MAX);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff { attempts: 7 }.next(None)).collect();
        assert!(waits.len() > 5, "{waits:?}");
    }
}
