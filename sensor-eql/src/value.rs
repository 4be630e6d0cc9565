//! Values while an expression is computed, with Elasticsearch's arithmetic and comparison.

use std::borrow::Cow;
use std::cmp::Ordering;

use sensor_ecs::Value;

use crate::ast::{ArithmeticOp, CompareOp};
use crate::time;

/// A computed value. Text is borrowed from the record or the query wherever the function allows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out<'a> {
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    /// Nanoseconds since the epoch.
    Date(i64),
    Text(Cow<'a, [u8]>),
}

impl<'a> Out<'a> {
    /// A single value; lists are taken apart before an expression is computed.
    pub(crate) fn from_value(value: Value<'a>) -> Self {
        match value {
            Value::Absent | Value::List(_) => Self::Null,
            Value::Keyword(text) => Self::Text(Cow::Borrowed(text)),
            Value::Long(n) => Self::Long(n),
            Value::Double(n) => Self::Double(n),
            Value::Boolean(b) => Self::Bool(b),
            Value::Date(ns) => Self::Date(ns),
        }
    }

    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Long(n) => Some(*n),
            Self::Double(n) => exact_integer(*n),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// The value as the function `string` shows it.
    pub(crate) fn into_text(self) -> Option<Cow<'a, [u8]>> {
        let shown = match self {
            Self::Null => return None,
            Self::Text(text) => return Some(text),
            Self::Bool(true) => return Some(Cow::Borrowed(b"true")),
            Self::Bool(false) => return Some(Cow::Borrowed(b"false")),
            Self::Long(n) => n.to_string(),
            // A whole double keeps its fraction, as Java prints it.
            Self::Double(n) => format!("{n:?}"),
            Self::Date(ns) => ns.div_euclid(1_000_000).to_string(),
        };
        Some(Cow::Owned(shown.into_bytes()))
    }
}

fn exact_integer(n: f64) -> Option<i64> {
    // The bounds are exact powers of two, so the cast below loses nothing.
    let whole = n.trunc() == n && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&n);
    whole.then_some(n as i64)
}

/// How `left` compares to `right`; `None` if the two have no order, which equals nothing.
pub(crate) fn order(left: &Out<'_>, right: &Out<'_>) -> Option<Ordering> {
    match (left, right) {
        (Out::Null, _) | (_, Out::Null) => None,
        (Out::Bool(a), Out::Bool(b)) => Some(a.cmp(b)),
        (Out::Text(a), Out::Text(b)) => Some(a.cmp(b)),
        (Out::Date(a), Out::Date(b)) => Some(a.cmp(b)),
        (Out::Long(a), Out::Long(b)) => Some(a.cmp(b)),
        (Out::Long(a), Out::Double(b)) => (*a as f64).partial_cmp(b),
        (Out::Double(a), Out::Long(b)) => a.partial_cmp(&(*b as f64)),
        (Out::Double(a), Out::Double(b)) => a.partial_cmp(b),
        // Elasticsearch converts the literal to the type of the field, and text is the type that converts.
        (Out::Text(a), b) => order(&convert(a, b)?, b),
        (a, Out::Text(b)) => order(a, &convert(b, a)?),
        (Out::Date(ns), Out::Long(millis)) => Some(ns.cmp(&millis.saturating_mul(1_000_000))),
        (Out::Long(millis), Out::Date(ns)) => Some(millis.saturating_mul(1_000_000).cmp(ns)),
        (Out::Bool(_) | Out::Date(_), _) | (_, Out::Bool(_) | Out::Date(_)) => None,
    }
}

/// Reads `text` as the type of `like`.
fn convert(text: &[u8], like: &Out<'_>) -> Option<Out<'static>> {
    let text = std::str::from_utf8(text).ok()?;
    match like {
        Out::Long(_) | Out::Double(_) => number(text),
        Out::Bool(_) => boolean(text).map(Out::Bool),
        Out::Date(_) => time::parse(text).map(Out::Date),
        Out::Null | Out::Text(_) => None,
    }
}

pub(crate) fn number(text: &str) -> Option<Out<'static>> {
    if let Ok(n) = text.parse() {
        return Some(Out::Long(n));
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|n: &f64| plain && n.is_finite()).map(Out::Double)
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Comparison in a computed expression, where null stays null.
pub(crate) fn compare(op: CompareOp, left: &Out<'_>, right: &Out<'_>) -> Out<'static> {
    if *left == Out::Null || *right == Out::Null {
        return Out::Null;
    }
    match order(left, right) {
        Some(ordering) => Out::Bool(op.accepts(ordering)),
        None => Out::Bool(op == CompareOp::Ne),
    }
}

/// Integers stay integers and truncate; overflow and division by zero have no value.
pub(crate) fn arithmetic(op: ArithmeticOp, left: &Out<'_>, right: &Out<'_>) -> Out<'static> {
    let integer = |n: Option<i64>| n.map_or(Out::Null, Out::Long);
    let double = |a: f64, b: f64| {
        Out::Double(match op {
            ArithmeticOp::Add => a + b,
            ArithmeticOp::Subtract => a - b,
            ArithmeticOp::Multiply => a * b,
            ArithmeticOp::Divide => a / b,
            ArithmeticOp::Modulo => a % b,
        })
    };
    match (left, right) {
        (Out::Long(a), Out::Long(b)) => integer(match op {
            ArithmeticOp::Add => a.checked_add(*b),
            ArithmeticOp::Subtract => a.checked_sub(*b),
            ArithmeticOp::Multiply => a.checked_mul(*b),
            ArithmeticOp::Divide => a.checked_div(*b),
            ArithmeticOp::Modulo => a.checked_rem(*b),
        }),
        (Out::Long(a), Out::Double(b)) => double(*a as f64, *b),
        (Out::Double(a), Out::Long(b)) => double(*a, *b as f64),
        (Out::Double(a), Out::Double(b)) => double(*a, *b),
        _ => Out::Null,
    }
}

pub(crate) fn negate(value: &Out<'_>) -> Out<'static> {
    match value {
        Out::Long(n) => n.checked_neg().map_or(Out::Null, Out::Long),
        Out::Double(n) => Out::Double(-n),
        _ => Out::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_truncate_and_never_overflow() {
        let divide = |a, b| arithmetic(ArithmeticOp::Divide, &a, &b);
        assert_eq!(divide(Out::Long(7), Out::Long(-2)), Out::Long(-3));
        assert_eq!(divide(Out::Long(30), Out::Double(4.0)), Out::Double(7.5));
        assert_eq!(divide(Out::Long(1), Out::Long(0)), Out::Null);
        assert_eq!(divide(Out::Long(i64::MIN), Out::Long(-1)), Out::Null);
        assert_eq!(arithmetic(ArithmeticOp::Add, &Out::Long(i64::MAX), &Out::Long(1)), Out::Null);
    }

    #[test]
    fn comparison_converts_text_to_the_type_of_the_other_side() {
        let text = |s: &'static str| Out::Text(Cow::Borrowed(s.as_bytes()));
        assert!(compare(CompareOp::Eq, &text("5"), &Out::Long(5)).is_true());
        assert!(compare(CompareOp::Eq, &Out::Bool(true), &text("true")).is_true());
        assert!(compare(CompareOp::Lt, &text("9"), &Out::Long(10)).is_true());
        assert!(!compare(CompareOp::Eq, &text("x"), &Out::Long(5)).is_true());
        assert_eq!(compare(CompareOp::Ne, &Out::Null, &Out::Long(5)), Out::Null);
    }
}
