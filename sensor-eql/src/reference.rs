//! The reference: a condition evaluated straight from its syntax tree, slowly and plainly.
//!
//! The compiled matcher is tested against it, and `explain` shows its steps. Nothing here is on the hot path.

use std::borrow::Cow;

use sensor_ecs::{FieldType, Record, Schema, Value};

use crate::ast::{CompareOp, EventFilter, Expr, ExprKind, PatternSyntax};
use crate::diag::Span;
use crate::eval::equals;
use crate::func::{self, ARGS_MAX, Func, Signature};
use crate::net::{Cidr, parse_ip};
use crate::regex::LuceneRegex;
use crate::value::{self, Out};
use crate::wild::matches_slowly;

/// One step of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Where the condition stands in the query.
    pub span: Span,
    /// Whether it holds.
    pub holds: bool,
    /// For a leaf: the fields it read and what they held, as text.
    pub values: Vec<(String, String)>,
    /// For `and`, `or`, `not`: what it is made of.
    pub parts: Vec<Explanation>,
}

/// Characters of a leaf that are shown: lists can be long.
const LEAF_CHARS_MAX: usize = 100;

impl Explanation {
    /// The tree as lines of text, cut from `query`: whether each part holds, and what its fields held.
    #[must_use]
    pub fn render(&self, query: &str) -> String {
        let mut lines = String::new();
        self.render_at(query, 0, &mut lines);
        lines
    }

    fn render_at(&self, query: &str, depth: usize, lines: &mut String) {
        let shown = self.label(query);
        let mark = if self.holds { "true " } else { "false" };
        lines.push_str(&format!("{mark} {}{shown}", "  ".repeat(depth)));
        for (name, value) in &self.values {
            lines.push_str(&format!("    [{name} = {value}]"));
        }
        lines.push('\n');
        self.parts.iter().for_each(|part| part.render_at(query, depth + 1, lines));
    }

    /// A leaf as it is written; what is made of parts by how they are joined, since they follow.
    fn label(&self, query: &str) -> String {
        let cut = |from: u32, to: u32| query.get(from as usize..to as usize).unwrap_or_default();
        match self.parts.as_slice() {
            [] => {
                let words: Vec<&str> = cut(self.span.start, self.span.end).split_whitespace().collect();
                let text = words.join(" ");
                let shown: String = text.chars().take(LEAF_CHARS_MAX).collect();
                if shown.len() < text.len() { shown + " .." } else { shown }
            }
            [_] => "not".to_owned(),
            [first, second, ..] => {
                let between = cut(first.span.end, second.span.start).to_ascii_lowercase();
                let mut words =
                    between.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
                if words.next() == Some("or") { "any of" } else { "all of" }.to_owned()
            }
        }
    }
}

/// Whether `record` satisfies `filter`.
#[must_use]
pub fn matches(filter: &EventFilter, schema: &dyn Schema, record: &dyn Fn(&str) -> Seen) -> bool {
    in_category(filter, schema, record) && Walk { schema, record }.pred(&filter.condition)
}

/// How `record` fares with each part of a condition.
#[must_use]
pub fn explain(condition: &Expr, schema: &dyn Schema, record: &dyn Fn(&str) -> Seen) -> Explanation {
    Walk { schema, record }.explain(condition)
}

/// The values that a record has for a field, none if it lacks the field.
pub type Seen = Vec<sensor_ecs::Scalar>;

/// Looks fields up by name in a record, as [`matches`] and [`explain`] want it.
pub fn by_name<'r>(schema: &'r dyn Schema, record: &'r impl Record) -> impl Fn(&str) -> Seen + 'r {
    |name| {
        let Some(field) = schema.lookup(name) else { return Vec::new() };
        match record.value(field.id) {
            Value::Absent => Vec::new(),
            Value::List(items) => items.to_vec(),
            Value::Keyword(text) => vec![sensor_ecs::Scalar::Keyword(Cow::Owned(text.to_vec()))],
            Value::Long(n) => vec![sensor_ecs::Scalar::Long(n)],
            Value::Double(n) => vec![sensor_ecs::Scalar::Double(n)],
            Value::Boolean(b) => vec![sensor_ecs::Scalar::Boolean(b)],
            Value::Date(ns) => vec![sensor_ecs::Scalar::Date(ns)],
        }
    }
}

fn in_category(filter: &EventFilter, schema: &dyn Schema, record: &dyn Fn(&str) -> Seen) -> bool {
    let Some(category) = &filter.category else { return true };
    let Some(name) = schema.name(schema.category()) else { return false };
    record(&name).iter().any(|v| v.as_value().as_keyword() == Some(category.as_bytes()))
}

struct Walk<'s> {
    schema: &'s dyn Schema,
    record: &'s dyn Fn(&str) -> Seen,
}

/// One value chosen for each field of a leaf.
type Choice<'c> = [(&'c str, Option<sensor_ecs::Scalar>)];

