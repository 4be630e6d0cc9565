//! Lists of wildcard patterns, of which one must match: a pattern is tried only if a fixed piece of it is where it
//! must be, and that is found out for all patterns at once.

use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, Input};

use crate::trie::{Id, Trie, Wanted};
use crate::wild::Wildcard;

/// Fewer patterns of a kind are tried one by one.
const SHARED_MIN: usize = 4;
/// A witness shorter than this is in most texts and proves nothing.
const WITNESS_BYTES_MIN: usize = 2;
/// An automaton takes memory by the length of its witnesses; above this, patterns are tried one by one.
const WITNESS_BYTES_MAX: usize = 16 << 10;

/// Patterns of which one must match.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    all: Box<[Wildcard]>,
    /// Tried one by one.
    each: Box<[Id]>,
    /// Tried if their beginning is that of the text.
    heads: Trie,
    /// Tried if their ending is.
    tails: Trie,
    /// Tried if a piece of them is somewhere inside.
    inside: Option<Box<Inside>>,
}

#[derive(Clone, Debug)]
struct Inside {
    witnesses: DFA,
    patterns: Box<[Id]>,
}

impl Patterns {
    pub(crate) fn new(all: Vec<Wildcard>) -> Self {
        let (mut heads, mut tails, mut inside, mut each) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // More patterns than there are ids are tried one by one; nobody writes so many.
        for (id, pattern) in (0..Id::MAX).zip(&all) {
            match (pattern.head(), pattern.tail(), pattern.witness()) {
                ([_, ..], _, _) => heads.push(id),
                (_, [_, ..], _) => tails.push(id),
                (_, _, witness) if witness.len() >= WITNESS_BYTES_MIN => inside.push(id),
                _ => each.push(id),
            }
        }
        for few in [&mut heads, &mut tails, &mut inside] {
            if few.len() < SHARED_MIN {
                each.append(few);
            }
        }
        let text = |id: &Id| all.get(usize::from(*id));
        let (heads, tails) = (
            trie(heads.iter().filter_map(|id| Some((*id, text(id)?.head().to_vec())))),
            trie(tails.iter().filter_map(|id| Some((*id, text(id)?.tail().iter().rev().copied().collect())))),
        );
        let shared = Inside::build(&inside, inside.iter().filter_map(|id| Some(text(id)?.witness())));
        if shared.is_none() {
            each.append(&mut inside);
        }
        each.sort_unstable();
        Self { each: each.into(), heads, tails, inside: shared.map(Box::new), all: all.into() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Wildcard> {
        self.all.iter()
    }

    /// A rough price of [`Self::matches`], to order conjuncts by.
    pub(crate) fn cost(&self) -> u32 {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let tries = [&self.heads, &self.tails].into_iter().filter(|trie| !trie.is_empty()).count();
        4 + count(self.each.len()).saturating_mul(4)
            + 8 * count(tries)
            + if self.inside.is_some() { 60 } else { 0 }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let is_match = |id: Id| self.all.get(usize::from(id)).is_some_and(|p| p.matches(text));
        if self.each.iter().any(|id| is_match(*id)) {
            return true;
        }
        let mut found = false;
        let mut test = |id| found = found || is_match(id);
        self.heads.find(text, &mut test);
        self.tails.find_reversed(text, &mut test);
        found
            || self.inside.as_ref().is_some_and(|inside| inside.any(text, is_match))
            || self.all.get(usize::from(Id::MAX)..).is_some_and(|rest| rest.iter().any(|p| p.matches(text)))
    }
}

fn trie(texts: impl Iterator<Item = (Id, Vec<u8>)>) -> Trie {
    Trie::build(texts.map(|(id, text)| Wanted { text: text.to_ascii_lowercase(), open: true, id }).collect())
}

impl Inside {
    /// `None` if there is nothing to look for, or too much.
    fn build<'t>(patterns: &[Id], witnesses: impl Iterator<Item = &'t [u8]> + Clone) -> Option<Self> {
        let bytes: usize = witnesses.clone().map(<[u8]>::len).sum();
        if patterns.is_empty() || bytes > WITNESS_BYTES_MAX {
            return None;
        }
        let witnesses = DFA::builder().ascii_case_insensitive(true).build(witnesses).ok()?;
        Some(Self { witnesses, patterns: patterns.into() })
    }

    fn any(&self, text: &[u8], is_match: impl Fn(Id) -> bool) -> bool {
        let input = Input::new(text).anchored(Anchored::No);
        let mut state = OverlappingState::start();
        loop {
            // An unanchored search of an automaton built for it cannot fail.
            if self.witnesses.try_find_overlapping(&input, &mut state).is_err() {
                return self.patterns.iter().any(|id| is_match(*id));
            }
            let Some(hit) = state.get_match() else { return false };
            if self.patterns.get(hit.pattern().as_usize()).is_some_and(|id| is_match(*id)) {
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
            patterns in prop::collection::vec("[abAB*?]{1,6}", 1..24),
            text in "[abAB]{0,12}",
            fold in any::<bool>(),
        ) {
            let list = Patterns::new(patterns.iter().map(|p| Wildcard::new(p, fold)).collect());
            let want = patterns.iter().any(|p| matches_slowly(p, text.as_bytes(), fold, true));
            prop_assert_eq!(list.matches(text.as_bytes()), want);
        }
    }
}
