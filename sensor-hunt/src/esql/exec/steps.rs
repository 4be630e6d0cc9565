//! Steps on rows that are in memory.

use std::cmp::Ordering;

use super::batch::Batch;
use crate::esql::aggregate::Groups;
use crate::esql::ast::Compare;
use crate::esql::bound::{Node, Op, SortBy, Step};
use crate::esql::eval::{Context, evaluate, truths};
use crate::esql::outcome::{Limits, RunError};
use crate::esql::value::{Val, order};
use crate::esql::vector::{Builder, Data, Vector, range};

/// Rows that `mv_expand` may make of one batch.
const EXPANDED_ROWS_MAX: usize = 8 << 20;

pub(super) fn filter(batch: &mut Batch<'_>, node: &Node, context: &Context) -> Result<(), RunError> {
    batch.load(&node.slots())?;
    let all = truths(node, &batch.columns, batch.rows, context);
    if matches!(node.op, Op::Not(_) | Op::Compare(Compare::Ne, ..)) {
        undecided(batch, node, &all, context);
    }
    let rows: Vec<u32> =
        (0_u32..).zip(&all).filter(|(_, truth)| **truth == Some(true)).map(|(row, _)| row).collect();
    batch.keep(&rows);
    Ok(())
}

/// Notes which columns without a value leave a negation undecided: such a row is left out, which surprises. Several
/// values have been warned about.
fn undecided(batch: &Batch<'_>, node: &Node, all: &[Option<bool>], context: &Context) {
    let slots = node.slots();
    let mut warnings = context.warnings.borrow_mut();
    for (row, _) in all.iter().enumerate().filter(|(_, truth)| truth.is_none()) {
        if slots.iter().any(|slot| matches!(batch.value(*slot, row), Val::List(_))) {
            continue;
        }
        for slot in slots.iter().filter(|slot| batch.value(**slot, row).is_null()) {
            *warnings.undecided.entry((node.span.start, node.span.end, *slot)).or_default() += 1;
        }
    }
}

/// A step that looks at each row by itself. Returns whether it was one.
pub(super) fn row_by_row(batch: &mut Batch<'_>, step: &Step, context: &Context) -> Result<bool, RunError> {
    match step {
        Step::Filter(node) => match &node.op {
            // One after another, so that a column is not read for rows that are gone.
            Op::And(terms) => {
                for term in terms {
                    filter(batch, term, context)?;
                }
            }
            _ => filter(batch, node, context)?,
        },
        Step::Eval(slot, node) => {
            batch.load(&node.slots())?;
            let vector = evaluate(node, &batch.columns, batch.rows, context);
            batch.set(*slot, vector);
        }
        Step::Expand { from, to } => {
            batch.load(&[*from])?;
            expand(batch, *from, *to)?;
        }
        Step::Grok { input, grok, slots } => {
            let types: Vec<_> = grok.fields().map(|(_, ty)| ty).collect();
            extract(batch, input, slots, &types, context, &|text| grok.run(text))?;
        }
        Step::Dissect { input, dissect, slots } => {
            let types = vec![crate::esql::outcome::Type::Keyword; slots.len()];
            extract(batch, input, slots, &types, context, &|text| dissect.run(text))?;
        }
        Step::Aggregate { .. } | Step::Sort(_) | Step::Limit(_) => return Ok(false),
    }
    Ok(true)
}

fn expand(batch: &mut Batch<'_>, from: usize, to: usize) -> Result<(), RunError> {
    let Some(vector) = batch.column(from).cloned() else { return Ok(()) };
    let vector = vector.spread();
    let Data::List(ends, items) = &vector.data else {
        batch.set(to, vector);
        return Ok(());
    };
    let (mut rows, mut picked) = (Vec::new(), Vec::new());
    for row in 0..batch.rows {
        let (start, end) = range(ends, row);
        if start == end {
            rows.push(row as u32);
            picked.push(crate::esql::vector::NONE);
        }
        for item in start..end {
            rows.push(row as u32);
            picked.push(item as u32);
        }
        if rows.len() > EXPANDED_ROWS_MAX {
            return Err(RunError::Limit("`mv_expand` makes too many rows; filter first".to_owned()));
        }
    }
    let expanded = items.take_or_null(&picked);
    batch.repeat(&rows);
    batch.set(to, expanded);
    Ok(())
}

