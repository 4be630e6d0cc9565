//! The functions of EQL: names, signatures and what they compute. Null in gives null out.

use std::borrow::Cow;

use crate::ast::ArithmeticOp;
use crate::value::{Out, arithmetic};
use crate::wild::{char_len, find_folded};

/// A function by name, apart from its `~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Func {
    Arithmetic(ArithmeticOp),
    Between,
    CidrMatch,
    Concat,
    EndsWith,
    IndexOf,
    Length,
    Number,
    StartsWith,
    String,
    StringContains,
    Substring,
    Wildcard,
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    Bool,
    Number,
    Text,
}

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Text,
    /// Text known when the rule is loaded.
    Literal,
    Number,
    Bool,
    Any,
}

/// Name, function, whether it has a `~` form, required arguments, optional ones, whether the last repeats.
type Entry = (&'static str, Func, bool, &'static [Takes], &'static [Takes], bool);

const TABLE: [Entry; 17] = [
    ("add", Func::Arithmetic(ArithmeticOp::Add), false, &[Takes::Number, Takes::Number], &[], false),
    ("between", Func::Between, true, &[Takes::Text, Takes::Text, Takes::Text], &[Takes::Bool], false),
    ("cidrMatch", Func::CidrMatch, false, &[Takes::Text, Takes::Literal], &[], true),
    ("concat", Func::Concat, false, &[Takes::Any], &[], true),
    ("divide", Func::Arithmetic(ArithmeticOp::Divide), false, &[Takes::Number, Takes::Number], &[], false),
    ("endsWith", Func::EndsWith, true, &[Takes::Text, Takes::Text], &[], false),
    ("indexOf", Func::IndexOf, true, &[Takes::Text, Takes::Text], &[Takes::Number], false),
    ("length", Func::Length, false, &[Takes::Text], &[], false),
    ("modulo", Func::Arithmetic(ArithmeticOp::Modulo), false, &[Takes::Number, Takes::Number], &[], false),
    (
        "multiply",
        Func::Arithmetic(ArithmeticOp::Multiply),
        false,
        &[Takes::Number, Takes::Number],
        &[],
        false,
    ),
    ("number", Func::Number, false, &[Takes::Text], &[Takes::Number], false),
    ("startsWith", Func::StartsWith, true, &[Takes::Text, Takes::Text], &[], false),
    ("string", Func::String, false, &[Takes::Any], &[], false),
    ("stringContains", Func::StringContains, true, &[Takes::Text, Takes::Text], &[], false),
    ("substring", Func::Substring, false, &[Takes::Text, Takes::Number], &[Takes::Number], false),
    (
        "subtract",
        Func::Arithmetic(ArithmeticOp::Subtract),
        false,
        &[Takes::Number, Takes::Number],
        &[],
        false,
    ),
    ("wildcard", Func::Wildcard, true, &[Takes::Text, Takes::Literal], &[], true),
];

/// A function with its signature.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) func: Func,
    pub(crate) folds: bool,
    required: &'static [Takes],
    optional: &'static [Takes],
    repeats: bool,
}

impl Signature {
    /// Finds a function; names are case-insensitive.
    pub(crate) fn find(name: &str) -> Option<Self> {
        TABLE.iter().find(|e| e.0.eq_ignore_ascii_case(name)).map(|e| Self {
            name: e.0,
            func: e.1,
            folds: e.2,
            required: e.3,
            optional: e.4,
            repeats: e.5,
        })
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|e| e.0)
    }

    pub(crate) fn accepts_count(&self, count: usize) -> bool {
        count >= self.required.len() && (self.repeats || count <= self.required.len() + self.optional.len())
    }

    pub(crate) fn counts(&self) -> String {
        let low = self.required.len();
        match (self.repeats, self.optional.len()) {
            (true, _) => format!("{low} or more"),
            (false, 0) => low.to_string(),
            (false, more) => format!("{low} to {}", low + more),
        }
    }

    pub(crate) fn takes(&self, index: usize) -> Takes {
        let all = self.required.iter().chain(self.optional);
        let last = self.required.last().copied().unwrap_or(Takes::Any);
        all.copied().nth(index).unwrap_or(last)
    }

    pub(crate) fn gives(&self) -> Gives {
        match self.func {
            Func::CidrMatch | Func::EndsWith | Func::StartsWith | Func::StringContains | Func::Wildcard => {
                Gives::Bool
            }
            Func::Arithmetic(_) | Func::IndexOf | Func::Length | Func::Number => Gives::Number,
            Func::Between | Func::Concat | Func::String | Func::Substring => Gives::Text,
        }
    }
}

/// Most arguments of the functions that [`call`] computes.
pub(crate) const ARGS_MAX: usize = 4;

