//! Functions of several values.

use std::cmp::Ordering;

use super::number::{percentile, sum_as};
use super::{Env, Evaluated, next};
use crate::esql::outcome::Type;
use crate::esql::value::{Val, order};

fn items<'a>(args: Vec<Val<'a>>) -> Vec<Val<'a>> {
    next(&mut args.into_iter()).items()
}

fn extreme<'a>(env: Env, values: Vec<Val<'a>>, wanted: Ordering) -> Val<'a> {
    let mut best = Val::Null;
    for value in values {
        let better = best.is_null() || order(&value, &best, env.of) == Some(wanted);
        if better && !value.is_null() {
            best = value;
        }
    }
    best
}

pub(super) fn coalesce<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(args.into_iter().find(|value| !value.is_null()).unwrap_or(Val::Null))
}

pub(super) fn greatest<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(extreme(env, args, Ordering::Greater))
}

pub(super) fn least<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(extreme(env, args, Ordering::Less))
}

pub(super) fn mv_max<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(extreme(env, items(args), Ordering::Greater))
}

pub(super) fn mv_min<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(extreme(env, items(args), Ordering::Less))
}

pub(super) fn mv_count<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let count = items(args).len();
    Ok(if count == 0 { Val::Null } else { Val::Long(count as i64) })
}

pub(super) fn mv_first<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(items(args).into_iter().next().unwrap_or(Val::Null))
}

pub(super) fn mv_last<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(items(args).pop().unwrap_or(Val::Null))
}

pub(super) fn mv_sum<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let values = items(args);
    if values.is_empty() {
        return Ok(Val::Null);
    }
    sum_as(env.ty, &values).ok_or("long overflow")
}

pub(super) fn mv_avg<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let values = items(args);
    if values.is_empty() {
        return Ok(Val::Null);
    }
    let sum: f64 = values.iter().filter_map(Val::as_double).sum();
    Ok(Val::Double(sum / values.len() as f64))
}

fn sorted(values: &[Val<'_>]) -> Vec<f64> {
    let mut numbers: Vec<f64> = values.iter().filter_map(Val::as_double).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Of whole numbers a whole one: the lesser, where it lies between two.
pub(super) fn mv_median<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let found = percentile(&sorted(&items(args)), 50.0);
    Ok(match (found, env.ty) {
        (None, _) => Val::Null,
        (Some(number), Type::Double) => Val::Double(number),
        (Some(number), _) => Val::Long(number.floor() as i64),
    })
}

pub(super) fn mv_percentile<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let values = next(&mut args).items();
    let Some(percent) = next(&mut args).as_double() else { return Ok(Val::Null) };
    if !(0.0..=100.0).contains(&percent) {
        return Err("Percentile parameter must be a number between 0 and 100");
    }
    Ok(match (percentile(&sorted(&values), percent), env.ty) {
        (None, _) => Val::Null,
        (Some(number), Type::Double) => Val::Double(number),
        (Some(number), _) => Val::Long(number as i64),
    })
}

pub(super) fn mv_concat<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let values = next(&mut args).items();
    let separator = next(&mut args);
    let Some(separator) = separator.as_text() else { return Ok(Val::Null) };
    if values.is_empty() {
        return Ok(Val::Null);
    }
    let texts: Vec<&str> = values.iter().filter_map(Val::as_text).collect();
    Ok(Val::text(texts.join(separator)))
}

pub(super) fn mv_dedupe<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::from_items(unique(items(args))))
}

/// Each once, in the order of its first appearance.
fn unique(values: Vec<Val<'_>>) -> Vec<Val<'_>> {
    let mut seen: Vec<Val<'_>> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

pub(super) fn mv_append<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    if args.iter().any(Val::is_null) {
        return Ok(Val::Null);
    }
    Ok(Val::from_items(args.into_iter().flat_map(Val::items).collect()))
}

pub(super) fn mv_union<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::from_items(unique(args.into_iter().flat_map(Val::items).collect())))
}

pub(super) fn mv_intersection<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (left, right) = (next(&mut args).items(), next(&mut args).items());
    Ok(Val::from_items(unique(left).into_iter().filter(|value| right.contains(value)).collect()))
}

/// Whether every value of the second is one of the first's.
pub(super) fn mv_contains<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (all, wanted) = (next(&mut args).items(), next(&mut args).items());
    Ok(Val::Boolean(wanted.iter().all(|value| all.contains(value))))
}

pub(super) fn mv_sort<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let mut values = next(&mut args).items();
    values.sort_by(|a, b| order(a, b, env.of).unwrap_or(Ordering::Equal));
    match args.next().as_ref().and_then(Val::as_text) {
        None => {}
        Some(text) if text.eq_ignore_ascii_case("asc") => {}
        Some(text) if text.eq_ignore_ascii_case("desc") => values.reverse(),
        Some(_) => return Err("the order is neither ASC nor DESC"),
    }
    Ok(Val::from_items(values))
}

/// From 0, both ends included; negative positions count from the end.
pub(super) fn mv_slice<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let values = next(&mut args).items();
    let Some(start) = next(&mut args).as_long() else { return Ok(Val::Null) };
    let end = match args.next() {
        None => start,
        Some(end) => match end.as_long() {
            Some(end) => end,
            None => return Ok(Val::Null),
        },
    };
    if start > end && (start >= 0) == (end >= 0) {
        return Err("Start offset is greater than end offset");
    }
    let len = values.len() as i64;
    let place = |at: i64| if at < 0 { at + len } else { at };
    let (start, end) = (place(start).max(0), place(end));
    let taken = values.into_iter().enumerate().filter(|(at, _)| (start..=end).contains(&(*at as i64)));
    Ok(Val::from_items(taken.map(|(_, value)| value).collect()))
}

pub(super) fn mv_zip<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (left, right) = (next(&mut args).items(), next(&mut args).items());
    let separator = args.next().unwrap_or_else(|| Val::text(","));
    let Some(separator) = separator.as_text() else { return Ok(Val::Null) };
    let pairs = (0..left.len().max(right.len())).map(|at| {
        let side = |all: &[Val<'a>]| all.get(at).and_then(Val::as_text).map(str::to_owned);
        let both: Vec<String> = [side(&left), side(&right)].into_iter().flatten().collect();
        Val::text(both.join(separator))
    });
    Ok(Val::from_items(pairs.collect()))
}
