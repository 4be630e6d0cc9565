//! What the rules make of an event, and what becomes of their hits.

use std::collections::BTreeMap;
use std::sync::Arc;

use sensor_ecs::{Action, Event, EventMeta, FieldId, Integration, Record, Value, field};
use sensor_eql::{Hits, Known, LoadedRule, Memory, ProcessVersion, Rule, RuleIndex, RuleSet, Selection};

use crate::enrich::{Enriched, View};

use super::absence::Absence;
use super::busiest::Busiest;
use super::caps::{Caps, HeldBack};
use super::exceptions::{Exceptions, Suppressed};
use super::output::{Gap, Hit, Kept, Output, SeveralHit};
use super::several::{Found, Several};
use super::streams::Streams;
use super::totals::Totals;
use super::vitals::{RuleNames, Tally};

/// Processes of which is remembered what the rules make of them; those of some hundred bytes per 500 rules.
const PROCESSES_REMEMBERED: usize = 2048;

/// An event that is older than the last by less is late; by more, and the clock was set back.
const LATE_MAX_NS: i64 = 60_000_000_000;
/// Kinds of event that are not those of containers, at most.
const CONTAINER_KINDS: u8 = 16;
const _: () = assert!(Action::ALL.len() <= CONTAINER_KINDS as usize);

/// The rules with their state, and where their hits go.
#[derive(Debug)]
pub(super) struct Matcher<O> {
    pub(super) rules: RuleSet,
    streams: Streams,
    asked: Asked,
    asked_of_containers: Asked,
    memory: Memory,
    pub(super) output: O,
    pub(super) totals: Totals,
    caps: Caps,
    exceptions: Exceptions,
    absence: Absence,
    /// Absent when no rule looks at several events.
    pub(super) several: Option<Several>,
    matched: Vec<(RuleIndex, View, Integration)>,
    found: Vec<Found>,
    last_time_ns: i64,
    /// Matches, and those that caps held back, in the order of the rules.
    pub(super) counts: Vec<[u64; 2]>,
    pub(super) names: Arc<RuleNames>,
    /// Tally only while somebody watches.
    pub(super) busiest: Option<Busiest>,
}

fn names(rules: &RuleSet) -> Arc<RuleNames> {
    let name = |loaded: &LoadedRule| (loaded.rule.id.clone(), loaded.rule.name.clone());
    Arc::new(RuleNames(rules.rules().iter().map(name).collect()))
}

/// Which rules are asked about an event, by whether it is one of a file.
#[derive(Debug)]
struct Asked {
    on_files: Selection,
    on_processes: Selection,
}

impl Asked {
    fn new(rules: &RuleSet, is_asked: impl Fn(&Rule, Action) -> bool) -> Self {
        let about = |action| rules.select(|loaded| is_asked(&loaded.rule, action));
        Self { on_files: about(Action::Creation), on_processes: about(Action::Exec) }
    }

    fn about(&self, action: Action) -> &Selection {
        if action.is_file() { &self.on_files } else { &self.on_processes }
    }
}

/// The rules that are asked about each event, and those that only know the documents of containers.
fn asked(rules: &RuleSet, streams: &Streams) -> [Asked; 2] {
    let everywhere = |rule: &Rule, action| streams.is_read(rule, action);
    let in_containers =
        |rule: &Rule, action| streams.is_read_in_containers(rule, action) && !streams.is_read(rule, action);
    [Asked::new(rules, everywhere), Asked::new(rules, in_containers)]
}

impl<O: Output> Matcher<O> {
    pub(super) fn new(rules: RuleSet, exceptions: Exceptions, output: O, streams: Streams) -> Self {
        let [asked, asked_of_containers] = asked(&rules, &streams);
        Self {
            streams,
            asked,
            asked_of_containers,
            several: Several::new(&rules),
            memory: rules.memory(PROCESSES_REMEMBERED),
            counts: vec![[0; 2]; rules.rules().len()],
            names: names(&rules),
            busiest: None,
            rules,
            output,
            totals: Totals::default(),
            caps: Caps::default(),
            exceptions,
            absence: Absence::default(),
            matched: Vec::new(),
            found: Vec::new(),
            last_time_ns: 0,
        }
    }

