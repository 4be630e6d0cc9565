//! Wildcard patterns: `*` is any run of characters including `/`, `?` is exactly one. No escape.
//!
//! A character is one UTF-8 code point, or one byte that is not part of one, so that a file name with a broken
//! byte matches as its reader would expect. Each pattern gets the cheapest strategy that is exact for it.

use memchr::memmem;

/// One compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard {
    strategy: Strategy,
    insensitive: bool,
}

#[derive(Clone, Debug)]
enum Strategy {
    /// `*`
    Anything,
    /// No wildcard.
    Exact(Box<[u8]>),
    /// `head*`
    Prefix(Box<[u8]>),
    /// `*tail`
    Suffix(Box<[u8]>),
    /// `*x*`, `a*x*y*b` ...: fixed pieces between runs; head and tail may be empty.
    Pieces { head: Box<[u8]>, middle: Box<[Piece]>, tail: Box<[u8]> },
    /// Anything with `?`.
    General(Box<[u8]>),
}

#[derive(Clone, Debug)]
struct Piece {
    bytes: Box<[u8]>,
    finder: memmem::Finder<'static>,
}

impl Wildcard {
    /// `*` and `?` are wildcards.
    pub(crate) fn new(pattern: &str, insensitive: bool) -> Self {
        Self::build(pattern, insensitive, true)
    }

    /// Only `*` is a wildcard.
    pub(crate) fn star(pattern: &str, insensitive: bool) -> Self {
        Self::build(pattern, insensitive, false)
    }

    fn build(pattern: &str, insensitive: bool, question: bool) -> Self {
        let bytes = if insensitive { pattern.to_ascii_lowercase() } else { pattern.to_owned() }.into_bytes();
        let boxed = |b: &[u8]| b.to_vec().into_boxed_slice();
        let strategy = if question && bytes.contains(&b'?') {
            Strategy::General(boxed(&bytes))
        } else {
            let mut pieces: Vec<&[u8]> = bytes.split(|b| *b == b'*').collect();
            let tail = pieces.pop().unwrap_or_default();
            if pieces.is_empty() {
                Strategy::Exact(boxed(tail))
            } else {
                let head = pieces.remove(0);
                pieces.retain(|p| !p.is_empty());
                match (head.is_empty(), pieces.is_empty(), tail.is_empty()) {
                    (true, true, true) => Strategy::Anything,
                    (false, true, true) => Strategy::Prefix(boxed(head)),
                    (true, true, false) => Strategy::Suffix(boxed(tail)),
                    _ => Strategy::Pieces {
                        head: boxed(head),
                        middle: pieces.into_iter().map(Piece::new).collect(),
                        tail: boxed(tail),
                    },
                }
            }
        };
        Self { strategy, insensitive }
    }

