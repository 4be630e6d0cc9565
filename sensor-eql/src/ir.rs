//! The lowered form of a condition: fields resolved, literals converted, patterns compiled.

use std::borrow::Cow;

use sensor_ecs::FieldId;

use crate::ast::{ArithmeticOp, CompareOp};
use crate::func::Func;
use crate::like::Patterns;
use crate::net::Cidr;
use crate::regex::LuceneRegex;
use crate::texts::Texts;
use crate::value::Out;

/// A condition. Two-valued: each leaf is true or false, also on a record without its field.
#[derive(Clone, Debug)]
pub(crate) enum Pred {
    Const(bool),
    And(Box<[Pred]>),
    Or(Box<[Pred]>),
    Not(Box<Pred>),
    /// One test on one field: the common case.
    Field(FieldId, Test),
    /// Anything with functions, arithmetic or several fields.
    Script(Script),
}

/// A test on the values of one field; holds if any value satisfies it.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The field has a value.
    Present,
    Compare(CompareOp, Out<'static>),
    OneOf(OneOf),
    Like(Box<Patterns>),
    Regex(LuceneRegex),
    Cidr(Box<[Cidr]>),
    /// `startsWith`, `endsWith`, `stringContains` with a literal.
    Part {
        func: Func,
        fold: bool,
        part: Box<[u8]>,
    },
}

/// `in (..)` and `==` on several literals.
#[derive(Clone, Debug)]
pub(crate) struct OneOf {
    pub(crate) all: Box<[Out<'static>]>,
    /// Those of them that are text.
    pub(crate) texts: Texts,
    /// All of them are.
    pub(crate) only_texts: bool,
}

impl OneOf {
    pub(crate) fn new(all: Vec<Out<'static>>, fold: bool) -> Self {
        let texts = Texts::new(all.iter().filter_map(Out::text), fold);
        Self { texts, only_texts: all.iter().all(|o| o.text().is_some()), all: all.into() }
    }
}

/// A computed condition over a few fields. It holds if some choice of one value per field makes it true.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) fields: Box<[FieldId]>,
    pub(crate) node: Node,
}

/// Most distinct fields of one computed condition.
pub(crate) const SCRIPT_FIELDS_MAX: usize = 8;

/// A computed value; null propagates.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Const(Out<'static>),
    /// Position in [`Script::fields`].
    Field(usize),
    Negate(Box<Node>),
    Arithmetic(ArithmeticOp, Box<Node>, Box<Node>),
    Compare(CompareOp, Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    In {
        value: Box<Node>,
        list: Box<[Node]>,
        fold: bool,
    },
    Like(Box<Node>, Box<Patterns>),
    Regex(Box<Node>, LuceneRegex),
    Cidr(Box<Node>, Box<[Cidr]>),
    Concat(Box<[Node]>),
    Call {
        func: Func,
        fold: bool,
        args: Box<[Node]>,
    },
    Not(Box<Node>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
}

impl Pred {
    pub(crate) fn not(inner: Self) -> Self {
        match inner {
            Self::Const(b) => Self::Const(!b),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// A rough price of evaluation.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::Const(_) => 0,
            Self::And(items) => items.iter().map(Self::cost).fold(0, u32::saturating_add) / 2,
            Self::Or(items) => items.iter().map(Self::cost).fold(0, u32::saturating_add),
            Self::Not(inner) => inner.cost(),
            Self::Script(_) => 200,
            Self::Field(_, test) => match test {
                Test::Present => 1,
                Test::Compare(..) => 2,
                Test::OneOf(_) => 4,
                Test::Part { .. } => 5,
                Test::Like(patterns) => patterns.cost(),
                Test::Cidr(_) => 40,
                Test::Regex(_) => 150,
            },
        }
    }

    /// Conjunction with constants folded and nested conjunctions flattened.
    pub(crate) fn and(items: Vec<Self>) -> Self {
        let mut kept = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Self::Const(true) => {}
                Self::Const(false) => return Self::Const(false),
                Self::And(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Const(true),
            1 => kept.pop().unwrap_or(Self::Const(true)),
            _ => {
                // Leaves have no effects and never fail, so the cheapest may decide first.
                kept.sort_by_cached_key(Self::cost);
                Self::And(kept.into())
            }
        }
    }

    /// Disjunction with constants folded and nested disjunctions flattened.
    pub(crate) fn or(items: Vec<Self>) -> Self {
        let mut kept = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Self::Const(false) => {}
                Self::Const(true) => return Self::Const(true),
                Self::Or(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Const(false),
            1 => kept.pop().unwrap_or(Self::Const(false)),
            _ => {
                kept.sort_by_cached_key(Self::cost);
                Self::Or(kept.into())
            }
        }
    }
}

/// A constant lent out without copying its text.
pub(crate) fn lend<'a>(constant: &'a Out<'static>) -> Out<'a> {
    match constant {
        Out::Text(text) => Out::Text(Cow::Borrowed(text)),
        Out::Null => Out::Null,
        Out::Bool(b) => Out::Bool(*b),
        Out::Long(n) => Out::Long(*n),
        Out::Double(n) => Out::Double(*n),
        Out::Date(ns) => Out::Date(*ns),
    }
}