    /// Counts an event, hands it on, and raises what the rules make of it.
    pub(super) fn event(&mut self, enriched: &Enriched<'_>) {
        let event = &enriched.event;
        let ahead_ns = self.last_time_ns.saturating_sub(event.meta.time_ns);
        if !(0..LATE_MAX_NS).contains(&ahead_ns) {
            self.last_time_ns = event.meta.time_ns;
        }
        self.totals.count(event.meta.action);
        self.totals.degraded += u64::from(enriched.image_lost);
        self.output.event(event, whose(enriched).filter(|_| !enriched.image_lost));
        if let Some(busiest) = &mut self.busiest {
            busiest.note(event);
        }

        self.matched.clear();
        self.look(enriched, event, View::Task);
        // A rule on /etc/apt/apt.conf.d/* must not be blinded by `chroot /etc`, a bind mount or another namespace.
        for view in View::OTHERS {
            if let Some(other) = enriched.seen_by(view) {
                self.look(enriched, &other, view);
            }
        }
        if is_in_container(event) && self.asked_of_containers.about(event.meta.action).is_any() {
            self.look_as_container(enriched, event, View::Task);
            for view in View::OTHERS {
                if let Some(other) = enriched.seen_by(view) {
                    self.look_as_container(enriched, &other, view);
                }
            }
        }
        // Made again for the few that match: an event is a large thing to keep for the many that do not.
        let in_view = |view| enriched.seen_by(view).unwrap_or(*event);
        for at in 0..self.matched.len() {
            let Some((index, view, integration)) = self.matched.get(at).copied() else { break };
            let seen = in_view(view);
            // The document that the rule has read.
            let seen = &Event { meta: EventMeta { integration, ..seen.meta }, ..seen };
            let doubted = enriched.image_lost.then_some(Unproven(seen));
            if !self.exceptions.suppress(index, seen, doubted.as_ref())
                && self.admit(index, event.meta.time_ns)
                && let Some(rule) = self.rules.get(index)
            {
                self.output.alert(&Hit { rule, event: seen, view });
            }
        }
        if !self.found.is_empty() {
            let others = View::OTHERS.map(in_view);
            self.raise_found(|kept| {
                let of_view = || View::OTHERS.iter().position(|view| *view == kept.view);
                let is_this = kept.sequence == event.meta.sequence;
                is_this.then(|| of_view().and_then(|at| others.get(at)).unwrap_or(event))
            });
        }
    }

    /// Takes a look at what the event is in the data streams of containers.
    fn look_as_container(&mut self, enriched: &Enriched<'_>, event: &Event<'_>, view: View) {
        let meta = EventMeta { integration: Integration::CloudDefend, ..event.meta };
        self.look(enriched, &Event { meta, ..*event }, view);
    }

    /// Takes a look at the event under one of its names, and another one if its process is not what it seems.
    fn look(&mut self, enriched: &Enriched<'_>, event: &Event<'_>, view: View) {
        let kind = Some(event.meta.action as u8 + CONTAINER_KINDS * event.meta.integration as u8);
        // What is remembered of a process is of its own name.
        let has_own_name = event.process.is_none_or(|view| view.executable.is_none());
        let process = whose(enriched).filter(|_| has_own_name);
        let look = Look { event, image_lost: enriched.image_lost, view };
        let is_first = view == View::Task && event.meta.integration == Integration::Endpoint;
        self.look_at(event, look, Known { kind, process }, is_first);
        if enriched.image_lost {
            self.look_at(&Unproven(event), look, Known { kind, process: None }, false);
        }
    }

