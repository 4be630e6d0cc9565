//! Evaluation of the lowered form. Infallible; allocates only for `concat` and for `string` of a number.

use std::borrow::Cow;

use sensor_ecs::{FieldId, Record, Value};

use crate::ast::CompareOp;
use crate::func::{self, ARGS_MAX};
use crate::ir::{Node, OneOf, Pred, SCRIPT_FIELDS_MAX, Script, Test, lend};
use crate::net::{Cidr, parse_ip};
use crate::value::{self, Out};

impl Pred {
    pub(crate) fn holds(&self, record: &impl Record) -> bool {
        match self {
            Self::Const(b) => *b,
            Self::And(items) => items.iter().all(|p| p.holds(record)),
            Self::Or(items) => items.iter().any(|p| p.holds(record)),
            Self::Not(inner) => !inner.holds(record),
            Self::Field(field, test) => test.holds(record.value(*field)),
            Self::Script(script) => script.holds(record),
        }
    }
}

impl Test {
    pub(crate) fn holds(&self, value: Value<'_>) -> bool {
        match value {
            Value::Absent => false,
            Value::List(items) => items.iter().any(|item| self.holds_one(item.as_value())),
            single => self.holds_one(single),
        }
    }

    fn holds_one(&self, value: Value<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::Compare(op, literal) => compare_one(*op, value, literal),
            Self::OneOf(set) => set.contains(value),
            Self::Like(patterns) => value.as_keyword().is_some_and(|text| patterns.matches(text)),
            Self::Regex(regex) => value.as_keyword().is_some_and(|text| regex.matches(text)),
            Self::Cidr(ranges) => value.as_keyword().is_some_and(|text| in_ranges(ranges, text)),
            Self::Part { func, fold, part } => {
                value.as_keyword().is_some_and(|text| func::test_part(*func, *fold, text, part))
            }
        }
    }
}

fn compare_one(op: CompareOp, value: Value<'_>, literal: &Out<'static>) -> bool {
    if let (Value::Keyword(have), Out::Text(want)) = (value, literal)
        && op == CompareOp::Eq
    {
        return have == want.as_ref();
    }
    value::compare(op, &Out::from_value(value), literal).is_true()
}

fn in_ranges(ranges: &[Cidr], text: &[u8]) -> bool {
    parse_ip(text).is_some_and(|address| ranges.iter().any(|r| r.contains(address)))
}

impl OneOf {
    fn contains(&self, value: Value<'_>) -> bool {
        if let Value::Keyword(text) = value {
            if self.texts.contain(text) {
                return true;
            }
            if self.only_texts {
                return false;
            }
        }
        let value = Out::from_value(value);
        self.all.iter().any(|literal| equals(&value, literal, self.texts.ignore_case()))
    }
}

/// Equality of two values that are not null, optionally ignoring the case of text.
pub(crate) fn equals(left: &Out<'_>, right: &Out<'_>, fold: bool) -> bool {
    if fold && let (Some(a), Some(b)) = (left.text(), right.text()) {
        return a.eq_ignore_ascii_case(b);
    }
    value::compare(CompareOp::Eq, left, right).is_true()
}

/// One value per field of a script.
type Choice<'a> = [Value<'a>; SCRIPT_FIELDS_MAX];

impl Script {
    pub(crate) fn holds(&self, record: &impl Record) -> bool {
        let mut choice = [Value::Absent; SCRIPT_FIELDS_MAX];
        self.choose(record, &self.fields, 0, &mut choice)
    }

    fn choose<'a>(
        &'a self,
        record: &'a impl Record,
        fields: &[FieldId],
        slot: usize,
        choice: &mut Choice<'a>,
    ) -> bool {
        let Some((field, rest)) = fields.split_first() else {
            return self.node.eval(choice).is_true();
        };
        let mut with = |value| {
            if let Some(place) = choice.get_mut(slot) {
                *place = value;
            }
            self.choose(record, rest, slot + 1, choice)
        };
        match record.value(*field) {
            Value::List([]) => with(Value::Absent),
            Value::List(items) => items.iter().any(|item| with(item.as_value())),
            single => with(single),
        }
    }
}

impl Node {
    pub(crate) fn eval<'a>(&'a self, choice: &Choice<'a>) -> Out<'a> {
        let test = |value: &'a Self, holds: &dyn Fn(&[u8]) -> bool| match value.eval(choice) {
            Out::Null => Out::Null,
            out => Out::Bool(out.text().is_some_and(holds)),
        };
        match self {
            Self::Const(constant) => lend(constant),
            Self::Field(slot) => choice.get(*slot).map_or(Out::Null, |v| Out::from_value(*v)),
            Self::Negate(inner) => value::negate(&inner.eval(choice)),
            Self::Arithmetic(op, l, r) => value::arithmetic(*op, &l.eval(choice), &r.eval(choice)),
            Self::Compare(op, l, r) => value::compare(*op, &l.eval(choice), &r.eval(choice)),
            Self::IsNull(inner) => Out::Bool(inner.eval(choice) == Out::Null),
            Self::In { value, list, fold } => match value.eval(choice) {
                Out::Null => Out::Null,
                value => Out::Bool(list.iter().any(|item| equals(&value, &item.eval(choice), *fold))),
            },
            Self::Like(value, patterns) => test(value, &|text| patterns.matches(text)),
            Self::Regex(value, regex) => test(value, &|text| regex.matches(text)),
            Self::Cidr(value, ranges) => test(value, &|text| in_ranges(ranges, text)),
            Self::Concat(parts) => {
                let mut joined = Vec::new();
                for part in parts {
                    match part.eval(choice).into_text() {
                        Some(text) => joined.extend_from_slice(&text),
                        None => return Out::Null,
                    }
                }
                Out::Text(Cow::Owned(joined))
            }
            Self::Call { func, fold, args } => {
                let at = |i: usize| args.get(i).map_or(Out::Null, |a| a.eval(choice));
                let args: [Out<'a>; ARGS_MAX] = std::array::from_fn(at);
                func::call(*func, *fold, args)
            }
            Self::Not(inner) => match inner.eval(choice) {
                Out::Bool(b) => Out::Bool(!b),
                _ => Out::Null,
            },
            Self::And(items) => junction(items, choice, false),
            Self::Or(items) => junction(items, choice, true),
        }
    }
}

/// Three-valued `and` / `or`: `decisive` settles it, otherwise a null leaves it open.
fn junction<'a>(items: &'a [Node], choice: &Choice<'a>, decisive: bool) -> Out<'a> {
    let mut open = false;
    for item in items {
        match item.eval(choice) {
            Out::Bool(b) if b == decisive => return Out::Bool(decisive),
            Out::Bool(_) => {}
            _ => open = true,
        }
    }
    if open { Out::Null } else { Out::Bool(!decisive) }
}
