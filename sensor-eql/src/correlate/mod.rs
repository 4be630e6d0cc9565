//! Queries over several events, as a stream: sequences, samples and pipes with bounded state.
//!
//! Events are expected in order of time. One that comes late takes part by its own time: it may start or end a
//! sequence, but never fills a stage before an event that it precedes.

mod correlator;
mod keyed;
mod keys;
mod sample;
mod sequence;
mod stream;
mod table;

pub use correlator::{Correlator, Match};
pub use stream::Stream;

/// How much state one query may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Combinations of keys.
    pub keys_max: usize,
    /// Sum of the weights of all events held.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys_max: 16_384, bytes_max: 16 << 20 }
    }
}

/// What a query did with its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Combinations of keys held now.
    pub keys: usize,
    /// Weights of the events held now.
    pub bytes: usize,
    /// Keys dropped because a limit was reached; each may have cost a match.
    pub evicted: u64,
    /// Keys dropped because their time was over.
    pub expired: u64,
    /// Events that came after later ones.
    pub late: u64,
    /// Combinations of key values left out because one event had too many.
    pub combinations_cut: u64,
    /// Matches that are complete but for an event that must stay missing a while longer.
    pub waiting: usize,
}

/// Gives the event in hand, to be held. What nothing holds is never made.
type Hold<'h, T> = &'h mut dyn FnMut() -> Held<T>;

/// An event held for a match, with what it counts against the limit.
#[derive(Clone, Debug)]
struct Held<T> {
    event: T,
    weight: usize,
}
