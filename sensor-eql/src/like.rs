//! Lists of wildcard patterns, of which one must match: a pattern is tried only if a fixed piece of it is where it
//! must be, and that is found out for all patterns at once.

use crate::inside::Inside;
use crate::trie::{Id, Trie};
use crate::wild::Wildcard;

/// Fewer patterns of a kind are tried one by one.
const SHARED_MIN: usize = 4;
/// A witness shorter than this is in most texts and proves nothing.
const WITNESS_BYTES_MIN: usize = 2;
/// Bytes of the witnesses of one list; above this, patterns are tried one by one.
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
    witnesses: Option<Box<Inside>>,
    /// The pattern of each witness.
    witnessed: Box<[Id]>,
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
        let wanted = |ids: &[Id], piece: fn(&Wildcard) -> &[u8]| {
            let texts = ids.iter().filter_map(|id| Some((piece(text(id)?).to_ascii_lowercase(), *id)));
            texts.collect::<Vec<_>>()
        };
        let heads = Trie::heads(wanted(&heads, Wildcard::head));
        let tails = Trie::tails(wanted(&tails, Wildcard::tail));
        let witnesses =
            Inside::build(inside.iter().filter_map(|id| Some(text(id)?.witness())), WITNESS_BYTES_MAX);
        if witnesses.is_none() {
            each.append(&mut inside);
        }
        each.sort_unstable();
        Self {
            each: each.into(),
            heads,
            tails,
            witnesses: witnesses.map(Box::new),
            witnessed: inside.into(),
            all: all.into(),
        }
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
            + if self.witnesses.is_some() { 60 } else { 0 }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let is_match = |id: Id| self.all.get(usize::from(id)).is_some_and(|p| p.matches(text));
        if self.each.iter().any(|id| is_match(*id)) {
            return true;
        }
        let mut found = false;
        let mut test = |id| found = found || is_match(id);
        self.heads.find(text, &mut test);
        self.tails.find(text, &mut test);
        if let Some(witnesses) = self.witnesses.as_ref().filter(|_| !found) {
            witnesses.find(text, |witness| {
                found = self.witnessed.get(witness).is_some_and(|id| is_match(*id));
                found
            });
        }
        found || self.all.get(usize::from(Id::MAX)..).is_some_and(|rest| rest.iter().any(|p| p.matches(text)))
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
