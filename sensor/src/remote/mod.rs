//! Outputs on other machines: documents wait in a spool on disk until they have arrived.
//!
//! The hot path hands a line to a [`Sink`], whose thread puts it into the spool; another thread takes it out and sends
//! it, at least once. Ids of documents are stable, so that what arrives twice is one document. What the destination
//! refuses for good is kept in a file of dead letters, with the reason.

mod backoff;
mod bulk;
mod dead;
mod http;
mod sender;
#[cfg(test)]
mod tests;
mod webhook;

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::confine::{self, Role};
use crate::sink::{Output, PENDING_BYTES_MAX, Report, Sink, Totals};
use crate::spool::{Spool, SpoolTotals};

pub(crate) use bulk::Bulk;
pub(crate) use http::{Access, Endpoint, Secret, address};
use sender::{Destination, Sender};
pub(crate) use webhook::Webhook;

/// Below the state directory.
const SPOOLS: &str = "spool";
/// Below it too: what was refused.
const DEAD_LETTERS: &str = "dead-letters";
/// How long an ending sensor goes on sending.
const LAST_SENDING: Duration = Duration::from_secs(3);
/// Upper bounds of the classes in which requests are counted by their time, in seconds.
pub(crate) const SECONDS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What became of the documents on their way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteTotals {
    /// Arrived.
    pub(crate) delivered: u64,
    /// Of those, had arrived before.
    pub(crate) duplicates: u64,
    /// Refused, and kept as dead letters.
    pub(crate) dead: u64,
    /// Refused, and not even to be kept.
    pub(crate) dead_lost: u64,
    /// Requests that were answered in full, and those that were not.
    pub(crate) requests: u64,
    pub(crate) requests_failed: u64,
    /// Answered requests by their time, in the classes of [`SECONDS`] and one beyond; and all their time.
    pub(crate) times: [u64; SECONDS.len() + 1],
    pub(crate) seconds: f64,
    /// What is in the way now.
    pub(crate) trouble: Option<String>,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) dropped_full: u64,
    pub(crate) dropped_large: u64,
    pub(crate) damaged: u64,
}

/// Between the threads.
pub(crate) struct Shared {
    spool: Mutex<Spool>,
    totals: Mutex<RemoteTotals>,
    /// The spool has something new, or it is time to end.
    wake: Notify,
    ending: Mutex<Option<Instant>>,
}

impl Shared {
    fn spool(&self) -> MutexGuard<'_, Spool> {
        // Nothing that holds the lock can leave it half-done: a spool survives being killed.
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> MutexGuard<'_, RemoteTotals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to end, once somebody wants it.
    fn deadline(&self) -> Option<Instant> {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits in the spool.
    pub(crate) fn waiting(&self) -> Waiting {
        let spool = self.spool();
        let SpoolTotals { dropped_full, dropped_large, damaged, .. } = spool.totals();
        let (bytes, bytes_max) = spool.bytes();
        Waiting { documents: spool.waiting(), bytes, bytes_max, dropped_full, dropped_large, damaged }
    }

    /// What became of the rest.
    pub(crate) fn sent(&self) -> RemoteTotals {
        self.totals().clone()
    }
}

/// The end of a sink's way that leads into a spool.
struct Taking(Arc<Shared>);

impl Write for Taking {
    /// Takes whole lines, for each of which a record is made; a failure takes none beyond those before.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut spool = self.0.spool();
        let mut taken = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let record = line.strip_suffix(b"\n").unwrap_or(line);
            if !record.is_empty() {
                match spool.append(record) {
                    Ok(_) => {}
                    Err(_) if taken > 0 => break,
                    Err(cause) => return Err(cause),
                }
            }
            taken += line.len();
        }
        drop(spool);
        self.0.wake.notify_one();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Taking {}

/// An output on another machine.
pub(crate) struct Remote {
    /// Where the hot path puts lines.
    pub(crate) sink: Arc<Sink>,
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a remote output is made of.
pub(crate) struct Plan<'p> {
    /// Names its folder, its file of dead letters, its metrics.
    pub(crate) name: &'static str,
    pub(crate) state_directory: &'p Path,
    pub(crate) spool_bytes: u64,
}

impl Remote {
    /// Opens the spool and starts the threads. `report` makes what tells a person of troubles.
    ///
    /// # Errors
    ///
    /// When the spool cannot be used, or a thread cannot be started.
    pub(crate) fn open(
        plan: &Plan<'_>,
        destination: impl Destination + 'static,
        report: impl Fn() -> Report,
    ) -> anyhow::Result<Self> {
        let folder = plan.state_directory.join(SPOOLS).join(plan.name);
        let (spool, note) = Spool::open(&folder, plan.spool_bytes)?;
        if let Some(note) = note {
            report()(&note);
        }
        let shared = Arc::new(Shared {
            spool: Mutex::new(spool),
            totals: Mutex::default(),
            wake: Notify::new(),
            ending: Mutex::new(None),
        });
        let dead = plan.state_directory.join(DEAD_LETTERS).join(format!("{}.ndjson", plan.name));
        // Before its thread is held to these folders.
        let letters = plan.state_directory.join(DEAD_LETTERS);
        DirBuilder::new().recursive(true).mode(0o700).create(&letters).context("dead letters")?;
        let role = Role::Send(vec![folder.clone(), letters]);
        let sender =
            Sender::new(plan.name, Arc::clone(&shared), destination, dead::DeadLetters::new(dead), report());
        let thread = std::thread::Builder::new().name("sender".to_owned()).spawn(move || {
            confine::thread(&role);
            sender.run();
        })?;
        let name = format!("the spool {}", folder.display());
        let sink = Sink::start(
            Taking(Arc::clone(&shared)),
            name,
            Role::Write(vec![folder]),
            PENDING_BYTES_MAX,
            report(),
        )?;
        Ok(Self { sink: Arc::new(sink), shared, thread: Some(thread) })
    }

    /// Puts what is in memory into the spool and sends on for a moment; the rest waits for the next run.
    pub(crate) fn close(mut self) -> Totals {
        let totals = match Arc::try_unwrap(self.sink) {
            Ok(sink) => sink.close(),
            Err(shared) => shared.totals(),
        };
        let deadline = Instant::now() + LAST_SENDING;
        *self.shared.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends by the deadline; a panic has been reported by its own hook.
            let _ = thread.join();
        }
        totals
    }
}