    /// The text itself, if the pattern has no wildcard.
    pub(crate) fn exact(&self) -> Option<&[u8]> {
        match &self.strategy {
            Strategy::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Bytes that every match starts with (lower case if insensitive).
    pub(crate) fn head(&self) -> &[u8] {
        match &self.strategy {
            Strategy::Exact(text) | Strategy::Prefix(text) | Strategy::Pieces { head: text, .. } => text,
            Strategy::General(pattern) => {
                pattern.split(|b| matches!(b, b'*' | b'?')).next().unwrap_or_default()
            }
            Strategy::Anything | Strategy::Suffix(_) => &[],
        }
    }

    /// Bytes that every match ends with (lower case if insensitive).
    pub(crate) fn tail(&self) -> &[u8] {
        match &self.strategy {
            Strategy::Exact(text) | Strategy::Suffix(text) | Strategy::Pieces { tail: text, .. } => text,
            Strategy::General(pattern) => {
                pattern.rsplit(|b| matches!(b, b'*' | b'?')).next().unwrap_or_default()
            }
            Strategy::Anything | Strategy::Prefix(_) => &[],
        }
    }

    /// The plain bytes between wildcards, in order; the first and the last are empty where a wildcard begins or ends
    /// the pattern (lower case if insensitive).
    pub(crate) fn runs(&self) -> Vec<&[u8]> {
        match &self.strategy {
            Strategy::Anything => vec![&[], &[]],
            Strategy::Exact(text) => vec![text],
            Strategy::Prefix(head) => vec![head, &[]],
            Strategy::Suffix(tail) => vec![&[], tail],
            Strategy::Pieces { head, middle, tail } => {
                let middle = middle.iter().map(|piece| piece.bytes.as_ref());
                [head.as_ref()].into_iter().chain(middle).chain([tail.as_ref()]).collect()
            }
            Strategy::General(pattern) => pattern.split(|b| matches!(b, b'*' | b'?')).collect(),
        }
    }

    /// The longest run of plain bytes: every match contains it, apart from case if insensitive.
    pub(crate) fn witness(&self) -> &[u8] {
        match &self.strategy {
            Strategy::Anything => &[],
            Strategy::Exact(text) | Strategy::Prefix(text) | Strategy::Suffix(text) => text,
            Strategy::Pieces { head, middle, tail } => {
                let pieces = middle.iter().map(|p| p.bytes.as_ref()).chain([head.as_ref(), tail.as_ref()]);
                pieces.max_by_key(|p| p.len()).unwrap_or_default()
            }
            Strategy::General(pattern) => {
                pattern.split(|b| matches!(b, b'*' | b'?')).max_by_key(|p| p.len()).unwrap_or_default()
            }
        }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let fold = self.insensitive;
        match &self.strategy {
            Strategy::Anything => true,
            Strategy::Exact(want) => same(text, want, fold),
            Strategy::Prefix(head) => starts(text, head, fold),
            Strategy::Suffix(tail) => ends(text, tail, fold),
            Strategy::Pieces { head, middle, tail } => {
                if !starts(text, head, fold) {
                    return false;
                }
                let mut rest = text.get(head.len()..).unwrap_or_default();
                if !ends(rest, tail, fold) {
                    return false;
                }
                rest = rest.get(..rest.len() - tail.len()).unwrap_or_default();
                // Leftmost is exact: a piece found earlier only leaves more for the pieces after it.
                for piece in middle {
                    let Some(at) = piece.find(rest, fold) else { return false };
                    rest = rest.get(at + piece.bytes.len()..).unwrap_or_default();
                }
                true
            }
            Strategy::General(pattern) => general(pattern, text, fold),
        }
    }
}

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), finder: memmem::Finder::new(bytes).into_owned() }
    }

    fn find(&self, text: &[u8], fold: bool) -> Option<usize> {
        if fold { find_folded(text, &self.bytes) } else { self.finder.find(text) }
    }
}

fn same(text: &[u8], want: &[u8], fold: bool) -> bool {
    if fold { text.eq_ignore_ascii_case(want) } else { text == want }
}

fn starts(text: &[u8], head: &[u8], fold: bool) -> bool {
    text.get(..head.len()).is_some_and(|t| same(t, head, fold))
}

fn ends(text: &[u8], tail: &[u8], fold: bool) -> bool {
    text.len().checked_sub(tail.len()).and_then(|at| text.get(at..)).is_some_and(|t| same(t, tail, fold))
}

