//! The part of a plan that runs while events are read: up to the first step that needs all rows.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use sensor_store::{OpenPart, Part, schema};

use super::batch::{Batch, Origin};
use super::{Compare, Type, Val, Vector, Warnings, steps};
use super::{Context, Groups, Node, Op, Plan, Progress, RunError, Scanned, Settings, Slot, Source, Step};
use crate::esql::eval::evaluate;
use crate::esql::index;
use crate::esql::vector::Builder;

/// Rows kept for `sort` before they are cut to the limit that follows it.
const SORTED_SPARE: usize = 50_000;

/// What the leading conditions say of the time.
#[derive(Clone, Debug, Default)]
pub(in crate::esql) struct Bounds {
    slot: Option<Slot>,
    /// Milliseconds since 1970; both inclusive.
    pub(in crate::esql) first_ms: Option<i64>,
    pub(in crate::esql) last_ms: Option<i64>,
}

impl Bounds {
    pub(super) fn of(plan: &Plan) -> Self {
        let time = schema::find("@timestamp").map(Source::Column);
        let slot = plan.sources.iter().find(|(_, source)| Some(*source) == time).map(|(slot, _)| *slot);
        let mut bounds = Self { slot, ..Self::default() };
        for step in &plan.steps {
            match step {
                Step::Filter(Node { op: Op::And(terms), .. }) => {
                    terms.iter().for_each(|term| bounds.add(term))
                }
                Step::Filter(node) => bounds.add(node),
                Step::Eval(..) => {}
                _ => break,
            }
        }
        bounds
    }

    /// The times that a condition lets through, if it is about the time alone.
    fn range(&self, node: &Node) -> Option<(i64, i64)> {
        let Op::Compare(op, left, right) = &node.op else { return None };
        let (slot, op, bound) = match (&left.op, &right.op) {
            (Op::Slot(slot), Op::Const(Val::Date(bound))) => (*slot, *op, *bound),
            (Op::Const(Val::Date(bound)), Op::Slot(slot)) => (*slot, turned(*op), *bound),
            _ => return None,
        };
        if Some(slot) != self.slot {
            return None;
        }
        Some(match op {
            Compare::Eq => (bound, bound),
            Compare::Lt => (i64::MIN, bound.saturating_sub(1)),
            Compare::Le => (i64::MIN, bound),
            Compare::Gt => (bound.saturating_add(1), i64::MAX),
            Compare::Ge => (bound, i64::MAX),
            Compare::Ne => return None,
        })
    }

    fn add(&mut self, node: &Node) {
        if let Some((first, last)) = self.range(node) {
            if first != i64::MIN {
                self.first_ms = Some(self.first_ms.map_or(first, |known| known.max(first)));
            }
            if last != i64::MAX {
                self.last_ms = Some(self.last_ms.map_or(last, |known| known.min(last)));
            }
        }
    }

    /// Whether events of these times, in nanoseconds, may pass.
    fn meets(&self, times: (i64, i64)) -> bool {
        let (first, last) = (times.0.div_euclid(1_000_000), times.1.div_euclid(1_000_000));
        self.first_ms.is_none_or(|bound| last >= bound) && self.last_ms.is_none_or(|bound| first <= bound)
    }

    /// The steps for a group of these times: a condition that all of them satisfy is left out.
    fn without(&self, step: &Step, times: (i64, i64)) -> Option<Step> {
        let Step::Filter(node) = step else { return Some(step.clone()) };
        let (first, last) = (times.0.div_euclid(1_000_000), times.1.div_euclid(1_000_000));
        let holds = |node: &Node| self.range(node).is_some_and(|(from, to)| first >= from && last <= to);
        match &node.op {
            Op::And(terms) if terms.iter().any(holds) => {
                let terms: Vec<Node> = terms.iter().filter(|term| !holds(term)).cloned().collect();
                Some(Step::Filter(Node { op: Op::And(terms), ..node.clone() }))
            }
            _ if holds(node) => None,
            _ => Some(step.clone()),
        }
    }
}

fn turned(op: Compare) -> Compare {
    match op {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        same => same,
    }
}

/// Rows that are held, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Held {
    slots: Vec<(Slot, Type)>,
    rows: Vec<(u64, Vec<Val<'static>>)>,
    bytes: usize,
}

impl Held {
    pub(super) fn into_batch<'a>(mut self, slots: usize) -> Batch<'a> {
        self.rows.sort_by_key(|(at, _)| *at);
        self.batch(slots)
    }

