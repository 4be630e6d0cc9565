//! The two sides of a sink: the buffer that the hot path fills, and the thread that empties it.

use std::io;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rotate::Output;
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
    /// Why nothing can be written now.
    trouble: Option<String>,
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

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.state).trouble.clone()
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
pub(super) fn run(shared: &Shared, mut output: impl Output, name: &str, report: &Report) {
    let mut condition = Condition { name, report, failing: false };
    let mut rotation_failing = false;
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
        let mut from = 0;
        let mut ends = ends.as_slice();
        while !ends.is_empty() {
            let next_bytes = ends.first().map_or(0, |end| (end - from) as u64);
            let room = room(&mut output, next_bytes, name, report, &mut rotation_failing);
            let fitting = ends.partition_point(|end| (end - from) as u64 <= room).max(1);
            let (now, later) = ends.split_at(fitting.min(ends.len()));
            let to = now.last().copied().unwrap_or(from);
            if !write_batch(shared, &mut output, &batch, from..to, now, &mut condition) {
                break;
            }
            (from, ends) = (to, later);
        }
    }
}

/// How much may be written before the output is asked again. An output that cannot be begun anew goes on growing.
fn room(output: &mut impl Output, next_bytes: u64, name: &str, report: &Report, failing: &mut bool) -> u64 {
    match output.room(next_bytes) {
        Ok(None) => u64::MAX,
        Ok(Some(room)) => {
            if std::mem::take(failing) {
                report(&format!("{name} could be begun anew again"));
            }
            room
        }
        Err(cause) => {
            if !std::mem::replace(failing, true) {
                report(&format!("{name} cannot be begun anew: {cause}; going on in the same file"));
            }
            u64::MAX
        }
    }
}

/// Writes all of `range`, in which records end at `ends`, waiting out a full disk. When that is hopeless, what is left
/// of the whole batch is counted, and it is `false`.
fn write_batch(
    shared: &Shared,
    output: &mut impl Output,
    batch: &[u8],
    range: Range<usize>,
    ends: &[usize],
    condition: &mut Condition<'_>,
) -> bool {
    let (mut done, mut left) = (range.start, ends.len() as u64);
    while let Some(rest) = batch.get(done..range.end).filter(|rest| !rest.is_empty()) {
        match output.write(rest).and_then(|bytes| output.flush().map(|()| bytes)) {
            Ok(0) => failed(shared, condition, &io::Error::from(io::ErrorKind::WriteZero)),
            Ok(bytes) => {
                done += bytes;
                let mut state = lock(&shared.state);
                if state.abandoned {
                    return false;
                }
                let still = (ends.len() - ends.partition_point(|end| *end <= done)) as u64;
                state.totals.written += left - still;
                state.taken -= left - still;
                left = still;
                state.trouble = None;
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
                state.trouble = Some(cause.to_string());
                state.totals.dropped_failed += std::mem::take(&mut state.taken);
                shared.progress.notify_all();
                return false;
            }
            Err(cause) => failed(shared, condition, &cause),
        }
        let state = lock(&shared.state);
        if state.abandoned {
            return false;
        }
    }
    true
}

/// Waits before another attempt at the same bytes: no line is torn by a disk that was full for a while.
fn failed(shared: &Shared, condition: &mut Condition<'_>, cause: &io::Error) {
    condition.failed(cause);
    let deadline = Instant::now() + RETRY_TIME;
    let mut state = lock(&shared.state);
    state.trouble = Some(cause.to_string());
    while !state.abandoned && !until(deadline).is_zero() {
        (state, _) = wait(&shared.wake, state, until(deadline));
    }
}
