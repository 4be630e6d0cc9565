//! The hot path: one loop from records to matches.
