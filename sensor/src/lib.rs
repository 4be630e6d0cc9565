//! The sensor: kernel records to documents, documents to alerts, and the commands around them.
//!
//! `kernel` -> `decode` -> `enrich` -> `pipeline` -> `evidence` -> `alert` -> `sink`, `store`: a module names only what
//! is upstream of it, and `cli` puts them together. `selftest` and
//! `service` stand beside `pipeline`.

pub mod alert;
#[cfg(feature = "bench")]
pub mod bench;
pub mod cli;
pub mod config;
mod confine;
mod decode;
mod enrich;
mod evidence;
mod filter;
mod hash;
mod health;
mod kernel;
mod memory;
mod mountinfo;
mod open;
mod pipeline;
mod remote;
mod selftest;
mod service;
mod shown;
pub mod sink;
mod spool;
mod store;

/// For fuzz targets, which live outside of the workspace.
#[doc(hidden)]
pub use decode::exhaust as decode_exhaustively;
