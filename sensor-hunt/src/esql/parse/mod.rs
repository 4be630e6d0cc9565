//! Tokens to commands.

mod expr;

pub(super) use expr::unit;

use sensor_eql::diag::nearest;
use sensor_eql::{Diagnostic, Span};

use super::ast::{Assign, Command, Name, SortKey};
use super::lex::{Lexeme, Token, lex};

/// How deep brackets may nest: what is parsed by recursion must not exhaust the stack.
const DEPTH_MAX: usize = 64;
/// Bytes of a query.
const TEXT_BYTES_MAX: usize = 1 << 20;

const COMMANDS: [&str; 13] = [
    "from",
    "row",
    "where",
    "eval",
    "stats",
    "inline stats",
    "keep",
    "drop",
    "rename",
    "sort",
    "limit",
    "mv_expand",
    "grok",
];

/// Commands of ES|QL that are not run here, so that the error can say so.
const UNSUPPORTED: [&str; 14] = [
    "enrich",
    "lookup",
    "completion",
    "fork",
    "fuse",
    "rerank",
    "sample",
    "change_point",
    "show",
    "ts",
    "join",
    "explain",
    "promql",
    "set",
];

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Lexeme>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Diagnostic>;

/// Parses a whole query.
pub(super) fn parse(text: &str) -> Parsed<Vec<Command>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Diagnostic::error(Span::new(0, 1), "the query is longer than a mebibyte"));
    }
    let skipped = stray_line(text);
    let blanked = " ".repeat(skipped) + text.get(skipped..).unwrap_or_default();
    let tokens = lex(&blanked)?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0 };
    let mut commands = vec![parser.command(true)?];
    while parser.symbol("|") {
        commands.push(parser.command(false)?);
    }
    if !matches!(parser.peek(), Token::End) {
        return Err(parser.unexpected("`|` or the end"));
    }
    Ok(commands)
}

