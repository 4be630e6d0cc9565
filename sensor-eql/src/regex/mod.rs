//! Lucene regular expressions on a linear-time engine.
//!
//! Lucene's syntax differs from everyone else's: patterns are anchored, `^` and `$` are letters, `"..."` quotes,
//! `@` is any string, `#` nothing, `<1-20>` a number range. Complement `~` and intersection `&` have no counterpart
//! in a linear-time engine without intersection and are refused with a position rather than misread.

mod syntax;

use memchr::memmem::Finder;
use regex_automata::meta::Regex;
use regex_automata::util::syntax as engine;
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
            all.push_str(&syntax::translate(pattern, insensitive)?);
            all.push(')');
        }
        all.push_str(")\\z");
        let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let refused = |message: &str| RegexError { offset: 0, message: message.to_owned() };
        let hir = engine::parse_with(&all, &engine::Config::new().utf8(false).nest_limit(100))
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