fn extract(
    batch: &mut Batch<'_>,
    input: &Node,
    slots: &[usize],
    types: &[crate::esql::outcome::Type],
    context: &Context,
    run: &dyn Fn(&str) -> Vec<Val<'static>>,
) -> Result<(), RunError> {
    batch.load(&input.slots())?;
    let texts = evaluate(input, &batch.columns, batch.rows, context);
    let mut builders: Vec<Builder> = types.iter().map(|ty| Builder::new(*ty)).collect();
    for row in 0..batch.rows {
        let mut columns: Vec<Vec<Val<'static>>> = vec![Vec::new(); slots.len()];
        for text in texts.get(row).items() {
            for (column, value) in columns.iter_mut().zip(text.as_text().map(run).unwrap_or_default()) {
                column.extend(value.items());
            }
        }
        for (builder, values) in builders.iter_mut().zip(columns) {
            builder.push(&Val::from_items(values));
        }
    }
    for (slot, builder) in slots.iter().zip(builders) {
        batch.set(*slot, builder.finish());
    }
    Ok(())
}

/// All that is left of a query, on all the rows that are left.
pub(super) fn finish<'a>(
    mut batch: Batch<'a>,
    steps: &[Step],
    context: &Context,
    limits: &Limits,
) -> Result<Batch<'a>, RunError> {
    for step in steps {
        if row_by_row(&mut batch, step, context)? {
            continue;
        }
        match step {
            Step::Limit(count) => {
                let rows: Vec<u32> = (0..batch.rows.min(*count) as u32).collect();
                batch.keep(&rows);
            }
            Step::Sort(keys) => {
                let rows = sorted(&mut batch, keys, context)?;
                batch.repeat(&rows);
            }
            Step::Aggregate { aggregates, by, inline } => {
                let mut groups = Groups::default();
                let keys: Vec<Vector> =
                    by.iter().map(|(_, node)| evaluate(node, &batch.columns, batch.rows, context)).collect();
                let assigned = groups.assign(&keys, batch.rows, 0, aggregates, limits)?;
                groups.add(&assigned, aggregates, &batch.columns, batch.rows, context, limits)?;
                if *inline {
                    for (slot, vector) in groups.inline(&assigned, aggregates, batch.rows) {
                        batch.set(slot, vector);
                    }
                    for ((slot, _), key) in by.iter().zip(keys) {
                        batch.set(*slot, key);
                    }
                } else {
                    let slots = batch.columns.len();
                    let (rows, columns) = groups.finish(aggregates, by, context);
                    batch = Batch::held(rows, vec![None; slots]);
                    columns.into_iter().for_each(|(slot, vector)| batch.set(slot, vector));
                }
            }
            _ => {}
        }
    }
    Ok(batch)
}

/// The rows in the order of the keys; equal ones keep theirs.
pub(super) fn sorted(
    batch: &mut Batch<'_>,
    keys: &[SortBy],
    context: &Context,
) -> Result<Vec<u32>, RunError> {
    let mut columns = Vec::new();
    for key in keys {
        batch.load(&key.node.slots())?;
        columns.push(evaluate(&key.node, &batch.columns, batch.rows, context));
    }
    let mut rows: Vec<u32> = (0..batch.rows as u32).collect();
    rows.sort_by(|a, b| {
        for (key, column) in keys.iter().zip(&columns) {
            let ordering = compare(column.get(*a as usize), column.get(*b as usize), key);
            if ordering.is_ne() {
                return ordering;
            }
        }
        Ordering::Equal
    });
    Ok(rows)
}

/// Of several values the least counts, descending the greatest.
fn one<'a>(value: Val<'a>, key: &SortBy) -> Val<'a> {
    let wanted = if key.descending { Ordering::Greater } else { Ordering::Less };
    match value {
        Val::List(items) => items.into_iter().fold(Val::Null, |best, item| {
            if best.is_null() || order(&item, &best, key.node.ty) == Some(wanted) { item } else { best }
        }),
        single => single,
    }
}

fn compare(left: Val<'_>, right: Val<'_>, key: &SortBy) -> Ordering {
    let (left, right) = (one(left, key), one(right, key));
    let nulls = |first: bool| if first == key.nulls_first { Ordering::Less } else { Ordering::Greater };
    match (left.is_null(), right.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => nulls(true),
        (false, true) => nulls(false),
        (false, false) => {
            let ordering = order(&left, &right, key.node.ty).unwrap_or(Ordering::Equal);
            if key.descending { ordering.reverse() } else { ordering }
        }
    }
}
