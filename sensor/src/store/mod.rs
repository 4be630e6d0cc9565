//! Events kept on this host: the log of an event store, written off the hot path.
//!
//! The hot path encodes an event into a buffer in memory and goes on; a thread commits the buffer once a second. What
//! does not fit is dropped, counted, and noted in the store as a gap. Sealing the log into files is the work of another
//! program, which the thread starts when there is something to seal: the sensor carries no query engine.

mod hunts;
mod keeper;
mod place;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sensor_ecs::{Action, Ecs, Event, EventMeta};
use sensor_eql::ProcessVersion;
use sensor_store::coverage::{Gap, Scope, Session};
use sensor_store::{Encoder, StoreError};
use serde::{Deserialize, Serialize};

use crate::confine::{self, Role};
use crate::sink::Report;
pub(crate) use hunts::{Hunter, Hunting};
use keeper::Keeper;
pub(crate) use keeper::Keeping;
use place::Place;

/// Encoded events that wait to be committed, in bytes: some seconds of a busy host.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// A buffer that is this full is committed before its time.
const EARLY_BYTES: usize = 2 << 20;
/// What kill -9 and the loss of power may take: the events of this time.
const COMMIT_TIME: Duration = Duration::from_secs(1);
/// How long an ending sensor waits for the thread.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Tells the same action in the documents of two integrations apart.
const ACTIONS_MAX: u8 = 16;
const _: () = assert!(Action::ALL.len() <= ACTIONS_MAX as usize);

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreTotals {
    /// In the log, durably.
    pub(crate) stored: u64,
    /// Not, because the log could not be written as fast, or at all.
    pub(crate) dropped: u64,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    count: u64,
    /// Events that the thread has taken and not yet committed.
    taken: u64,
    totals: StoreTotals,
    /// Why nothing can be stored now.
    trouble: Option<String>,
    /// Events that never came this far.
    lost: u64,
    /// From when on something else is recorded, and what.
    next: Vec<Session>,
    ending: bool,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
}

/// An open store and its thread.
pub(crate) struct Storing {
    shared: Arc<Shared>,
    encoder: Encoder,
    session: Session,
    thread: Option<JoinHandle<()>>,
}

/// Tells what became of the events of a store.
#[derive(Clone)]
pub(crate) struct StoreGauge(Arc<Shared>);

impl StoreGauge {
    /// So far.
    pub(crate) fn totals(&self) -> StoreTotals {
        lock(&self.0).totals
    }

    /// Why nothing can be stored now, if nothing can.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.0).trouble.clone()
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    // Nothing that holds the lock can leave it half-done: it only moves bytes and counts.
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Storing {
    /// Opens the store and starts the thread. `report` is called from it, rarely.
    ///
    /// # Errors
    ///
    /// When the store cannot be written, or a thread cannot be started.
    pub(crate) fn open(
        keeping: Keeping,
        agent: &str,
        scope: Scope,
        report: Report,
    ) -> Result<Self, StoreError> {
        let root = keeping.root.clone();
        let first_ns = now_ns();
        let session = Session { first_ns, last_ns: first_ns, agent: agent.to_owned(), scope };
        let place = Place::open(&root, session.clone())?;
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), done: Condvar::new() });
        let keeper = Keeper::new(keeping);
        let writer = Writer { shared: Arc::clone(&shared), place, keeper, report };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            let Keeping { root, within, program, .. } = writer.keeper.keeping().clone();
            confine::thread(&Role::Store { root: within.unwrap_or(root), program });
            writer.run();
        });
        let thread = thread.map_err(|cause| not_started(&root, &cause))?;
        Ok(Self { shared, encoder: Encoder::new(&Ecs), session, thread: Some(thread) })
    }

    /// Takes an event. Costs a lock that is held for the time of an append, and no allocation once the buffer has grown.
    /// `process` is whose it is, where others in the same state can come.
    pub(crate) fn event(&mut self, event: &Event<'_>, process: Option<ProcessVersion>) {
        let EventMeta { action, integration, .. } = event.meta;
        let kind = action as u8 + ACTIONS_MAX * integration as u8;
        // Each event of a process that is none on a file says that its state is another.
        let process = process.filter(|_| action.is_file()).map(|of| (of.process, of.version));
        let mut state = lock(&self.shared);
        let before = state.pending.len();
        let taken =
            self.encoder.append_of_kind(kind, process, |field| action.has(field), event, &mut state.pending);
        if taken.is_err() || state.pending.len() > PENDING_BYTES_MAX || state.ended {
            state.pending.truncate(before);
            state.totals.dropped += 1;
            return;
        }
        state.count += 1;
        if before < EARLY_BYTES && state.pending.len() >= EARLY_BYTES {
            self.shared.wake.notify_one();
        }
    }

    /// Notes that so many events never came this far.
    pub(crate) fn gap(&self, lost: u64) {
        lock(&self.shared).lost += lost;
    }

    /// From now on this is left out of what is recorded, in words.
    pub(crate) fn leaves_out(&mut self, left_out: Option<&str>) {
        let left_out: Vec<String> = left_out.into_iter().map(str::to_owned).collect();
        if left_out != self.session.scope.left_out {
            self.session.scope.left_out = left_out;
            self.session.first_ns = now_ns();
            self.session.last_ns = self.session.first_ns;
            lock(&self.shared).next.push(self.session.clone());
        }
    }

    /// Tells what became of the events, for as long as anybody wants to know.
    pub(crate) fn gauge(&self) -> StoreGauge {
        StoreGauge(Arc::clone(&self.shared))
    }

    /// Commits what waits and ends.
    pub(crate) fn close(mut self) -> StoreTotals {
        let mut state = lock(&self.shared);
        state.ending = true;
        self.shared.wake.notify_one();
        let deadline = Instant::now() + CLOSE_TIME_MAX;
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.totals.dropped += std::mem::take(&mut state.count) + std::mem::take(&mut state.taken);
                return state.totals;
            }
            (state, _) = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its own hook; the totals tell the rest.
            let _ = thread.join();
        }
        lock(&self.shared).totals
    }
}

