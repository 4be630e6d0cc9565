//! Full-text functions on fields that hold whole values: `field : "x"`, `match`, `match_phrase`, `term`, `kql`.
//!
//! As in the index, a field without a value does not match, and of several values one suffices; the result is never
//! null. On a keyword a match is the whole value, case and all. Fields of analysed text are refused.

use std::sync::Arc;

use sensor_eql::ast::{CompareOp, Expr as Kql, ExprKind, PatternSyntax, Query};
use sensor_eql::pattern::{Cidr, LuceneRegex};
use sensor_eql::{Diagnostic, Span};

use super::{Binder, Bound};
use crate::esql::ast::Compare;
use crate::esql::bound::{Has, Node, Op, Pattern};
use crate::esql::outcome::Type;
use crate::esql::value::Val;

/// Fields that Elasticsearch takes apart into words.
const ANALYSED: [&str; 2] = ["message", "error.message"];

fn has(field: Node, has: Has, span: Span) -> Node {
    Node { op: Op::Has(Box::new(field), has), ty: Type::Boolean, span }
}

/// A constant as the type of a field.
fn as_type(text: &str, ty: Type) -> Option<Val<'static>> {
    let mut node = Node::constant(Val::text(text.to_owned()), Type::Keyword, Span::new(0, 0));
    match ty {
        Type::Integer | Type::Long => text.parse().ok().map(Val::Long),
        Type::Double => text.parse().ok().map(Val::Double),
        Type::Boolean => text.parse().ok().map(Val::Boolean),
        Type::Keyword | Type::Null => Some(Val::text(text.to_owned())),
        _ => Binder::literal_as(&mut node, ty).ok().and_then(|()| node.as_const().cloned()),
    }
}

impl Binder {
    /// `match(field, "x")`; `name` is what was written.
    pub(super) fn search(&mut self, name: &str, mut nodes: Vec<Node>, span: Span) -> Bound<Node> {
        let (Some(wanted), Some(field), 0) = (nodes.pop(), nodes.pop(), nodes.len()) else {
            return Err(Diagnostic::error(span, format!("`{name}` needs 2 arguments: a field and a value")));
        };
        if !matches!(field.op, Op::Slot(_)) {
            return Err(Diagnostic::error(field.span, format!("`{name}` searches a field")));
        }
        let Some(value) = wanted.as_const() else {
            return Err(Diagnostic::error(wanted.span, "what is searched for must be a constant"));
        };
        let value = match value {
            Val::Text(text) => as_type(text, field.ty),
            Val::Null | Val::List(_) | Val::Period(..) => None,
            other if super::call::common(wanted.ty, field.ty).is_some() => Some(other.clone()),
            _ => None,
        };
        let Some(value) = value else {
            let text = format!("a field of type [{}] cannot hold this", field.ty.name());
            return Err(Diagnostic::error(wanted.span, text));
        };
        Ok(has(field, Has::Is(vec![value]), span))
    }

    /// Refuses a field of analysed text, by the name that was written.
    pub(super) fn searchable(name: &str, span: Span) -> Bound<()> {
        if ANALYSED.contains(&name) || name.ends_with(".text") {
            let text = format!("a search in [{name}], which is text of several words, is not supported");
            return Err(Diagnostic::error(span, text).help("`like \"*word*\"`"));
        }
        Ok(())
    }

    pub(super) fn kql(&mut self, nodes: &[Node], span: Span) -> Bound<Node> {
        let [only] = nodes else { return Err(Diagnostic::error(span, "`kql` needs 1 argument, a string")) };
        let Some(text) = only.as_const().and_then(Val::as_text) else {
            return Err(Diagnostic::error(only.span, "`kql` needs a string"));
        };
        let query = sensor_eql::parse_kql(text).map_err(|found| {
            let first = found.0.into_iter().next();
            let place = first.as_ref().map_or(0, |one| one.span.start as usize);
            let place = text.get(..place).unwrap_or_default().chars().count() + 1;
            let cause = first.map_or_else(String::new, |one| one.message);
            Diagnostic::error(only.span, format!("KQL, at its character {place}: {cause}"))
        })?;
        let Query::Event(query) = query else {
            return Err(Diagnostic::error(only.span, "this KQL is not supported"));
        };
        self.kql_part(&query.filter.condition, only.span)
    }

