//! The event store: what the sensor saw, on disk, in columns.
//!
//! ```text
//! MANIFEST.json                                which files make up the store, replaced as a whole
//! wal/000000000007.wal                         what is not sealed yet
//! dataset=endpoint.events.file/day=2026-01-02/000012.parquet
//! coverage.ndjson                              when the sensor was watching
//! quarantine/                                  files that were damaged
//! LOCK, FILES.LOCK, COVERAGE.LOCK              held by who writes the log, the files, the coverage
//! ```
//!
//! An event goes to the log first; a log that is large or old enough is sealed into files, and small files are merged.
//! The sensor writes the log alone. What needs Parquet, the feature `files`, is another program's work.
//! Readers take the manifest and the logs that it names, so that every event is seen once whatever the writer does.

#![forbid(unsafe_code)]

#[cfg(feature = "files")]
mod bulk;
#[cfg(feature = "files")]
mod checksum;
pub mod coverage;
mod error;
#[cfg(feature = "files")]
mod export;
mod log;
mod manifest;
#[cfg(feature = "files")]
mod merge;
#[cfg(feature = "files")]
mod read;
#[cfg(feature = "files")]
mod retention;
mod row;
pub mod schema;
#[cfg(feature = "files")]
mod segment;
#[cfg(feature = "files")]
mod store;
#[cfg(feature = "files")]
mod table;
#[cfg(feature = "files")]
mod text_chunk;
mod wal;
#[cfg(feature = "files")]
mod writer;

#[cfg(feature = "files")]
pub use bulk::{ImportReport, LineProblem};
pub use error::StoreError;
#[cfg(feature = "files")]
pub use export::export;
pub use log::{Log, LogOptions};
pub use row::{Encoder, ProcessState, Refused};
#[cfg(feature = "files")]
pub use store::{DatasetStat, OpenPart, Part, Stat, Store};
#[cfg(feature = "files")]
pub use writer::{Options, Totals, Writer};
