//! Conditions on one column of text: asked once for each entry of a dictionary, without a value being made for it.

use super::ast::Compare;
use super::bound::{Node, Op, Pattern};
use super::eval::{connect, holds};
use super::outcome::Type;
use super::value::Val;

/// A condition that needs a keyword and nothing else.
pub(super) enum Test<'n> {
    /// `decided` is the truth of one term that decides the whole: false for `and`, true for `or`.
    All {
        terms: Vec<Self>,
        decided: bool,
    },
    Not(Box<Self>),
    IsNull,
    Match(&'n [Pattern]),
    Compare(Compare, &'n str),
    In(Vec<&'n str>),
}

impl<'n> Test<'n> {
    /// The condition in this form; `None` if it has parts that are not of it.
    pub(super) fn of(node: &'n Node) -> Option<Self> {
        let all = |terms: &'n [Node], decided| {
            let terms = terms.iter().map(Self::of).collect::<Option<Vec<_>>>()?;
            Some(Self::All { terms, decided })
        };
        let is_column = |node: &Node| matches!(node.op, Op::Slot(_)) && node.ty == Type::Keyword;
        match &node.op {
            Op::And(terms) => all(terms, false),
            Op::Or(terms) => all(terms, true),
            Op::Not(inner) => Self::of(inner).map(|inner| Self::Not(Box::new(inner))),
            Op::IsNull(inner) if is_column(inner) => Some(Self::IsNull),
            Op::Match(inner, patterns) if is_column(inner) => Some(Self::Match(patterns)),
            Op::Compare(op, left, right) if is_column(left) => {
                Some(Self::Compare(*op, right.as_const().and_then(Val::as_text)?))
            }
            Op::In(left, items) if is_column(left) => {
                let items = items.iter().map(|item| item.as_const().and_then(Val::as_text));
                items.collect::<Option<Vec<_>>>().map(Self::In)
            }
            _ => None,
        }
    }

    pub(super) fn truth(&self, text: Option<&str>) -> Option<bool> {
        match self {
            Self::All { terms, decided } => {
                let mut so_far = Some(!decided);
                for term in terms {
                    so_far = connect(so_far, term.truth(text), *decided);
                    if so_far == Some(*decided) {
                        break;
                    }
                }
                so_far
            }
            Self::Not(inner) => inner.truth(text).map(|truth| !truth),
            Self::IsNull => Some(text.is_none()),
            Self::Match(patterns) => text.map(|text| patterns.iter().any(|pattern| pattern.matches(text))),
            Self::Compare(op, other) => text.map(|text| holds(*op, text.as_bytes().cmp(other.as_bytes()))),
            Self::In(items) => text.map(|text| items.contains(&text)),
        }
    }
}
