//! Expressions: precedence is `not` over `and` over `or`, below them comparison, then arithmetic.

use super::{ARITHMETIC_MAX, NESTING_MAX, Parser, RESERVED};
use crate::ast::{ArithmeticOp, CompareOp, Expr, ExprKind, PatternSyntax};
use crate::diag::{Diagnostic, Span};
use crate::lex::{Punct, Tok};

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expr, Diagnostic> {
        self.nested(Self::or)
    }

    fn nested(&mut self, inner: impl Fn(&mut Self) -> Result<Expr, Diagnostic>) -> Result<Expr, Diagnostic> {
        if self.depth >= NESTING_MAX {
            return Err(Diagnostic::error(self.span(), "expression is nested too deeply")
                .because(format!("the limit is {NESTING_MAX} levels")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Expr, Diagnostic> {
        self.chain("or", Self::and, ExprKind::Or)
    }

    fn and(&mut self) -> Result<Expr, Diagnostic> {
        self.chain("and", Self::not, ExprKind::And)
    }

    /// Chains are flat, so that a rule with hundreds of alternatives stays shallow.
    fn chain(
        &mut self,
        word: &str,
        part: impl Fn(&mut Self) -> Result<Expr, Diagnostic>,
        make: impl Fn(Vec<Expr>) -> ExprKind,
    ) -> Result<Expr, Diagnostic> {
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut span = first.span;
        let mut items = vec![first];
        while self.eat_word(word) {
            let item = part(self)?;
            span = span.to(item.span);
            items.push(item);
        }
        Ok(Expr { kind: make(items), span })
    }

    fn not(&mut self) -> Result<Expr, Diagnostic> {
        let start = self.span();
        if !self.eat_word("not") {
            return self.comparison();
        }
        let inner = self.nested(Self::not)?;
        let span = start.to(inner.span);
        Ok(Expr { kind: ExprKind::Not(Box::new(inner)), span })
    }

    fn comparison(&mut self) -> Result<Expr, Diagnostic> {
        let left = self.sum()?;
        let op = match self.token().tok {
            Tok::Punct(Punct::Eq) => CompareOp::Eq,
            Tok::Punct(Punct::Ne) => CompareOp::Ne,
            Tok::Punct(Punct::Lt) => CompareOp::Lt,
            Tok::Punct(Punct::Le) => CompareOp::Le,
            Tok::Punct(Punct::Gt) => CompareOp::Gt,
            Tok::Punct(Punct::Ge) => CompareOp::Ge,
            Tok::Punct(Punct::Assign) => return Err(self.unexpected("an operator")),
            _ => return Ok(left),
        };
        self.advance();
        let right = self.sum()?;
        let span = left.span.to(right.span);
        Ok(Expr { kind: ExprKind::Compare(op, Box::new(left), Box::new(right)), span })
    }

    fn sum(&mut self) -> Result<Expr, Diagnostic> {
        self.arithmetic(Self::product, |p| match p {
            Punct::Plus => Some(ArithmeticOp::Add),
            Punct::Minus => Some(ArithmeticOp::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Expr, Diagnostic> {
        self.arithmetic(Self::signed, |p| match p {
            Punct::Star => Some(ArithmeticOp::Multiply),
            Punct::Slash => Some(ArithmeticOp::Divide),
            Punct::Percent => Some(ArithmeticOp::Modulo),
            _ => None,
        })
    }

    fn arithmetic(
        &mut self,
        part: impl Fn(&mut Self) -> Result<Expr, Diagnostic>,
        operator: impl Fn(Punct) -> Option<ArithmeticOp>,
    ) -> Result<Expr, Diagnostic> {
        let mut left = part(self)?;
        while let Tok::Punct(p) = self.token().tok
            && let Some(op) = operator(p)
        {
            // Left-nested: each step makes the tree a level deeper, wherever in the query it stands.
            self.arithmetic_steps += 1;
            if self.arithmetic_steps > ARITHMETIC_MAX {
                return Err(Diagnostic::error(self.span(), "expression is nested too deeply")
                    .because(format!("the limit is {ARITHMETIC_MAX} arithmetic operators")));
            }
            self.advance();
            let right = part(self)?;
            let span = left.span.to(right.span);
            left = Expr { kind: ExprKind::Arithmetic(op, Box::new(left), Box::new(right)), span };
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expr, Diagnostic> {
        let start = self.span();
        if self.eat(Punct::Plus) {
            return self.nested(Self::signed);
        }
        if !self.eat(Punct::Minus) {
            return self.predicated();
        }
        let inner = self.nested(Self::signed)?;
        let span = start.to(inner.span);
        let kind = match inner.kind {
            ExprKind::Integer(n) => ExprKind::Integer(n.wrapping_neg()),
            ExprKind::Decimal(n) => ExprKind::Decimal(-n),
            _ => ExprKind::Negate(Box::new(inner)),
        };
        Ok(Expr { kind, span })
    }

    fn predicated(&mut self) -> Result<Expr, Diagnostic> {
        let value = self.operand()?;
        let negated = self.is_word("not") && matches!(self.ahead(1), Tok::Word { text, .. } if text == "in");
        if negated {
            self.advance();
        }
        let (word, insensitive) = match &self.token().tok {
            Tok::Word { text, tilde } => (text.as_str(), *tilde),
            Tok::Punct(Punct::Colon) => (":", true),
            _ => return Ok(value),
        };
        let start = value.span;
        let kind = match word {
            "in" => {
                self.advance();
                let list = self.list()?;
                ExprKind::In { value: Box::new(value), list, insensitive }
            }
            ":" | "like" | "regex" => {
                let syntax = if word == "regex" { PatternSyntax::Regex } else { PatternSyntax::Wildcard };
                self.advance();
                ExprKind::Match { value: Box::new(value), patterns: self.patterns()?, syntax, insensitive }
            }
            _ => return Ok(value),
        };
        let expr = Expr { kind, span: start.to(self.last_span()) };
        if negated {
            let span = expr.span;
            return Ok(Expr { kind: ExprKind::Not(Box::new(expr)), span });
        }
        Ok(expr)
    }

    fn list(&mut self) -> Result<Vec<Expr>, Diagnostic> {
        self.expect(Punct::Open)?;
        let mut items = vec![self.expression()?];
        while self.eat(Punct::Comma) {
            items.push(self.expression()?);
        }
        self.expect(Punct::Close)?;
        Ok(items)
    }

    fn patterns(&mut self) -> Result<Vec<(String, Span)>, Diagnostic> {
        let listed = self.eat(Punct::Open);
        let mut patterns = Vec::new();
        loop {
            let Tok::Text { value, .. } = self.token().tok.clone() else {
                return Err(match self.token().tok {
                    Tok::Integer(_) | Tok::Decimal(_) => {
                        self.unexpected("a string").help("compare numbers with `==`")
                    }
                    _ => self.unexpected("a string"),
                });
            };
            patterns.push((value, self.span()));
            self.advance();
            if !listed {
                return Ok(patterns);
            }
            if !self.eat(Punct::Comma) {
                self.expect(Punct::Close)?;
                return Ok(patterns);
            }
        }
    }

    /// A literal, a field, a call or a parenthesis.
    pub(super) fn operand(&mut self) -> Result<Expr, Diagnostic> {
        let span = self.span();
        let literal = |parser: &mut Self, kind| {
            parser.advance();
            Ok(Expr { kind, span })
        };
        match self.token().tok.clone() {
            Tok::Integer(n) => literal(self, ExprKind::Integer(n)),
            Tok::Decimal(n) => literal(self, ExprKind::Decimal(n)),
            Tok::Text { value, .. } => literal(self, ExprKind::Text(value)),
            Tok::Punct(Punct::Open) => {
                self.advance();
                let mut inner = self.expression()?;
                self.expect(Punct::Close)?;
                inner.span = span.to(self.last_span());
                Ok(inner)
            }
            Tok::Punct(Punct::Question) => {
                self.advance();
                self.field(span, true)
            }
            Tok::Word { text, tilde } if tilde || *self.ahead(1) == Tok::Punct(Punct::Open) => {
                if !tilde && RESERVED.contains(&text.as_str()) {
                    return Err(self.unexpected("a value"));
                }
                self.call(text, tilde, span)
            }
            Tok::Word { text, .. } => match text.as_str() {
                "true" => literal(self, ExprKind::Bool(true)),
                "false" => literal(self, ExprKind::Bool(false)),
                "null" => literal(self, ExprKind::Null),
                _ => self.field(span, false),
            },
            Tok::Quoted(_) => self.field(span, false),
            Tok::End | Tok::Punct(_) => Err(self.unexpected("a value")),
        }
    }

    fn call(&mut self, name: String, insensitive: bool, span: Span) -> Result<Expr, Diagnostic> {
        self.advance();
        self.expect(Punct::Open)?;
        let mut args = Vec::new();
        if !self.is(Punct::Close) {
            args.push(self.expression()?);
            while self.eat(Punct::Comma) {
                args.push(self.expression()?);
            }
        }
        self.expect(Punct::Close)?;
        Ok(Expr { kind: ExprKind::Call { name, insensitive, args }, span: span.to(self.last_span()) })
    }

    fn field(&mut self, start: Span, optional: bool) -> Result<Expr, Diagnostic> {
        let mut name = String::new();
        loop {
            match self.token().tok.clone() {
                // After a dot every word is a name: `file.in` has no other reading.
                Tok::Word { text, tilde: false }
                    if !name.is_empty() || !RESERVED.contains(&text.as_str()) =>
                {
                    name.push_str(&text);
                }
                Tok::Quoted(text) => name.push_str(&text),
                _ if name.is_empty() => return Err(self.unexpected("a field name")),
                _ => return Err(self.unexpected("a name after `.`")),
            }
            self.advance();
            if !self.eat(Punct::Dot) {
                break;
            }
            name.push('.');
        }
        if self.is(Punct::OpenBracket) && matches!(self.ahead(1), Tok::Integer(_)) {
            return Err(Diagnostic::error(self.span(), "array elements cannot be picked")
                .because("a condition holds if any element satisfies it"));
        }
        Ok(Expr { kind: ExprKind::Field { name, optional }, span: start.to(self.last_span()) })
    }
}