impl Walk<'_> {
    fn pred(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::And(items) => items.iter().all(|i| self.pred(i)),
            ExprKind::Or(items) => items.iter().any(|i| self.pred(i)),
            ExprKind::Not(inner) => !self.pred(inner),
            ExprKind::Compare(CompareOp::Ne, l, r) => {
                let equal = ExprKind::Compare(CompareOp::Eq, l.clone(), r.clone());
                !self.leaf(&Expr { kind: equal, span: e.span })
            }
            // `x == null` means that no value is there, also of a list.
            ExprKind::Compare(CompareOp::Eq, l, r) if self.is_null(r) => !self.has_value(l),
            ExprKind::Compare(CompareOp::Eq, l, r) if self.is_null(l) => !self.has_value(r),
            _ => self.leaf(e),
        }
    }

    fn explain(&self, e: &Expr) -> Explanation {
        let parts = match &e.kind {
            ExprKind::And(items) | ExprKind::Or(items) => items.iter().map(|i| self.explain(i)).collect(),
            ExprKind::Not(inner) => vec![self.explain(inner)],
            _ => Vec::new(),
        };
        let mut values = Vec::new();
        if parts.is_empty() {
            for name in fields(e) {
                let shown: Vec<String> = (self.record)(name).iter().map(show).collect();
                let text = match shown.as_slice() {
                    [] => "null".to_owned(),
                    [one] => one.clone(),
                    many => format!("[{}]", many.join(", ")),
                };
                values.push((name.to_owned(), text));
            }
        }
        Explanation { span: e.span, holds: self.pred(e), values, parts }
    }

    fn is_null(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Null => true,
            ExprKind::Field { name, .. } => self.schema.lookup(name).is_none(),
            _ => false,
        }
    }

    fn has_value(&self, e: &Expr) -> bool {
        !self.any_choice(e, &|choice| self.eval(e, choice) == Out::Null) || self.is_multi_field(e)
    }

    /// A bare field with values has a value, whatever they are.
    fn is_multi_field(&self, e: &Expr) -> bool {
        matches!(&e.kind, ExprKind::Field { name, .. } if !self.values(name).is_empty())
    }

    fn values(&self, name: &str) -> Seen {
        if self.schema.lookup(name).is_some() { (self.record)(name) } else { Vec::new() }
    }

    fn leaf(&self, e: &Expr) -> bool {
        self.any_choice(e, &|choice| self.eval(e, choice).is_true())
    }

    fn any_choice(&self, e: &Expr, test: &dyn Fn(&Choice<'_>) -> bool) -> bool {
        let names = fields(e);
        let mut choices: Vec<Vec<(&str, Option<sensor_ecs::Scalar>)>> = vec![Vec::new()];
        for name in names {
            let values = self.values(name);
            let options: Vec<Option<sensor_ecs::Scalar>> =
                if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() };
            choices = choices
                .into_iter()
                .flat_map(|prefix| {
                    options.iter().map(move |option| {
                        let mut longer = prefix.clone();
                        longer.push((name, option.clone()));
                        longer
                    })
                })
                .collect();
        }
        choices.iter().any(|choice| test(choice))
    }

    fn eval<'a>(&self, e: &'a Expr, choice: &'a Choice<'_>) -> Out<'a> {
        match &e.kind {
            ExprKind::Null => Out::Null,
            ExprKind::Bool(b) => Out::Bool(*b),
            ExprKind::Integer(n) => Out::Long(*n),
            ExprKind::Decimal(n) => Out::Double(*n),
            ExprKind::Text(text) => Out::Text(Cow::Borrowed(text.as_bytes())),
            ExprKind::Field { name, .. } => choice
                .iter()
                .find(|(n, _)| n == name)
                .and_then(|(_, v)| v.as_ref())
                .map_or(Out::Null, |v| Out::from_value(v.as_value())),
            ExprKind::Negate(inner) => value::negate(&self.eval(inner, choice)),
            ExprKind::Arithmetic(op, l, r) => {
                value::arithmetic(*op, &self.eval(l, choice), &self.eval(r, choice))
            }
            ExprKind::Compare(op, l, r) => self.compare(*op, l, r, choice),
            ExprKind::In { value, list, insensitive } => {
                let have = self.eval(value, choice);
                if have == Out::Null {
                    return Out::Null;
                }
                let is_ip = self.is_ip(value);
                let ranges: Option<Vec<Cidr>> = list.iter().map(range).collect();
                Out::Bool(match ranges {
                    Some(ranges) if is_ip => {
                        have.text().and_then(parse_ip).is_some_and(|ip| ranges.iter().any(|r| r.contains(ip)))
                    }
                    _ => list.iter().any(|item| equals(&have, &self.eval(item, choice), *insensitive)),
                })
            }
            ExprKind::Match { value, patterns, syntax, insensitive } => {
                let have = self.eval(value, choice);
                if have == Out::Null {
                    return Out::Null;
                }
                let Some(text) = have.text() else { return Out::Bool(false) };
                Out::Bool(patterns.iter().any(|(pattern, _)| {
                    match syntax {
                        PatternSyntax::Wildcard => matches_slowly(pattern, text, *insensitive, true),
                        PatternSyntax::Star => matches_slowly(pattern, text, *insensitive, false),
                        PatternSyntax::Regex => {
                            LuceneRegex::new(std::iter::once(pattern.as_str()), *insensitive)
                                .is_ok_and(|regex| regex.matches(text))
                        }
                    }
                }))
            }
            ExprKind::Not(inner) => match self.eval(inner, choice) {
                Out::Bool(b) => Out::Bool(!b),
                _ => Out::Null,
            },
            ExprKind::And(items) => self.junction(items, choice, false),
            ExprKind::Or(items) => self.junction(items, choice, true),
            ExprKind::Call { name, insensitive, args } => self.call(name, *insensitive, args, choice),
        }
    }

    fn compare<'a>(&self, op: CompareOp, l: &'a Expr, r: &'a Expr, choice: &'a Choice<'_>) -> Out<'a> {
        let (left, right) = (self.eval(l, choice), self.eval(r, choice));
        if self.is_null(l) || self.is_null(r) {
            let other = if self.is_null(r) { left } else { right };
            return match op {
                CompareOp::Eq => Out::Bool(other == Out::Null),
                CompareOp::Ne => Out::Bool(other != Out::Null),
                _ => Out::Null,
            };
        }
        if op == CompareOp::Eq {
            for (field, text, literal) in [(l, &left, r), (r, &right, l)] {
                if self.is_ip(field)
                    && let Some(range) = range(literal)
                {
                    return match text.text() {
                        None => Out::Null,
                        Some(text) => Out::Bool(parse_ip(text).is_some_and(|ip| range.contains(ip))),
                    };
                }
            }
        }
        value::compare(op, &left, &right)
    }

    fn is_ip(&self, e: &Expr) -> bool {
        match &e.kind {
            ExprKind::Field { name, .. } => self.schema.lookup(name).is_some_and(|f| f.ty == FieldType::Ip),
            _ => false,
        }
    }

    fn junction<'a>(&self, items: &'a [Expr], choice: &'a Choice<'_>, decisive: bool) -> Out<'a> {
        let all: Vec<Out<'_>> = items.iter().map(|i| self.eval(i, choice)).collect();
        if all.contains(&Out::Bool(decisive)) {
            Out::Bool(decisive)
        } else if all.contains(&Out::Null) {
            Out::Null
        } else {
            Out::Bool(!decisive)
        }
    }

    fn call<'a>(&self, name: &str, fold: bool, args: &'a [Expr], choice: &'a Choice<'_>) -> Out<'a> {
        let Some(signature) = Signature::find(name) else { return Out::Null };
        let mut outs: Vec<Out<'a>> = args.iter().map(|a| self.eval(a, choice)).collect();
        let rest = outs.get(1..).unwrap_or_default();
        match (signature.func, outs.first()) {
            (_, None) => Out::Null,
            (Func::Concat, _) => {
                let texts: Option<Vec<Cow<'_, [u8]>>> = outs.into_iter().map(Out::into_text).collect();
                texts.map_or(Out::Null, |t| Out::Text(Cow::Owned(t.concat())))
            }
            (Func::CidrMatch | Func::Wildcard, Some(Out::Null)) => Out::Null,
            (Func::CidrMatch, Some(first)) => Out::Bool(
                first
                    .text()
                    .and_then(parse_ip)
                    .is_some_and(|ip| args.iter().skip(1).filter_map(range).any(|r| r.contains(ip))),
            ),
            (Func::Wildcard, Some(first)) => Out::Bool(first.text().is_some_and(|text| {
                let patterns = rest.iter().filter_map(|p| std::str::from_utf8(p.text()?).ok());
                patterns.into_iter().any(|p| matches_slowly(p, text, fold, true))
            })),
            (func, Some(_)) => {
                outs.resize(ARGS_MAX, Out::Null);
                let mut outs = outs.into_iter();
                func::call(func, fold, std::array::from_fn(|_| outs.next().unwrap_or(Out::Null)))
            }
        }
    }
}

fn range(e: &Expr) -> Option<Cidr> {
    match &e.kind {
        ExprKind::Text(text) => Cidr::parse(text),
        _ => None,
    }
}

fn fields(e: &Expr) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    e.walk(&mut |e| {
        if let ExprKind::Field { name, .. } = &e.kind
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
    });
    names
}

fn show(scalar: &sensor_ecs::Scalar) -> String {
    match Out::from_value(scalar.as_value()) {
        Out::Text(text) => format!("{:?}", String::from_utf8_lossy(&text)),
        other => String::from_utf8_lossy(&other.into_text().unwrap_or_default()).into_owned(),
    }
}
