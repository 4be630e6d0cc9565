//! One record after the other: decode, enrich, match, hand on.
//!
//! Until the scan of `/proc` is through, records are kept as they are: what they say must be applied to a table that
//! knows the processes which were there before.

use bytes::Bytes;

use sensor_ecs::{Event, FieldId, Record, Value, field};
use sensor_eql::{RuleIndex, RuleSet};

use crate::decode::{Wire, decode};
use crate::enrich::{Enriched, Enricher, ProcFacts, boot_ns_now};

use super::caps::{Caps, HeldBack};
use super::output::{Hit, Output, View};
use super::source::LostByKind;
use super::totals::Totals;

/// Bytes of records that are kept while `/proc` is read; beyond it they wait in the ring.
const HELD_BYTES_MAX: usize = 64 << 20;

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
    rules: RuleSet,
    output: O,
    totals: Totals,
    caps: Caps,
    phase: Phase,
    matched: Vec<(RuleIndex, View)>,
    own_pid: u32,
    pub(super) since_ns: u64,
    last_time_ns: i64,
}

impl<O: Output> Engine<O> {
    /// `since_ns` is when every hook was in place, on the boot clock. What some of them said before that is a half of
    /// the truth whose whole `/proc` will tell.
    pub(crate) fn new(enricher: Enricher, rules: RuleSet, output: O, since_ns: u64) -> Self {
        Self {
            enricher,
            rules,
            output,
            totals: Totals::default(),
            caps: Caps::default(),
            phase: Phase::Scanning { held: Vec::new(), held_bytes: 0 },
            matched: Vec::new(),
            own_pid: std::process::id(),
            since_ns,
            last_time_ns: 0,
        }
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

    pub(crate) fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Processes that are known.
    pub(crate) fn processes(&self) -> usize {
        self.enricher.processes()
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
            let Self { enricher, rules, output, totals, caps, matched, last_time_ns, .. } = self;
            let enriched = enricher.already_running(key, boot_ns);
            hand_on(&enriched, rules, output, totals, caps, matched);
            *last_time_ns = enriched.event.meta.time_ns;
        }
        for bytes in held {
            self.process(&bytes);
        }
    }

    /// What passes with time rather than with records.
    pub(crate) fn tick(&mut self) {
        self.enricher.tick(boot_ns_now());
        let Self { rules, output, totals, caps, last_time_ns, .. } = self;
        caps.close_until(*last_time_ns, rules.rules(), &mut |held_back| {
            tell(rules, output, totals, held_back)
        });
    }

    /// Lets the output write what it has.
    pub(crate) fn flush(&mut self) {
        self.output.flush();
    }

    /// Ends the run.
    pub(crate) fn finish(mut self, lost: Option<LostByKind>) -> (Totals, O) {
        if self.is_scanning() {
            self.scanned(Vec::new());
        }
        let Self { rules, output, totals, caps, .. } = &mut self;
        caps.close_until(i64::MAX, rules.rules(), &mut |held_back| tell(rules, output, totals, held_back));
        self.output.flush();
        self.totals.lost = lost;
        self.totals.enrich = self.enricher.stats();
        (self.totals, self.output)
    }

    fn process(&mut self, bytes: &[u8]) {
        let wire = match decode(bytes) {
            Ok(wire) => wire,
            Err(error) => {
                self.totals.undecodable += 1;
                // A broken kernel side would say the same a million times.
                if self.totals.undecodable.is_power_of_two() {
                    tracing::warn!(
                        "a record cannot be decoded ({} so far): {error}",
                        self.totals.undecodable
                    );
                }
                return;
            }
        };
        // A script's exec may come later, when it counts.
        if wire.header().boot_ns < self.since_ns && !matches!(wire, Wire::Script(_)) {
            self.totals.early += 1;
            return;
        }
        // Our own output files come to be too; an event for each would be about nothing but ourselves.
        if matches!(wire, Wire::File(_)) && wire.header().task.tgid == self.own_pid {
            self.totals.own += 1;
            return;
        }
        let Self { enricher, rules, output, totals, caps, matched, last_time_ns, .. } = self;
        let Some(enriched) = enricher.event(&wire) else { return };
        hand_on(&enriched, rules, output, totals, caps, matched);
        *last_time_ns = (*last_time_ns).max(enriched.event.meta.time_ns);
    }
}

/// Counts an event, hands it on, and raises what the rules make of it.
fn hand_on<O: Output>(
    enriched: &Enriched<'_>,
    rules: &RuleSet,
    output: &mut O,
    totals: &mut Totals,
    caps: &mut Caps,
    matched: &mut Vec<(RuleIndex, View)>,
) {
    let event = &enriched.event;
    totals.count(event.meta.action);
    totals.degraded += u64::from(enriched.image_lost);
    output.event(event);

    matched.clear();
    evaluate(enriched, event, View::Task, rules, matched);
    // A rule on /etc/apt/apt.conf.d/* must not be blinded by `chroot /etc`.
    let host_view = enriched.host_view();
    if let Some(host_view) = &host_view {
        evaluate(enriched, host_view, View::Host, rules, matched);
    }
    for &(index, view) in matched.iter() {
        let Some(rule) = rules.get(index) else { continue };
        totals.matches += 1;
        let admission = caps.admit(index, rule, event.meta.time_ns);
        if let Some(before) = admission.before {
            tell(rules, output, totals, before);
        }
        if !admission.admitted {
            totals.held_back += 1;
            continue;
        }
        totals.alerts += 1;
        let event = match (view, &host_view) {
            (View::Host, Some(host_view)) => host_view,
            (View::Host, None) | (View::Task, _) => event,
        };
        output.alert(&Hit { rule, event, view });
    }
}

/// Adds the rules that match and have not matched yet: one alert, however many names a file has.
fn evaluate(
    enriched: &Enriched<'_>,
    event: &Event<'_>,
    view: View,
    rules: &RuleSet,
    matched: &mut Vec<(RuleIndex, View)>,
) {
    let mut add = |index: RuleIndex| {
        if !matched.iter().any(|(known, _)| *known == index) {
            matched.push((index, view));
        }
    };
    rules.matches(event, &mut add);
    if enriched.image_lost {
        rules.matches(&Unproven(event), &mut add);
    }
}

fn tell<O: Output>(rules: &RuleSet, output: &mut O, totals: &mut Totals, held_back: HeldBack) {
    if let Some(rule) = rules.get(held_back.rule) {
        totals.alerts += 1;
        output.held_back(rule, held_back.count, held_back.last_ns);
    }
}

/// An event whose process has an executable that we do not know. Rules that fall silent when there is none must not do
/// so because we lost it: they see one that equals nothing.
struct Unproven<'a, 'e>(&'a Event<'e>);

impl Record for Unproven<'_, '_> {
    fn value(&self, id: FieldId) -> Value<'_> {
        match self.0.value(id) {
            // No file name holds a NUL, so that no pattern but a bare wildcard is satisfied.
            Value::Absent if id == field::PROCESS_EXECUTABLE || id == field::PROCESS_NAME => {
                Value::Keyword(b"\0")
            }
            known => known,
        }
    }
}