/// Where `want` (lower case) first occurs in `text`, ignoring ASCII case.
pub(crate) fn find_folded(text: &[u8], want: &[u8]) -> Option<usize> {
    let Some((first, _)) = want.split_first() else { return Some(0) };
    let last_start = text.len().checked_sub(want.len())?;
    let mut from = 0;
    while from <= last_start {
        let window = text.get(from..=last_start)?;
        let at = from + memchr::memchr2(*first, first.to_ascii_uppercase(), window)?;
        if text.get(at..at + want.len())?.eq_ignore_ascii_case(want) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Length of the character that `text` starts with; `text` is not empty.
pub(crate) fn char_len(text: &[u8]) -> usize {
    let len = match text.first() {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => return 1,
    };
    match text.get(..len) {
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => len,
        _ => 1,
    }
}

/// The two-pointer walk: on a mismatch, the last `*` takes one more character.
fn general(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(rest) = text.get(t..).filter(|r| !r.is_empty()) {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(char_len(rest)),
            Some(want) => {
                let have = rest.first().copied().unwrap_or_default();
                let have = if fold { have.to_ascii_lowercase() } else { have };
                (have == *want).then_some(1)
            }
            None => None,
        };
        match (step, retry) {
            (Some(len), _) => {
                p += 1;
                t += len;
            }
            (None, Some((after_star, from))) => {
                let next = from + char_len(text.get(from..).unwrap_or_default());
                retry = Some((after_star, next));
                p = after_star;
                t = next;
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
}

/// The definition, without any strategy: for the reference evaluator and the tests.
pub(crate) fn matches_slowly(pattern: &str, text: &[u8], insensitive: bool, question: bool) -> bool {
    // reachable[i]: the pattern so far can end at byte i of the text.
    let mut reachable = vec![false; text.len() + 1];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    for c in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        let mut at = 0;
        let mut run = false;
        while at <= text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let here = reachable.get(at).copied().unwrap_or(false);
            let width = if rest.is_empty() { 1 } else { char_len(rest) };
            let mut mark = |i: usize| {
                if let Some(slot) = next.get_mut(i) {
                    *slot = true;
                }
            };
            match c {
                '*' => {
                    run |= here;
                    if run {
                        mark(at);
                    }
                }
                '?' if question && here && !rest.is_empty() => mark(at + width),
                '?' if question => {}
                _ if here => {
                    let mut buffer = [0; 4];
                    let want = c.encode_utf8(&mut buffer).as_bytes();
                    let equal = rest.get(..width).is_some_and(|have| same(have, want, insensitive));
                    if equal {
                        mark(at + width);
                    }
                }
                _ => {}
            }
            at += width;
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(pattern: &str, text: &[u8]) -> bool {
        let fast = Wildcard::new(pattern, false).matches(text);
        assert_eq!(fast, matches_slowly(pattern, text, false, true), "{pattern} on {text:?}");
        fast
    }

    #[test]
    fn stars_cross_slashes_and_match_nothing_too() {
        assert!(is("/etc/*", b"/etc/apt/apt.conf.d/x"));
        assert!(is("/etc/*", b"/etc/"));
        assert!(!is("/etc/*", b"/etc"));
        assert!(is("*.tmp*", b".tmp"));
        assert!(is("a*b*c", b"abbc"));
        assert!(!is("a*ab", b"ab"));
        assert!(is("*", b""));
        assert!(is("", b""));
        assert!(!is("", b"x"));
    }

    #[test]
    fn question_mark_is_one_character_or_one_broken_byte() {
        assert!(is("?", "é".as_bytes()));
        assert!(!is("??", "é".as_bytes()));
        assert!(is("?", b"\xFF"));
        assert!(is("??", b"\xC3\xFF"));
        assert!(is("a?c", "a😀c".as_bytes()));
        assert!(!is("?*?", "é".as_bytes()));
        assert!(!is("?", b""));
        assert!(is("*?", "é".as_bytes()));
    }

    #[test]
    fn a_backslash_is_itself() {
        assert!(is("C:\\*\\x", b"C:\\y\\x"));
        assert!(is("\\*", b"\\star"));
    }

    #[test]
    fn case_folds_for_ascii_only() {
        assert!(Wildcard::new("/TMP/*É", true).matches("/tmp/É".as_bytes()));
        assert!(!Wildcard::new("/TMP/*É", true).matches("/tmp/é".as_bytes()));
        assert!(Wildcard::new("*MID*x?", true).matches(b"a-miD-Xy"));
    }

    proptest! {
        #[test]
        fn every_strategy_agrees_with_the_definition(
            pattern in "[abAB*?é]{0,8}",
            text in proptest::collection::vec(
                prop_oneof![Just(b'a'), Just(b'b'), Just(b'A'), Just(0xC3), Just(0xA9), Just(0xFF)], 0..12),
            fold in any::<bool>(),
        ) {
            let fast = Wildcard::new(&pattern, fold).matches(&text);
            prop_assert_eq!(fast, matches_slowly(&pattern, &text, fold, true));
            let star = Wildcard::star(&pattern, fold).matches(&text);
            prop_assert_eq!(star, matches_slowly(&pattern, &text, fold, false));
        }
    }
}
