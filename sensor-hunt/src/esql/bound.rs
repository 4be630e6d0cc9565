//! A query whose names are places of columns and whose types are known.

use std::sync::Arc;

use regex_automata::meta::Regex;
use sensor_eql::Span;
use sensor_eql::pattern::{Cidr, LuceneRegex, Wildcard};

use super::ast::{Arith, Compare, Name};
use super::dissect::Dissect;
use super::functions::Function;
use super::grok::Grok;
use super::outcome::Type;
use super::value::Val;

/// Where a column of a batch is.
pub(super) type Slot = usize;

/// An expression.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) ty: Type,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Const(Val<'static>),
    Now,
    Slot(Slot),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Arith(Arith, Box<Node>, Box<Node>),
    Compare(Compare, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Match(Box<Node>, Vec<Pattern>),
    Cidr(Box<Node>, Vec<Cidr>),
    /// Whether any value of the field is such; never null.
    Has(Box<Node>, Has),
    Replace(Box<Node>, Arc<Regex>, Box<Node>),
    IsNull(Box<Node>),
    /// Conditions and their values; the last alone is what else.
    Case(Vec<(Node, Node)>, Option<Box<Node>>),
    Call(&'static Function, Vec<Node>),
}

/// What `like` and `rlike` test.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Exact(Box<str>),
    Wildcard(Arc<Wildcard>),
    Regex(Arc<LuceneRegex>),
}

/// What a search asks of a value.
#[derive(Clone, Debug)]
pub(super) enum Has {
    Is(Vec<Val<'static>>),
    Like(Vec<Pattern>),
    Order(Compare, Val<'static>),
    Within(Vec<Cidr>),
}

/// A function over the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduce {
    Count,
    CountDistinct,
    Values,
    Min,
    Max,
    Sum,
    Avg,
    /// Also the median.
    Percentile,
    MedianDeviation,
    StdDev,
    Variance,
    Top,
    Present,
    Absent,
    First,
    Last,
}

/// One aggregate.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub(super) reduce: Reduce,
    /// `None` counts rows.
    pub(super) input: Option<Node>,
    /// Of `first` and `last`, what the rows are ordered by.
    pub(super) by: Option<Node>,
    pub(super) filter: Option<Node>,
    /// Of `percentile` which, of `top` how many.
    pub(super) number: f64,
    /// Of `top`, the greatest.
    pub(super) descending: bool,
    pub(super) ty: Type,
    pub(super) slot: Slot,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) struct SortBy {
    pub(super) node: Node,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// What is done with the rows, one after another.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Filter(Node),
    Eval(Slot, Node),
    Expand { from: Slot, to: Slot },
    Grok { input: Node, grok: Arc<Grok>, slots: Vec<Slot> },
    Dissect { input: Node, dissect: Arc<Dissect>, slots: Vec<Slot> },
    Aggregate { aggregates: Vec<Aggregate>, by: Vec<(Slot, Node)>, inline: bool },
    Sort(Vec<SortBy>),
    Limit(usize),
}

/// Where a column of the scan comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A column of the store.
    Column(usize),
    /// `_index`
    Index,
    /// `_version`
    Version,
    /// Never there: `_ignored`.
    Nothing,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub(super) enum Scan {
    /// The datasets wanted, as patterns of names, and those to leave out.
    Store { patterns: Vec<Name>, excluded: Vec<String> },
    /// `row`
    Row,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) scan: Scan,
    /// The columns that a scan fills.
    pub(super) sources: Vec<(Slot, Source)>,
    pub(super) steps: Vec<Step>,
    /// Name, type and place of the result's columns.
    pub(super) output: Vec<(String, Type, Slot)>,
    pub(super) slots: usize,
    /// Names that the query uses of the events.
    pub(super) fields: Vec<&'static str>,
    pub(super) implicit_limit: bool,
}

impl Node {
    pub(super) fn constant(value: Val<'static>, ty: Type, span: Span) -> Self {
        Self { op: Op::Const(value), ty, span }
    }

    pub(super) fn as_const(&self) -> Option<&Val<'static>> {
        match &self.op {
            Op::Const(value) => Some(value),
            _ => None,
        }
    }

    /// Calls for every part directly below.
    pub(super) fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match &self.op {
            Op::Const(_) | Op::Now | Op::Slot(_) => {}
            Op::And(nodes) | Op::Or(nodes) | Op::Call(_, nodes) => nodes.iter().for_each(visit),
            Op::Not(node)
            | Op::Negate(node)
            | Op::Match(node, _)
            | Op::Cidr(node, _)
            | Op::Has(node, _)
            | Op::IsNull(node) => visit(node),
            Op::Arith(_, left, right) | Op::Compare(_, left, right) | Op::Replace(left, _, right) => {
                visit(left);
                visit(right);
            }
            Op::In(node, items) => {
                visit(node);
                items.iter().for_each(visit);
            }
            Op::Case(pairs, other) => {
                for (condition, value) in pairs {
                    visit(condition);
                    visit(value);
                }
                if let Some(other) = other {
                    visit(other);
                }
            }
        }
    }

    /// The same, to change them.
    pub(super) fn each_mut(&mut self, visit: &mut dyn FnMut(&mut Self)) {
        match &mut self.op {
            Op::Const(_) | Op::Now | Op::Slot(_) => {}
            Op::And(nodes) | Op::Or(nodes) | Op::Call(_, nodes) => nodes.iter_mut().for_each(visit),
            Op::Not(node)
            | Op::Negate(node)
            | Op::Match(node, _)
            | Op::Cidr(node, _)
            | Op::Has(node, _)
            | Op::IsNull(node) => visit(node),
            Op::Arith(_, left, right) | Op::Compare(_, left, right) | Op::Replace(left, _, right) => {
                visit(left);
                visit(right);
            }
            Op::In(node, items) => {
                visit(node);
                items.iter_mut().for_each(visit);
            }
            Op::Case(pairs, other) => {
                for (condition, value) in pairs {
                    visit(condition);
                    visit(value);
                }
                if let Some(other) = other {
                    visit(other);
                }
            }
        }
    }

    /// The columns it needs, each once.
    pub(super) fn slots(&self) -> Vec<Slot> {
        fn gather(node: &Node, found: &mut Vec<Slot>) {
            if let Op::Slot(slot) = node.op
                && !found.contains(&slot)
            {
                found.push(slot);
            }
            node.each(&mut |inner| gather(inner, found));
        }
        let mut found = Vec::new();
        gather(self, &mut found);
        found
    }
}

impl Step {
    /// Every expression of the step.
    pub(super) fn nodes_mut<'a>(&'a mut self, visit: &mut dyn FnMut(&'a mut Node)) {
        match self {
            Self::Filter(node)
            | Self::Eval(_, node)
            | Self::Grok { input: node, .. }
            | Self::Dissect { input: node, .. } => visit(node),
            Self::Expand { .. } | Self::Limit(_) => {}
            Self::Aggregate { aggregates, by, .. } => {
                for aggregate in aggregates {
                    let Aggregate { input, by, filter, .. } = aggregate;
                    input.iter_mut().chain(by).chain(filter).for_each(&mut *visit);
                }
                by.iter_mut().for_each(|(_, node)| visit(node));
            }
            Self::Sort(keys) => keys.iter_mut().for_each(|key| visit(&mut key.node)),
        }
    }
}
