//! How many different values there are: exactly up to 3,000, about beyond, in bounded memory.

use std::collections::HashSet;
use std::hash::Hasher;

use super::value::{Val, hash_value};

/// Elasticsearch's default precision threshold.
const EXACT_MAX: usize = 3_000;
const FEW_MAX: usize = 16;
const BITS: u32 = 14;
const REGISTERS: usize = 1 << BITS;

/// A set of values, by their hashes. Two of three thousand values share one with a probability below 10^-12.
#[derive(Clone, Debug)]
pub(super) enum Distinct {
    Few(Vec<u64>),
    Exact(HashSet<u64>),
    About(Box<[u8]>),
}

/// The hash of a single value.
pub(super) fn hash_of(value: &Val<'_>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hash_value(value, &mut hasher);
    hasher.finish()
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distinct {
    /// Adds a hash; returns by how many bytes the set grew.
    pub(super) fn add(&mut self, hash: u64) -> usize {
        match self {
            Self::Few(all) => {
                if all.contains(&hash) {
                    return 0;
                }
                all.push(hash);
                if all.len() > FEW_MAX {
                    *self = Self::Exact(all.iter().copied().collect());
                }
                16
            }
            Self::Exact(all) => {
                if !all.insert(hash) {
                    return 0;
                }
                if all.len() > EXACT_MAX {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    all.iter().for_each(|hash| note(&mut registers, *hash));
                    *self = Self::About(registers);
                }
                16
            }
            Self::About(registers) => {
                note(registers, hash);
                0
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        match other {
            Self::Few(all) => all.into_iter().for_each(|hash| {
                self.add(hash);
            }),
            Self::Exact(all) => all.into_iter().for_each(|hash| {
                self.add(hash);
            }),
            Self::About(theirs) => {
                if let Self::About(ours) = self {
                    ours.iter_mut().zip(theirs).for_each(|(our, their)| *our = (*our).max(their));
                } else {
                    let ours = std::mem::replace(self, Self::About(theirs));
                    self.merge(ours);
                }
            }
        }
    }

    pub(super) fn count(&self) -> i64 {
        match self {
            Self::Few(all) => all.len() as i64,
            Self::Exact(all) => all.len() as i64,
            Self::About(registers) => estimate(registers),
        }
    }
}

fn note(registers: &mut [u8], hash: u64) {
    let rank = (hash << BITS).leading_zeros().min(64 - BITS) as u8 + 1;
    if let Some(register) = registers.get_mut((hash >> (64 - BITS)) as usize) {
        *register = (*register).max(rank);
    }
}

fn estimate(registers: &[u8]) -> i64 {
    let count = registers.len() as f64;
    let sum: f64 = registers.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
    let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
    let zeros = registers.iter().filter(|rank| **rank == 0).count() as f64;
    let linear = raw <= 2.5 * count && zeros > 0.0;
    (if linear { count * (count / zeros).ln() } else { raw }).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: i64) -> i64 {
        let mut set = Distinct::default();
        for round in 0..2 {
            (0..values).for_each(|value| {
                set.add(hash_of(&Val::Long(value)));
            });
            assert!(round == 0 || set.count() > 0 || values == 0);
        }
        set.count()
    }

    #[test]
    fn exact_up_to_three_thousand() {
        for values in [0, 1, 16, 17, 100, 2_999, 3_000] {
            assert_eq!(counted(values), values);
        }
    }

    #[test]
    fn about_beyond() {
        for values in [3_001, 20_000, 60_000, 300_000] {
            let off = (counted(values) - values).abs() as f64 / values as f64;
            assert!(off < 0.03, "{values}: off by {off}");
        }
    }

    #[test]
    fn merging_is_the_union() {
        let (mut left, mut right) = (Distinct::default(), Distinct::default());
        (0..2_000).for_each(|value| {
            left.add(hash_of(&Val::Long(value)));
        });
        (1_000..2_500).for_each(|value| {
            right.add(hash_of(&Val::Long(value)));
        });
        left.merge(right);
        assert_eq!(left.count(), 2_500);
    }
}
