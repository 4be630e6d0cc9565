//! The two sides of a sink: the buffer that the hot path fills, and the thread that empties it.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Report, Totals, lock, until};

/// How long to wait before a failed write is tried again.
const RETRY_TIME: Duration = Duration::from_millis(500);
/// How long to wait for room in a pipe that does not wait by itself.
const FULL_PIPE_TIME: Duration = Duration::from_millis(5);
/// A buffer that a burst made larger than this is given back.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// Between the two sides.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something to write, or the end.
    wake: Condvar,
    /// The writer has ended, or has made progress.
    progress: Condvar,
    pending_bytes_max: usize,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// Where each record ends in `pending`: a record for people has several lines.
    pending_ends: Vec<usize>,
    /// Records that the writer has taken and not yet written.
    taken: u64,
    totals: Totals,
    waiting: bool,
    ending: bool,
    ended: bool,
    abandoned: bool,
}

impl Shared {
    pub(super) fn new(pending_bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), progress: Condvar::new(), pending_bytes_max }
    }

    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = lock(&self.state);
        let before = state.pending.len();
        write(&mut state.pending);
        state.pending.push(b'\n');
        if state.pending.len() > self.pending_bytes_max || state.ended {
            state.pending.truncate(before);
            state.totals.dropped_full += 1;
            return false;
        }
        let end = state.pending.len();
        state.pending_ends.push(end);
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.wake.notify_one();
        }
        true
    }

    pub(super) fn totals(&self) -> Totals {
        lock(&self.state).totals
    }

    /// Tells the writer to end. Returns whether it did.
    pub(super) fn finish(&self, patience: Duration) -> bool {
        let mut state = lock(&self.state);
        state.ending = true;
        self.wake.notify_one();
        let mut deadline = Instant::now() + patience;
        let mut seen = state.totals;
        while !state.ended {
            let left = until(deadline);
            if left.is_zero() {
                state.totals.dropped_failed += state.pending_ends.len() as u64 + state.taken;
                state.pending_ends.clear();
                state.taken = 0;
                state.abandoned = true;
                return false;
            }
            (state, _) = wait(&self.progress, state, left);
            if state.totals != seen {
                seen = state.totals;
                deadline = Instant::now() + patience;
            }
        }
        true
    }
}

fn wait<'a>(on: &Condvar, state: MutexGuard<'a, State>, time: Duration) -> (MutexGuard<'a, State>, bool) {
    let (state, result) = on.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
    (state, result.timed_out())
}

/// Says that writing began to fail and that it works again, each once.
struct Condition<'a> {
    name: &'a str,
    report: &'a Report,
    failing: bool,
}

impl Condition<'_> {
    fn failed(&mut self, cause: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            (self.report)(&format!(
                "cannot write to {}: {cause}; going on, lines that do not fit are counted",
                self.name
            ));
        }
    }

    fn worked(&mut self, totals: Totals) {
        if std::mem::replace(&mut self.failing, false) {
            (self.report)(&format!(
                "writing to {} works again; {} lines were lost",
                self.name,
                totals.dropped()
            ));
        }
    }
}

/// The writer's thread.
pub(super) fn run(shared: &Shared, mut output: impl Write, name: &str, report: &Report) {
    let mut condition = Condition { name, report, failing: false };
    let mut batch = Vec::new();
    let mut ends = Vec::new();
    loop {
        batch.clear();
        ends.clear();
        if batch.capacity() > KEEP_BYTES_MAX {
            (batch, ends) = (Vec::new(), Vec::new());
        }
        {
            let mut state = lock(&shared.state);
            while state.pending.is_empty() && !state.ending {
                state.waiting = true;
                state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.pending.is_empty() || state.abandoned {
                state.ended = true;
                shared.progress.notify_all();
                return;
            }
            std::mem::swap(&mut state.pending, &mut batch);
            std::mem::swap(&mut state.pending_ends, &mut ends);
            state.taken = ends.len() as u64;
        }
        write_batch(shared, &mut output, &batch, &ends, &mut condition);
    }
}

/// Writes all of it, waiting out a full disk. What is left when that is hopeless is counted.
fn write_batch(
    shared: &Shared,
    output: &mut impl Write,
    batch: &[u8],
    ends: &[usize],
    condition: &mut Condition<'_>,
) {
    let mut done = 0;
    while let Some(rest) = batch.get(done..).filter(|rest| !rest.is_empty()) {
        match output.write(rest).and_then(|bytes| output.flush().map(|()| bytes)) {
            Ok(0) => failed(shared, condition, &io::Error::from(io::ErrorKind::WriteZero)),
            Ok(bytes) => {
                done += bytes;
                let mut state = lock(&shared.state);
                if state.abandoned {
                    return;
                }
                let left = (ends.len() - ends.partition_point(|end| *end <= done)) as u64;
                state.totals.written += state.taken - left;
                state.taken = left;
                condition.worked(state.totals);
                shared.progress.notify_all();
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares the pipe with us has made it so; its reader is slow, not gone.
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(FULL_PIPE_TIME),
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                // What the reader has not read is lost with it, and another reader needs to begin at a line's start.
                condition.failed(&cause);
                let mut state = lock(&shared.state);
                state.totals.dropped_failed += std::mem::take(&mut state.taken);
                shared.progress.notify_all();
                return;
            }
            Err(cause) => failed(shared, condition, &cause),
        }
        let state = lock(&shared.state);
        if state.abandoned {
            return;
        }
    }
}

/// Waits before another attempt at the same bytes: no line is torn by a disk that was full for a while.
fn failed(shared: &Shared, condition: &mut Condition<'_>, cause: &io::Error) {
    condition.failed(cause);
    let deadline = Instant::now() + RETRY_TIME;
    let mut state = lock(&shared.state);
    while !state.abandoned && !until(deadline).is_zero() {
        (state, _) = wait(&shared.wake, state, until(deadline));
    }
}
