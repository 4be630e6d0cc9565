//! Lucene regular expressions on a linear-time engine.
//!
//! Lucene's syntax differs from everyone else's: patterns are anchored, `^` and `$` are letters, `"..."` quotes,
//! `@` is any string, `#` nothing, `<1-20>` a number range. Complement `~` and intersection `&` have no counterpart
//! in a linear-time engine without intersection and are refused with a position rather than misread.

use memchr::memmem::Finder;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};

/// Compiled size of one expression; a rule that needs more is refused.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// Several alternatives compiled into one anchored expression.
#[derive(Clone, Debug)]
pub(crate) struct LuceneRegex(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    regex: Regex,
    /// What every match contains. To look for it first is cheaper than to ask the engine.
    required: Box<[Finder<'static>]>,
    ends: Ends,
}

/// How every match begins or ends: with one of a few texts in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Unknown,
    Heads(Vec<Vec<u8>>),
    Tails(Vec<Vec<u8>>),
}

/// Most texts that a match may begin or end with.
const ENDS_MAX: usize = 64;

/// What is wrong with a pattern, and the byte at which it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegexError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl LuceneRegex {
    /// Compiles the alternatives; each must already have passed [`check`].
    pub(crate) fn new<'a>(
        patterns: impl Iterator<Item = &'a str>,
        insensitive: bool,
    ) -> Result<Self, RegexError> {
        let mut all = String::from("\\A(?:");
        for (i, pattern) in patterns.enumerate() {
            if i > 0 {
                all.push('|');
            }
            all.push_str("(?:");
            all.push_str(&translate(pattern, insensitive)?);
            all.push(')');
        }
        all.push_str(")\\z");
        let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let refused = |message: &str| RegexError { offset: 0, message: message.to_owned() };
        let hir = syntax::parse_with(&all, &syntax::Config::new().utf8(false).nest_limit(100))
            .map_err(|_| refused("the engine refuses the expression"))?;
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|error| {
            refused(match error.size_limit() {
                Some(_) => "the expression is too large when compiled",
                None => "the engine refuses the expression",
            })
        })?;
        // The engine builds its caches on first use; do it here, not on the first event.
        regex.is_match(b"");
        let mut texts = Vec::new();
        required(&hir, &mut texts);
        texts.sort_unstable();
        texts.dedup();
        let required = texts.into_iter().map(|text| Finder::new(&text).into_owned()).collect();
        Ok(Self(Box::new(Inner { regex, required, ends: ends(&hir) })))
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.0.required.iter().all(|finder| finder.find(text).is_some())
            && self.0.regex.is_match(Input::new(text).anchored(Anchored::Yes))
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.0.ends
    }
}

