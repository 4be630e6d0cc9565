//! Expressions, by precedence: or, and, not, comparison, sum, product, sign, cast.

use sensor_eql::{Diagnostic, Span};

use super::{DEPTH_MAX, Parsed, Parser};
use crate::esql::ast::{Arith, Compare, Expr, Kind, Name, Unit};
use crate::esql::lex::Token;

/// Operators of one kind in a row.
const CHAIN_MAX: usize = 200;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A unit by its name.
pub(in crate::esql) fn unit(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "millisecond" | "milliseconds" | "ms" => Unit::Millis(1),
        "second" | "seconds" | "sec" | "s" => Unit::Millis(SECOND),
        "minute" | "minutes" | "min" | "m" => Unit::Millis(MINUTE),
        "hour" | "hours" | "h" => Unit::Millis(HOUR),
        "day" | "days" | "d" => Unit::Millis(DAY),
        "week" | "weeks" | "w" => Unit::Millis(7 * DAY),
        "month" | "months" | "mo" => Unit::Months(1),
        "quarter" | "quarters" | "q" => Unit::Months(3),
        "year" | "years" | "yr" | "y" => Unit::Months(12),
        _ => return None,
    })
}

fn binary(make: impl FnOnce(Box<Expr>, Box<Expr>) -> Kind, left: Expr, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    Expr { kind: make(Box::new(left), Box::new(right)), span }
}

/// Chains of `and` and `or` are flat, so that a long one is not a deep one.
fn several(mut terms: Vec<Expr>, make: impl FnOnce(Vec<Expr>) -> Kind) -> Expr {
    match terms.pop() {
        Some(last) => match terms.first() {
            None => last,
            Some(first) => {
                let span = first.span.to(last.span);
                terms.push(last);
                Expr { kind: make(terms), span }
            }
        },
        None => Expr { kind: Kind::Null, span: Span::new(0, 0) },
    }
}

fn negative(start: Span, expr: Expr) -> Expr {
    let span = start.to(expr.span);
    let kind = match expr.kind {
        Kind::Long(number) => Kind::Long(-number),
        Kind::Double(number) => Kind::Double(-number),
        kind => Kind::Negate(Box::new(Expr { kind, span: expr.span })),
    };
    Expr { kind, span }
}

