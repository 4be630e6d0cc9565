//! One record after the other: decode, enrich, match, hand on.
//!
//! Until the scan of `/proc` is through, records are kept as they are: what they say must be applied to a table that
//! knows the processes which were there before.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;

use sensor_common::wire::{RecordHeader, RecordKind};
use sensor_eql::RuleSet;

use crate::decode::{Wire, decode};
use crate::enrich::{Enricher, ProcFacts, Tree, boot_ns_now};
use crate::memory::{Keeper, Remembered};

use super::busiest::Busiest;
use super::exceptions::Exceptions;
use super::follow::Following;
use super::losses::{Hole, Losses};
use super::matcher::Matcher;
use super::output::{Gap, Output};
use super::several::Several;
use super::source::{Counted, Lost};
use super::streams::Streams;
use super::totals::Totals;
use super::vitals::{Board, Delays, ProcessTable, Tally, Vitals};

/// Bytes of records that are kept while `/proc` is read; beyond it they wait in the ring.
const HELD_BYTES_MAX: usize = 64 << 20;
/// How old a record may be when it is read although none waits longer: it is made before it is sent.
const UNDER_WAY_NS: i64 = 1_000_000_000;

/// How often what rules remember is written: what a crash can cost.
const KEEP_EACH_NS: u64 = 300_000_000_000;

/// Where a run stands.
#[derive(Debug)]
enum Phase {
    /// Records wait for the scan.
    Scanning { held: Vec<Bytes>, held_bytes: usize },
    /// Records are processed as they come.
    Running,
}

/// The hot path.
#[derive(Debug)]
pub(crate) struct Engine<O> {
    enricher: Enricher,
    pub(super) matcher: Matcher<O>,
    phase: Phase,
    losses: Losses,
    /// What keeps records from being made at all.
    switched_off: Vec<&'static str>,
    following: Following,
    own_pid: u32,
    pub(super) since_ns: u64,
    /// Writes what rules remember; absent when none does.
    keeper: Option<Keeper>,
    kept_boot_ns: u64,
    /// When the oldest record of this look into the ring was made.
    oldest_ns: Option<u64>,
    delays: Delays,
}

/// Other rules, ready to run, and what they ask of the kernel.
pub(crate) struct Swap<F> {
    pub(crate) filter: F,
    pub(crate) rules: NextRules,
    /// Hears how it went.
    pub(crate) answer: Box<dyn FnOnce(io::Result<()>) + Send>,
}

/// Other rules, ready to run.
pub(crate) struct NextRules {
    pub(crate) rules: RuleSet,
    pub(crate) exceptions: Exceptions,
    /// Whether these are the ones of before.
    pub(crate) same_exceptions: bool,
    /// What rules on new terms had seen.
    pub(crate) memories: Vec<Remembered>,
    pub(crate) keeper: Option<Keeper>,
    /// What is not recorded, in words.
    pub(crate) left_out: Option<&'static str>,
}

impl<O: Output> Engine<O> {
    /// `since_ns` is when every hook was in place, on the boot clock. What some of them said before that is a half of
    /// the truth whose whole `/proc` will tell.
    pub(crate) fn new(
        enricher: Enricher,
        rules: RuleSet,
        exceptions: Exceptions,
        output: O,
        since_ns: u64,
        streams: Streams,
    ) -> Self {
        let matcher = Matcher::new(rules, exceptions, output, streams);
        Self {
            enricher,
            matcher,
            phase: Phase::Scanning { held: Vec::new(), held_bytes: 0 },
            losses: Losses::since(since_ns),
            switched_off: Vec::new(),
            following: Following::new(0),
            own_pid: std::process::id(),
            since_ns,
            keeper: None,
            kept_boot_ns: since_ns,
            oldest_ns: None,
            delays: Delays::default(),
        }
    }

    /// Gives rules on new terms back what they had seen, before the first record, and has what they will have seen
    /// kept.
    pub(crate) fn remember(&mut self, memories: Vec<Remembered>, keeper: Option<Keeper>) {
        let Matcher { rules, several, .. } = &mut self.matcher;
        if let Some(several) = several {
            memories.into_iter().for_each(|memory| several.remember(rules, memory));
        }
        self.keeper = keeper;
    }

    /// Has everything recorded that the process tree of an alert does for so long.
    pub(crate) fn follow_for(&mut self, seconds: u32) {
        self.following = Following::new(u64::from(seconds) * 1_000_000_000);
    }

    /// Processes of which everything is wanted from now on, and until when on the boot clock.
    pub(super) fn take_followed(&mut self) -> Option<(Vec<u32>, u64)> {
        let followed = self.following.take()?;
        Some((self.enricher.processes_of(followed.tree), followed.until_ns))
    }

    fn remembered(&mut self) -> Vec<Remembered> {
        let Matcher { rules, several, .. } = &mut self.matcher;
        several.as_mut().map_or_else(Vec::new, |several| several.remembered(rules))
    }