fn not_started(root: &Path, cause: &io::Error) -> StoreError {
    StoreError { path: root.to_owned(), cause: format!("its thread cannot be started: {cause}") }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    place: Place,
    keeper: Keeper,
    report: Report,
}

impl Writer {
    fn run(mut self) {
        let (mut batch, mut count) = (Vec::new(), 0);
        let (mut noted, mut sessions) = (0, Vec::<Session>::new());
        loop {
            let (ending, missing) = {
                let mut state = lock(&self.shared);
                let deadline = Instant::now() + COMMIT_TIME;
                while !state.ending && state.pending.len() < EARLY_BYTES {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    (state, _) =
                        self.shared.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                }
                if batch.is_empty() {
                    std::mem::swap(&mut state.pending, &mut batch);
                    count = std::mem::take(&mut state.count);
                    state.taken = count;
                }
                sessions.append(&mut state.next);
                (state.ending && state.pending.is_empty(), state.totals.dropped + state.lost)
            };
            // What cannot be written is tried again.
            while let Some(session) = sessions.first()
                && self.place.start_session(session).is_ok()
            {
                sessions.remove(0);
            }
            let failed = self.store(&batch, count);
            if failed && !ending {
                // The batch is tried again; what comes meanwhile waits or is dropped.
                std::thread::sleep(COMMIT_TIME / 2);
                continue;
            }
            {
                let mut state = lock(&self.shared);
                // Who closes may have given up on them, and counted them already.
                let taken = std::mem::take(&mut state.taken);
                let totals = &mut state.totals;
                *(if failed { &mut totals.dropped } else { &mut totals.stored }) += taken;
            }
            batch.clear();
            count = 0;
            if missing > noted {
                let cause = "the kernel's ring, the sensor or the disk could not keep up".to_owned();
                let gap = Gap { time_ns: now_ns(), events: missing - noted, cause };
                // What cannot be written is tried again with the next; the totals tell in any case.
                if self.place.log(gap.time_ns).and_then(|log| log.gap(gap)).is_ok() {
                    noted = missing;
                }
            }
            if ending {
                break;
            }
        }
        if let Err(cause) = self.place.close(now_ns()) {
            (self.report)(&format!("the event store was not closed in order: {cause}"));
        }
        lock(&self.shared).ended = true;
        self.shared.done.notify_all();
    }

    /// Commits a batch and sees to what is to be sealed. Returns whether it failed.
    fn store(&mut self, batch: &[u8], count: u64) -> bool {
        let now_ns = now_ns();
        if self.place.let_go_if_gone() {
            let root = self.keeper.keeping().root.display();
            (self.report)(&format!(
                "the event store {root} was removed: what it held is gone; it is begun anew"
            ));
        }
        let done = self.place.log(now_ns).and_then(|log| log.commit(batch, count, now_ns));
        if let Err(cause) = done {
            let cause = cause.to_string();
            let before = lock(&self.shared).trouble.replace(cause.clone());
            if before.as_ref() != Some(&cause) {
                (self.report)(&format!("events cannot be stored: {cause}; trying again"));
            }
            return true;
        }
        let trouble = lock(&self.shared).trouble.take();
        if trouble.is_some() {
            (self.report)("events can be stored again");
        }
        let waiting =
            self.place.log(now_ns).and_then(|log| log.turn(now_ns)).map_err(|cause| cause.to_string());
        if let Err(text) = waiting.and_then(|waiting| self.keeper.tick(waiting)) {
            (self.report)(&text);
        }
        false
    }
}
