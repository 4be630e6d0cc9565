//! A set of texts: whether a value is one of them takes one probe, and mostly none.

/// Texts, apart from their case if it is ignored.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    /// Sorted; lower case if case is ignored.
    all: Box<[Box<[u8]>]>,
    ignore_case: bool,
    /// Which lengths there are; the last bit stands for all from 63.
    lengths: u64,
    /// Open addressing: positions in `all`, counted from 1.
    slots: Box<[u32]>,
}

impl Texts {
    pub(crate) fn new<'t>(texts: impl Iterator<Item = &'t [u8]>, ignore_case: bool) -> Self {
        let lower = |t: &[u8]| if ignore_case { t.to_ascii_lowercase() } else { t.to_vec() };
        let mut all: Vec<Box<[u8]>> = texts.map(|t| lower(t).into()).collect();
        all.sort_unstable();
        all.dedup();
        let mut slots = vec![0_u32; (all.len() * 2).next_power_of_two()];
        for (number, text) in (1..).zip(&all) {
            let mut at = slot(text, slots.len());
            while slots.get(at).is_some_and(|number| *number != 0) {
                at = (at + 1) % slots.len();
            }
            if let Some(place) = slots.get_mut(at) {
                *place = number;
            }
        }
        let lengths = all.iter().fold(0, |lengths, text| lengths | length_bit(text));
        Self { all: all.into(), ignore_case, lengths, slots: slots.into() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.all.iter().map(AsRef::as_ref)
    }

    pub(crate) fn ignore_case(&self) -> bool {
        self.ignore_case
    }

    pub(crate) fn contain(&self, text: &[u8]) -> bool {
        self.position(text).is_some()
    }

    /// Where the text stands in [`Self::iter`].
    #[inline]
    pub(crate) fn position(&self, text: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(text) == 0 {
            return None;
        }
        let mut at = slot(text, self.slots.len());
        // Half of the slots are empty, so that the walk ends.
        while let Some(number) = self.slots.get(at).filter(|number| **number != 0) {
            let position = *number as usize - 1;
            let known = self.all.get(position).map_or(&[][..], AsRef::as_ref);
            let same = if self.ignore_case { text.eq_ignore_ascii_case(known) } else { text == known };
            if same {
                return Some(position);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}

/// Where to look first. A bit that tells the case of letters is left out of the hash, whether or not case counts.
fn slot(text: &[u8], slots: usize) -> usize {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = text.as_chunks::<8>();
    let mut hash = text.len() as u64;
    for word in words {
        hash = (hash.rotate_left(23) ^ (u64::from_le_bytes(*word) | FOLD)).wrapping_mul(MIX);
    }
    // What is left over, or more: the last bytes again, as many as one read takes.
    let last = match (text.last_chunk::<8>(), rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(last), ..) => u64::from_le_bytes(*last),
        (None, Some(a), Some(b)) => {
            u64::from(u32::from_le_bytes(*a)) | u64::from(u32::from_le_bytes(*b)) << 32
        }
        _ => rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte)),
    };
    hash = (hash.rotate_left(23) ^ (last | FOLD)).wrapping_mul(MIX);
    usize::try_from(hash >> 32).unwrap_or(0) & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_what_it_was_given(
            texts in prop::collection::vec("[aAbB0@`]{0,10}", 0..40), text in "[aAbB0@`]{0,10}", fold in any::<bool>(),
        ) {
            let set = Texts::new(texts.iter().map(String::as_bytes), fold);
            let is_same = |t: &String| if fold { t.eq_ignore_ascii_case(&text) } else { *t == text };
            prop_assert_eq!(set.contain(text.as_bytes()), texts.iter().any(is_same));
            prop_assert!(texts.iter().all(|t| set.contain(t.as_bytes())));
        }
    }
}
