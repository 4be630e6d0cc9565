//! Findings that need no schema: clauses that can never decide anything, pipes that nothing goes through.

use crate::ast::{CompareOp, Expr, ExprKind, PatternSyntax, Query};
use crate::diag::{Diagnostic, Span};
use crate::wild::Wildcard;

/// Adds warnings about them to `found`.
pub(crate) fn query(query: &Query, found: &mut Vec<Diagnostic>) {
    if let Query::Event(q) = query
        && !q.pipes.is_empty()
    {
        let warning = Diagnostic::warning(q.filter.condition.span, "its pipe is left out");
        found.push(warning.because("each event that matches is an alert, whichever it is of them all"));
    }
    let mut visit = |e: &Expr| condition(e, found);
    match query {
        Query::Event(q) => visit(&q.filter.condition),
        Query::Sequence(q) => q.terms.iter().chain(&q.until).for_each(|t| visit(&t.filter.condition)),
        Query::Sample(q) => q.terms.iter().for_each(|t| visit(&t.filter.condition)),
    }
}

/// The same for a bare condition.
pub(crate) fn condition(e: &Expr, found: &mut Vec<Diagnostic>) {
    e.walk(&mut |e| {
        if let ExprKind::Or(items) = &e.kind {
            absorbed(items, found);
        }
    });
}

/// Alternatives that are compared with each other.
const CLAUSES_MAX: usize = 100;
/// Texts of a list that are compared with those of another.
const TEXTS_MAX: usize = 200;

/// A condition of the form "field is one of these texts or patterns".
struct Choice<'a> {
    field: &'a str,
    texts: Vec<&'a str>,
    like: bool,
    fold: bool,
    span: Span,
}

fn choice(e: &Expr) -> Option<Choice<'_>> {
    let (value, texts, like, fold) = match &e.kind {
        ExprKind::Compare(CompareOp::Eq, value, text) => (value, vec![text_of(text)?], false, false),
        ExprKind::In { value, list, insensitive } => {
            (value, list.iter().map(text_of).collect::<Option<_>>()?, false, *insensitive)
        }
        ExprKind::Match { value, patterns, syntax: PatternSyntax::Wildcard, insensitive } => {
            (value, patterns.iter().map(|(p, _)| p.as_str()).collect(), true, *insensitive)
        }
        _ => return None,
    };
    let ExprKind::Field { name, .. } = &value.kind else { return None };
    Some(Choice { field: name, texts, like, fold, span: e.span })
}

fn text_of(e: &Expr) -> Option<&str> {
    match &e.kind {
        ExprKind::Text(text) => Some(text),
        _ => None,
    }
}

/// In `a or (a' and b)`, where whatever satisfies `a'` satisfies `a`, the second clause never decides.
fn absorbed(items: &[Expr], found: &mut Vec<Diagnostic>) {
    // Quadratic in the clauses, so only for rules of a size that people write.
    if items.len() > CLAUSES_MAX {
        return;
    }
    let wide: Vec<Choice<'_>> = items.iter().filter_map(choice).collect();
    for item in items {
        let ExprKind::And(parts) = &item.kind else { continue };
        let covering = parts.iter().filter_map(choice).find_map(|narrow| {
            wide.iter()
                .find(|w| w.field == narrow.field && covers(w, &narrow))
                .map(|w| (w.span, narrow.field))
        });
        if let Some((_, field)) = covering {
            found.push(
                Diagnostic::warning(item.span, "this clause never decides")
                    .because(format!("another alternative already takes every such `{field}`")),
            );
        }
    }
}

fn covers(wide: &Choice<'_>, narrow: &Choice<'_>) -> bool {
    let literal = |t: &str| !narrow.like || !t.contains(['*', '?']);
    let long = narrow.texts.len() > TEXTS_MAX || wide.texts.len() > TEXTS_MAX;
    if long || narrow.fold && !wide.fold {
        return false;
    }
    narrow.texts.iter().all(|text| {
        literal(text)
            && wide.texts.iter().any(|w| match wide.like {
                true => Wildcard::new(w, wide.fold).matches(text.as_bytes()),
                false if wide.fold => w.eq_ignore_ascii_case(text),
                false => w == text,
            })
    })
}
