//! Records to alerts: one loop over a closed set of inputs.

mod absence;
mod busiest;
mod caps;
mod engine;
mod exceptions;
mod follow;
mod losses;
mod matcher;
mod output;
mod pace;
mod reach;
mod scan;
mod several;
mod source;
mod streams;
#[cfg(test)]
mod tests;
mod totals;
mod urgency;
mod vitals;

use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) use caps::Caps;
pub(crate) use engine::{Engine, NextRules, Swap};
pub(crate) use exceptions::{Exception, Exceptions};
pub(crate) use matcher::is_in_container;
pub(crate) use output::{Gap, Hit, Kept, Output, SeveralHit};
pub(crate) use reach::Reach;
pub(crate) use source::{Counted, Lost, RecordSource};
pub(crate) use streams::Streams;
pub(crate) use totals::Totals;
pub(crate) use urgency::urgent_kinds;
pub(crate) use vitals::{Board, SECONDS, Vitals};

use pace::Pace;
use scan::Scan;

/// Between two rounds of housekeeping.
const ROUND: Duration = Duration::from_secs(1);
/// Records between two looks at the other inputs.
const RECORDS_PER_TURN: usize = 4096;
/// A scan of `/proc` that takes longer goes on without us.
const SCAN_MAX: Duration = Duration::from_secs(10);

/// Everything that can happen to the loop.
enum Input {
    /// The ring has records, or may have.
    Records,
    /// `/proc` has been read, or has taken too long.
    Scanned { complete: bool },
    /// Something was mounted or unmounted.
    Mounts,
    /// Time has passed.
    Tick,
    /// Other rules, ready to run.
    Swap,
    /// Somebody wants us to end.
    Stop,
}

/// How the loop is spoken with from outside.
pub(crate) struct Lines<'l, F> {
    /// Where it says how it fares.
    pub(crate) board: &'l Board,
    /// Other rules, ready to run.
    pub(crate) swaps: mpsc::Receiver<Swap<F>>,
}

/// Runs until `stop` is ready; `ready` is called once, when every event from then on will be seen, and `alive` in each
/// round, about once a second, for as long as the loop turns. Drains the ring at the end, and hands the output back.
///
/// # Errors
///
/// When the ring cannot be waited for.
pub(crate) async fn run<S: RecordSource, O: Output>(
    source: &mut S,
    mut engine: Engine<O>,
    proc_root: PathBuf,
    mut lines: Lines<'_, S::Filter>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&Engine<O>),
    mut alive: impl FnMut(),
) -> io::Result<(Totals, O)> {
    let ring = watch(source.fd(), Interest::READABLE)?;
    let mounts = engine.mounts_watch().and_then(|fd| {
        let failed = |error: &io::Error| tracing::warn!("changes of mounts cannot be waited for: {error}");
        watch(fd, Interest::PRIORITY).inspect_err(failed).ok()
    });
    let mut scan = Scan::start(proc_root)?;
    let scan_deadline = Instant::now() + SCAN_MAX;
    let mut ready = Some(ready);
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    let mut next_look = Instant::now();
    let mut more_wait = false;
    let mut swap = None;
    let mut is_loss_unknown = false;
    tokio::pin!(stop);

    loop {
        let input = tokio::select! {
            biased;
            () = &mut stop => Input::Stop,
            () = scan.done(), if engine.is_scanning() => Input::Scanned { complete: true },
            () = tokio::time::sleep_until(scan_deadline), if engine.is_scanning() => Input::Scanned { complete: false },
            // Before the records that may tell of files below it.
            () = changed(mounts.as_ref()) => Input::Mounts,
            _ = rounds.tick() => Input::Tick,
            Some(wanted) = lines.swaps.recv(), if !engine.is_scanning() => {
                swap = Some(wanted);
                Input::Swap
            }
            () = std::future::ready(()), if more_wait => Input::Records,
            () = tokio::time::sleep_until(next_look) => Input::Records,
            readiness = ring.readable(), if engine.wants_records() => {
                // Cleared before reading: what comes meanwhile makes it ready again.
                readiness?.clear_ready();
                Input::Records
            }
        };
        match input {
            Input::Records => {
                let taken = drain(source, &mut engine, RECORDS_PER_TURN);
                more_wait = taken == RECORDS_PER_TURN;
                next_look = Instant::now() + pace.after(taken);
            }
            Input::Scanned { complete } => {
                if !complete {
                    tracing::warn!("a process keeps /proc from being read; what was read so far must do");
                }
                engine.scanned(scan.take());
                more_wait = true;
                if let Some(ready) = ready.take() {
                    // Who asks as soon as it is said hears the same.
                    lines
                        .board
                        .publish(engine.vitals(counted(source, &mut is_loss_unknown).as_ref(), lines.board));
                    ready(&engine);
                }
            }
            Input::Mounts => {
                source.mounts_changed();
                engine.mounts_changed();
            }
            Input::Tick => {
                more_wait = drain(source, &mut engine, RECORDS_PER_TURN) == RECORDS_PER_TURN;
                source.tick();
                engine.set_switched_off(source.switched_off());
                // While records wait, what was lost lies behind them: the holes that it left will tell where.
                let counted = counted(source, &mut is_loss_unknown);
                if !more_wait && let Some(counted) = &counted {
                    engine.compare(counted);
                }
                engine.tick(more_wait);
                lines.board.publish(engine.vitals(counted.as_ref(), lines.board));
                alive();
            }
            Input::Swap => {
                if let Some(Swap { filter, rules, answer }) = swap.take() {
                    // Should the kernel not take the filter, everything is as it was.
                    let done = source.refilter(filter).map(|()| engine.swap(rules));
                    answer(done);
                }
            }
            Input::Stop => break,
        }
    }
    source.detach();
    if engine.is_scanning() {
        engine.scanned(scan.take());
    }
    while drain(source, &mut engine, RECORDS_PER_TURN) > 0 {}
    source.tick();
    Ok(engine.finish(counted(source, &mut is_loss_unknown)))
}

/// What was lost; said once if it cannot be read.
fn counted(source: &mut impl RecordSource, is_unknown: &mut bool) -> Option<Counted> {
    let counted = source.counted();
    if let (Err(error), false) = (&counted, *is_unknown) {
        tracing::warn!("losses cannot be read: {error}");
    }
    *is_unknown = counted.is_err();
    counted.ok()
}

/// Waits for the list of mounts to change; for ever if it cannot be watched.
async fn changed(mounts: Option<&AsyncFd<OwnedFd>>) {
    match mounts {
        Some(mounts) => match mounts.ready(Interest::PRIORITY).await {
            Ok(mut readiness) => readiness.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Waits through a descriptor of its own.
#[expect(
    deprecated,
    reason = "an owned descriptor is all the safety that the unsafe replacement asks its caller for"
)]
fn watch(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd.try_clone_to_owned()?, interest)
}

/// Takes up to `most` records; says how many there were.
fn drain<O: Output>(source: &mut impl RecordSource, engine: &mut Engine<O>, most: usize) -> usize {
    let mut taken = 0;
    while taken < most && engine.wants_records() && source.next_record(&mut |bytes| engine.record(bytes)) {
        taken += 1;
        if let Some((processes, until_ns)) = engine.take_followed() {
            source.follow(&processes, until_ns);
        }
    }
    engine.looked();
    taken
}
