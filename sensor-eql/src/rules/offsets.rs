//! Where each byte of a TOML string value stands in the file, so that a query error names the file's own position.

use crate::diag::{OffsetMap, Span};

/// Maps offsets in `value` to offsets in `text`, where `raw` is the value as written, quotes included.
#[must_use]
pub fn map_string(text: &str, raw: Span, value: &str) -> OffsetMap {
    let (start, end) = (raw.start as usize, raw.end as usize);
    let token = text.get(start..end).unwrap_or_default();
    let basic = token.starts_with('"');
    let quotes = if token.starts_with("'''") || token.starts_with("\"\"\"") { 3 } else { 1 };
    let mut at = quotes;
    if quotes == 3 {
        let body = token.get(at..).unwrap_or_default();
        at += if body.starts_with("\r\n") { 2 } else { usize::from(body.starts_with('\n')) };
    }
    let mut walker = Walker { token, at, base: start, decoded: 0, points: Vec::new() };
    for c in value.chars() {
        if basic {
            walker.skip_continuations();
        }
        walker.step(c, basic);
    }
    if value.is_empty() {
        walker.mark();
    }
    OffsetMap::Points(walker.points)
}

struct Walker<'a> {
    token: &'a str,
    at: usize,
    base: usize,
    decoded: usize,
    points: Vec<(u32, u32)>,
}

impl Walker<'_> {
    fn rest(&self) -> &str {
        self.token.get(self.at..).unwrap_or_default()
    }

    /// A backslash at the end of a line swallows the blanks that follow.
    fn skip_continuations(&mut self) {
        loop {
            let rest = self.rest();
            let Some(after) = rest.strip_prefix('\\') else { return };
            let blank = after.trim_start_matches([' ', '\t', '\r']);
            if !blank.starts_with('\n') {
                return;
            }
            self.at += rest.len() - blank.trim_start().len();
        }
    }

    fn step(&mut self, c: char, basic: bool) {
        let rest = self.rest();
        if c == '\n' && rest.starts_with("\r\n") {
            self.at += 1;
        }
        self.mark();
        let rest = self.rest();
        let written = if basic && rest.starts_with('\\') {
            match rest.as_bytes().get(1) {
                Some(b'u') => 6,
                Some(b'U') => 10,
                Some(b'x') => 4,
                _ => 2,
            }
        } else {
            c.len_utf8()
        };
        self.at += written;
        self.decoded += c.len_utf8();
    }

    /// Records a point wherever the distance between the two texts changes.
    fn mark(&mut self) {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (from, to) = (clamp(self.decoded), clamp(self.base + self.at));
        let moved = match self.points.last() {
            Some((f, t)) => to.wrapping_sub(from) != t.wrapping_sub(*f),
            None => true,
        };
        if moved {
            self.points.push((from, to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Diagnostic, SourceFile};

    fn column_of(toml: &str, value: &str, needle: &str) -> (usize, usize) {
        let start = toml.find(['"', '\'']).unwrap();
        let map = map_string(toml, Span::new(start, toml.len()), value);
        let at = value.find(needle).unwrap();
        let source = SourceFile { name: "f", text: toml, map };
        let located = source.locate(&Diagnostic::error(Span::new(at, at + needle.len()), "m"));
        (located.line, located.column)
    }

    #[test]
    fn positions_survive_every_kind_of_string() {
        assert_eq!(column_of("q = '''\na b\nc'''", "a b\nc", "c"), (3, 1));
        assert_eq!(column_of("q = 'a b'", "a b", "b"), (1, 8));
        assert_eq!(column_of(r#"q = "a\"b c""#, "a\"b c", "c"), (1, 11));
        assert_eq!(column_of("q = \"\"\"\na\\\n   b\\u00e9c\"\"\"", "ab\u{e9}c", "c"), (3, 11));
        assert_eq!(column_of("q = '''\r\na\r\nb'''", "a\nb", "b"), (3, 1));
    }
}