/// Computes a function of fixed arity. `cidrMatch`, `wildcard` and `concat` take lists and are computed by the
/// evaluators, which hold those lists in compiled form.
pub(crate) fn call<'a>(func: Func, fold: bool, args: [Out<'a>; ARGS_MAX]) -> Out<'a> {
    let [first, second, third, fourth] = args;
    match func {
        Func::Arithmetic(op) => arithmetic(op, &first, &second),
        Func::String => first.into_text().map_or(Out::Null, Out::Text),
        Func::Length => first.text().map_or(Out::Null, |t| Out::Long(count(units(t)))),
        Func::Number => to_number(&first, &second),
        Func::StartsWith | Func::EndsWith | Func::StringContains => match (first.text(), second.text()) {
            (Some(text), Some(part)) => Out::Bool(test_part(func, fold, text, part)),
            _ => Out::Null,
        },
        Func::IndexOf => match (first.text(), second.text()) {
            (Some(text), Some(part)) => index_of(text, part, third.integer().unwrap_or(0), fold),
            _ => Out::Null,
        },
        Func::Between => {
            let greedy = fourth.is_true();
            let (Some(left), Some(right)) = (second.text(), third.text()) else { return Out::Null };
            match first {
                Out::Text(Cow::Borrowed(text)) => {
                    Out::Text(Cow::Borrowed(sub(text, between(text, left, right, greedy, fold))))
                }
                Out::Text(Cow::Owned(text)) => {
                    let range = between(&text, left, right, greedy, fold);
                    Out::Text(Cow::Owned(sub(&text, range).to_vec()))
                }
                _ => Out::Null,
            }
        }
        Func::Substring => {
            let Some(start) = second.integer() else { return Out::Null };
            let end = third.integer();
            match first {
                Out::Text(Cow::Borrowed(text)) => {
                    Out::Text(Cow::Borrowed(sub(text, slice(text, start, end))))
                }
                Out::Text(Cow::Owned(text)) => {
                    let range = slice(&text, start, end);
                    Out::Text(Cow::Owned(sub(&text, range).to_vec()))
                }
                _ => Out::Null,
            }
        }
        Func::CidrMatch | Func::Concat | Func::Wildcard => Out::Null,
    }
}

fn sub(text: &[u8], range: (usize, usize)) -> &[u8] {
    text.get(range.0..range.1).unwrap_or_default()
}

/// `startsWith`, `endsWith`, `stringContains`; an empty part is contained in nothing, as in Elasticsearch.
pub(crate) fn test_part(func: Func, fold: bool, text: &[u8], part: &[u8]) -> bool {
    let same = |a: &[u8], b: &[u8]| if fold { a.eq_ignore_ascii_case(b) } else { a == b };
    match func {
        Func::StartsWith => text.get(..part.len()).is_some_and(|t| same(t, part)),
        Func::EndsWith => {
            text.len().checked_sub(part.len()).and_then(|at| text.get(at..)).is_some_and(|t| same(t, part))
        }
        _ => !part.is_empty() && find(text, part, 0, fold).is_some(),
    }
}

fn find(text: &[u8], part: &[u8], from: usize, fold: bool) -> Option<usize> {
    let rest = text.get(from..)?;
    let at = if fold {
        // The part may come from a field, in any case: fold it only where it must be.
        if part.iter().any(u8::is_ascii_uppercase) {
            find_folded(rest, &part.to_ascii_lowercase())
        } else {
            find_folded(rest, part)
        }
    } else {
        memchr::memmem::find(rest, part)
    };
    at.map(|i| i + from)
}

fn find_last(text: &[u8], part: &[u8], fold: bool) -> Option<usize> {
    if !fold {
        return memchr::memmem::rfind(text, part);
    }
    let last = text.len().checked_sub(part.len())?;
    (0..=last).rev().find(|i| text.get(*i..*i + part.len()).is_some_and(|t| t.eq_ignore_ascii_case(part)))
}

/// The bytes of `text` between `left` and `right`; nothing found gives the empty text.
fn between(text: &[u8], left: &[u8], right: &[u8], greedy: bool, fold: bool) -> (usize, usize) {
    if text.is_empty() || left.is_empty() || right.is_empty() {
        return (0, text.len());
    }
    let Some(start) = find(text, left, 0, fold).map(|i| i + left.len()) else { return (0, 0) };
    let end = if greedy { find_last(text, right, fold) } else { find(text, right, start, fold) };
    match end {
        Some(end) if end >= start => (start, end),
        _ => (0, 0),
    }
}

fn index_of(text: &[u8], part: &[u8], start: i64, fold: bool) -> Out<'static> {
    let from = offset_of(text, usize::try_from(start).unwrap_or(0));
    match find(text, part, from, fold) {
        Some(at) => Out::Long(count(units(text.get(..at).unwrap_or_default()))),
        None => Out::Null,
    }
}

/// Negative positions count from the end; both ends are clamped.
fn slice(text: &[u8], start: i64, end: Option<i64>) -> (usize, usize) {
    let length = count(units(text));
    let place = |n: i64| if n < 0 { n.saturating_add(length).max(0) } else { n.min(length) };
    let (start, end) = (place(start), end.map_or(length, place));
    if start >= end {
        return (0, 0);
    }
    let offset = |n| offset_of(text, usize::try_from(n).unwrap_or(0));
    (offset(start), offset(end))
}

