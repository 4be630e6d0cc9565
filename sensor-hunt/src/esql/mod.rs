//! ES|QL over the event store, with Elasticsearch's semantics.
//!
//! ```text
//! text ─▶ lex ─▶ parse ─▶ bind ─▶ plan ─▶ exec (scan on several threads, then the rest) ─▶ outcome
//! ```

mod aggregate;
mod ast;
mod bind;
mod bound;
mod dissect;
mod eval;
mod exec;
mod functions;
mod grok;
mod hll;
mod index;
mod lex;
mod notes;
mod numbered;
mod outcome;
mod parse;
mod replace;
mod texts;
mod value;
mod vector;

pub use outcome::{Cell, Column, Limits, Outcome, Progress, RunError, Scanned, Settings, Type, date_text};
use sensor_eql::Diagnostics;
use sensor_store::Store;

/// Whether a query is refused for what is not there, and not for how it is written.
#[must_use]
pub fn is_unsupported(found: &Diagnostics) -> bool {
    let lacks = |text: &str| {
        text.contains(" is not supported")
            || text.starts_with("Unknown column")
            || text.starts_with("Unknown index")
    };
    found.0.iter().any(|one| lacks(&one.message))
}

/// A query whose names and types were checked.
#[derive(Debug)]
pub struct Query {
    text: String,
    plan: bound::Plan,
}

impl Query {
    /// Parses and binds. A first line `sql`, which some published hunts carry, is skipped.
    ///
    /// # Errors
    ///
    /// Every finding has its place in `text`; show them with `sensor_eql::diag::SourceFile`.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let commands = parse::parse(text)?;
        Ok(Self { text: text.to_owned(), plan: bind::bind(&commands)? })
    }

    /// Names and types of the result.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        self.plan.output.iter().map(|(name, ty, _)| Column { name: name.clone(), ty: *ty }).collect()
    }

    /// Whether it needs a store: `row` makes its rows itself.
    #[must_use]
    pub fn reads_events(&self) -> bool {
        matches!(self.plan.scan, bound::Scan::Store { .. })
    }

    /// Runs over one or several hosts' stores.
    ///
    /// # Errors
    ///
    /// When a store cannot be read, a bound is met, or it was interrupted.
    pub fn run(
        &self,
        stores: &[Store],
        settings: &Settings,
        progress: &Progress,
    ) -> Result<Outcome, RunError> {
        exec::run(&self.plan, &self.text, stores, settings, progress)
    }
}
