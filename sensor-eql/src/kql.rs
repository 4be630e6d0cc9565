//! KQL, the query language of Kibana's rules, read into the same syntax tree as EQL.
//!
//! On keyword fields KQL is case-sensitive; `*` in an unquoted value is a wildcard, `?` is a letter; `field:*` asks
//! whether the field has a value. A value list may nest `and`, `or` and `not`, which each stand for the field.

use crate::ast::{CompareOp, EventFilter, EventQuery, Expr, ExprKind, PatternSyntax, Query};
use crate::diag::{Diagnostic, Diagnostics, Span};
use crate::parse::NESTING_MAX;

/// Parses a KQL query.
///
/// # Errors
/// The first syntax error, with its position in `source`.
pub fn parse_kql(source: &str) -> Result<Query, Diagnostics> {
    let mut parser = Parser { source, at: 0, depth: 0 };
    let condition = parser.junction(None)?;
    parser.blanks();
    if !parser.rest().is_empty() {
        return Err(parser.error("expected `and`, `or` or the end").into());
    }
    let span = condition.span;
    let filter = EventFilter { category: None, condition, span };
    Ok(Query::Event(EventQuery { filter, pipes: Vec::new() }))
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

/// A field name with its position, for a value list under it.
type Field<'f> = Option<(&'f str, Span)>;

/// A value as written.
struct Value {
    text: String,
    span: Span,
    /// Has an unescaped `*`.
    wild: bool,
    /// A regular expression that says the same, if an escaped `*` stands beside a wildcard.
    regex: Option<String>,
    quoted: bool,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, text: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> Diagnostic {
        let width = self.rest().chars().next().map_or(0, char::len_utf8);
        Diagnostic::error(Span::new(self.at, self.at + width), message)
    }

