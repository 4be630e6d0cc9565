//! All filters of a set of rules at once.
//!
//! The conjuncts of each filter are divided by how long the fields that they read keep their values: constant for a
//! kind of event, for a state of a process, for one event only. What the constant ones leave is found once per kind,
//! what those on the process leave once per process; an event of a known process pays only for what is its own.
//! Processes are many but programs few: what those fields leave that processes share, names and accounts, is found
//! once per combination of their values.

mod clause;
mod memory;
mod narrow;
mod set;

use std::collections::HashMap;

use sensor_ecs::{FieldId, Lifetime, Record, Schema};

pub use memory::{Known, Memory, ProcessVersion};
use memory::{OfKind, Remembered};

use crate::ast::CompareOp;
use crate::compile::Filter;
use crate::ir::{Pred, Test};
use crate::rules::{RuleIndex, Selection};
use crate::value::Out;
use narrow::Narrow;
use set::{FILTERS_MAX, Set};

/// A field of programs that less than one conjunct in so many filters reads is not worth a place in the key of each.
const FILTERS_PER_READER: usize = 256;

/// Alternatives that are taken apart; each becomes a filter of its own.
const BRANCHES_MAX: usize = 16;

/// What an event has satisfied.
#[derive(Clone, Copy, Debug)]
pub struct Hits<'m> {
    matched: &'m [RuleIndex],
    concerned: &'m [Concerned],
}

impl<'m> Hits<'m> {
    /// Rules on single events that match, in order.
    #[must_use]
    pub fn matched(self) -> &'m [RuleIndex] {
        self.matched
    }

    /// Rules with state, some part of which the event satisfies, in order.
    #[must_use]
    pub fn concerned(self) -> &'m [Concerned] {
        self.concerned
    }
}

/// Whose a filter is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) rule: RuleIndex,
    /// Which of the rule's filters.
    pub(crate) filter: usize,
    /// The rule keeps state, so that an event alone is no match.
    pub(crate) stateful: bool,
    /// Concerns the rule only while a match of it is under way.
    pub(crate) follows: bool,
}

/// Some filters of one rule, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(u64);

impl Filters {
    /// The last bit stands for all filters from 63: whoever finds it set must look at them himself.
    pub(crate) fn insert(&mut self, filter: usize) {
        self.0 |= 1 << filter.min(63);
    }

    pub(crate) fn contains(self, filter: usize, holds: impl FnOnce() -> bool) -> bool {
        self.0 >> filter.min(63) & 1 == 1 && (filter < 63 || holds())
    }
}

/// A rule with state that an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concerned {
    /// The rule.
    pub rule: RuleIndex,
    /// Its filters that the event satisfies.
    pub(crate) filters: Filters,
}

/// Every filter of a set of rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matcher {
    segments: Box<[Segment]>,
    /// Those that follow: nothing is remembered of them, for most are not looked at.
    followers: Box<[Segment]>,
    filters: usize,
}

/// So many filters as one [`Set`] holds.
#[derive(Clone, Debug)]
struct Segment {
    /// In the order of the rules.
    owners: Box<[Owner]>,
    all: Set,
    single: Set,
    constant: Level,
    program: Level,
    process: Level,
    event: Level,
}

/// The conjuncts of one lifetime.
#[derive(Clone, Debug)]
struct Level {
    /// By position; `None` where a filter has no such conjunct.
    conditions: Box<[Option<Pred>]>,
    /// Filters that have one.
    tested: Set,
    narrow: Narrow,
}

