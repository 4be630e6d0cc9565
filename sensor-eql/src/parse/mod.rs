//! Queries: the statement level of the grammar. The whole language is accepted here; what a caller cannot run
//! is for the checker to say.

mod expr;

use crate::ast::{EventFilter, EventQuery, Expr, ExprKind, Pipe, Query, Sample, Sequence, Term};
use crate::diag::{Diagnostic, Diagnostics, Span, nearest};
use crate::lex::{Punct, Tok, Token, lex};

/// Nesting of parentheses, `not`, calls and operators that a query may have. Every later stage recurses over
/// the tree, so this bounds the stack of all of them.
pub(crate) const NESTING_MAX: usize = 100;
/// Arithmetic operators that a query may have; with [`NESTING_MAX`] it bounds the depth of the tree.
const ARITHMETIC_MAX: usize = 200;
/// Longest query, far above any real rule; offsets are 32 bits wide.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// `with runs=n` is expanded into n stages.
const RUNS_MAX: i64 = 100;
/// Stages of a sequence after expansion.
const STAGES_MAX: usize = 256;

/// Words that cannot name a field unless quoted.
const RESERVED: [&str; 17] = [
    "and", "any", "by", "false", "in", "join", "like", "maxspan", "not", "null", "of", "or", "regex",
    "sequence", "true", "until", "where",
];

/// Parses one query of any form.
///
/// # Errors
/// The first syntax error, with its position in `source`.
pub fn parse(source: &str) -> Result<Query, Diagnostics> {
    parse_with(source, Parser::query)
}

/// Parses a bare condition, as users write it for exceptions.
///
/// # Errors
/// The first syntax error, with its position in `source`.
pub fn parse_condition(source: &str) -> Result<Expr, Diagnostics> {
    parse_with(source, |p| {
        let condition = p.expression()?;
        p.expect_end()?;
        Ok(condition)
    })
}

fn parse_with<T>(source: &str, run: impl Fn(&mut Parser) -> Result<T, Diagnostic>) -> Result<T, Diagnostics> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(Diagnostic::error(Span::default(), "query is longer than 1 MiB").into());
    }
    let tokens = lex(source)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, arithmetic_steps: 0 };
    Ok(run(&mut parser)?)
}

pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    arithmetic_steps: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        static END: Token = Token { tok: Tok::End, span: Span { start: 0, end: 0 } };
        self.tokens.get(self.at).or_else(|| self.tokens.last()).unwrap_or(&END)
    }

    fn ahead(&self, n: usize) -> &Tok {
        self.tokens.get(self.at + n).map_or(&Tok::End, |t| &t.tok)
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// The span of the token just consumed.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(Span::default(), |t| t.span)
    }

    fn advance(&mut self) -> Token {
        let token = self.token().clone();
        self.at = (self.at + 1).min(self.tokens.len());
        token
    }

    fn is(&self, punct: Punct) -> bool {
        self.token().tok == Tok::Punct(punct)
    }

    fn eat(&mut self, punct: Punct) -> bool {
        let found = self.is(punct);
        if found {
            self.advance();
        }
        found
    }

    fn word(&self) -> Option<&str> {
        match &self.token().tok {
            Tok::Word { text, tilde: false } => Some(text),
            _ => None,
        }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn unexpected(&self, wanted: &str) -> Diagnostic {
        let found = match &self.token().tok {
            Tok::End => "the end of the query".to_owned(),
            Tok::Word { text, tilde } => format!("`{text}{}`", if *tilde { "~" } else { "" }),
            Tok::Quoted(name) => format!("`{name}`"),
            Tok::Text { .. } => "a string".to_owned(),
            Tok::Integer(_) | Tok::Decimal(_) => "a number".to_owned(),
            Tok::Punct(p) => format!("`{}`", p.text()),
        };
        let error = Diagnostic::error(self.span(), format!("expected {wanted}, found {found}"));
        match &self.token().tok {
            Tok::Punct(Punct::Assign) => error.help("write `==` to compare"),
            Tok::Word { text, .. } if text == "of" => error
                .because("Elasticsearch runs no `child of`, `descendant of` or `event of`")
                .help("`sequence by ..` joins events of a process with those of its parent"),
            Tok::Word { text, .. } if text == "not" => {
                error.help("only `not in` stands there: write `not field like ..`")
            }
            Tok::Word { text, .. } => {
                let lower = text.to_ascii_lowercase();
                if lower != *text && RESERVED.contains(&lower.as_str()) {
                    return error.help(format!("keywords are lower case: `{lower}`"));
                }
                match nearest(text, RESERVED.into_iter()).filter(|k| k != text) {
                    Some(keyword) => error.help(format!("did you mean `{keyword}`?")),
                    None => error,
                }
            }
            _ => error,
        }
    }

    fn expect(&mut self, punct: Punct) -> Result<(), Diagnostic> {
        if self.eat(punct) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", punct.text()))) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Diagnostic> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }

    fn expect_end(&self) -> Result<(), Diagnostic> {
        if self.token().tok == Tok::End { Ok(()) } else { Err(self.unexpected("an operator or the end")) }
    }

    fn query(&mut self) -> Result<Query, Diagnostic> {
        let start = self.span();
        let query = if self.is_word("sequence") && !self.category_follows() {
            self.sequence()?
        } else if self.is_word("sample") && !self.category_follows() {
            self.sample()?
        } else if self.is_word("join") && !self.category_follows() {
            return Err(Diagnostic::error(start, "`join` is not supported")
                .because("Elasticsearch does not run it either")
                .help("`sample by ..` matches events that share keys in any order"));
        } else {
            let filter = self.event_filter()?;
            let pipes = self.pipes()?;
            Query::Event(EventQuery { filter, pipes })
        };
        self.expect_end()?;
        Ok(query)
    }

    /// `sequence where ..` is a category of that name.
    fn category_follows(&self) -> bool {
        matches!(self.ahead(1), Tok::Word { text, tilde: false } if text == "where")
    }

    fn event_filter(&mut self) -> Result<EventFilter, Diagnostic> {
        let start = self.span();
        let category = match self.token().tok.clone() {
            Tok::Word { text, tilde: false } if text == "any" => None,
            Tok::Word { text, tilde: false } => Some(text),
            Tok::Text { value, .. } => Some(value),
            Tok::Quoted(name) => Some(name),
            _ => return Err(self.unexpected("an event category")),
        };
        self.advance();
        self.expect_word("where")?;
        let condition = self.expression()?;
        let span = start.to(condition.span);
        Ok(EventFilter { category, condition, span })
    }

    fn pipes(&mut self) -> Result<Vec<Pipe>, Diagnostic> {
        let mut pipes = Vec::new();
        while self.eat(Punct::Pipe) {
            let span = self.span();
            let name = self.word().map(str::to_owned).ok_or_else(|| self.unexpected("`head` or `tail`"))?;
            self.advance();
            let make = match name.as_str() {
                "head" => Pipe::Head,
                "tail" => Pipe::Tail,
                _ => {
                    return Err(Diagnostic::error(span, format!("unknown pipe `{name}`"))
                        .because("the pipes are `head` and `tail`"));
                }
            };
            let count = match self.token().tok {
                Tok::Integer(n) => u64::try_from(n).ok(),
                _ => None,
            };
            let Some(count) = count else { return Err(self.unexpected("a count")) };
            self.advance();
            pipes.push(make(count));
        }
        Ok(pipes)
    }

    fn keys(&mut self) -> Result<Vec<Expr>, Diagnostic> {
        if !self.eat_word("by") {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        loop {
            let key = self.operand()?;
            if !matches!(key.kind, ExprKind::Field { .. }) {
                return Err(Diagnostic::error(key.span, "a key must be a field"));
            }
            keys.push(key);
            if !self.eat(Punct::Comma) {
                return Ok(keys);
            }
        }
    }

    fn sequence(&mut self) -> Result<Query, Diagnostic> {
        let start = self.span();
        self.advance();
        let by = self.keys()?;
        let mut maxspan = None;
        if self.eat_word("with") {
            self.expect_word("maxspan")?;
            self.expect(Punct::Assign)?;
            maxspan = Some(self.duration()?);
            if self.is_word("by") {
                return Err(Diagnostic::error(self.span(), "`by` stands before `with maxspan`")
                    .help("write `sequence by .. with maxspan=..`"));
            }
        }
        let terms = self.terms(by.len())?;
        let until = if self.eat_word("until") { Some(self.term()?) } else { None };
        let span = start.to(self.last_span());
        if let Some(until) = &until {
            same_keys(terms.first().map_or(0, |t| t.by.len()), until)?;
            if until.missing || until.runs != 1 {
                return Err(Diagnostic::error(until.span, "`until` takes one plain event"));
            }
        }
        if let Some(term) = terms.iter().find(|t| t.missing)
            && maxspan.is_none()
        {
            return Err(Diagnostic::error(term.span, "a missing event needs `with maxspan`")
                .because("without it, the absence would never be certain"));
        }
        if terms.iter().all(|t| t.missing) {
            return Err(Diagnostic::error(span, "a sequence needs an event that does occur"));
        }
        if terms.iter().map(|t| t.runs).sum::<u32>() < 2 {
            return Err(Diagnostic::error(span, "a sequence needs two events or more"));
        }
        let pipes = self.pipes()?;
        Ok(Query::Sequence(Sequence { by, maxspan, terms, until, pipes, span }))
    }

    fn sample(&mut self) -> Result<Query, Diagnostic> {
        let start = self.span();
        self.advance();
        let by = self.keys()?;
        let terms = self.terms(by.len())?;
        let span = start.to(self.last_span());
        if by.is_empty() && terms.iter().any(|t| t.by.is_empty()) {
            return Err(
                Diagnostic::error(span, "a sample needs a key").help("write `sample by field [..] [..]`")
            );
        }
        if terms.len() < 2 {
            return Err(Diagnostic::error(span, "a sample needs two events or more"));
        }
        if let Some(term) = terms.iter().find(|t| t.missing || t.runs != 1) {
            return Err(Diagnostic::error(term.span, "a sample takes neither missing events nor runs"));
        }
        let pipes = self.pipes()?;
        Ok(Query::Sample(Sample { by, terms, pipes, span }))
    }

    fn terms(&mut self, shared: usize) -> Result<Vec<Term>, Diagnostic> {
        let mut terms: Vec<Term> = Vec::new();
        let mut stages = 0;
        while self.is(Punct::OpenBracket) || self.is(Punct::MissingBracket) {
            let term = self.term()?;
            if let Some(first) = terms.first() {
                same_keys(first.by.len(), &term)?;
            }
            stages += usize::try_from(term.runs).unwrap_or(usize::MAX);
            if stages > STAGES_MAX {
                return Err(Diagnostic::error(term.span, format!("more than {STAGES_MAX} stages")));
            }
            terms.push(term);
        }
        if terms.is_empty() {
            let wanted = if shared == 0 { "`by`, `with` or `[`" } else { "`[`" };
            return Err(self.unexpected(wanted));
        }
        Ok(terms)
    }

    fn term(&mut self) -> Result<Term, Diagnostic> {
        let start = self.span();
        let missing = self.eat(Punct::MissingBracket);
        if !missing {
            self.expect(Punct::OpenBracket)?;
        }
        let filter = self.event_filter()?;
        self.expect(Punct::CloseBracket)?;
        let by = self.keys()?;
        let mut runs = 1;
        if self.eat_word("with") {
            self.expect_word("runs")?;
            self.expect(Punct::Assign)?;
            runs = match self.token().tok {
                Tok::Integer(n) if (1..=RUNS_MAX).contains(&n) => u32::try_from(n).unwrap_or(1),
                _ => return Err(self.unexpected(&format!("a number from 1 to {RUNS_MAX}"))),
            };
            self.advance();
        }
        Ok(Term { filter, by, runs, missing, span: start.to(self.last_span()) })
    }

    fn duration(&mut self) -> Result<i64, Diagnostic> {
        let span = self.span();
        let Tok::Integer(count) = self.token().tok else { return Err(self.unexpected("a duration")) };
        self.advance();
        let unit = match self.word() {
            Some("ms") => 1_000_000,
            Some("s") => 1_000_000_000,
            Some("m") => 60_000_000_000,
            Some("h") => 3_600_000_000_000,
            Some("d") => 86_400_000_000_000,
            _ => return Err(self.unexpected("a unit: ms, s, m, h or d")),
        };
        self.advance();
        let span = span.to(self.last_span());
        match count.checked_mul(unit) {
            Some(ns) if ns > 0 => Ok(ns),
            _ => Err(Diagnostic::error(span, "maxspan must be above zero and below 292 years")),
        }
    }
}

fn same_keys(expected: usize, term: &Term) -> Result<(), Diagnostic> {
    if term.by.len() == expected {
        return Ok(());
    }
    Err(Diagnostic::error(term.span, "every event needs the same number of keys")
        .because(format!("the first has {expected}, this one {}", term.by.len())))
}

#[cfg(test)]
mod tests;
