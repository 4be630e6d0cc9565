//! Which of many texts occur somewhere in a value, apart from their case: one pass, however many there are.

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;

/// Texts to look for.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    automaton: DFA,
    start: StateID,
}

impl Inside {
    /// `None` if there is nothing to look for, or too much: the automaton takes memory by the length of its texts.
    pub(crate) fn build<'t>(texts: impl Iterator<Item = &'t [u8]> + Clone, bytes_max: usize) -> Option<Self> {
        let bytes: usize = texts.clone().map(<[u8]>::len).sum();
        if bytes == 0 || bytes > bytes_max {
            return None;
        }
        // Values are short: to skip ahead costs more than it saves.
        let automaton = DFA::builder().ascii_case_insensitive(true).prefilter(false).build(texts).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        Some(Self { automaton, start })
    }

    /// Calls `found` with the number of each text that occurs, once for each place, until it says that it is enough.
    #[inline]
    pub(crate) fn find(&self, value: &[u8], mut found: impl FnMut(usize) -> bool) {
        let mut state = self.start;
        for byte in value {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            if self.automaton.is_special(state) && self.automaton.is_match(state) {
                for i in 0..self.automaton.match_len(state) {
                    if found(self.automaton.match_pattern(state, i).as_usize()) {
                        return;
                    }
                }
            }
        }
    }
}
