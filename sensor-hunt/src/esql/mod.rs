//! ES|QL over the event store, with Elasticsearch's semantics.

mod outcome;

pub use outcome::{Cell, Column, Limits, Outcome, Progress, RunError, Scanned, Settings, Type, date_text};
use sensor_eql::{Diagnostic, Diagnostics, Span};
use sensor_store::Store;

/// A query whose names and types were checked.
#[derive(Debug)]
pub struct Query {}

impl Query {
    /// Parses and binds. A first line `sql`, which some published hunts carry, is skipped.
    ///
    /// # Errors
    ///
    /// Every finding has its place in `text`; show them with `sensor_eql::diag::SourceFile`.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        Err(Diagnostic::error(Span::new(0, text.len()), "ES|QL cannot be run yet").into())
    }

    /// Runs over one or several hosts' stores.
    ///
    /// # Errors
    ///
    /// When a store cannot be read, a bound is met, or it was interrupted.
    pub fn run(&self, _: &[Store], _: &Settings, _: &Progress) -> Result<Outcome, RunError> {
        Err(Diagnostics::default()).map_err(RunError::Query)
    }
}