    /// Whether more records can be taken.
    pub(crate) fn wants_records(&self) -> bool {
        match &self.phase {
            Phase::Scanning { held_bytes, .. } => *held_bytes < HELD_BYTES_MAX,
            Phase::Running => true,
        }
    }

    /// Whether the scan of `/proc` is still awaited.
    pub(crate) fn is_scanning(&self) -> bool {
        matches!(self.phase, Phase::Scanning { .. })
    }

    pub(crate) fn output(&self) -> &O {
        &self.matcher.output
    }

    pub(crate) fn rules(&self) -> &RuleSet {
        &self.matcher.rules
    }

    /// Processes that are known.
    pub(crate) fn processes(&self) -> usize {
        self.enricher.processes()
    }

    /// Has `POLLPRI` when [`Self::mounts_changed`] is due.
    pub(crate) fn mounts_watch(&self) -> Option<BorrowedFd<'_>> {
        self.enricher.mounts_watch()
    }

    /// Something was mounted or unmounted.
    pub(crate) fn mounts_changed(&mut self) {
        self.enricher.mounts_changed();
    }

    /// Records that went elsewhere: they are not lost.
    pub(crate) fn went_elsewhere(&mut self, headers: &[RecordHeader]) {
        for header in headers {
            if let Some(kind) = RecordKind::from_raw(header.kind) {
                self.losses.went_elsewhere(kind, header);
            }
        }
    }

    /// Goes on with other rules. What the ones that stay as they are remember, they remember still.
    pub(crate) fn swap(&mut self, next: NextRules) {
        let NextRules { rules, exceptions, same_exceptions, mut memories, keeper, left_out } = next;
        let former = self.remembered();
        let was_there = |id: &str, rules: &RuleSet| rules.rules().iter().any(|loaded| loaded.rule.id == id);
        memories.retain(|memory| !was_there(&memory.rule, &self.matcher.rules));
        if let (Some(keeper), true) = (&self.keeper, !former.is_empty()) {
            keeper.keep(former);
        }
        self.matcher.swap(rules, exceptions, same_exceptions);
        self.matcher.output.leaves_out(left_out);
        self.remember(memories, keeper);
    }

    /// A look into the ring is over.
    pub(crate) fn looked(&mut self) {
        if let Some(oldest_ns) = self.oldest_ns.take() {
            self.delays.count(boot_ns_now().saturating_sub(oldest_ns));
        }
    }

    /// How it fares; `counted` is what the kernel side has counted, if that is known.
    pub(crate) fn vitals(&mut self, counted: Option<&Counted>, board: &Board) -> Vitals {
        let boot_ns = boot_ns_now();
        let busiest = self.matcher.busiest.as_mut().map(Busiest::take).unwrap_or_default();
        if board.is_watched(boot_ns) != self.matcher.busiest.is_some() {
            self.matcher.busiest = board.is_watched(boot_ns).then(Busiest::default);
        }
        let by_reason = |(kind, lost): (&RecordKind, Lost)| {
            [("ring_full", lost.ring_full), ("no_intent", lost.no_intent), ("missed", lost.missed)]
                .map(|(reason, count)| Tally { of: kind.name().to_owned(), reason: reason.to_owned(), count })
        };
        let stats = self.enricher.stats();
        let totals = &self.matcher.totals;
        Vitals {
            ready: !self.is_scanning(),
            boot_ns,
            events: totals.by_action().map(|(action, count)| (action.name().to_owned(), count)).collect(),
            lost: counted
                .map(|counted| RecordKind::ALL.iter().zip(counted.lost).flat_map(by_reason).collect()),
            matches: self.matcher.counts.iter().map(|[matches, _]| *matches).collect(),
            rules: Arc::clone(&self.matcher.names),
            alerts: totals.alerts,
            suppressed: self.matcher.suppressed(),
            degraded: totals.degraded,
            undecodable: totals.undecodable,
            gaps: totals.gaps,
            unaccounted: counted.map_or(0, |counted| self.losses.unaccounted(counted)),
            switched_off: self.switched_off.iter().map(|what| (*what).to_owned()).collect(),
            own: totals.own,
            processes: ProcessTable {
                entries: self.enricher.processes() as u64,
                evicted: stats.evicted,
                discovered: stats.discovered,
                repaired: stats.repaired,
                images_lost: stats.images_lost,
            },
            state: self.matcher.several.as_ref().map(Several::now).unwrap_or_default(),
            delays: self.delays.clone(),
            programs: busiest.0,
            directories: busiest.1,
        }
    }

    /// One record from the ring.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Scanning { held, held_bytes } => {
                held.push(Bytes::copy_from_slice(bytes));
                *held_bytes += bytes.len();
            }
            Phase::Running => self.process(bytes),
        }
    }

    /// The processes that were there before us; then what was kept while they were looked for.
    pub(crate) fn scanned(&mut self, found: Vec<ProcFacts>) {
        let Phase::Scanning { held, .. } = std::mem::replace(&mut self.phase, Phase::Running) else { return };
        let boot_ns = boot_ns_now();
        for key in self.enricher.seed(found, boot_ns) {
            self.matcher.event(&self.enricher.already_running(key, boot_ns));
        }
        for bytes in held {
            self.process(&bytes);
        }
    }

    /// What keeps records from being made at all; said when it begins and when it ends.
    pub(crate) fn set_switched_off(&mut self, now: Vec<&'static str>) {
        for what in now.iter().filter(|what| !self.switched_off.contains(what)) {
            tracing::error!("{what}: what hangs on it is not seen, and nobody counts it");
        }
        for what in self.switched_off.iter().filter(|what| !now.contains(what)) {
            tracing::warn!("no longer so: {what}; what happened meanwhile was not seen");
        }
        self.switched_off = now;
    }

    /// What passes with time rather than with records; `behind` if records wait.
    pub(crate) fn tick(&mut self, behind: bool) {
        let boot_ns = boot_ns_now();
        self.enricher.tick(boot_ns);
        let seen_until_ns = self.enricher.wall_ns(boot_ns).saturating_sub(UNDER_WAY_NS);
        self.matcher.tick((!behind).then_some(seen_until_ns));
        if self.keeper.is_some() && boot_ns.saturating_sub(self.kept_boot_ns) >= KEEP_EACH_NS {
            self.kept_boot_ns = boot_ns;
            let memories = self.remembered();
            if let Some(keeper) = &self.keeper {
                keeper.keep(memories);
            }
        }
    }

    /// Compares with what the kernel side has counted, once all that is in the ring has been read.
    pub(crate) fn compare(&mut self, counted: &Counted) {
        if let Some(hole) = self.losses.compare(counted, boot_ns_now()) {
            self.gap(&hole);
        }
    }

    fn gap(&mut self, hole: &Hole) {
        self.matcher.gap(&Gap {
            start_ns: self.enricher.wall_ns(hole.start_ns),
            end_ns: self.enricher.wall_ns(hole.end_ns),
            lost: hole.lost,
            are_misses_uncounted: hole.are_misses_uncounted,
        });
    }

    /// Ends the run.
    pub(crate) fn finish(mut self, counted: Option<Counted>) -> (Totals, O) {
        if self.is_scanning() {
            self.scanned(Vec::new());
        }
        if let Some(counted) = &counted {
            self.compare(counted);
        }
        // What may still be missing after the end is nothing that we know of: it is not said to be.
        self.matcher.finish(self.enricher.wall_ns(boot_ns_now()));
        if let Some(keeper) = self.keeper.take()
            && !keeper.finish(self.remembered())
        {
            tracing::warn!("what rules remember could not be kept in time: they may learn some of it anew");
        }
        let Matcher { mut totals, output, .. } = self.matcher;
        totals.lost = counted.map(|counted| counted.lost);
        totals.are_misses_uncounted = counted.is_some_and(|counted| counted.are_misses_uncounted);
        totals.unaccounted = counted.map_or(0, |counted| self.losses.unaccounted(&counted));
        totals.enrich = self.enricher.stats();
        (totals, output)
    }

    fn process(&mut self, bytes: &[u8]) {
        let wire = match decode(bytes) {
            Ok(wire) => wire,
            Err(error) => {
                self.matcher.totals.undecodable += 1;
                // A broken kernel side would say the same a million times.
                if self.matcher.totals.undecodable.is_power_of_two() {
                    tracing::warn!(
                        "a record cannot be decoded ({} so far): {error}",
                        self.matcher.totals.undecodable
                    );
                }
                return;
            }
        };
        let header = wire.header();
        self.oldest_ns.get_or_insert(header.boot_ns);
        if let Some(kind) = RecordKind::from_raw(header.kind)
            && let Some(hole) = self.losses.received(kind, header)
        {
            self.gap(&hole);
        }
        // A script's exec may come later, when it counts.
        if wire.header().boot_ns < self.since_ns && !matches!(wire, Wire::Script(_)) {
            self.matcher.totals.early += 1;
            return;
        }
        // Our own output files come to be too; an event for each would be about nothing but ourselves.
        if matches!(wire, Wire::File(_)) && wire.header().task.tgid == self.own_pid {
            self.matcher.totals.own += 1;
            return;
        }
        let Some(enriched) = self.enricher.event(&wire) else { return };
        let alerts = self.matcher.totals.alerts;
        self.matcher.event(&enriched);
        if self.matcher.totals.alerts != alerts
            && let Some(process) = &enriched.event.process
        {
            self.following.alerted(Tree::of(process), boot_ns_now());
        }
    }
}