/// Bytes of a first line that says `sql` and nothing else: some published hunts have it inside the query.
fn stray_line(text: &str) -> usize {
    let Some(start) = text.find(|c: char| !c.is_whitespace()) else { return 0 };
    let rest = text.get(start..).unwrap_or_default();
    match rest.split_once('\n') {
        Some((line, _)) if line.trim_end() == "sql" => start + 3,
        _ => 0,
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |lexeme| &lexeme.token)
    }

    fn peek_after(&self, count: usize) -> &Token {
        self.tokens.get(self.at + count).map_or(&Token::End, |lexeme| &lexeme.token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::new(0, 0), |lexeme| lexeme.span)
    }

    fn last_span(&self) -> Span {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or(Span::new(0, 0), |lexeme| lexeme.span)
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(s) if *s == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name { text, quoted: false } if text.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn text_between(&self, span: Span) -> String {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default().to_owned()
    }

    fn unexpected(&self, wanted: &str) -> Diagnostic {
        let found = match self.peek() {
            Token::End => "the query ends here".to_owned(),
            Token::Symbol(symbol) => format!("unexpected `{symbol}`"),
            Token::Name { text, .. } => format!("unexpected `{text}`"),
            _ => format!("unexpected {}", self.text_between(self.span())),
        };
        Diagnostic::error(self.span(), found).because(format!("{wanted} is expected"))
    }

    fn command(&mut self, first: bool) -> Parsed<Command> {
        let span = self.span();
        let Token::Name { text, quoted: false } = self.peek() else {
            return Err(self.unexpected("a command"));
        };
        let word = text.to_ascii_lowercase();
        let known =
            COMMANDS.contains(&word.as_str()) || matches!(&*word, "dissect" | "inline" | "inlinestats");
        if !known {
            if UNSUPPORTED.contains(&word.as_str()) {
                return Err(Diagnostic::error(span, format!("the command `{word}` is not supported")));
            }
            let found = Diagnostic::error(span, format!("there is no command `{word}`"));
            return Err(match nearest(&word, COMMANDS.into_iter().chain(["dissect"])) {
                Some(close) => found.help(format!("did you mean `{close}`?")),
                None => found,
            });
        }
        if first != matches!(&*word, "from" | "row") {
            let cause =
                if first { "a query begins with `from`" } else { "it can only be a query's first command" };
            return Err(Diagnostic::error(span, format!("`{word}` cannot stand here")).because(cause));
        }
        self.at += 1;
        match &*word {
            "from" => self.from(),
            "row" => Ok(Command::Row(self.assigns(false)?)),
            "where" => Ok(Command::Where(self.expression()?)),
            "eval" => Ok(Command::Eval(self.assigns(false)?)),
            "stats" => self.stats(false),
            "inlinestats" => self.stats(true),
            "inline" if self.word("stats") => self.stats(true),
            "inline" => Err(self.unexpected("`stats`")),
            "keep" => Ok(Command::Keep(self.patterns()?)),
            "drop" => Ok(Command::Drop(self.patterns()?)),
            "rename" => self.rename(),
            "sort" => self.sort(),
            "limit" => self.limit(),
            "mv_expand" => Ok(Command::MvExpand(self.name()?)),
            "grok" => self.grok(),
            _ => self.dissect(),
        }
    }

    fn from(&mut self) -> Parsed<Command> {
        let mut sources = Vec::new();
        loop {
            let span = self.span();
            let Token::Source(text) = self.peek() else { return Err(self.unexpected("an index pattern")) };
            sources.push(Name { text: text.clone(), span });
            self.at += 1;
            if !self.symbol(",") {
                break;
            }
        }
        let mut metadata = Vec::new();
        if self.word("metadata") {
            loop {
                metadata.push(self.name()?);
                if !self.symbol(",") {
                    break;
                }
            }
        }
        Ok(Command::From { sources, metadata })
    }

    fn name(&mut self) -> Parsed<Name> {
        let span = self.span();
        let Token::Name { text, .. } = self.peek() else { return Err(self.unexpected("a name")) };
        let name = Name { text: text.clone(), span };
        self.at += 1;
        Ok(name)
    }

    /// `a = x, y, ...`; with `filtered`, each may have a condition.
    fn assigns(&mut self, filtered: bool) -> Parsed<Vec<Assign>> {
        let mut all = Vec::new();
        loop {
            let named =
                matches!(self.peek(), Token::Name { .. }) && matches!(self.peek_after(1), Token::Symbol("="));
            let name = if named { Some(self.name()?) } else { None };
            self.at += usize::from(named);
            let expr = self.expression()?;
            let name = name.unwrap_or_else(|| match &expr.kind {
                super::ast::Kind::Field(text) => Name { text: text.clone(), span: expr.span },
                _ => Name { text: self.text_between(expr.span), span: expr.span },
            });
            let filter = if filtered && self.word("where") { Some(self.expression()?) } else { None };
            all.push(Assign { name, expr, filter });
            if !self.symbol(",") {
                return Ok(all);
            }
        }
    }

    fn stats(&mut self, inline: bool) -> Parsed<Command> {
        let aggregates = if self.is_word("by") { Vec::new() } else { self.assigns(true)? };
        let by = if self.word("by") { self.assigns(false)? } else { Vec::new() };
        Ok(Command::Stats { aggregates, by, inline })
    }

    /// Names with `*`, which touch each other in the text.
    fn patterns(&mut self) -> Parsed<Vec<Name>> {
        let mut all = Vec::new();
        loop {
            let start = self.span();
            let mut pattern = Name { text: String::new(), span: start };
            loop {
                let span = self.span();
                let piece = match self.peek() {
                    Token::Name { text, .. } => text.clone(),
                    Token::Symbol(symbol @ ("*" | "." | "-")) => (*symbol).to_owned(),
                    Token::Long(_) | Token::Double(_) => self.text_between(span),
                    _ => break,
                };
                if !pattern.text.is_empty() && span.start != pattern.span.end {
                    break;
                }
                pattern.text.push_str(&piece);
                pattern.span = pattern.span.to(span);
                self.at += 1;
            }
            if pattern.text.is_empty() {
                return Err(self.unexpected("a name"));
            }
            all.push(pattern);
            if !self.symbol(",") {
                return Ok(all);
            }
        }
    }

    fn rename(&mut self) -> Parsed<Command> {
        let mut all = Vec::new();
        loop {
            let first = self.name()?;
            let pair = if self.word("as") {
                (first, self.name()?)
            } else if self.symbol("=") {
                (self.name()?, first)
            } else {
                return Err(self.unexpected("`as`"));
            };
            all.push(pair);
            if !self.symbol(",") {
                return Ok(Command::Rename(all));
            }
        }
    }

    fn sort(&mut self) -> Parsed<Command> {
        let mut keys = Vec::new();
        loop {
            let expr = self.expression()?;
            let descending = self.word("desc");
            if !descending {
                self.word("asc");
            }
            let nulls_first = if self.word("nulls") {
                if self.word("first") {
                    Some(true)
                } else if self.word("last") {
                    Some(false)
                } else {
                    return Err(self.unexpected("`first` or `last`"));
                }
            } else {
                None
            };
            keys.push(SortKey { expr, descending, nulls_first });
            if !self.symbol(",") {
                return Ok(Command::Sort(keys));
            }
        }
    }

    fn limit(&mut self) -> Parsed<Command> {
        let Token::Long(count) = *self.peek() else { return Err(self.unexpected("a number of rows")) };
        self.at += 1;
        Ok(Command::Limit(count))
    }

    fn text(&mut self) -> Parsed<Name> {
        let span = self.span();
        let Token::Text(text) = self.peek() else { return Err(self.unexpected("a string")) };
        let name = Name { text: text.clone(), span };
        self.at += 1;
        Ok(name)
    }

    fn grok(&mut self) -> Parsed<Command> {
        let input = self.expression()?;
        let mut patterns = vec![self.text()?];
        while self.symbol(",") {
            patterns.push(self.text()?);
        }
        Ok(Command::Grok(input, patterns))
    }

    fn dissect(&mut self) -> Parsed<Command> {
        let input = self.expression()?;
        let pattern = self.text()?;
        let mut separator = String::new();
        if matches!(self.peek(), Token::Name { .. }) {
            let option = self.name()?;
            if !option.text.eq_ignore_ascii_case("append_separator") {
                let found = Diagnostic::error(option.span, format!("there is no option `{}`", option.text));
                return Err(found.help("`append_separator`"));
            }
            self.expect("=")?;
            separator = self.text()?.text;
        }
        Ok(Command::Dissect { input, pattern, separator })
    }
}
