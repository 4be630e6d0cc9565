//! What the service manager is told: systemd's protocol, which others speak as well. Without one, nothing happens.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The line to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// How often it wants to hear that the loop turns; less than the half of what it waits.
    beat: Option<Duration>,
    last: Cell<Instant>,
}

impl Notifier {
    /// Asks the environment who wants to know.
    pub(crate) fn from_environment() -> Self {
        Self { beat: sd_notify::watchdog_enabled().map(|limit| limit / 3), last: Cell::new(Instant::now()) }
    }

    /// Everything that happens from now on is seen.
    pub(crate) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The loop has come round. Called by the loop alone: another thread would say so of a loop that hangs.
    pub(crate) fn alive(&self) {
        if let Some(beat) = self.beat
            && self.last.get().elapsed() >= beat
        {
            self.last.set(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
