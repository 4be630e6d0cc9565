//! Where lines end up: files and standard output, written off the hot path.
//!
//! The hot path appends a line to a buffer in memory and goes on; a thread of its own writes. When that thread cannot
//! keep up, lines are dropped and counted. When writing fails, that is reported once, tried again, and reported once
//! more when it works again.

mod alerts;
mod datagram;
mod journald;
mod open;
mod rotate;
mod summary;
mod syslog;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::confine::{self, Role};

pub(crate) use alerts::{AlertSinks, Recent};
pub(crate) use journald::Journald;
pub use open::OpenError;
pub use rotate::Rotation;
pub(crate) use rotate::{Output, RotatingFile};
use serde::{Deserialize, Serialize};
pub(crate) use summary::Summary;
pub(crate) use syslog::Syslog;
use writer::Shared;

/// Lines waiting to be written, in bytes. About ten thousand events: a second of a busy host.
pub const PENDING_BYTES_MAX: usize = 32 << 20;
/// How long an ending sensor waits for a writer that makes no progress.
pub const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, given as `-`.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(PathBuf::from(text)) })
    }
}

impl Target {
    /// Where files are begun anew.
    fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Stdout => None,
            Self::File(path) => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
                _ => Some(".".into()),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A target, and when it is begun anew if it is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where lines go.
    pub target: Target,
    /// When that is begun anew.
    pub rotation: Rotation,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Written.
    pub written: u64,
    /// Dropped because the writer could not keep up.
    pub dropped_full: u64,
    /// Dropped because writing failed for good: the reader of a pipe is gone, or the sensor ended first.
    pub dropped_failed: u64,
}

impl Totals {
    /// Every line that was not written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_failed
    }
}

/// Tells what became of a sink's records.
#[derive(Clone)]
pub(crate) struct Gauge(Arc<Shared>);

impl Gauge {
    /// So far.
    pub(crate) fn totals(&self) -> Totals {
        self.0.totals()
    }

    /// Why nothing can be written now, if nothing can.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }
}

/// What is said about a sink's state, for a person.
pub type Report = Box<dyn Fn(&str) + Send>;

/// An open target with its writer.
pub struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Opens the target and starts its writer. `report` is called from the writer's thread, rarely.
    ///
    /// # Errors
    ///
    /// When the target cannot be opened, or a thread cannot be started.
    pub fn open(place: &Place, report: Report) -> Result<Self, OpenError> {
        let output = open::open(place)?;
        let role = Role::Write(place.target.directory().into_iter().collect());
        Self::start(output, place.target.to_string(), role, PENDING_BYTES_MAX, report)
            .map_err(|cause| OpenError::thread(&place.target, cause))
    }

    /// Starts a writer for an output that is open; `name` is what reports call it, `role` what its thread may do.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn start(
        output: impl Output + 'static,
        name: String,
        role: Role,
        pending_bytes_max: usize,
        report: Report,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(pending_bytes_max));
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            confine::thread(&role);
            writer::run(&for_thread, output, &name, &report);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Appends one record, which `write` puts into the buffer without its last line end. Returns whether there was room.
    ///
    /// Costs a lock that is only ever held for the time of such an append, and no allocation once the buffer has
    /// grown to its working size.
    pub fn line(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.shared.append(write)
    }

    /// What became of the records so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// Tells what became of the records, for as long as anybody wants to know.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.shared))
    }

    /// Writes out what is waiting and stops. Gives up on a writer that makes no progress for [`FLUSH_TIME_MAX`];
    /// what it still had is then counted as dropped.
    #[must_use]
    pub fn close(mut self) -> Totals {
        self.finish(FLUSH_TIME_MAX)
    }

    fn finish(&mut self, patience: Duration) -> Totals {
        if let Some(thread) = self.thread.take()
            && self.shared.finish(patience)
        {
            // A panic of the writer has been reported by its own hook; the totals tell the rest.
            let _ = thread.join();
        }
        self.shared.totals()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.finish(FLUSH_TIME_MAX);
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that holds the lock can leave it half-done: it only moves bytes and counts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;
