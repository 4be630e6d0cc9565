//! The event store: what the sensor saw, on disk, in columns.

#![forbid(unsafe_code)]

mod error;
pub mod schema;
mod store;

pub use error::StoreError;
pub use store::{DatasetStat, Stat, Store};
