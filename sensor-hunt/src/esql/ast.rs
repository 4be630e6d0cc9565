//! A parsed query, before names and types are known.

use sensor_eql::Span;

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
}

/// A unit of a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many milliseconds.
    Millis(i64),
    /// So many months.
    Months(i64),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Text(String),
    /// `7 days`
    Time(i64, Unit),
    List(Vec<Expr>),
    Field(String),
    /// `*` as an argument of `count`.
    Star,
    Call(Name, Vec<Expr>),
    Cast(Box<Expr>, Name),
    Negate(Box<Expr>),
    Arith(Arith, Box<Expr>, Box<Expr>),
    Compare(Compare, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    /// Whether a regular expression.
    Like(Box<Expr>, Vec<Expr>, bool),
    IsNull(Box<Expr>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// `name = expression`, or the expression alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assign {
    pub(super) name: Name,
    pub(super) expr: Expr,
    /// An aggregate's own condition.
    pub(super) filter: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SortKey {
    pub(super) expr: Expr,
    pub(super) descending: bool,
    pub(super) nulls_first: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    From {
        sources: Vec<Name>,
        metadata: Vec<Name>,
    },
    Row(Vec<Assign>),
    Where(Expr),
    Eval(Vec<Assign>),
    Stats {
        aggregates: Vec<Assign>,
        by: Vec<Assign>,
        inline: bool,
    },
    Keep(Vec<Name>),
    Drop(Vec<Name>),
    /// Old name, new name.
    Rename(Vec<(Name, Name)>),
    Sort(Vec<SortKey>),
    Limit(i64),
    MvExpand(Name),
    Grok(Expr, Vec<Name>),
    Dissect {
        input: Expr,
        pattern: Name,
        separator: String,
    },
}
