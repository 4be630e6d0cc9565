//! `[evidence]`: how far an alert's questions go.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// An alert waits for its evidence: beyond this it would be late.
const SECONDS_MAX: u32 = 60;
/// What an alert carries, it carries in each of its outputs.
const CONTENT_BYTES_MAX: u32 = 1 << 20;

/// `[evidence]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceSettings {
    /// How long an alert may wait for all of it.
    #[serde(deserialize_with = "seconds")]
    pub seconds: u32,
    /// Bytes of a file's beginning that the alert shows.
    #[serde(deserialize_with = "content_bytes")]
    pub content_bytes: u32,
    /// Larger files are not hashed.
    pub hashed_bytes: u64,
    /// For how long everything is recorded that the process tree of an alert does.
    pub follow_seconds: u32,
}

impl Default for EvidenceSettings {
    fn default() -> Self {
        Self { seconds: 2, content_bytes: 4096, hashed_bytes: 64 << 20, follow_seconds: 600 }
    }
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        seconds @ 1..=SECONDS_MAX => Ok(seconds),
        _ => Err(D::Error::custom(format_args!("from 1 to {SECONDS_MAX} seconds"))),
    }
}

fn content_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        bytes @ 0..=CONTENT_BYTES_MAX => Ok(bytes),
        _ => Err(D::Error::custom(format_args!("at most {CONTENT_BYTES_MAX} bytes"))),
    }
}
