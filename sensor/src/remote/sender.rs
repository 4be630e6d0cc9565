//! The thread that empties a spool.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::dead::DeadLetters;
use super::{RemoteTotals, SECONDS, Shared};
use crate::sink::Report;
use crate::spool::Record;

/// Between two looks when nothing happens, and between two times of bringing the spool to the disk.
const ROUND: Duration = Duration::from_secs(1);

/// What an answer says about the documents of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This of each, in order.
    Each(Vec<Fate>),
    /// Nothing arrived, and may later; not before what the server asked for.
    Later { why: String, asked: Option<Duration> },
    /// The request as a whole was refused; parts of it may not be, unless it is one document.
    Smaller(String),
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrived,
    /// It was there already.
    Known,
    /// Not now.
    Later(String),
    /// Not now, and it takes somebody to change that: for this stream alone, perhaps.
    Denied(String),
    /// Never.
    Refused(String),
}

/// Where documents are sent.
pub(crate) trait Destination: Send {
    /// The place, fit for a log.
    fn shown(&self) -> String;

    /// Documents, and bytes, of one request.
    fn limits(&self) -> (usize, usize);

    /// Sends them. May be dropped before it is done.
    fn send(&mut self, records: &[Record]) -> impl Future<Output = Answer> + Send;
}

/// How often a document is sent, while others arrive, that the server has no time for: half a minute at least.
const BUSY_TRIES_MAX: u32 = 60;
/// The same of one for whose stream there is no right, or no place.
pub(super) const DENIED_TRIES_MAX: u32 = 3;
/// For so long others that are denied for the same reason are given up at once.
const GIVEN_UP_LASTS: Duration = Duration::from_secs(600);

/// How often each document that is left was sent while others arrived, by its number.
type Tries = BTreeMap<u64, u32>;

/// Why sending ended.
struct Ending;

pub(super) struct Sender<D> {
    name: &'static str,
    shared: Arc<Shared>,
    destination: D,
    dead: DeadLetters,
    report: Report,
    backoff: Backoff,
    /// Why documents were last given up that were denied while others arrived, and when.
    given_up: Option<(String, Instant)>,
}

impl<D: Destination> Sender<D> {
    pub(super) fn new(
        name: &'static str,
        shared: Arc<Shared>,
        destination: D,
        dead: DeadLetters,
        report: Report,
    ) -> Self {
        Self { name, shared, destination, dead, report, backoff: Backoff::default(), given_up: None }
    }

