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

/// `log(number)`, or `log(base, number)`.
pub(super) fn log<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (first, second) = (next(&mut args).as_double().unwrap_or(0.0), args.next());
    let (base, number) = match second.as_ref().and_then(Val::as_double) {
        Some(number) => (Some(first), number),
        None => (None, first),
    };
    match base {
        _ if number <= 0.0 => Err("Log of non-positive number"),
        None => finite(number.ln()),
        Some(base) if base <= 0.0 => Err("Log of non-positive number"),
        Some(1.0) => Err("Log of base 1"),
        Some(base) => finite(number.ln() / base.ln()),
    }
}

macro_rules! of_one {
    ($($name:ident),*) => {
        $(pub(super) fn $name<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
            finite(double(args).$name())
        })*
    };
}

of_one!(exp, cbrt, sin, cos, tan, sinh, cosh, tanh, asin, acos, atan, to_degrees, to_radians);

pub(super) fn atan2<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (y, x) = (next(&mut args), next(&mut args));
    finite(y.as_double().unwrap_or(0.0).atan2(x.as_double().unwrap_or(0.0)))
}

pub(super) fn hypot<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (a, b) = (next(&mut args), next(&mut args));
    finite(a.as_double().unwrap_or(0.0).hypot(b.as_double().unwrap_or(0.0)))
}

pub(super) fn pi<'a>(_: Env, _: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::Double(std::f64::consts::PI))
}

pub(super) fn tau<'a>(_: Env, _: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::Double(std::f64::consts::TAU))
}

pub(super) fn e<'a>(_: Env, _: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::Double(std::f64::consts::E))
}

/// `bucket(number, count, from, to)`: spans of a power of ten, or of half of one.
pub(super) fn bucket_range<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (number, count) = (next(&mut args), next(&mut args).as_double().unwrap_or(0.0));
    let (from, to) = (next(&mut args).as_double().unwrap_or(0.0), next(&mut args).as_double().unwrap_or(0.0));
    let precise = (to - from) / count;
    let power = 10_f64.powf(precise.log10().ceil());
    let span = if precise < power / 2.0 { power / 2.0 } else { power };
    if span.is_finite() {
        bucket(env, vec![number, Val::Double(span)])
    } else {
        Err("the range of a bucket is empty")
    }
}

/// The value that so many in a hundred of the sorted numbers lie below, between its neighbours in proportion.
pub(in crate::esql) fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = (percent / 100.0 * last as f64).clamp(0.0, last as f64);
    let (low, high) = (*sorted.get(place.floor() as usize)?, *sorted.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
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