    /// Whether the keyword stands here as a word of its own; keywords ignore case.
    fn keyword(&mut self, word: &str) -> bool {
        self.blanks();
        let found = is_keyword(self.rest(), word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Diagnostic>) -> Result<T, Diagnostic> {
        if self.depth >= NESTING_MAX {
            return Err(self
                .error("expression is nested too deeply")
                .because(format!("the limit is {NESTING_MAX} levels")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// `a and b or c`, of conditions or, under a field, of its values.
    fn junction(&mut self, field: Field<'_>) -> Result<Expr, Diagnostic> {
        let mut alternatives = Vec::new();
        loop {
            let mut parts = vec![self.not(field)?];
            while self.keyword("and") {
                parts.push(self.not(field)?);
            }
            alternatives.push(join(parts, ExprKind::And));
            if !self.keyword("or") {
                return Ok(merge(alternatives));
            }
        }
    }

    fn not(&mut self, field: Field<'_>) -> Result<Expr, Diagnostic> {
        self.blanks();
        let start = self.at;
        if self.keyword("not") {
            let inner = self.nested(|p| p.not(field))?;
            let span = Span::new(start, start).to(inner.span);
            return Ok(Expr { kind: ExprKind::Not(Box::new(inner)), span });
        }
        if self.eat("(") {
            let mut inner = self.nested(|p| p.junction(field))?;
            if !self.eat(")") {
                return Err(self.error("expected `)`"));
            }
            inner.span = Span::new(start, self.at);
            return Ok(inner);
        }
        match field {
            Some(field) => {
                let value = self.value()?;
                test(field, value)
            }
            None => self.condition(),
        }
    }

    fn condition(&mut self) -> Result<Expr, Diagnostic> {
        let name = self.value()?;
        let field = (name.text.as_str(), name.span);
        let op = [("<=", CompareOp::Le), (">=", CompareOp::Ge), ("<", CompareOp::Lt), (">", CompareOp::Gt)]
            .into_iter()
            .find(|(text, _)| self.eat(text));
        if op.is_none() && !self.eat(":") {
            return Err(Diagnostic::error(name.span, "a value needs a field").help("write `field: value`"));
        }
        if name.wild {
            return Err(Diagnostic::error(name.span, "field names with wildcards are not supported"));
        }
        if let Some((_, op)) = op {
            let value = self.value()?;
            let span = name.span.to(value.span);
            let literal = Expr { kind: ExprKind::Text(value.text), span: value.span };
            return Ok(Expr {
                kind: ExprKind::Compare(op, Box::new(field_expr(field)), Box::new(literal)),
                span,
            });
        }
        let start = name.span;
        if self.eat("{") {
            return Err(self.error("nested queries are not supported"));
        }
        self.blanks();
        let mut condition = if self.rest().starts_with('(') {
            self.nested(|p| p.not(Some(field)))?
        } else {
            let value = self.value()?;
            test(field, value)?
        };
        condition.span = start.to(condition.span);
        Ok(condition)
    }

    fn value(&mut self) -> Result<Value, Diagnostic> {
        self.blanks();
        if self.rest().starts_with('"') { self.quoted() } else { self.unquoted() }
    }

    fn quoted(&mut self) -> Result<Value, Diagnostic> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    let span = Span::new(start, self.at);
                    return Ok(Value { text, span, wild: false, regex: None, quoted: true });
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(Diagnostic::error(Span::new(start, start + 1), "string is never closed"))
    }

    /// Runs to a special character or a keyword; blanks inside belong to the value.
    fn unquoted(&mut self) -> Result<Value, Diagnostic> {
        let start = self.at;
        let (mut text, mut wild, mut star) = (String::new(), false, false);
        let mut regex = String::new();
        let mut kept = self.at;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '(' | ')' | ':' | '<' | '>' | '"' | '{' | '}' => break,
                '\\' => {
                    let next = self.rest().chars().nth(1);
                    let Some(next) = next else { return Err(self.error("`\\` at the end")) };
                    star |= next == '*';
                    push_letter(next, &mut regex);
                    text.push(next);
                    self.at += 1 + next.len_utf8();
                    kept = self.at;
                    continue;
                }
                c if c.is_whitespace() => {
                    let after = self.rest().trim_start();
                    if ["and", "or", "not"].iter().any(|k| is_keyword(after, k)) {
                        break;
                    }
                    push_letter(c, &mut regex);
                    text.push(c);
                    self.at += c.len_utf8();
                    continue;
                }
                c => {
                    wild |= c == '*';
                    match c {
                        '*' => regex.push_str(".*"),
                        c => push_letter(c, &mut regex),
                    }
                    text.push(c);
                    self.at += c.len_utf8();
                    kept = self.at;
                }
            }
        }
        let text = text.trim_end().to_owned();
        if text.is_empty() {
            return Err(self.error("expected a value"));
        }
        let regex = (wild && star).then(|| regex.trim_end().to_owned());
        Ok(Value { text, span: Span::new(start, kept), wild, regex, quoted: false })
    }
}

fn push_letter(c: char, regex: &mut String) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

fn is_keyword(rest: &str, word: &str) -> bool {
    let matches = rest.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let next = rest.get(word.len()..).and_then(|r| r.chars().next());
    matches && next.is_some_and(|c| c.is_whitespace() || c == '(')
}

fn field_expr((name, span): (&str, Span)) -> Expr {
    // A field that no record has is false in KQL, as everywhere; the check warns about it all the same.
    Expr { kind: ExprKind::Field { name: name.to_owned(), optional: false }, span }
}

fn test(field: (&str, Span), value: Value) -> Result<Expr, Diagnostic> {
    let span = value.span;
    let this = Box::new(field_expr(field));
    let kind = if let Some(regex) = value.regex {
        ExprKind::Match {
            value: this,
            patterns: vec![(regex, span)],
            syntax: PatternSyntax::Regex,
            insensitive: false,
        }
    } else if value.wild && value.text.bytes().all(|b| b == b'*') {
        let null = Expr { kind: ExprKind::Null, span };
        ExprKind::Compare(CompareOp::Ne, this, Box::new(null))
    } else if value.wild {
        ExprKind::Match {
            value: this,
            patterns: vec![(value.text, span)],
            syntax: PatternSyntax::Star,
            insensitive: false,
        }
    } else {
        let boolean = if value.quoted { None } else { crate::value::boolean(&value.text) };
        let kind = boolean.map_or(ExprKind::Text(value.text), ExprKind::Bool);
        ExprKind::In { value: this, list: vec![Expr { kind, span }], insensitive: false }
    };
    Ok(Expr { kind, span })
}

fn join(mut items: Vec<Expr>, make: impl Fn(Vec<Expr>) -> ExprKind) -> Expr {
    let span = items.iter().map(|i| i.span).reduce(Span::to).unwrap_or_default();
    match items.pop() {
        Some(only) if items.is_empty() => only,
        Some(last) => {
            items.push(last);
            Expr { kind: make(items), span }
        }
        None => Expr { kind: ExprKind::Bool(true), span },
    }
}

/// Alternatives on one field become one list, which is one lookup instead of many.
fn merge(items: Vec<Expr>) -> Expr {
    let mut merged: Vec<Expr> = Vec::new();
    for item in items {
        match (merged.last_mut(), item) {
            (
                Some(Expr { kind: ExprKind::In { value: a, list, .. }, span }),
                Expr { kind: ExprKind::In { value: b, list: more, .. }, span: end },
            ) if same_field(a, &b) => {
                list.extend(more);
                *span = span.to(end);
            }
            (
                Some(Expr { kind: ExprKind::Match { value: a, patterns, syntax: before, .. }, span }),
                Expr { kind: ExprKind::Match { value: b, patterns: more, syntax, .. }, span: end },
            ) if same_field(a, &b) && *before == syntax => {
                patterns.extend(more);
                *span = span.to(end);
            }
            (_, item) => merged.push(item),
        }
    }
    join(merged, ExprKind::Or)
}

fn same_field(a: &Expr, b: &Expr) -> bool {
    a.kind == b.kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(source: &str) -> Expr {
        let Query::Event(q) = parse_kql(source).unwrap() else { panic!() };
        q.filter.condition
    }

    #[test]
    fn lists_become_one_test_per_kind() {
        let e = condition("a:(x or \"y z\" or q* or r*)");
        let ExprKind::Or(items) = e.kind else { panic!() };
        assert!(matches!(&items[0].kind, ExprKind::In { list, .. } if list.len() == 2));
        assert!(matches!(&items[1].kind, ExprKind::Match { patterns, .. } if patterns.len() == 2));
    }

    #[test]
    fn and_binds_tighter_than_or_and_keywords_ignore_case() {
        let ExprKind::Or(items) = condition("a:1 OR b:2 and NOT c:3").kind else { panic!() };
        assert!(matches!(&items[1].kind, ExprKind::And(parts) if matches!(parts[1].kind, ExprKind::Not(_))));
    }

    #[test]
    fn unquoted_values_may_hold_blanks_and_escapes() {
        let ExprKind::Match { patterns, .. } = condition("a:(* curl*)").kind else { panic!() };
        assert_eq!(patterns[0].0, "* curl*");
        let ExprKind::In { list, .. } = condition(r"a:C\:\\x\ y and b:1").kind.first() else { panic!() };
        assert_eq!(list[0].kind, ExprKind::Text("C:\\x y".to_owned()));
        let ExprKind::In { list, .. } = condition("a:order").kind else { panic!() };
        assert_eq!(list[0].kind, ExprKind::Text("order".to_owned()));
    }

    impl ExprKind {
        fn first(self) -> ExprKind {
            match self {
                ExprKind::And(mut items) => items.remove(0).kind,
                other => other,
            }
        }
    }

    #[test]
    fn refused_with_a_position() {
        for (source, at) in
            [("a", 0), ("a:", 2), ("a:(b", 4), ("a:b)", 3), ("a.*:b", 0), ("a:{b:c}", 3), ("a:\"b", 2)]
        {
            assert_eq!(parse_kql(source).unwrap_err().0[0].span.start, at, "{source}");
        }
        let deep = format!("{}a:b{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(parse_kql(&deep).is_err());
        assert!(parse_kql(&"not ".repeat(10_000)).is_err());
    }
}