impl Matcher {
    /// Those of one rule stand together.
    pub(crate) fn build<'f>(filters: impl Iterator<Item = (Owner, &'f Filter)>, schema: &dyn Schema) -> Self {
        let all: Vec<(Owner, Vec<Pred>)> = filters
            .flat_map(|(owner, filter)| {
                branches(conjuncts(filter), schema).into_iter().map(move |b| (owner, b))
            })
            .collect();
        let (followers, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(owner, _)| owner.follows);
        let segments = |all: &[(Owner, Vec<Pred>)]| -> Box<[Segment]> {
            all.chunks(FILTERS_MAX).map(|filters| Segment::build(filters, schema)).collect()
        };
        Self {
            segments: segments(&others),
            followers: segments(&followers),
            filters: others.len() + followers.len(),
        }
    }

    pub(crate) fn memory(&self, processes: usize) -> Memory {
        Memory::new(self.segments.len(), self.filters, processes)
    }

    /// What the record satisfies, but for filters that follow in rules that are not `under_way`.
    pub(crate) fn look<'m>(
        &self,
        record: &impl Record,
        known: Known,
        under_way: &Selection,
        memory: &'m mut Memory,
    ) -> Hits<'m> {
        memory.matched.clear();
        memory.concerned.clear();
        let place = memory.place(known);
        let is_known = place.is_some_and(|place| place.is_filled);
        let program = if is_known { None } else { self.program(record, known, memory) };
        for (number, segment) in self.segments.iter().enumerate() {
            let left = match place {
                Some(place) if is_known => memory.left(place, number),
                _ => {
                    let of_program = segment.of_program(record, number, known, program, memory);
                    let left = segment.process.pass(record, of_program);
                    if let Some(place) = place {
                        memory.set_left(place, number, left);
                    }
                    left
                }
            };
            segment.event.pass(record, left).each(|position| {
                let Some(owner) = segment.owners.get(position) else { return };
                // The filters of a rule stand together.
                if owner.stateful {
                    concern(&mut memory.concerned, owner);
                } else if memory.matched.last() != Some(&owner.rule) {
                    memory.matched.push(owner.rule);
                }
            });
        }
        for (number, segment) in self.followers.iter().enumerate() {
            let mut wanted = Set::default();
            under_way.each(|rule| wanted |= segment.of_rule(rule));
            if wanted.is_empty() {
                continue;
            }
            let of_kind = memory.known_kind(known.kind).and_then(|of_kind| of_kind.followers.get(number));
            let left = match of_kind {
                Some(of_kind) => wanted & *of_kind,
                None => segment.constant.pass(record, wanted),
            };
            let left = segment.process.pass(record, segment.program.pass(record, left));
            segment.event.pass(record, left).each(|position| {
                if let Some(owner) = segment.owners.get(position) {
                    concern(&mut memory.concerned, owner);
                }
            });
        }
        Hits { matched: &memory.matched, concerned: &memory.concerned }
    }

    /// The place of the event's program.
    fn program(&self, record: &impl Record, known: Known, memory: &mut Memory) -> Option<Remembered> {
        memory.kind(known.kind, || {
            let constant = |segments: &[Segment]| -> Box<[Set]> {
                segments.iter().map(|segment| segment.constant.pass(record, segment.all)).collect()
            };
            let (left, followers) = (constant(&self.segments), constant(&self.followers));
            let mut fields = Vec::new();
            for (segment, left) in self.segments.iter().zip(&left) {
                segment.program.fields(*left, &mut fields);
            }
            fields.sort_unstable();
            fields.dedup();
            OfKind { left, followers, fields: fields.into() }
        })?;
        memory.program(known.kind, record)
    }

    /// Whose filters may hold of an event of which only what all events of its kind have in common is known.
    pub(crate) fn possible(&self, record: &impl Record, out: &mut impl FnMut(RuleIndex)) {
        for segment in self.segments.iter().chain(&self.followers) {
            segment.constant.pass(record, segment.all).each(|position| {
                if let Some(owner) = segment.owners.get(position) {
                    out(owner.rule);
                }
            });
        }
    }

    /// Rules on single events, without any memory.
    pub(crate) fn single(&self, record: &impl Record, out: &mut impl FnMut(RuleIndex)) {
        let mut last = None;
        for segment in &self.segments {
            let constant = segment.constant.pass(record, segment.single);
            let program = segment.program.pass(record, constant);
            let left = segment.process.pass(record, program);
            segment.event.pass(record, left).each(|position| {
                if let Some(owner) = segment.owners.get(position)
                    && last.replace(owner.rule) != Some(owner.rule)
                {
                    out(owner.rule);
                }
            });
        }
    }
}

impl Segment {
    fn build(filters: &[(Owner, Vec<Pred>)], schema: &dyn Schema) -> Self {
        let mut readers: HashMap<FieldId, usize> = HashMap::new();
        for conjunct in filters.iter().flat_map(|(_, conjuncts)| conjuncts) {
            each_field(conjunct, &mut |field| *readers.entry(field).or_default() += 1);
        }
        let is_rare = |conjunct: &Pred| {
            let mut fewest = usize::MAX;
            each_field(conjunct, &mut |field| fewest = fewest.min(readers.get(&field).copied().unwrap_or(0)));
            fewest * FILTERS_PER_READER <= filters.len()
        };
        let mut levels = [const { Vec::new() }; 4];
        for (_, filter) in filters {
            let mut parts = [const { Vec::new() }; 4];
            for conjunct in filter {
                let level = match lifetime(conjunct, schema) {
                    Lifetime::Constant => 0,
                    Lifetime::Program if !is_rare(conjunct) => 1,
                    Lifetime::Program | Lifetime::Process => 2,
                    Lifetime::Event => 3,
                };
                if let Some(part) = parts.get_mut(level) {
                    part.push(conjunct.clone());
                }
            }
            for (level, part) in levels.iter_mut().zip(parts) {
                level.push((!part.is_empty()).then(|| Pred::and(part)));
            }
        }
        let [constant, program, process, event] = levels.map(Level::build);
        let owners: Box<[Owner]> = filters.iter().map(|(owner, _)| *owner).collect();
        let all = (0..owners.len()).collect();
        let single = (0..).zip(&owners).filter(|(_, owner)| !owner.stateful).map(|(i, _)| i).collect();
        Self { owners, all, single, constant, program, process, event }
    }
}

impl Segment {
    fn of_rule(&self, rule: RuleIndex) -> Set {
        let first = self.owners.partition_point(|owner| owner.rule < rule);
        let owners = self.owners.get(first..).unwrap_or_default();
        (first..).zip(owners).take_while(|(_, owner)| owner.rule == rule).map(|(i, _)| i).collect()
    }

