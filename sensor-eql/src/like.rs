//! Lists of wildcard patterns, of which one must match: one pass over the text instead of one per pattern.

use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, Input};

use crate::wild::Wildcard;

/// From so many patterns on, a common automaton is faster than trying each.
const SHARED_MIN: usize = 4;
/// A witness shorter than this is in most texts and proves nothing.
const WITNESS_BYTES_MIN: usize = 2;

/// An automaton takes memory by the length of its witnesses; above this, patterns are tried one by one.
const WITNESS_BYTES_MAX: usize = 16 << 10;

/// Patterns of which one must match.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    /// Tried one by one.
    each: Box<[Wildcard]>,
    /// Tried only if their witness, a piece of the pattern that must occur, does.
    shared: Option<Box<Shared>>,
    all: Box<[Wildcard]>,
}

#[derive(Clone, Debug)]
struct Shared {
    witnesses: DFA,
    patterns: Box<[Wildcard]>,
}

impl Patterns {
    pub(crate) fn new(all: Vec<Wildcard>) -> Self {
        let floating = |p: &Wildcard| p.head().is_empty() && p.witness().len() >= WITNESS_BYTES_MIN;
        let (shared, mut each): (Vec<Wildcard>, Vec<Wildcard>) = all.iter().cloned().partition(floating);
        let bytes: usize = shared.iter().map(|p| p.witness().len()).sum();
        let automaton = if shared.len() < SHARED_MIN || bytes > WITNESS_BYTES_MAX {
            None
        } else {
            let pieces = shared.iter().map(Wildcard::witness);
            DFA::builder().ascii_case_insensitive(true).build(pieces).ok()
        };
        let shared = match automaton {
            Some(witnesses) => Some(Box::new(Shared { witnesses, patterns: shared.into() })),
            None => {
                each.extend(shared);
                None
            }
        };
        Self { each: each.into(), shared, all: all.into() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Wildcard> {
        self.all.iter()
    }

    /// A rough price of [`Self::matches`], to order conjuncts by.
    pub(crate) fn cost(&self) -> u32 {
        let floating = self.each.iter().filter(|p| p.head().is_empty()).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        4 + count(self.each.len() / 4) + 8 * count(floating) + if self.shared.is_some() { 60 } else { 0 }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.each.iter().any(|p| p.matches(text)) || self.shared.as_ref().is_some_and(|s| s.matches(text))
    }
}

impl Shared {
    fn matches(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::No);
        let mut state = OverlappingState::start();
        loop {
            if self.witnesses.try_find_overlapping(&input, &mut state).is_err() {
                return self.patterns.iter().any(|p| p.matches(text));
            }
            let Some(hit) = state.get_match() else { return false };
            if self.patterns.get(hit.pattern().as_usize()).is_some_and(|p| p.matches(text)) {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wild::matches_slowly;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_matches_as_its_patterns_do(
            patterns in prop::collection::vec("[abAB*?]{1,6}", 1..12),
            text in "[abAB]{0,12}",
            fold in any::<bool>(),
        ) {
            let list = Patterns::new(patterns.iter().map(|p| Wildcard::new(p, fold)).collect());
            let want = patterns.iter().any(|p| matches_slowly(p, text.as_bytes(), fold, true));
            prop_assert_eq!(list.matches(text.as_bytes()), want);
        }
    }
}
