//! ES|QL text to tokens.

use sensor_eql::{Diagnostic, Span};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, dots included; `quoted` if a part was in backquotes, so that it is no keyword.
    Name { text: String, quoted: bool },
    /// A string, escapes undone.
    Text(String),
    /// A whole number.
    Long(i64),
    /// A number with a point or an exponent, or too large for 64 bits.
    Double(f64),
    /// `==`, `(`, `|`, ...
    Symbol(&'static str),
    /// An index pattern after `from`.
    Source(String),
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) span: Span,
}

const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "=~", "::", "(", ")", "[", "]", "{", "}", ",", "|", "=", "<", ">", "+", "-", "*",
    "/", "%", ".", ":", "?", "!",
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    out: Vec<Lexeme>,
}

/// Splits the text.
pub(super) fn lex(text: &str) -> Result<Vec<Lexeme>, Diagnostic> {
    let mut lexer = Lexer { text, at: 0, out: Vec::new() };
    lexer.run()?;
    Ok(lexer.out)
}

fn name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '@'
}

fn name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn push(&mut self, token: Token, start: usize) {
        self.out.push(Lexeme { token, span: Span::new(start, self.at) });
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), Diagnostic> {
        let mut at_command = true;
        loop {
            self.space()?;
            let start = self.at;
            let Some(c) = self.peek() else {
                self.push(Token::End, start);
                return Ok(());
            };
            if name_start(c) || c == '`' {
                let (text, quoted) = self.name()?;
                let source = at_command && !quoted && text.eq_ignore_ascii_case("from");
                self.push(Token::Name { text, quoted }, start);
                if source {
                    self.sources()?;
                }
            } else if c.is_ascii_digit() || (c == '.' && self.rest().get(1..2).is_some_and(digit)) {
                self.number()?;
            } else if c == '"' {
                let text = self.string()?;
                self.push(Token::Text(text), start);
            } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
                self.at += symbol.len();
                self.push(Token::Symbol(symbol), start);
            } else {
                let span = Span::new(start, start + c.len_utf8());
                return Err(Diagnostic::error(span, format!("unexpected character {c:?}")));
            }
            at_command = matches!(self.out.last().map(|l| &l.token), Some(Token::Symbol("|")));
        }
    }

    fn space(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Comments nest.
    fn comment(&mut self) -> Result<(), Diagnostic> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if self.bump().is_none() {
                return Err(Diagnostic::error(Span::new(start, start + 2), "the comment is never closed"));
            }
        }
    }

    fn name(&mut self) -> Result<(String, bool), Diagnostic> {
        let mut text = String::new();
        let mut quoted = false;
        loop {
            if self.peek() == Some('`') {
                quoted = true;
                let start = self.at;
                self.bump();
                loop {
                    match self.bump() {
                        Some('`') if self.peek() == Some('`') => {
                            self.bump();
                            text.push('`');
                        }
                        Some('`') => break,
                        Some(c) => text.push(c),
                        None => {
                            let span = Span::new(start, start + 1);
                            return Err(Diagnostic::error(span, "the quoted name is never closed"));
                        }
                    }
                }
            } else {
                text.push_str(self.take_while(name_part));
            }
            let mut after = self.rest().chars();
            if after.next() == Some('.') && after.next().is_some_and(|c| name_part(c) || c == '`') {
                self.at += 1;
                text.push('.');
            } else {
                return Ok((text, quoted));
            }
        }
    }

    /// Index patterns up to the next command or `metadata`.
    fn sources(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.space()?;
            let start = self.at;
            match self.peek() {
                None | Some('|') => return Ok(()),
                Some(',') => {
                    self.bump();
                    self.push(Token::Symbol(","), start);
                }
                Some('"') => {
                    let text = self.string()?;
                    self.push(Token::Source(text), start);
                }
                Some(_) => {
                    let word = self.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '|' | '"'));
                    if word.eq_ignore_ascii_case("metadata") {
                        self.push(Token::Name { text: "metadata".to_owned(), quoted: false }, start);
                        return Ok(());
                    }
                    self.push(Token::Source(word.to_owned()), start);
                }
            }
        }
    }

    fn number(&mut self) -> Result<(), Diagnostic> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.peek() == Some('.') {
            whole = false;
            self.bump();
            self.take_while(|c| c.is_ascii_digit());
        }
        let mut after = self.rest().chars();
        if matches!(after.next(), Some('e' | 'E')) {
            let next = after.next();
            let signed = matches!(next, Some('+' | '-'));
            let exponent = if signed { after.next() } else { next };
            if exponent.is_some_and(|c| c.is_ascii_digit()) {
                whole = false;
                self.at += 1 + usize::from(signed);
                self.take_while(|c| c.is_ascii_digit());
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let token = match text.parse::<i64>() {
            Ok(number) if whole => Token::Long(number),
            _ => {
                let wrong = |cause| Diagnostic::error(Span::new(start, self.at), format!("{text} {cause}"));
                let number: f64 = text.parse().map_err(|_| wrong("is not a number"))?;
                if !number.is_finite() {
                    return Err(wrong("is too large for a number"));
                }
                Token::Double(number)
            }
        };
        self.push(token, start);
        Ok(())
    }

    fn string(&mut self) -> Result<String, Diagnostic> {
        let start = self.at;
        let open = |at| Diagnostic::error(Span::new(at, at + 1), "the string is never closed");
        if self.rest().starts_with("\"\"\"") {
            self.at += 3;
            let Some(mut end) = self.rest().find("\"\"\"") else { return Err(open(start)) };
            // Up to two quotes may stand before the closing three.
            while self.rest().get(end + 3..).is_some_and(|rest| rest.starts_with('"')) {
                end += 1;
            }
            let text = self.rest().get(..end).unwrap_or_default().to_owned();
            self.at += end + 3;
            return Ok(text);
        }
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                Some('"') => return Ok(text),
                None | Some('\n' | '\r') => return Err(open(start)),
                Some('\\') => match self.bump() {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('"' | '\\')) => text.push(c),
                    other => {
                        let at = Span::new(self.at - 1 - other.map_or(0, char::len_utf8), self.at);
                        let found = Diagnostic::error(at, "there is no such escape");
                        return Err(found.help(r#"\" \\ \n \r \t, or """...""" where nothing is escaped"#));
                    }
                },
                Some(c) => text.push(c),
            }
        }
    }
}

fn digit(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
