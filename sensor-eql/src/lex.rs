//! Tokens of EQL, each with the bytes it came from.

use crate::diag::{Diagnostic, Span};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    /// A word; `tilde` when `~` follows it at once, as in `like~`.
    Word { text: String, tilde: bool },
    /// A field name in backquotes.
    Quoted(String),
    /// A string, already unescaped; raw when it stood in `"""`.
    Text { value: String, raw: bool },
    /// An integer that fits.
    Integer(i64),
    /// Any other number.
    Decimal(f64),
    /// `=`, `==`, `(` ...
    Punct(Punct),
    /// The end of the text.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Punct {
    Assign,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Colon,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Dot,
    Comma,
    Open,
    Close,
    OpenBracket,
    MissingBracket,
    CloseBracket,
    Pipe,
    Question,
}

impl Punct {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Assign => "=",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Colon => ":",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Star => "*",
            Self::Slash => "/",
            Self::Percent => "%",
            Self::Dot => ".",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::OpenBracket => "[",
            Self::MissingBracket => "![",
            Self::CloseBracket => "]",
            Self::Pipe => "|",
            Self::Question => "?",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
}

/// Splits `source`; the last token is always [`Tok::End`].
pub(crate) fn lex(source: &str) -> Result<Vec<Token>, Diagnostic> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let tok = lexer.token()?;
        let end = tok == Tok::End;
        tokens.push(Token { tok, span: Span::new(start, lexer.at) });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn eat_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.eat_while(char::is_whitespace);
            let start = self.at;
            if self.eat("//") {
                self.eat_while(|c| c != '\n');
            } else if self.eat("/*") {
                let mut depth = 1_usize;
                while depth > 0 {
                    if self.eat("/*") {
                        depth += 1;
                    } else if self.eat("*/") {
                        depth -= 1;
                    } else if self.bump().is_none() {
                        return Err(Diagnostic::error(
                            Span::new(start, start + 2),
                            "comment is never closed",
                        )
                        .because("`/*` without a matching `*/`; comments nest"));
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Tok, Diagnostic> {
        let Some(c) = self.peek() else { return Ok(Tok::End) };
        match c {
            'a'..='z' | 'A'..='Z' | '_' | '@' => {
                let text = self.eat_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@').to_owned();
                let tilde = self.eat("~");
                Ok(Tok::Word { text, tilde })
            }
            '0'..='9' => self.number(),
            '.' if self.rest().get(1..2).is_some_and(|d| d.as_bytes().iter().all(u8::is_ascii_digit)) => {
                self.number()
            }
            '"' => self.string(),
            '`' => self.backquoted(),
            '\'' => Err(self.single_quoted()),
            _ => self.punct(c),
        }
    }

    fn punct(&mut self, c: char) -> Result<Tok, Diagnostic> {
        const TABLE: [Punct; 22] = [
            Punct::Eq,
            Punct::Ne,
            Punct::Le,
            Punct::Ge,
            Punct::MissingBracket,
            Punct::Assign,
            Punct::Lt,
            Punct::Gt,
            Punct::Colon,
            Punct::Plus,
            Punct::Minus,
            Punct::Star,
            Punct::Slash,
            Punct::Percent,
            Punct::Dot,
            Punct::Comma,
            Punct::Open,
            Punct::Close,
            Punct::OpenBracket,
            Punct::CloseBracket,
            Punct::Pipe,
            Punct::Question,
        ];
        if let Some(p) = TABLE.into_iter().find(|p| self.rest().starts_with(p.text())) {
            self.at += p.text().len();
            return Ok(Tok::Punct(p));
        }
        let error =
            Diagnostic::error(Span::new(self.at, self.at + c.len_utf8()), format!("unexpected `{c}`"));
        Err(match c {
            '!' => error.help("write `not`, or `!=` to compare"),
            '&' => error.help("write `and`"),
            '~' => error.help("`~` follows an operator or a function name: `like~`, `in~`, `endsWith~`"),
            _ => error,
        })
    }

    fn number(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        let digit = |c: char| c.is_ascii_digit();
        self.eat_while(digit);
        let mut decimal = false;
        let next_is_digit = |s: &str| s.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if self.rest().starts_with('.') && next_is_digit(self.rest()) {
            decimal = true;
            self.bump();
            self.eat_while(digit);
        }
        if self.rest().starts_with(['e', 'E']) {
            let mark = self.at;
            self.bump();
            if self.rest().starts_with(['+', '-']) {
                self.bump();
            }
            if self.eat_while(digit).is_empty() {
                self.at = mark;
            } else {
                decimal = true;
            }
        }
        let text = self.source.get(start..self.at).unwrap_or_default();
        if !decimal && let Ok(n) = text.parse() {
            return Ok(Tok::Integer(n));
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Tok::Decimal(n)),
            _ => Err(Diagnostic::error(Span::new(start, self.at), "number is out of range")),
        }
    }

    fn backquoted(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        self.bump();
        let mut name = String::new();
        loop {
            name.push_str(self.eat_while(|c| c != '`' && c != '\n'));
            if self.eat("``") {
                name.push('`');
            } else if self.eat("`") {
                return Ok(Tok::Quoted(name));
            } else {
                return Err(Diagnostic::error(
                    Span::new(start, start + 1),
                    "quoted field name is never closed",
                )
                .because("the closing backquote is missing"));
            }
        }
    }

    fn single_quoted(&self) -> Diagnostic {
        let rest = self.rest();
        let body = rest.get(1..).unwrap_or_default();
        let close = body.find('\'').filter(|i| !body.get(..*i).unwrap_or_default().contains('\n'));
        let len = close.map_or(1, |i| i + 2);
        let error = Diagnostic::error(Span::new(self.at, self.at + len), "strings stand in double quotes")
            .because("single quotes are not EQL");
        match close.and_then(|i| body.get(..i)) {
            Some(inner) => error.help(format!("write \"{}\"", inner.replace('"', "\\\""))),
            None => error,
        }
    }

    fn string(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        let open = |quotes: usize, close: &str| {
            Diagnostic::error(Span::new(start, start + quotes), "string is never closed")
                .because(format!("{close} is missing on this line"))
        };
        if self.eat("\"\"\"") {
            let unclosed = || open(3, "the closing `\"\"\"`");
            let rest = self.rest();
            let len = rest.find("\"\"\"").ok_or_else(unclosed)?;
            // A raw string may itself end in quotes: the delimiter is the last three of the run.
            let run = rest.get(len..).unwrap_or_default().bytes().take_while(|b| *b == b'"').count();
            let len = len + run.min(5) - 3;
            let value = rest.get(..len).unwrap_or_default();
            if value.contains('\n') {
                return Err(unclosed());
            }
            self.at += len + 3;
            return Ok(Tok::Text { value: value.to_owned(), raw: true });
        }
        self.bump();
        let mut value = String::new();
        loop {
            value.push_str(self.eat_while(|c| !matches!(c, '"' | '\\' | '\n')));
            match self.peek() {
                Some('"') => {
                    self.bump();
                    return Ok(Tok::Text { value, raw: false });
                }
                Some('\\') => value.push(self.escape()?),
                _ => return Err(open(1, "the closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Diagnostic> {
        let start = self.at;
        self.bump();
        let c = self.bump();
        Ok(match c {
            Some('b') => '\u{8}',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('f') => '\u{c}',
            Some('r') => '\r',
            Some(c @ ('"' | '\'' | '\\')) => c,
            Some('u') if self.eat("{") => {
                let hex = self.eat_while(|c| c.is_ascii_hexdigit());
                let closed = self.eat("}");
                let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
                match code {
                    Some(c) if closed && (2..=8).contains(&hex.len()) => c,
                    _ => {
                        return Err(Diagnostic::error(Span::new(start, self.at), "not a Unicode character")
                            .because("`\\u{..}` takes 2 to 8 hexadecimal digits of a character"));
                    }
                }
            }
            _ => {
                return Err(Diagnostic::error(Span::new(start, self.at), "unknown escape in string")
                    .because("the escapes are \\b \\t \\n \\f \\r \\\" \\' \\\\ \\u{..}")
                    .help("write `\\\\` for a backslash, or a raw string \"\"\"..\"\"\""));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Tok> {
        lex(source).unwrap().into_iter().map(|t| t.tok).collect()
    }

    fn text(value: &str, raw: bool) -> Tok {
        Tok::Text { value: value.to_owned(), raw }
    }

    #[test]
    fn strings_and_their_escapes() {
        assert_eq!(kinds(r#""a\"b\\\t\u{41}\u{1F600}""#)[0], text("a\"b\\\tA\u{1F600}", false));
        assert_eq!(kinds(r#""""raw \d "q" """"#)[0], text(r#"raw \d "q" "#, true));
        assert_eq!(kinds(r#""""ends in quote"""""#)[0], text("ends in quote\"", true));
        assert_eq!(kinds(r#""""""""#)[0], text("", true));
    }

    #[test]
    fn single_quotes_are_an_error_with_the_fix() {
        let e = lex("process where a == 'b c'").unwrap_err();
        assert_eq!(e.span, Span::new(19, 24));
        assert_eq!(e.help.as_deref(), Some("write \"b c\""));
    }

    #[test]
    fn comments_nest_and_end() {
        assert_eq!(kinds("a /* b /* c */ d */ // e\n f").len(), 3);
        assert!(lex("a /* /* */").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(
            kinds("1 2.5 .5 1e3 99999999999999999999")[..5],
            [Tok::Integer(1), Tok::Decimal(2.5), Tok::Decimal(0.5), Tok::Decimal(1000.0), Tok::Decimal(1e20)]
        );
    }

    #[test]
    fn unclosed_strings_and_bad_escapes_are_errors() {
        for bad in ["\"a", "\"a\nb\"", r#""\x""#, r#""\u{110000}""#, r#""\u{4}""#, "`a", "\"\"\"a"] {
            assert!(lex(bad).is_err(), "{bad}");
        }
    }
}