impl Parser<'_> {
    pub(in crate::esql) fn expression(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Diagnostic::error(self.span(), format!("nested more than {DEPTH_MAX} deep")));
        }
        let mut terms = vec![self.conjunction()?];
        while self.word("or") {
            terms.push(self.conjunction()?);
        }
        self.depth -= 1;
        Ok(several(terms, Kind::Or))
    }

    fn conjunction(&mut self) -> Parsed<Expr> {
        let mut terms = vec![self.negation()?];
        while self.word("and") {
            terms.push(self.negation()?);
        }
        Ok(several(terms, Kind::And))
    }

    fn negation(&mut self) -> Parsed<Expr> {
        let mut starts = Vec::new();
        while self.is_word("not") {
            starts.push(self.span());
            self.at += 1;
        }
        let mut expr = self.comparison()?;
        // Two of them are the same as none, for null too.
        let odd = starts.len() % 2 == 1;
        if let (Some(start), true) = (starts.first(), odd) {
            let span = start.to(expr.span);
            expr = Expr { kind: Kind::Not(Box::new(expr)), span };
        }
        Ok(expr)
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.sum()?;
        let compare = match self.peek() {
            Token::Symbol("==") => Some(Compare::Eq),
            Token::Symbol("!=") => Some(Compare::Ne),
            Token::Symbol("<") => Some(Compare::Lt),
            Token::Symbol("<=") => Some(Compare::Le),
            Token::Symbol(">") => Some(Compare::Gt),
            Token::Symbol(">=") => Some(Compare::Ge),
            Token::Symbol("=") => {
                return Err(Diagnostic::error(self.span(), "`=` does not compare").help("write `==`"));
            }
            Token::Symbol("=~") => {
                let found = Diagnostic::error(self.span(), "the operator `=~` is not supported");
                return Err(found.help("`like`, or `==` on `to_lower(...)`"));
            }
            // The same as `match`.
            Token::Symbol(":") => {
                let name = Name { text: "match".to_owned(), span: self.span() };
                self.at += 1;
                let right = self.sum()?;
                let span = left.span.to(right.span);
                return Ok(Expr { kind: Kind::Call(name, vec![left, right]), span });
            }
            _ => None,
        };
        if let Some(compare) = compare {
            self.at += 1;
            let right = self.sum()?;
            return Ok(binary(|l, r| Kind::Compare(compare, l, r), left, right));
        }
        if self.word("is") {
            let not = self.word("not");
            if !self.word("null") {
                return Err(self.unexpected("`null`"));
            }
            let span = left.span.to(self.last_span());
            return Ok(self.maybe_not(not, Expr { kind: Kind::IsNull(Box::new(left)), span }));
        }
        let not = self.is_word("not");
        if not {
            self.at += 1;
        }
        let kind = if self.word("in") {
            self.expect("(")?;
            Kind::In(Box::new(left), self.list(")")?)
        } else if self.is_word("like") || self.is_word("rlike") {
            let regex = self.is_word("rlike");
            self.at += 1;
            let patterns = if self.symbol("(") { self.list(")")? } else { vec![self.sum()?] };
            Kind::Like(Box::new(left), patterns, regex)
        } else if not {
            return Err(self.unexpected("`in`, `like` or `rlike`"));
        } else {
            return Ok(left);
        };
        let start = match &kind {
            Kind::In(left, _) | Kind::Like(left, ..) => left.span,
            _ => self.last_span(),
        };
        let span = start.to(self.last_span());
        Ok(self.maybe_not(not, Expr { kind, span }))
    }

    fn maybe_not(&self, not: bool, expr: Expr) -> Expr {
        let span = expr.span;
        if not { Expr { kind: Kind::Not(Box::new(expr)), span } } else { expr }
    }

    /// Up to the closing bracket, which is taken.
    fn list(&mut self, close: &'static str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        if self.symbol(close) {
            return Ok(items);
        }
        loop {
            if matches!(self.peek(), Token::Symbol("*"))
                && matches!(self.peek_after(1), Token::Symbol(s) if *s == close)
            {
                items.push(Expr { kind: Kind::Star, span: self.span() });
                self.at += 1;
            } else {
                items.push(self.expression()?);
            }
            if !self.symbol(",") {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        for _ in 0..CHAIN_MAX {
            let op = match self.peek() {
                Token::Symbol("+") => Arith::Add,
                Token::Symbol("-") => Arith::Sub,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(|l, r| Kind::Arith(op, l, r), left, self.product()?);
        }
        Err(self.too_long())
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.sign()?;
        for _ in 0..CHAIN_MAX {
            let op = match self.peek() {
                Token::Symbol("*") => Arith::Mul,
                Token::Symbol("/") => Arith::Div,
                Token::Symbol("%") => Arith::Mod,
                _ => return Ok(left),
            };
            self.at += 1;
            left = binary(|l, r| Kind::Arith(op, l, r), left, self.sign()?);
        }
        Err(self.too_long())
    }

    fn sign(&mut self) -> Parsed<Expr> {
        let start = self.span();
        let (mut minus, mut last_minus) = (false, false);
        loop {
            if self.symbol("-") {
                (minus, last_minus) = (!minus, true);
            } else if self.symbol("+") {
                last_minus = false;
            } else {
                break;
            }
        }
        // The sign of a number is part of it: what is cast in `-1.5::long` is -1.5.
        let of_number = last_minus && matches!(self.peek(), Token::Long(_) | Token::Double(_));
        let mut expr = self.primary()?;
        if of_number {
            expr = negative(start, expr);
            minus = !minus;
        }
        let expr = self.cast(expr)?;
        Ok(if minus { negative(start, expr) } else { expr })
    }

    fn cast(&mut self, mut expr: Expr) -> Parsed<Expr> {
        for _ in 0..CHAIN_MAX {
            if !self.symbol("::") {
                return Ok(expr);
            }
            let ty = self.name()?;
            let span = expr.span.to(ty.span);
            expr = Expr { kind: Kind::Cast(Box::new(expr), ty), span };
        }
        Err(self.too_long())
    }

    fn too_long(&self) -> Diagnostic {
        Diagnostic::error(self.span(), format!("more than {CHAIN_MAX} operators in a row"))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span();
        let token = self.peek().clone();
        let kind = match token {
            Token::Text(text) => {
                self.at += 1;
                Kind::Text(text)
            }
            Token::Double(number) => {
                self.at += 1;
                Kind::Double(number)
            }
            Token::Long(number) => {
                self.at += 1;
                match self.peek() {
                    Token::Name { text, quoted: false } if unit(text).is_some() => {
                        let unit = unit(text).unwrap_or(Unit::Millis(0));
                        self.at += 1;
                        Kind::Time(number, unit)
                    }
                    _ => Kind::Long(number),
                }
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(Expr { kind: inner.kind, span: span.to(self.last_span()) });
            }
            Token::Symbol("[") => {
                self.at += 1;
                Kind::List(self.list("]")?)
            }
            Token::Name { text, quoted } => {
                self.at += 1;
                self.named(text, quoted, span)?
            }
            Token::Symbol("?") => {
                let found = Diagnostic::error(span, "a parameter (`?`) is not supported");
                return Err(found.help("write the value itself"));
            }
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Expr { kind, span: span.to(self.last_span()) })
    }

    fn named(&mut self, text: String, quoted: bool, span: Span) -> Parsed<Kind> {
        if !quoted && self.symbol("(") {
            self.depth += 1;
            let arguments = self.list(")")?;
            self.depth -= 1;
            return Ok(Kind::Call(Name { text: text.to_ascii_lowercase(), span }, arguments));
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "true" if !quoted => Kind::Boolean(true),
            "false" if !quoted => Kind::Boolean(false),
            "null" if !quoted => Kind::Null,
            _ => Kind::Field(text),
        })
    }
}
