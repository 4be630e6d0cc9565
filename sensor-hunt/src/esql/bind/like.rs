//! Patterns of `like`, `rlike` and `replace`.

use std::sync::Arc;

use regex_automata::meta::Regex;
use sensor_eql::pattern::{LuceneRegex, Wildcard};
use sensor_eql::{Diagnostic, Span};

use super::{Binder, Bound};
use crate::esql::ast::Expr;
use crate::esql::bound::{Node, Op, Pattern};
use crate::esql::outcome::Type;
use crate::esql::value::Val;

/// Compiled size of one expression.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// What `like` means: `None` for a pattern that everything but null matches.
fn like(pattern: &str) -> Result<Option<Pattern>, String> {
    if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*') {
        return Ok(None);
    }
    if !pattern.contains('\\') {
        return Ok(Some(if pattern.contains(['*', '?']) {
            Pattern::Wildcard(Arc::new(Wildcard::new(pattern)))
        } else {
            Pattern::Exact(pattern.into())
        }));
    }
    let (mut plain, mut regex, mut wild) = (String::new(), String::new(), false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '*' => None,
            '?' => None,
            // What follows stands for itself, and so does a last one.
            '\\' => Some(chars.next().unwrap_or('\\')),
            c => Some(c),
        };
        match literal {
            Some(c) => {
                plain.push(c);
                regex.push('\\');
                regex.push(c);
                // A backslash before these letters means a class.
                if c.is_ascii_alphanumeric() {
                    regex.truncate(regex.len() - 2);
                    regex.push(c);
                }
            }
            None => {
                wild = true;
                regex.push_str(if c == '*' { ".*" } else { "." });
            }
        }
    }
    Ok(Some(if wild {
        Pattern::Regex(Arc::new(LuceneRegex::new(&regex)?))
    } else {
        Pattern::Exact(plain.into())
    }))
}

impl Binder {
    pub(super) fn like(&mut self, left: &Expr, patterns: &[Expr], regex: bool, span: Span) -> Bound<Node> {
        let left = self.expr(left)?;
        if !matches!(left.ty, Type::Keyword | Type::Null) {
            let word = if regex { "rlike" } else { "like" };
            let text = format!("`{word}` needs text, but this is [{}]", left.ty.name());
            return Err(Diagnostic::error(left.span, text));
        }
        let mut compiled = Vec::new();
        for pattern in patterns {
            let node = self.expr(pattern)?;
            let Some(text) = node.as_const().and_then(Val::as_text) else {
                return Err(Diagnostic::error(node.span, "the pattern must be a string"));
            };
            let one = if regex && matches!(text, ".*" | "@") {
                Ok(None)
            } else if regex {
                LuceneRegex::new(text).map(|regex| Some(Pattern::Regex(Arc::new(regex))))
            } else {
                like(text)
            };
            compiled.push(
                one.map_err(|cause| Diagnostic::error(node.span, "the pattern is wrong").because(cause))?,
            );
        }
        if compiled.iter().any(Option::is_none) {
            let null = Node { op: Op::IsNull(Box::new(left)), ty: Type::Boolean, span };
            return Ok(Node { op: Op::Not(Box::new(null)), ty: Type::Boolean, span });
        }
        let patterns = compiled.into_iter().flatten().collect();
        Ok(Node { op: Op::Match(Box::new(left), patterns), ty: Type::Boolean, span })
    }

    pub(super) fn replace(&mut self, args: Vec<Node>, span: Span) -> Bound<Node> {
        let mut args = args.into_iter();
        let (Some(text), Some(pattern), Some(by)) = (args.next(), args.next(), args.next()) else {
            return Err(Diagnostic::error(
                span,
                "`replace` needs 3 arguments: text, expression, replacement",
            ));
        };
        for node in [&text, &pattern, &by] {
            if !matches!(node.ty, Type::Keyword | Type::Null) {
                return Err(Diagnostic::error(
                    node.span,
                    format!("text is expected, not [{}]", node.ty.name()),
                ));
            }
        }
        let Some(expression) = pattern.as_const().and_then(Val::as_text) else {
            return Err(Diagnostic::error(pattern.span, "the expression must be a string"));
        };
        let config = Regex::config().nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = Regex::builder().configure(config).build(expression).map_err(|cause| {
            let cause = cause.syntax_error().map_or_else(|| cause.to_string(), ToString::to_string);
            let last = cause.lines().last().unwrap_or_default().to_owned();
            Diagnostic::error(pattern.span, "the expression is wrong or not supported").because(last)
        })?;
        Ok(Node { op: Op::Replace(Box::new(text), Arc::new(regex), Box::new(by)), ty: Type::Keyword, span })
    }
}