    fn kql_part(&mut self, part: &Kql, span: Span) -> Bound<Node> {
        let node = |op| Node { op, ty: Type::Boolean, span };
        let all = |binder: &mut Self, parts: &[Kql]| -> Bound<Vec<Node>> {
            parts.iter().map(|part| binder.kql_part(part, span)).collect()
        };
        Ok(match &part.kind {
            ExprKind::And(parts) => node(Op::And(all(self, parts)?)),
            ExprKind::Or(parts) => node(Op::Or(all(self, parts)?)),
            ExprKind::Not(inner) => node(Op::Not(Box::new(self.kql_part(inner, span)?))),
            ExprKind::Compare(CompareOp::Ne, field, other) if other.kind == ExprKind::Null => {
                let null = Op::IsNull(Box::new(self.kql_field(field, span, false)?));
                node(Op::Not(Box::new(node(null))))
            }
            ExprKind::Compare(op, field, value) => {
                let field = self.kql_field(field, span, true)?;
                let op = match op {
                    CompareOp::Lt => Compare::Lt,
                    CompareOp::Le => Compare::Le,
                    CompareOp::Gt => Compare::Gt,
                    CompareOp::Ge => Compare::Ge,
                    _ => return Err(unsupported(span)),
                };
                let value = kql_value(value, field.ty, span)?;
                has(field, Has::Order(op, value), span)
            }
            ExprKind::In { value, list, .. } => {
                let field = self.kql_field(value, span, true)?;
                let (mut values, mut ranges) = (Vec::new(), Vec::new());
                for item in list {
                    match &item.kind {
                        ExprKind::Text(text) if field.ty == Type::Ip && text.contains('/') => {
                            ranges.push(Cidr::parse(text).ok_or_else(|| unsupported(span))?);
                        }
                        _ => values.push(kql_value(item, field.ty, span)?),
                    }
                }
                let mut ways = Vec::new();
                if !ranges.is_empty() {
                    ways.push(has(field.clone(), Has::Within(ranges), span));
                }
                if !values.is_empty() {
                    ways.push(has(field, Has::Is(values), span));
                }
                node(Op::Or(ways))
            }
            ExprKind::Match { value, patterns, syntax, insensitive: false } => {
                let field = self.kql_field(value, span, true)?;
                if !matches!(field.ty, Type::Keyword | Type::Null) {
                    let text = format!("KQL: a wildcard on a field of type [{}]", field.ty.name());
                    return Err(Diagnostic::error(span, text));
                }
                let compiled: Result<Vec<Pattern>, String> = patterns
                    .iter()
                    .map(|(text, _)| {
                        let regex = match syntax {
                            PatternSyntax::Regex => text.clone(),
                            _ => text.chars().map(star_to_regex).collect(),
                        };
                        LuceneRegex::new(&regex).map(|regex| Pattern::Regex(Arc::new(regex)))
                    })
                    .collect();
                let compiled = compiled
                    .map_err(|cause| Diagnostic::error(span, "KQL: the pattern is wrong").because(cause))?;
                has(field, Has::Like(compiled), span)
            }
            ExprKind::Bool(value) => Node::constant(Val::Boolean(*value), Type::Boolean, span),
            _ => return Err(unsupported(span)),
        })
    }

    fn kql_field(&mut self, field: &Kql, span: Span, searched: bool) -> Bound<Node> {
        let ExprKind::Field { name, .. } = &field.kind else { return Err(unsupported(span)) };
        if searched {
            Self::searchable(name, span)?;
        }
        match self.find(name) {
            Some((ty, slot)) => Ok(Self::slot_node(ty, slot, span)),
            None => Err(self.unknown(name, span)),
        }
    }
}

fn unsupported(span: Span) -> Diagnostic {
    Diagnostic::error(span, "this KQL is not supported")
}

/// In KQL only `*` is a wildcard.
fn star_to_regex(c: char) -> String {
    match c {
        '*' => ".*".to_owned(),
        c if c.is_ascii_punctuation() => format!("\\{c}"),
        c => c.to_string(),
    }
}

fn kql_value(value: &Kql, ty: Type, span: Span) -> Bound<Val<'static>> {
    let text = match &value.kind {
        ExprKind::Text(text) => text.clone(),
        ExprKind::Bool(value) => value.to_string(),
        _ => return Err(unsupported(span)),
    };
    as_type(&text, ty).ok_or_else(|| {
        Diagnostic::error(span, format!("KQL: a field of type [{}] cannot hold {text:?}", ty.name()))
    })
}