    /// Finds the rules that match and have not matched yet: one alert, however many names a file has.
    fn look_at(&mut self, record: &impl Record, look: Look<'_>, known: Known, is_first: bool) {
        let Look { event, image_lost, view } = look;
        let Self { rules, memory, matched, several, output, found, exceptions, .. } = self;
        let asked = match event.meta.integration {
            Integration::Endpoint => &self.asked,
            Integration::CloudDefend => &self.asked_of_containers,
        };
        let selection = asked.about(event.meta.action);
        // Without rules on several events, none of them is looked at anyway.
        let under_way = several.as_ref().map_or(selection, Several::under_way);
        let hits: Hits<'_> = rules.look(record, known, under_way, memory);
        for index in hits.matched().iter().filter(|index| selection.contains(**index)) {
            if !matched.iter().any(|(known, ..)| known == index) {
                matched.push((*index, view, event.meta.integration));
            }
        }
        let Some(several) = several else { return };
        let keep = || {
            let (bytes, text) = output.keep(event, view);
            Kept {
                bytes,
                text,
                action: event.meta.action,
                time_ns: event.meta.time_ns,
                sequence: event.meta.sequence,
                view,
                satisfied: exceptions.satisfied(event, image_lost.then_some(&Unproven(event))),
            }
        };
        if is_first {
            several.event(hits, record, event.meta.time_ns, selection, keep, found);
        } else {
            several.look_again(hits, record, selection, keep, found);
        }
    }

    /// Records are missing here.
    pub(super) fn gap(&mut self, gap: &Gap) {
        self.totals.gaps += 1;
        let (before, lost) = (self.totals.lost_in_gaps, gap.total());
        self.totals.lost_in_gaps += lost;
        // Each time that it has doubled: an overload would say so every second.
        if before == 0 || before.ilog2() < (before + lost).ilog2() {
            tracing::warn!("records are lost: {} so far", before + lost);
        }
        self.absence.add(gap);
        self.output.gap(gap);
    }

    /// What passes with time rather than with events; see [`Several::advance`].
    pub(super) fn tick(&mut self, now_ns: Option<i64>) {
        self.advance(now_ns);
        self.close_caps(self.last_time_ns);
    }

    /// Raises what only waited for the end.
    pub(super) fn finish(&mut self, now_ns: i64) {
        self.advance(Some(now_ns));
        self.close_caps(i64::MAX);
        self.totals.suppressed = self.exceptions.suppressed(&self.rules);
        self.totals.several = self.several.as_ref().map(|several| several.totals(&self.rules));
    }

    fn advance(&mut self, now_ns: Option<i64>) {
        if let Some(several) = &mut self.several {
            several.advance(now_ns, &mut self.found);
            self.raise_found(|_| None);
        }
    }

