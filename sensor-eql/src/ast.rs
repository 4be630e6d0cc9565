//! The syntax tree of a query: what was written, with positions, before any schema is consulted.

use crate::diag::Span;

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// One event at a time: `file where ..`.
    Event(EventQuery),
    /// Events in order: `sequence [..] [..]`.
    Sequence(Sequence),
    /// Events in any order that share keys: `sample by .. [..] [..]`.
    Sample(Sample),
}

/// A query on single events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventQuery {
    /// What the event must be.
    pub filter: EventFilter,
    /// What happens to the matches.
    pub pipes: Vec<Pipe>,
}

/// `category where condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFilter {
    /// The category, or `None` for `any`.
    pub category: Option<String>,
    /// The condition.
    pub condition: Expr,
    /// All of it.
    pub span: Span,
}

/// A sequence query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Keys shared by all terms.
    pub by: Vec<Expr>,
    /// Longest time from the first to the last event, in nanoseconds.
    pub maxspan: Option<i64>,
    /// The stages; `with runs` is not yet expanded.
    pub terms: Vec<Term>,
    /// What ends a pending sequence.
    pub until: Option<Term>,
    /// What happens to the matches.
    pub pipes: Vec<Pipe>,
    /// All of it.
    pub span: Span,
}

/// A sample query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Keys shared by all terms.
    pub by: Vec<Expr>,
    /// The members.
    pub terms: Vec<Term>,
    /// What happens to the matches.
    pub pipes: Vec<Pipe>,
    /// All of it.
    pub span: Span,
}

/// `[filter] by keys with runs=n`, or `![filter]` for an event that must be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What the event must be.
    pub filter: EventFilter,
    /// Its own keys, after the shared ones.
    pub by: Vec<Expr>,
    /// How many such events in a row.
    pub runs: u32,
    /// Whether such an event must be missing.
    pub missing: bool,
    /// All of it.
    pub span: Span,
}

/// What happens to the matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// The first n.
    Head(u64),
    /// The last n.
    Tail(u64),
}

/// An expression with its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A number with a fraction, or too large for an integer.
    Decimal(f64),
    /// A string.
    Text(String),
    /// A field, `?name` when optional.
    Field {
        /// Dotted name without quotes.
        name: String,
        /// Whether it may be unknown to the schema.
        optional: bool,
    },
    /// A function call.
    Call {
        /// As written.
        name: String,
        /// Whether `~` follows the name.
        insensitive: bool,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `-x`
    Negate(Box<Expr>),
    /// `x + y` and the like.
    Arithmetic(ArithmeticOp, Box<Expr>, Box<Expr>),
    /// `x == y` and the like.
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// `x in (..)`, `x in~ (..)`.
    In {
        /// What is looked up.
        value: Box<Expr>,
        /// Where.
        list: Vec<Expr>,
        /// `in~`.
        insensitive: bool,
    },
    /// `x like (..)`, `x : (..)`, `x regex (..)`.
    Match {
        /// What is matched.
        value: Box<Expr>,
        /// The patterns with their positions; one suffices.
        patterns: Vec<(String, Span)>,
        /// Wildcards or regular expression.
        syntax: PatternSyntax,
        /// `:`, `like~`, `regex~`.
        insensitive: bool,
    },
    /// `not x`
    Not(Box<Expr>),
    /// `x and y and ..`
    And(Vec<Expr>),
    /// `x or y or ..`
    Or(Vec<Expr>),
}

/// How a pattern is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatternSyntax {
    /// `*` and `?`.
    Wildcard,
    /// `*` only, as in KQL.
    Star,
    /// Lucene regular expression.
    Regex,
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// The operator with its sides exchanged.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            Self::Eq | Self::Ne => self,
        }
    }

    /// Whether `ordering` of the left side to the right satisfies it.
    #[must_use]
    pub fn accepts(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
        }
    }
}

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Expr {
    /// Calls `visit` on this expression and everything below it, in source order.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        match &self.kind {
            ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Integer(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_)
            | ExprKind::Field { .. } => {}
            ExprKind::Call { args, .. } => args.iter().for_each(|a| a.walk(visit)),
            ExprKind::Negate(x) | ExprKind::Not(x) => x.walk(visit),
            ExprKind::Arithmetic(_, l, r) | ExprKind::Compare(_, l, r) => {
                l.walk(visit);
                r.walk(visit);
            }
            ExprKind::In { value, list, .. } => {
                value.walk(visit);
                list.iter().for_each(|x| x.walk(visit));
            }
            ExprKind::Match { value, .. } => value.walk(visit),
            ExprKind::And(items) | ExprKind::Or(items) => items.iter().for_each(|x| x.walk(visit)),
        }
    }
}