/// Texts that each occur in every match.
fn required(hir: &Hir, into: &mut Vec<Vec<u8>>) {
    match hir.kind() {
        HirKind::Literal(literal) => into.push(literal.0.to_vec()),
        HirKind::Concat(parts) => parts.iter().for_each(|part| required(part, into)),
        HirKind::Capture(group) => required(&group.sub, into),
        HirKind::Repetition(repeated) if repeated.min > 0 => required(&repeated.sub, into),
        HirKind::Repetition(_)
        | HirKind::Alternation(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Empty => {}
    }
}

/// The better of how it begins and how it ends.
fn ends(hir: &Hir) -> Ends {
    let texts = |kind: ExtractKind| {
        let found: Seq = Extractor::new().kind(kind).extract(hir);
        let mut texts: Vec<Vec<u8>> =
            found.literals()?.iter().map(|literal| literal.as_bytes().to_ascii_lowercase()).collect();
        texts.sort_unstable();
        texts.dedup();
        let is_useful = !texts.is_empty() && texts.len() <= ENDS_MAX && texts.iter().all(|t| !t.is_empty());
        is_useful.then_some(texts)
    };
    let shortest = |texts: &Vec<Vec<u8>>| texts.iter().map(Vec::len).min().unwrap_or(0);
    match (texts(ExtractKind::Prefix), texts(ExtractKind::Suffix)) {
        // Many values begin with a slash; fewer end alike.
        (Some(heads), Some(tails)) if shortest(&tails) >= shortest(&heads).min(2) => Ends::Tails(tails),
        (Some(heads), _) => Ends::Heads(heads),
        (None, Some(tails)) => Ends::Tails(tails),
        (None, None) => Ends::Unknown,
    }
}

/// Whether one pattern is sound by itself.
pub(crate) fn check(pattern: &str, insensitive: bool) -> Result<(), RegexError> {
    LuceneRegex::new(std::iter::once(pattern), insensitive).map(|_| ())
}

/// Any one character: a code point, or a byte that belongs to none.
const ONE: &str = "(?:(?s:.)|(?-u:[\\x80-\\xFF]))";
const ANY: &str = "(?s-u:.)*";

fn translate(pattern: &str, insensitive: bool) -> Result<String, RegexError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(pattern: &str, text: &str) -> bool {
        LuceneRegex::new(std::iter::once(pattern), false).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn anchored_at_both_ends_without_anchors() {
        assert!(is("ab+", "abb"));
        assert!(!is("ab+", "xabb"));
        assert!(!is("ab+", "abbx"));
        assert!(is("^a$", "^a$"));
        assert!(is("a|bc", "bc"));
        assert!(!is("a|bc", "ac"));
    }

    #[test]
    fn an_operator_with_nothing_before_it_is_a_letter() {
        assert!(is("*.exe", "*xexe") && !is("*.exe", "xexe"));
        assert!(is("a|*b", "*b") && !is("a|*b", "ab"));
        assert!(is("(+c)", "+c") && is("?", "?") && is("{1}", "{1}"));
        assert!(is("**", "***") && !is("**", "x"));
    }

    #[test]
    fn an_operator_on_an_operator_repeats_the_whole() {
        assert!(is("(?:a)", "?:a") && is("a+?", "") && is("a+?", "aaa"));
        assert!(is("a*+b", "aab") && is("x{2}{2}", "xxxx") && !is("x{2}{2}", "xx"));
        assert!(is("\"ab\"+", "abab") && is(".*?c", "c"));
    }

    #[test]
    fn lucene_only_syntax() {
        assert!(is("a@z", "a\n//z"));
        assert!(is("\"a.b\"", "a.b"));
        assert!(!is("\"a.b\"", "axb"));
        assert!(is("<1-20>", "17"));
        assert!(!is("<1-20>", "21"));
        assert!(!is("#", ""));
        assert!(is(r"\w+\s\d{2}", "ab 12"));
        assert!(is(r"[a-z0-9\s_\-\\./]+\s", "a-b\\c. "));
        assert!(is("a.c", "a/c"));
        assert!(is("[^a]b", "\u{e9}b"));
    }

    #[test]
    fn case_folding_is_ascii_and_covers_classes() {
        let re = LuceneRegex::new(["/tmp/[a-f]x", "z"].into_iter(), true).unwrap();
        assert!(re.matches(b"/TMP/Fx") && re.matches(b"Z") && !re.matches(b"/tmp/gx"));
    }

    #[test]
    fn what_a_match_must_show_is_known_before() {
        let ends = |pattern: &str| LuceneRegex::new(std::iter::once(pattern), true).unwrap().ends().clone();
        let texts = |all: &[&str]| all.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(ends("/var/run/[a-z]+"), Ends::Heads(texts(&["/var/run/"])));
        assert_eq!(ends(r"/[a-z./]+\s"), Ends::Tails(texts(&["\t", "\n", "\r", " "])));
        assert_eq!(ends(".*x.*"), Ends::Unknown);
        assert_eq!(ends("a|"), Ends::Unknown);
        let all = LuceneRegex::new([".*[0-9]:[0-9].*", "x"].into_iter(), false).unwrap();
        assert!(all.matches(b"x") && all.matches(b"a1:2") && !all.matches(b"a1-2"));
    }

    proptest! {
        /// What is looked for first is never missing from a match.
        #[test]
        fn nothing_is_lost_by_looking_first(
            patterns in prop::collection::vec("(\\(?[ab.]{1,3}\\)?[*+?|]?){1,3}", 1..3),
            text in "[abAB]{0,6}", fold in any::<bool>(),
        ) {
            let Ok(lucene) = LuceneRegex::new(patterns.iter().map(String::as_str), fold) else { return Ok(()) };
            let is_match = lucene.0.regex.is_match(Input::new(text.as_bytes()).anchored(Anchored::Yes));
            prop_assert_eq!(lucene.matches(text.as_bytes()), is_match);
            let lower = text.to_ascii_lowercase().into_bytes();
            let shown = match lucene.ends() {
                Ends::Unknown => true,
                Ends::Heads(all) => all.iter().any(|head| lower.starts_with(head)),
                Ends::Tails(all) => all.iter().any(|tail| lower.ends_with(tail)),
            };
            prop_assert!(shown || !is_match);
        }
    }

    #[test]
    fn a_broken_byte_does_not_hide_a_match() {
        let re = LuceneRegex::new(std::iter::once(".*evil.x"), false).unwrap();
        assert!(re.matches(b"a\xFFevil\xFEx"));
    }

    #[test]
    fn errors_have_a_position() {
        for (pattern, offset) in
            [("ab(c", 3), ("a)", 1), ("a~b", 1), ("[a", 1), ("a{", 1), ("[z-a]", 3), ("<a>", 2)]
        {
            let error = LuceneRegex::new(std::iter::once(pattern), false).unwrap_err();
            assert_eq!(error.offset, offset, "{pattern}: {}", error.message);
        }
        assert!(check("(a{1000}){1000}", false).is_err());
    }
}