    fn batch<'a>(&self, slots: usize) -> Batch<'a> {
        let mut batch = Batch::held(self.rows.len(), vec![None; slots]);
        for (position, (slot, ty)) in self.slots.iter().enumerate() {
            let mut builder = Builder::new(*ty);
            self.rows.iter().for_each(|(_, row)| builder.push(row.get(position).unwrap_or(&Val::Null)));
            batch.set(*slot, builder.finish());
        }
        batch
    }
}

pub(super) enum Collected {
    Groups(Groups),
    Rows(Held),
}

pub(super) struct Gathered {
    pub(super) collected: Collected,
    pub(super) warnings: Warnings,
    pub(super) notes: Vec<String>,
    pub(super) scanned: Scanned,
}

/// What the threads share.
struct Shared<'a> {
    plan: &'a Plan,
    breaker: usize,
    parts: &'a [Part],
    bounds: &'a Bounds,
    settings: &'a Settings,
    progress: &'a Progress,
    types: Vec<Type>,
    live: Vec<(Slot, Type)>,
    next: AtomicUsize,
    /// How many rows each part gave; `None` while it is not done.
    counts: Mutex<Vec<Option<usize>>>,
    /// Rows that are enough, where the first ones are as good as any.
    enough: Option<usize>,
    /// Rows that are enough after sorting.
    top: Option<usize>,
}

/// Types of slots, and the slots that what follows the breaker needs.
fn types_and_live(plan: &Plan, breaker: usize) -> (Vec<Type>, Vec<(Slot, Type)>) {
    let mut types = vec![Type::Null; plan.slots];
    let mut live = Vec::new();
    let mut set = |slot: Slot, ty: Type| {
        if let Some(place) = types.get_mut(slot) {
            *place = ty;
        }
    };
    for (slot, source) in &plan.sources {
        let ty = match source {
            Source::Column(at) => schema::columns().get(*at).map_or(Type::Null, |c| index::type_of(c.ty)),
            Source::Version => Type::Long,
            Source::Index | Source::Nothing => Type::Keyword,
        };
        set(*slot, ty);
    }
    for (_, ty, slot) in &plan.output {
        set(*slot, *ty);
        live.push(*slot);
    }
    for (position, step) in plan.steps.iter().enumerate() {
        let mut step = step.clone();
        if position >= breaker {
            step.nodes_mut(&mut |node| live.extend(node.slots()));
            if let Step::Expand { from, .. } = &step {
                live.push(*from);
            }
        }
        step.nodes_mut(&mut |node| types_of(node, &mut types));
        if let Step::Eval(slot, node) = &step
            && let Some(place) = types.get_mut(*slot)
        {
            *place = node.ty;
        }
    }
    live.sort_unstable();
    live.dedup();
    let live = live.into_iter().map(|slot| (slot, types.get(slot).copied().unwrap_or(Type::Null)));
    let live = live.collect();
    (types, live)
}

fn types_of(node: &Node, types: &mut [Type]) {
    if let Op::Slot(slot) = node.op
        && let Some(place) = types.get_mut(slot)
    {
        *place = node.ty;
    }
    node.each(&mut |inner| types_of(inner, types));
}

/// The limit that follows a sort, if nothing between them needs more rows.
fn top(plan: &Plan, breaker: usize) -> Option<usize> {
    let after = plan.steps.get(breaker + 1..)?;
    let kept = after.iter().take_while(|step| matches!(step, Step::Eval(..) | Step::Limit(_)));
    kept.filter_map(|step| if let Step::Limit(count) = step { Some(*count) } else { None }).min()
}

pub(super) fn scan(
    plan: &Plan,
    breaker: usize,
    parts: &[Part],
    bounds: &Bounds,
    settings: &Settings,
    progress: &Progress,
) -> Result<Gathered, RunError> {
    let (types, live) = types_and_live(plan, breaker);
    let total: u64 = parts.iter().map(Part::rows).sum();
    progress.rows_total.store(total, Ordering::Relaxed);
    progress.rows_done.store(0, Ordering::Relaxed);
    let step = plan.steps.get(breaker);
    let shared = Shared {
        plan,
        breaker,
        parts,
        bounds,
        settings,
        progress,
        types,
        live,
        next: AtomicUsize::new(0),
        counts: Mutex::new(vec![None; parts.len()]),
        enough: if let Some(Step::Limit(count)) = step { Some(*count) } else { None },
        top: if matches!(step, Some(Step::Sort(_))) { top(plan, breaker) } else { None },
    };
    let threads = settings.limits.threads.clamp(1, 64).min(parts.len().max(1));
    let results: Vec<Result<Gathered, RunError>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| shared.work())).collect();
        let mut all = vec![shared.work()];
        all.extend(others.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(RunError::Limit("a scanning thread failed".to_owned())))
        }));
        all
    });
    let mut whole: Option<Gathered> = None;
    for result in results {
        let one = result?;
        whole = Some(match whole {
            None => one,
            Some(mut sum) => {
                sum.merge(one, &shared)?;
                sum
            }
        });
    }
    whole.ok_or(RunError::Interrupted)
}