    /// Sends until the end is wanted and nothing waits, or it is time.
    pub(super) fn run(mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.send_all()),
            Err(cause) => (self.report)(&format!("{}: nothing can be sent: {cause}", self.name)),
        }
    }

    async fn send_all(&mut self) {
        let mut synced = Instant::now();
        loop {
            let (count_max, bytes_max) = self.destination.limits();
            let taken = self.shared.spool().take(count_max, bytes_max);
            let records = taken.unwrap_or_else(|cause| {
                self.trouble(&format!("the spool cannot be read: {cause}"));
                Vec::new()
            });
            if records.is_empty() {
                if self.shared.deadline().is_some() {
                    break;
                }
                let _ = tokio::time::timeout(ROUND, self.shared.wake.notified()).await;
                if synced.elapsed() >= ROUND {
                    self.sync();
                    synced = Instant::now();
                }
                continue;
            };
            let Ok(last) = self.deliver(records).await else { break };
            self.done(last);
            if synced.elapsed() >= ROUND {
                self.sync();
                synced = Instant::now();
            }
        }
        self.sync();
    }

    /// So far nothing has to be sent any more.
    fn done(&self, last: u64) {
        if let Err(cause) = self.shared.spool().done(last) {
            tracing::warn!("{}: how far everything arrived cannot be noted: {cause}", self.name);
        }
    }

    fn sync(&self) {
        if let Err(cause) = self.shared.spool().sync() {
            tracing::warn!("{}: the spool cannot be brought to the disk: {cause}", self.name);
        }
    }

    /// Sends these until each has arrived or is refused for good, and what comes behind them meanwhile. Returns the
    /// number of the last.
    async fn deliver(&mut self, records: Vec<Record>) -> Result<u64, Ending> {
        let mut last = records.last().map_or(0, |record| record.number);
        let mut tries = Tries::default();
        let mut parts = vec![records];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let answer = self.send(&part).await?;
            match answer {
                Answer::Each(fates) => {
                    self.count_request(begun.elapsed());
                    let arrived = fates.iter().any(|fate| matches!(fate, Fate::Arrived | Fate::Known));
                    if let Some((mut left, why)) = self.settle(part, fates, arrived, &mut tries) {
                        if arrived {
                            self.backoff.reset();
                        }
                        self.trouble(&why);
                        self.wait(None).await?;
                        // One that never goes must not keep those behind it; and if they go, it is not the server.
                        if parts.is_empty() {
                            if let Some(before) = left.first().and_then(|record| record.number.checked_sub(1))
                            {
                                self.done(before);
                            }
                            left.extend(self.more(&left));
                            last = left.last().map_or(last, |record| record.number.max(last));
                        }
                        parts.push(left);
                    } else {
                        self.backoff.reset();
                        self.works();
                    }
                }
                Answer::Later { why, asked } => {
                    self.shared.totals().requests_failed += 1;
                    self.trouble(&why);
                    parts.push(part);
                    self.wait(asked).await?;
                }
                Answer::Smaller(why) => {
                    self.shared.totals().requests_failed += 1;
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    if first.is_empty() {
                        second.iter().for_each(|record| self.bury(&why, record));
                    } else {
                        parts.extend([second, first]);
                    }
                }
            }
        }
        Ok(last)
    }

    /// What fits into a request beside these.
    fn more(&self, beside: &[Record]) -> Vec<Record> {
        let (count_max, bytes_max) = self.destination.limits();
        let bytes = beside.iter().map(|record| record.bytes.len()).sum();
        let taken =
            self.shared.spool().take(count_max.saturating_sub(beside.len()), bytes_max.saturating_sub(bytes));
        taken.unwrap_or_else(|cause| {
            self.trouble(&format!("the spool cannot be read: {cause}"));
            Vec::new()
        })
    }

    async fn send(&mut self, part: &[Record]) -> Result<Answer, Ending> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            answer = self.destination.send(part) => Ok(answer),
            () = out_of_time(&shared) => Err(Ending),
        }
    }

    /// What is left of the documents, and why; the rest is done with. Where others arrived, patience has an end.
    fn settle(
        &mut self,
        part: Vec<Record>,
        fates: Vec<Fate>,
        others_arrived: bool,
        tries: &mut Tries,
    ) -> Option<(Vec<Record>, String)> {
        let (mut left, mut reason) = (Vec::new(), None);
        for (record, fate) in part.into_iter().zip(fates) {
            let is_denied = matches!(fate, Fate::Denied(_));
            let tries_max = if is_denied { DENIED_TRIES_MAX } else { BUSY_TRIES_MAX };
            match fate {
                Fate::Arrived => self.shared.totals().delivered += 1,
                Fate::Known => {
                    let mut totals = self.shared.totals();
                    totals.delivered += 1;
                    totals.duplicates += 1;
                }
                Fate::Refused(why) => self.bury(&why, &record),
                Fate::Later(why) | Fate::Denied(why) => {
                    let tries = tries.entry(record.number).or_default();
                    *tries += u32::from(others_arrived);
                    if *tries >= tries_max || others_arrived && is_denied && self.was_given_up(&why) {
                        if is_denied {
                            self.given_up = Some((why.clone(), Instant::now()));
                        }
                        self.bury(&why, &record);
                    } else {
                        reason.get_or_insert(why);
                        left.push(record);
                    }
                }
            }
        }
        reason.map(|why| (left, why))
    }

    /// Whether another document was given up for the same reason, in these minutes.
    fn was_given_up(&self, why: &str) -> bool {
        let lasts = |since: &Instant| since.elapsed() < GIVEN_UP_LASTS;
        self.given_up.as_ref().is_some_and(|(given_up, since)| given_up == why && lasts(since))
    }

    fn bury(&mut self, why: &str, record: &Record) {
        let kept = self.dead.keep(why, &record.bytes);
        let (dead, lost) = {
            let mut totals = self.shared.totals();
            *(if kept.is_ok() { &mut totals.dead } else { &mut totals.dead_lost }) += 1;
            (totals.dead, totals.dead_lost)
        };
        let place = self.dead.path();
        match kept {
            // A mapping that does not fit says the same of every document.
            Ok(()) if dead.is_power_of_two() => (self.report)(&format!(
                "{}: {} refuses a document ({dead} so far), which is kept in {place}: {why}",
                self.name,
                self.destination.shown()
            )),
            Err(cause) if lost.is_power_of_two() => (self.report)(&format!(
                "{}: a document that was refused is lost ({lost} so far), {place}: {cause}",
                self.name
            )),
            _ => {}
        }
    }

    fn count_request(&self, time: Duration) {
        let mut totals = self.shared.totals();
        let RemoteTotals { requests, times, seconds, .. } = &mut *totals;
        *requests += 1;
        *seconds += time.as_secs_f64();
        let class = SECONDS.iter().position(|bound| time.as_secs_f64() <= *bound).unwrap_or(SECONDS.len());
        if let Some(count) = times.get_mut(class) {
            *count += 1;
        }
    }

    /// Tells of trouble when it begins, and when it becomes another one.
    fn trouble(&self, why: &str) {
        let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        let former = self.shared.totals().trouble.replace(why.to_owned());
        if former.is_none_or(|former| kind(&former) != kind(why)) {
            (self.report)(&format!(
                "{}: {} does not take documents, which wait in the spool: {why}",
                self.name,
                self.destination.shown()
            ));
        }
    }

    fn works(&self) {
        if self.shared.totals().trouble.take().is_some() {
            (self.report)(&format!("{}: {} takes documents again", self.name, self.destination.shown()));
        }
    }

    /// Waits before another attempt; an ending sensor makes none.
    async fn wait(&mut self, asked: Option<Duration>) -> Result<(), Ending> {
        let until = Instant::now() + self.backoff.next(asked);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.shared.deadline().is_some() {
                return Err(Ending);
            }
            if left.is_zero() {
                return Ok(());
            }
            // Woken by every new document too.
            let _ = tokio::time::timeout(left.min(ROUND), self.shared.wake.notified()).await;
            self.sync();
        }
    }
}

/// Returns when an ending sensor can wait no longer.
async fn out_of_time(shared: &Shared) {
    loop {
        let left = match shared.deadline() {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => ROUND,
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
    }
}
