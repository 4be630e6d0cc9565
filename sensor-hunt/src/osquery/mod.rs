//! osquery SQL over the live host: SQLite's dialect, with osquery's tables.
//!
//! Columns, types and behaviour are those that osquery documents for Linux. A statement reads and changes nothing, is
//! bounded in time, rows and bytes, and opens only regular files and directories.

mod accounts;
mod cell;
mod context;
mod dbus;
mod functions;
mod glob;
mod host;
mod netlink;
mod run;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod vtab;

pub use cell::{Cell, Row};
pub use context::Options;
pub(crate) use functions::hex;
pub use run::{Answer, Error, run};
pub use table::{Column, Type};

/// The tables there are, by name, with their columns.
pub fn tables() -> impl Iterator<Item = (&'static str, &'static [Column])> {
    tables::ALL.iter().map(|table| (table.name, table.columns))
}