/// Length in UTF-16 units, which is what Java counts; a broken byte counts as one.
fn units(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    walk(text).map(|(_, units)| units).sum()
}

/// The byte offset of the given UTF-16 unit, or the end.
fn offset_of(text: &[u8], unit: usize) -> usize {
    if text.is_ascii() {
        return unit.min(text.len());
    }
    let (mut bytes, mut seen) = (0, 0);
    for (len, units) in walk(text) {
        if seen >= unit {
            break;
        }
        bytes += len;
        seen += units;
    }
    bytes
}

/// Each character as (bytes, UTF-16 units).
fn walk(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = char_len(rest);
        rest = rest.get(len..).unwrap_or_default();
        Some((len, if len == 4 { 2 } else { 1 }))
    })
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn to_number(value: &Out<'_>, base: &Out<'_>) -> Out<'static> {
    let text = match value {
        Out::Long(n) => return Out::Long(*n),
        Out::Double(n) => return Out::Double(*n),
        _ => value.text().and_then(|t| std::str::from_utf8(t).ok()),
    };
    let Some(text) = text else { return Out::Null };
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let base = match base.integer() {
        Some(base) => u32::try_from(base).ok().filter(|b| (2..=36).contains(b)),
        None if *base != Out::Null => None,
        None => Some(if hex.is_some() { 16 } else { 10 }),
    };
    match (base, hex) {
        (Some(16), Some(digits)) => i64::from_str_radix(digits, 16).map_or(Out::Null, Out::Long),
        (Some(10), _) => crate::value::number(text).unwrap_or(Out::Null),
        (Some(base), _) => i64::from_str_radix(text, base).map_or(Out::Null, Out::Long),
        (None, _) => Out::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Out<'_> {
        Out::Text(Cow::Borrowed(s.as_bytes()))
    }

    fn run<'a>(func: Func, fold: bool, args: &[Out<'a>]) -> Out<'a> {
        let at = |i: usize| args.get(i).cloned().unwrap_or(Out::Null);
        call(func, fold, [at(0), at(1), at(2), at(3)])
    }

    #[test]
    fn between_takes_the_nearest_or_the_farthest() {
        let args = [text("System Idle Process"), text("s"), text("e")];
        assert_eq!(run(Func::Between, false, &args), text("t"));
        assert_eq!(run(Func::Between, true, &args), text("yst"));
        let mut greedy = args.to_vec();
        greedy.push(Out::Bool(true));
        assert_eq!(run(Func::Between, true, &greedy), text("ystem Idle Proc"));
        assert_eq!(run(Func::Between, false, &[text("abc"), text("x"), text("c")]), text(""));
        assert_eq!(run(Func::Between, false, &[Out::Null, text("x"), text("c")]), Out::Null);
    }

    #[test]
    fn positions_count_utf16_units() {
        assert_eq!(run(Func::Length, false, &[text("a😀é")]), Out::Long(4));
        assert_eq!(run(Func::IndexOf, false, &[text("😀b"), text("b")]), Out::Long(2));
        assert_eq!(run(Func::Substring, false, &[text("😀bc"), Out::Long(2), Out::Long(3)]), text("b"));
        assert_eq!(run(Func::Substring, false, &[text("abcdef"), Out::Long(-4), Out::Long(-1)]), text("cde"));
        assert_eq!(run(Func::Substring, false, &[text("abc"), Out::Long(9)]), text(""));
        assert_eq!(run(Func::IndexOf, false, &[text("abc"), text("c"), Out::Long(100)]), Out::Null);
    }

    #[test]
    fn numbers_from_text() {
        assert_eq!(run(Func::Number, false, &[text("0x32"), Out::Long(16)]), Out::Long(50));
        assert_eq!(run(Func::Number, false, &[text("0x32")]), Out::Long(50));
        assert_eq!(run(Func::Number, false, &[text("31"), Out::Long(13)]), Out::Long(40));
        assert_eq!(run(Func::Number, false, &[text("1.5")]), Out::Double(1.5));
        assert_eq!(run(Func::Number, false, &[text("inf")]), Out::Null);
        assert_eq!(run(Func::Number, false, &[text("12"), Out::Long(99)]), Out::Null);
    }

    #[test]
    fn strings_from_values() {
        assert_eq!(run(Func::String, false, &[Out::Double(1.0)]), text("1.0"));
        assert_eq!(run(Func::String, false, &[Out::Bool(true)]), text("true"));
        assert_eq!(run(Func::String, false, &[Out::Null]), Out::Null);
    }

    #[test]
    fn parts_fold_from_either_side() {
        assert_eq!(run(Func::StringContains, true, &[text("abCD"), text("Bc")]), Out::Bool(true));
        assert_eq!(run(Func::StartsWith, false, &[text("abc"), text("aB")]), Out::Bool(false));
        assert_eq!(run(Func::StringContains, false, &[text("abc"), text("")]), Out::Bool(false));
    }
}