impl Gathered {
    fn merge(&mut self, other: Self, shared: &Shared<'_>) -> Result<(), RunError> {
        self.warnings.merge(other.warnings);
        self.notes.extend(other.notes);
        self.scanned.rows += other.scanned.rows;
        self.scanned.rows_skipped += other.scanned.rows_skipped;
        self.scanned.rows_unread += other.scanned.rows_unread;
        self.scanned.files += other.scanned.files;
        match (&mut self.collected, other.collected) {
            (Collected::Groups(ours), Collected::Groups(theirs)) => {
                if let Some(Step::Aggregate { aggregates, .. }) = shared.plan.steps.get(shared.breaker) {
                    ours.merge(theirs, aggregates, &shared.settings.limits)?;
                }
            }
            (Collected::Rows(ours), Collected::Rows(theirs)) => {
                ours.rows.extend(theirs.rows);
                ours.bytes += theirs.bytes;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Shared<'_> {
    fn work(&self) -> Result<Gathered, RunError> {
        let context = Context { now_ms: self.settings.now_ms, warnings: RefCell::default() };
        let grouping =
            matches!(self.plan.steps.get(self.breaker), Some(Step::Aggregate { inline: false, .. }));
        let collected = if grouping {
            Collected::Groups(Groups::default())
        } else {
            Collected::Rows(Held { slots: self.live.clone(), ..Held::default() })
        };
        let mut gathered = Gathered {
            collected,
            warnings: Warnings::default(),
            notes: Vec::new(),
            scanned: Scanned::default(),
        };
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.parts.get(at) else { break };
            if self.progress.stopped() {
                return Err(RunError::Interrupted);
            }
            if self.satisfied() {
                break;
            }
            let found = self.part(at, part, &mut gathered, &context)?;
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = counts.get_mut(at) {
                *place = Some(found);
            }
        }
        gathered.warnings = context.warnings.take();
        Ok(gathered)
    }

    /// Whether the parts that are done from the first on hold enough rows.
    fn satisfied(&self) -> bool {
        let Some(enough) = self.enough else { return false };
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map_while(|count| *count).sum::<usize>() >= enough
    }

    fn part(
        &self,
        at: usize,
        part: &Part,
        gathered: &mut Gathered,
        context: &Context,
    ) -> Result<usize, RunError> {
        let skip = |rows: u64| {
            self.progress.rows_done.fetch_add(rows, Ordering::Relaxed);
        };
        if !self.bounds.meets(part.times()) {
            gathered.scanned.rows_skipped += part.rows();
            skip(part.rows());
            return Ok(0);
        }
        let open = match part.open() {
            Ok(open) => open,
            Err(cause) => {
                gathered.notes.push(format!("{} events could not be read: {cause}", part.rows()));
                gathered.scanned.rows_unread += part.rows();
                skip(part.rows());
                return Ok(0);
            }
        };
        gathered.scanned.files += 1;
        let mut found = 0;
        for group in 0..open.groups() {
            if self.progress.stopped() {
                return Err(RunError::Interrupted);
            }
            let rows = open.rows(group) as u64;
            let times = open.times(group);
            if !self.bounds.meets(times) {
                gathered.scanned.rows_skipped += rows;
            } else if self.enough.is_none_or(|enough| found < enough) {
                gathered.scanned.rows += rows;
                let place = (at as u64) << 40 | (group as u64) << 24;
                match self.group(&open, part, group, times, place, gathered, context) {
                    Ok(count) => found += count,
                    // A damaged file does not fail the whole: what is missing is said.
                    Err(RunError::Store(cause)) => {
                        gathered.notes.push(format!("{rows} events could not be read: {cause}"));
                        gathered.scanned.rows_unread += rows;
                    }
                    Err(other) => return Err(other),
                }
            }
            skip(rows);
        }
        Ok(found)
    }

    #[expect(clippy::too_many_arguments, reason = "a group, where it stands, and where its rows go")]
    fn group(
        &self,
        open: &OpenPart,
        part: &Part,
        group: usize,
        times: (i64, i64),
        place: u64,
        gathered: &mut Gathered,
        context: &Context,
    ) -> Result<usize, RunError> {
        let name = index::name_of(part.dataset());
        let origin = Origin::new(open, group, name, &self.plan.sources, &self.types);
        let mut batch = Batch::scanned(origin, self.plan.slots);
        for step in self.plan.steps.get(..self.breaker).unwrap_or_default() {
            let Some(step) = self.bounds.without(step, times) else { continue };
            steps::row_by_row(&mut batch, &step, context)?;
            if batch.rows == 0 {
                return Ok(0);
            }
        }
        match &mut gathered.collected {
            Collected::Groups(groups) => self.aggregate(groups, &mut batch, place, context)?,
            Collected::Rows(held) => self.hold(held, &mut batch, place, context)?,
        }
        Ok(batch.rows)
    }

    fn aggregate(
        &self,
        groups: &mut Groups,
        batch: &mut Batch<'_>,
        place: u64,
        context: &Context,
    ) -> Result<(), RunError> {
        let Some(Step::Aggregate { aggregates, by, .. }) = self.plan.steps.get(self.breaker) else {
            return Ok(());
        };
        let nodes = by.iter().map(|(_, node)| node);
        let inputs = aggregates.iter().flat_map(|it| it.input.iter().chain(&it.by).chain(&it.filter));
        let slots: Vec<Slot> = nodes.chain(inputs).flat_map(Node::slots).collect();
        batch.load(&slots)?;
        let limits = &self.settings.limits;
        let keys: Vec<Vector> =
            by.iter().map(|(_, node)| evaluate(node, &batch.columns, batch.rows, context)).collect();
        let assigned = groups.assign(&keys, batch.rows, place, aggregates, limits)?;
        groups.add(&assigned, aggregates, &batch.columns, batch.rows, context, limits)
    }

    fn hold(
        &self,
        held: &mut Held,
        batch: &mut Batch<'_>,
        place: u64,
        context: &Context,
    ) -> Result<(), RunError> {
        if let Some(enough) = self.enough {
            let rows: Vec<u32> = (0..batch.rows.min(enough) as u32).collect();
            batch.keep(&rows);
        }
        let sort = match self.plan.steps.get(self.breaker) {
            Some(Step::Sort(keys)) => Some(keys),
            _ => None,
        };
        let order = match (sort, self.top) {
            (Some(keys), Some(top)) if batch.rows > top => {
                let mut rows = steps::sorted(batch, keys, context)?;
                rows.truncate(top);
                rows
            }
            _ => (0..batch.rows as u32).collect(),
        };
        let slots: Vec<Slot> = held.slots.iter().map(|(slot, _)| *slot).collect();
        batch.load(&slots)?;
        for row in order {
            let values = slots.iter().map(|slot| batch.value(*slot, row as usize).into_owned());
            let values: Vec<Val<'static>> = values.collect();
            held.bytes += values.iter().map(Val::held_bytes).sum::<usize>() + 32;
            held.rows.push((place | u64::from(row), values));
        }
        if let (Some(keys), Some(top)) = (sort, self.top)
            && held.rows.len() > top.saturating_mul(2).max(SORTED_SPARE)
        {
            held.rows.sort_by_key(|(at, _)| *at);
            let mut all = held.batch(self.plan.slots);
            let mut kept = steps::sorted(&mut all, keys, context)?;
            kept.truncate(top);
            let mut old: Vec<Option<(u64, Vec<Val<'static>>)>> =
                std::mem::take(&mut held.rows).into_iter().map(Some).collect();
            held.rows = kept.into_iter().filter_map(|row| old.get_mut(row as usize)?.take()).collect();
            held.bytes = held.rows.iter().flat_map(|(_, row)| row).map(Val::held_bytes).sum();
        }
        let limits = &self.settings.limits;
        if held.bytes > limits.held_bytes_max {
            let mebibytes = limits.held_bytes_max >> 20;
            let help = "keep fewer columns, filter first, or set a limit after `sort`";
            return Err(RunError::Limit(format!("the rows take more than {mebibytes} MiB; {help}")));
        }
        Ok(())
    }
}
