//! Lucene's syntax said in that of the engine.

use super::RegexError;

/// Any one character: a code point, or a byte that belongs to none.
const ONE: &str = "(?:(?s:.)|(?-u:[\\x80-\\xFF]))";
const ANY: &str = "(?s-u:.)*";

pub(super) fn translate(pattern: &str, insensitive: bool) -> Result<String, RegexError> {
    let chars: Vec<(usize, char)> = pattern.char_indices().collect();
    let end = pattern.len();
    let mut walker =
        Walker { chars, at: 0, out: String::new(), insensitive, open: Vec::new(), atom: None, end };
    while walker.peek().is_some() {
        walker.piece()?;
    }
    if !walker.open.is_empty() {
        return walker.fail("`(` is never closed");
    }
    Ok(walker.out)
}

struct Walker {
    chars: Vec<(usize, char)>,
    at: usize,
    out: String,
    insensitive: bool,
    /// Where each group that is still open begins in `out`.
    open: Vec<usize>,
    /// Where the last atom begins in `out`; an operator with none before it is a letter.
    atom: Option<usize>,
    end: usize,
}

impl Walker {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).map(|(_, c)| *c)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn fail<T>(&self, message: &str) -> Result<T, RegexError> {
        let offset = self.at.checked_sub(1).and_then(|i| self.chars.get(i)).map_or(self.end, |(o, _)| *o);
        Err(RegexError { offset, message: message.to_owned() })
    }

    fn piece(&mut self) -> Result<(), RegexError> {
        match self.next() {
            Some('(') => {
                self.open.push(self.out.len());
                self.atom = None;
                self.out.push_str("(?:");
            }
            Some(')') => {
                let Some(start) = self.open.pop() else { return self.fail("`)` closes nothing") };
                self.out.push(')');
                self.atom = Some(start);
            }
            Some('|') => {
                self.out.push('|');
                self.atom = None;
            }
            Some(c @ ('*' | '+' | '?' | '{')) if self.atom.is_some() => self.operator(c)?,
            Some(c) => {
                let start = self.out.len();
                self.single(c)?;
                self.atom = Some(start);
            }
            None => {}
        }
        Ok(())
    }

    /// How often the last atom may come, which makes of both an atom: `a+?` is `(a+)?`.
    fn operator(&mut self, operator: char) -> Result<(), RegexError> {
        let start = self.atom.unwrap_or(0);
        if operator == '{' {
            self.repeat()?;
        } else {
            self.out.push(operator);
        }
        if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            self.out.insert_str(start, "(?:");
            self.out.push(')');
        }
        Ok(())
    }

    fn single(&mut self, c: char) -> Result<(), RegexError> {
        match c {
            '.' if self.peek() == Some('*') => {
                self.at += 1;
                self.out.push_str("(?:");
                self.out.push_str(ANY);
                self.out.push(')');
            }
            '.' => self.out.push_str(ONE),
            '@' => self.out.push_str(&format!("(?:{ANY})")),
            '#' => self.out.push_str("[^\\s\\S]"),
            '[' => self.class()?,
            '"' => {
                self.out.push_str("(?:");
                loop {
                    match self.next() {
                        Some('"') => break,
                        Some(c) => self.literal(c),
                        None => return self.fail("`\"` is never closed"),
                    }
                }
                self.out.push(')');
            }
            '<' => self.range()?,
            '~' => return self.fail("complement `~` is not supported; write \\~ for the character"),
            '&' => return self.fail("intersection `&` is not supported; write \\& for the character"),
            '\\' => match self.next() {
                Some(c @ ('d' | 's' | 'w')) => self.out.push_str(&format!("[{}]", shorthand(c))),
                Some(c @ ('D' | 'S' | 'W')) => {
                    self.out.push_str(&format!(
                        "(?:[^{}]|(?-u:[\\x80-\\xFF]))",
                        shorthand(c.to_ascii_lowercase())
                    ));
                }
                Some(c) => self.literal(c),
                None => return self.fail("`\\` at the end"),
            },
            c => self.literal(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        if self.insensitive && c.is_ascii_alphabetic() {
            self.out.push_str(&format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()));
        } else {
            push_escaped(&mut self.out, c);
        }
    }

    fn number(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars.get(start..self.at)?.iter().map(|(_, c)| *c).collect();
        digits.parse().ok()
    }

    fn repeat(&mut self) -> Result<(), RegexError> {
        let Some(low) = self.number() else {
            return self.fail("`{` needs a count; write \\{ for the character");
        };
        let mut text = format!("{{{low}");
        if self.peek() == Some(',') {
            self.at += 1;
            text.push(',');
            if let Some(high) = self.number() {
                text.push_str(&high.to_string());
            }
        }
        if self.next() != Some('}') {
            return self.fail("`{` is never closed");
        }
        self.out.push_str(&text);
        self.out.push('}');
        Ok(())
    }

    fn class(&mut self) -> Result<(), RegexError> {
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut body = String::new();
        let mut first = true;
        loop {
            match self.next() {
                None => return self.fail("`[` is never closed"),
                Some(']') if !first => break,
                Some('\\') if self.peek().is_some_and(|c| "dsw".contains(c)) => {
                    if let Some(c) = self.next() {
                        body.push_str(shorthand(c));
                    }
                }
                Some(c) => {
                    let Some(low) = (if c == '\\' { self.next() } else { Some(c) }) else {
                        return self.fail("`\\` at the end");
                    };
                    let ranged = self.peek() == Some('-')
                        && self.chars.get(self.at + 1).is_some_and(|(_, c)| *c != ']');
                    let mut high = low;
                    if ranged {
                        self.at += 1;
                        let next = self.next();
                        high = (if next == Some('\\') { self.next() } else { next }).unwrap_or(low);
                    }
                    if high < low {
                        return self.fail("range runs backwards");
                    }
                    self.span(&mut body, low, high);
                }
            }
            first = false;
        }
        if negated {
            self.out.push_str(&format!("(?:[^{body}]|(?-u:[\\x80-\\xFF]))"));
        } else {
            self.out.push_str(&format!("[{body}]"));
        }
        Ok(())
    }

    fn span(&self, body: &mut String, low: char, high: char) {
        push_escaped(body, low);
        body.push('-');
        push_escaped(body, high);
        if self.insensitive {
            for c in ('a'..='z').chain('A'..='Z').filter(|c| (low..=high).contains(c)) {
                body.push(if c.is_ascii_lowercase() {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                });
            }
        }
    }

    /// `<1-20>`: the numbers, with leading zeros only if both ends have the same width.
    fn range(&mut self) -> Result<(), RegexError> {
        const SPAN_MAX: u32 = 1000;
        let start = self.at;
        let low = self.number();
        let low_width = self.at - start;
        let dash = self.next() == Some('-');
        let mark = self.at;
        let high = self.number();
        let high_width = self.at - mark;
        let closed = self.next() == Some('>');
        let (Some(low), Some(high), true, true) = (low, high, dash, closed) else {
            return self.fail("`<` starts a number range like <1-20>; write \\< for the character");
        };
        let (low, high) = (low.min(high), low.max(high));
        if high - low > SPAN_MAX {
            return self.fail("number range is wider than 1000");
        }
        let width = if low_width == high_width { low_width } else { 0 };
        let all: Vec<String> = (low..=high).rev().map(|n| format!("{n:0width$}")).collect();
        self.out.push_str(&format!("(?:{})", all.join("|")));
        Ok(())
    }
}

fn shorthand(c: char) -> &'static str {
    match c {
        'd' => "0-9",
        's' => " \\t\\n\\r",
        _ => "a-zA-Z0-9_",
    }
}

fn push_escaped(out: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        out.push('\\');
        out.push(c);
    } else if c.is_ascii_control() || c == ' ' {
        out.push_str(&format!("\\x{:02x}", u32::from(c)));
    } else {
        out.push(c);
    }
}
