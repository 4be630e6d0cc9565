//! A store as its readers see it.

use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A store that is read; a writer may be at work on it at the same time.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// By dataset, sorted by name.
    pub datasets: Vec<DatasetStat>,
    /// Events written but not yet sealed.
    pub rows_unsealed: u64,
    /// Bytes of what is not yet sealed.
    pub bytes_unsealed: u64,
    /// Files that could not be read, and why.
    pub damaged: Vec<String>,
}

/// What a store holds of one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetStat {
    /// `endpoint.events.file`
    pub dataset: String,
    /// Sealed files.
    pub files: u64,
    /// Events in them.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
    /// Time of the first event, nanoseconds since 1970.
    pub first_ns: Option<i64>,
    /// Time of the last event.
    pub last_ns: Option<i64>,
}

impl Store {
    /// Opens a store for reading.
    ///
    /// # Errors
    ///
    /// When there is no store at `root`, or one of a newer version.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let folder = std::fs::metadata(root).map_err(StoreError::at(root))?;
        if !folder.is_dir() {
            return Err(StoreError::new(root, "there is no event store here"));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}