    /// Raises what rules on several events have found; `current` is the event in hand if it is this one.
    fn raise_found<'e>(&mut self, current: impl Fn(&Kept) -> Option<&'e Event<'e>>) {
        if self.found.is_empty() {
            return;
        }
        let mut found = std::mem::take(&mut self.found);
        for Found { rule: index, events } in found.drain(..) {
            let kept = || events.iter().flatten().map(Arc::as_ref);
            let Some(time_ns) = kept().map(|kept| kept.time_ns).max() else { continue };
            let Some(kind) = self.rules.get(index).map(|rule| rule.compiled.kind()) else { continue };
            if !self.exceptions.suppress_several(index, kind, kept().map(|kept| &*kept.satisfied))
                && self.admit(index, time_ns)
                && let Some(rule) = self.rules.get(index)
            {
                let current = kept().find_map(&current);
                let lost_meanwhile = match kept().map(|kept| kept.time_ns).min() {
                    Some(first_ns) if events.iter().any(Option::is_none) => {
                        // What is missing is before the first event, after the last or between them.
                        let span_ns = rule.compiled.maxspan_ns().unwrap_or(i64::MAX);
                        let start_ns = time_ns.saturating_sub(span_ns).min(first_ns);
                        self.absence.lost_between(start_ns, first_ns.saturating_add(span_ns).max(time_ns))
                    }
                    _ => 0,
                };
                self.output.alert_of_several(&SeveralHit { rule, events: &events, lost_meanwhile, current });
            }
        }
        self.found = found;
    }

    /// Counts a hit; says whether it becomes an alert.
    fn admit(&mut self, index: RuleIndex, time_ns: i64) -> bool {
        let Self { rules, output, totals, caps, counts, .. } = self;
        let Some(rule) = rules.get(index) else { return false };
        totals.matches += 1;
        let count = usize::try_from(index.0).ok().and_then(|at| counts.get_mut(at));
        let mut none = [0; 2];
        let [matches, held_back] = count.unwrap_or(&mut none);
        *matches += 1;
        let admission = caps.admit(index, rule, time_ns);
        if let Some(before) = admission.before {
            totals.notices += 1;
            tell(rules, output, before);
        }
        if admission.admitted {
            totals.alerts += 1;
        } else {
            totals.held_back += 1;
            *held_back += 1;
        }
        admission.admitted
    }

    /// Goes on with other rules and exceptions. What is counted, held back and remembered of rules that stay as they are
    /// stays too. `same_exceptions` if these are the same as before.
    pub(super) fn swap(&mut self, rules: RuleSet, mut exceptions: Exceptions, same_exceptions: bool) {
        let former: BTreeMap<&str, (RuleIndex, &LoadedRule)> =
            self.rules.indexed().map(|(index, loaded)| (loaded.rule.id.as_str(), (index, loaded))).collect();
        let by_id = |index: RuleIndex| former.get(rules.get(index)?.rule.id.as_str()).copied();
        let same = |index: RuleIndex| {
            let (known, loaded) = by_id(index)?;
            (loaded.rule == rules.get(index)?.rule).then_some(known)
        };
        let mut caps = Caps::default();
        caps.inherit(&mut self.caps, &rules, same);
        let mut several = Several::new(&rules);
        if let (Some(several), Some(former)) = (&mut several, &mut self.several) {
            several.inherit(former, same);
        }
        let count = |index| self.counts.get(usize::try_from(by_id(index)?.0.0).ok()?).copied();
        let counts = rules.indexed().map(|(index, _)| count(index).unwrap_or_default()).collect();
        exceptions.follow(&mut self.exceptions, &self.rules, same_exceptions);
        // What is held back of rules that are gone is told now.
        self.close_caps(i64::MAX);
        [self.asked, self.asked_of_containers] = asked(&rules, &self.streams);
        self.memory = rules.memory(PROCESSES_REMEMBERED);
        self.names = names(&rules);
        (self.caps, self.several, self.counts, self.exceptions) = (caps, several, counts, exceptions);
        self.rules = rules;
    }

    /// What exceptions and caps suppressed, by rule.
    pub(super) fn suppressed(&self) -> Vec<Tally> {
        let by_exceptions = self.exceptions.suppressed(&self.rules).into_iter();
        let by_exceptions = by_exceptions.map(|Suppressed { exception, rule, count }| Tally {
            of: rule,
            reason: exception,
            count,
        });
        let by_caps = self.names.0.iter().zip(&self.counts).filter(|(_, [_, held_back])| *held_back > 0);
        let by_caps = by_caps.map(|((id, _), [_, held_back])| Tally {
            of: id.clone(),
            reason: "max_signals".to_owned(),
            count: *held_back,
        });
        by_exceptions.chain(by_caps).collect()
    }

    fn close_caps(&mut self, until_ns: i64) {
        let Self { rules, output, totals, caps, .. } = self;
        caps.close_until(until_ns, rules.rules(), &mut |held_back| {
            totals.notices += 1;
            tell(rules, output, held_back);
        });
    }
}

/// The notice is counted apart: alerts and what was held back are the matches.
fn tell<O: Output>(rules: &RuleSet, output: &mut O, held_back: HeldBack) {
    if let Some(rule) = rules.get(held_back.rule) {
        output.held_back(rule, held_back.count, held_back.last_ns);
    }
}

/// Whether a container did it.
pub(crate) fn is_in_container(event: &Event<'_>) -> bool {
    event.process.is_some_and(|view| view.process.container.is_some())
}

/// An event under one of its names.
#[derive(Clone, Copy)]
struct Look<'e> {
    event: &'e Event<'e>,
    image_lost: bool,
    view: View,
}

/// Whose the event is: others of the same agree in every field of the process. Other rights than the process's own are
/// those of this event.
fn whose(enriched: &Enriched<'_>) -> Option<ProcessVersion> {
    enriched.process.filter(|_| enriched.event.actor.is_none())
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
