//! Running a plan: several threads scan, one puts together.

mod batch;
mod scan;
mod steps;

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use sensor_eql::{Diagnostic, Span};
use sensor_store::{Part, Store, schema};

use super::aggregate::Groups;
use super::ast::{Compare, Name};
use super::bound::{Node, Op, Plan, Scan, Slot, Source, Step};
use super::eval::{Context, Warnings, constant};
use super::outcome::{Cell, Column, Outcome, Progress, RunError, Scanned, Settings, Type};
use super::value::Val;
use super::vector::Vector;
use super::{index, notes};
use batch::Batch;
pub(super) use scan::Bounds;
use scan::Collected;

/// Runs a plan and returns its answer.
pub(super) fn run(
    plan: &Plan,
    text: &str,
    stores: &[Store],
    settings: &Settings,
    progress: &Progress,
) -> Result<Outcome, RunError> {
    let mut plan = plan.clone();
    let context = Context { now_ms: settings.now_ms, warnings: RefCell::default() };
    restrict(&mut plan, settings);
    for step in &mut plan.steps {
        step.nodes_mut(&mut |node| fold(node, &context));
    }
    let breaker = plan
        .steps
        .iter()
        .position(|step| matches!(step, Step::Aggregate { .. } | Step::Sort(_) | Step::Limit(_)));
    let breaker = breaker.unwrap_or(plan.steps.len());
    let mut outcome = Outcome::default();
    let (batch, mut warnings) = match &plan.scan {
        Scan::Row => (Batch::held(1, vec![None; plan.slots]), Warnings::default()),
        Scan::Store { patterns, excluded } => {
            let (parts, mut notes) = chosen(stores, patterns, excluded)?;
            let bounds = Bounds::of(&plan);
            let wanted: Vec<&str> = patterns.iter().map(|pattern| pattern.text.as_str()).collect();
            notes.extend(notes::coverage(stores, &plan.fields, &wanted, &parts, &bounds, settings)?);
            let gathered = scan::scan(&plan, breaker, &parts, &bounds, settings, progress)?;
            notes.extend(gathered.notes);
            outcome.notes = notes;
            outcome.scanned = gathered.scanned;
            let batch = match gathered.collected {
                Collected::Groups(groups) => grouped(&plan, breaker, groups, &context),
                Collected::Rows(rows) => rows.into_batch(plan.slots),
            };
            (batch, gathered.warnings)
        }
    };
    let grouped = plan.steps.get(breaker).is_some_and(|step| {
        matches!((step, &plan.scan), (Step::Aggregate { inline: false, .. }, Scan::Store { .. }))
    });
    let from = match &plan.scan {
        Scan::Row => 0,
        Scan::Store { .. } => breaker + usize::from(grouped),
    };
    let left = plan.steps.get(from..).unwrap_or_default();
    let limit = match plan.steps.last() {
        Some(Step::Limit(limit)) => *limit,
        _ => usize::MAX,
    };
    let (left, last) = match left.split_last() {
        Some((last, rest)) => (rest, std::slice::from_ref(last)),
        None => (left, left),
    };
    let batch = steps::finish(batch, left, &context, &settings.limits)?;
    let before = batch.rows;
    let batch = steps::finish(batch, last, &context, &settings.limits)?;
    warnings.merge(context.warnings.take());
    outcome.warnings = notes::warnings(&warnings, text);
    outcome.notes.extend(notes::undecided(&warnings, text, &plan.sources));
    if before > batch.rows || (batch.rows == limit && matches!(&plan.scan, Scan::Store { .. })) {
        let why = if plan.implicit_limit { "the query has no limit" } else { "no query returns more" };
        outcome.warnings.push(format!("there may be more rows than these {limit}: {why}"));
    }
    answer(&plan, &batch, &mut outcome);
    progress.rows_done.store(progress.rows_total.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(outcome)
}

fn answer(plan: &Plan, batch: &Batch<'_>, outcome: &mut Outcome) {
    outcome.columns =
        plan.output.iter().map(|(name, ty, _)| Column { name: name.clone(), ty: *ty }).collect();
    outcome.rows = (0..batch.rows)
        .map(|row| plan.output.iter().map(|(_, _, slot)| batch.value(*slot, row).into_cell()).collect())
        .collect::<Vec<Vec<Cell>>>();
}

fn grouped<'a>(plan: &Plan, breaker: usize, groups: Groups, context: &Context) -> Batch<'a> {
    let mut batch = Batch::held(0, vec![None; plan.slots]);
    if let Some(Step::Aggregate { aggregates, by, .. }) = plan.steps.get(breaker) {
        let (rows, columns) = groups.finish(aggregates, by, context);
        batch.rows = rows;
        columns.into_iter().for_each(|(slot, vector)| batch.set(slot, vector));
    }
    batch
}

/// `--since` and `--until` as one more condition.
fn restrict(plan: &mut Plan, settings: &Settings) {
    if (settings.since_ms, settings.until_ms) == (None, None) || matches!(plan.scan, Scan::Row) {
        return;
    }
    let Some(time) = schema::find("@timestamp").map(Source::Column) else { return };
    let known = plan.sources.iter().find(|(_, source)| *source == time).map(|(slot, _)| *slot);
    let slot = known.unwrap_or_else(|| {
        plan.sources.push((plan.slots, time));
        plan.slots += 1;
        plan.slots - 1
    });
    let span = Span::new(0, 0);
    let mut add = |op, bound: Option<i64>| {
        if let Some(bound) = bound {
            let left = Node { op: Op::Slot(slot), ty: Type::Date, span };
            let right = Node::constant(Val::Date(bound), Type::Date, span);
            let op = Op::Compare(op, Box::new(left), Box::new(right));
            plan.steps.insert(0, Step::Filter(Node { op, ty: Type::Boolean, span }));
        }
    };
    add(Compare::Lt, settings.until_ms);
    add(Compare::Ge, settings.since_ms);
}

/// What needs no column is worked out once.
fn fold(node: &mut Node, context: &Context) {
    node.each_mut(&mut |inner| fold(inner, context));
    if node.as_const().is_none() && node.slots().is_empty() {
        node.op = Op::Const(constant(node, context));
    }
}

/// The parts of the datasets that the patterns name, and what is to be said of it.
fn chosen(
    stores: &[Store],
    patterns: &[Name],
    excluded: &[String],
) -> Result<(Vec<Part>, Vec<String>), RunError> {
    let mut parts = Vec::new();
    let mut notes = Vec::new();
    for store in stores {
        parts.extend(store.snapshot()?);
        notes.extend(store.damaged_logs()?);
    }
    let known = |pattern: &&Name| {
        index::is_known(&pattern.text)
            || parts.iter().any(|part| index::matches(&pattern.text, part.dataset()))
    };
    let (known, unknown): (Vec<&Name>, Vec<&Name>) = patterns.iter().partition(known);
    if let (true, [first, .., last] | [first @ last]) = (known.is_empty(), unknown.as_slice()) {
        let names: Vec<&str> = unknown.iter().map(|pattern| pattern.text.as_str()).collect();
        let text = format!("Unknown index [{}]", names.join(","));
        return Err(RunError::Query(Diagnostic::error(first.span.to(last.span), text).into()));
    }
    for pattern in unknown {
        notes.push(format!("no index is called `{}`", pattern.text));
    }
    for pattern in patterns.iter().map(|pattern| &pattern.text) {
        if pattern.contains(':') {
            notes.push(format!(
                "`{pattern}` names another cluster, which is not asked; give its store with --store"
            ));
        }
    }
    parts.retain(|part| {
        let names = |pattern: &str| index::matches(pattern, part.dataset());
        patterns.iter().any(|pattern| names(&pattern.text)) && !excluded.iter().any(|pattern| names(pattern))
    });
    Ok((parts, notes))
}
