//! Functions of numbers.

use super::{Env, Evaluated, next};
use crate::esql::outcome::Type;
use crate::esql::value::Val;

fn double(args: Vec<Val<'_>>) -> f64 {
    next(&mut args.into_iter()).as_double().unwrap_or(0.0)
}

fn finite<'a>(number: f64) -> Evaluated<'a> {
    if number.is_finite() { Ok(Val::Double(number)) } else { Err("not a finite double number") }
}

/// A function that leaves a whole number as it is.
fn rounded<'a>(args: Vec<Val<'a>>, how: fn(f64) -> f64) -> Evaluated<'a> {
    match next(&mut args.into_iter()) {
        Val::Double(number) => finite(how(number)),
        other => Ok(other),
    }
}

pub(super) fn abs<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    match next(&mut args.into_iter()) {
        Val::Long(number) => number.checked_abs().map(Val::Long).ok_or("long overflow"),
        Val::Double(number) => Ok(Val::Double(number.abs())),
        other => Ok(other),
    }
}

pub(super) fn ceil<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    rounded(args, f64::ceil)
}

pub(super) fn floor<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    rounded(args, f64::floor)
}

pub(super) fn round<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let number = next(&mut args);
    let places = next(&mut args).as_long().unwrap_or(0).clamp(-20, 20) as i32;
    let scale = 10_f64.powi(places);
    match number {
        Val::Double(number) => finite((number * scale).round() / scale),
        Val::Long(number) if places < 0 => Ok(Val::Long(((number as f64 * scale).round() / scale) as i64)),
        other => Ok(other),
    }
}

pub(super) fn sqrt<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let number = double(args);
    if number < 0.0 { Err("Square root of negative") } else { finite(number.sqrt()) }
}

pub(super) fn signum<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let number = double(args);
    finite(if number == 0.0 { 0.0 } else { number.signum() })
}

pub(super) fn log10<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let number = double(args);
    if number <= 0.0 { Err("Log of non-positive number") } else { finite(number.log10()) }
}

pub(super) fn pow<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (base, exponent) = (next(&mut args), next(&mut args));
    finite(base.as_double().unwrap_or(0.0).powf(exponent.as_double().unwrap_or(0.0)))
}

pub(super) fn bucket<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (number, span) = (next(&mut args), next(&mut args));
    let span = span.as_double().unwrap_or(0.0);
    if span <= 0.0 {
        return Err("the span of a bucket must be greater than 0");
    }
    finite((number.as_double().unwrap_or(0.0) / span).floor() * span)
}

/// Whole or floating, as it was bound.
pub(super) fn sum_as(ty: Type, items: &[Val<'_>]) -> Option<Val<'static>> {
    if ty == Type::Double {
        return Some(Val::Double(items.iter().filter_map(Val::as_double).sum()));
    }
    items.iter().filter_map(Val::as_long).try_fold(0_i64, i64::checked_add).map(Val::Long)
}