    /// What the constant fields and those of the program leave.
    fn of_program(
        &self,
        record: &impl Record,
        number: usize,
        known: Known,
        program: Option<Remembered>,
        memory: &mut Memory,
    ) -> Set {
        if let Some(program) = program.filter(|program| program.is_filled) {
            return memory.program_left(program, number);
        }
        let all = || self.constant.pass(record, self.all);
        let of_kind = memory.known_kind(known.kind).and_then(|of_kind| of_kind.left.get(number));
        let left = self.program.pass(record, of_kind.copied().unwrap_or_else(all));
        if let Some(program) = program {
            memory.set_program_left(program, number, left);
        }
        left
    }
}

impl Level {
    fn build(conditions: Vec<Option<Pred>>) -> Self {
        let present = || (0..).zip(&conditions).filter_map(|(i, c)| Some((i, c.as_ref()?)));
        let (tested, narrow) = (present().map(|(i, _)| i).collect(), Narrow::build(present()));
        Self { tested, narrow, conditions: conditions.into() }
    }

    /// What the conjuncts of these filters read.
    fn fields(&self, of: Set, into: &mut Vec<FieldId>) {
        of.each(|position| {
            if let Some(Some(condition)) = self.conditions.get(position) {
                each_field(condition, &mut |field| into.push(field));
            }
        });
    }

    /// Those of `from` whose conjuncts hold.
    fn pass(&self, record: &impl Record, from: Set) -> Set {
        let mut candidates = from & self.tested;
        if candidates.is_empty() {
            return from;
        }
        self.narrow.narrow(record, &mut candidates);
        let mut passed = candidates;
        candidates.each(|position| {
            if let Some(Some(condition)) = self.conditions.get(position)
                && !condition.holds(record)
            {
                passed.remove(position);
            }
        });
        (from - self.tested) | passed
    }
}

/// Notes that an event satisfies a filter of a rule with state. Rules stay in order.
fn concern(concerned: &mut Vec<Concerned>, owner: &Owner) {
    let at = match concerned.binary_search_by_key(&owner.rule, |known| known.rule) {
        Ok(at) => at,
        Err(at) => {
            concerned.insert(at, Concerned { rule: owner.rule, filters: Filters::default() });
            at
        }
    };
    if let Some(known) = concerned.get_mut(at) {
        known.filters.insert(owner.filter);
    }
}

/// Category and condition as one conjunction.
fn conjuncts(filter: &Filter) -> Vec<Pred> {
    let category = filter.category.as_ref().map(|name| {
        Pred::Field(filter.category_field, Test::Compare(CompareOp::Eq, Out::Text(name.to_vec().into())))
    });
    let mut all: Vec<Pred> = category.into_iter().collect();
    split(&filter.condition, false, &mut all);
    all
}

/// The conjuncts of a condition, or of its negation: as many as there are, for each finds its own level.
fn split(pred: &Pred, negated: bool, into: &mut Vec<Pred>) {
    match (pred, negated) {
        (Pred::Const(value), _) if *value != negated => {}
        (Pred::And(items), false) | (Pred::Or(items), true) => {
            items.iter().for_each(|item| split(item, negated, into));
        }
        (Pred::Not(inner), _) => split(inner, !negated, into),
        (other, false) => into.push(other.clone()),
        (other, true) => into.push(Pred::not(other.clone())),
    }
}

/// A conjunction as several, of which one must hold, if that takes an alternative apart whose conjuncts belong to
/// different levels.
fn branches(conjuncts: Vec<Pred>, schema: &dyn Schema) -> Vec<Vec<Pred>> {
    let is_mixed = |pred: &Pred| match pred {
        Pred::Or(items) => {
            let of_all = lifetime(pred, schema);
            let has_longer = |item: &Pred| {
                matches!(item, Pred::And(parts)
                if parts.iter().any(|part| lifetime(part, schema) > of_all))
            };
            items.len() <= BRANCHES_MAX && items.iter().any(has_longer)
        }
        _ => false,
    };
    let Some(at) = conjuncts.iter().position(is_mixed) else { return vec![conjuncts] };
    let Some(Pred::Or(items)) = conjuncts.get(at) else { return vec![conjuncts] };
    let branch = |item: &Pred| {
        let others = conjuncts.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, other)| other.clone());
        let mut branch: Vec<Pred> = others.collect();
        split(item, false, &mut branch);
        branch
    };
    items.iter().map(branch).collect()
}

/// The shortest lifetime of all fields that it reads.
fn lifetime(pred: &Pred, schema: &dyn Schema) -> Lifetime {
    let mut shortest = Lifetime::Constant;
    each_field(pred, &mut |field| shortest = shortest.min(schema.lifetime(field)));
    shortest
}

fn each_field(pred: &Pred, visit: &mut impl FnMut(FieldId)) {
    match pred {
        Pred::Const(_) => {}
        Pred::And(items) | Pred::Or(items) => items.iter().for_each(|item| each_field(item, visit)),
        Pred::Not(inner) => each_field(inner, visit),
        Pred::Field(field, _) => visit(*field),
        Pred::Script(script) => script.fields.iter().for_each(|field| visit(*field)),
    }
}
