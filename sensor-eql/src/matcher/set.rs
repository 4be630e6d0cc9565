//! Sets of filters of one segment: of fixed size, so that they live in registers and on the stack.

use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

const WORDS: usize = 8;

/// Most filters of a segment.
pub(super) const FILTERS_MAX: usize = WORDS * 64;

/// Filters by their position in the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; WORDS]);

impl Set {
    #[inline]
    pub(super) fn insert(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word &= !(1 << (position % 64));
        }
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    pub(super) fn len(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are at most `most`, without counting all.
    #[inline]
    pub(super) fn is_at_most(self, most: u32) -> bool {
        let mut count = 0;
        for word in self.0 {
            let mut word = word;
            while word != 0 {
                if count == most {
                    return false;
                }
                count += 1;
                word &= word - 1;
            }
        }
        true
    }

    /// Calls `visit` for each position, in order.
    #[inline]
    pub(super) fn each(self, mut visit: impl FnMut(usize)) {
        for (w, word) in self.0.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                visit(w * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }

    #[inline]
    fn zip(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
        let mut joined = self;
        for (mine, its) in joined.0.iter_mut().zip(other.0) {
            *mine = op(*mine, its);
        }
        joined
    }
}

impl BitAnd for Set {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }
}

impl BitOr for Set {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }
}

impl BitOrAssign for Set {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl Sub for Set {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }
}

impl FromIterator<usize> for Set {
    #[inline]
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::default();
        positions.into_iter().for_each(|position| set.insert(position));
        set
    }
}
