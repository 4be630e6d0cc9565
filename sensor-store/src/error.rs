//! Why the store cannot be read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What failed, and where.
#[derive(Debug)]
pub struct StoreError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it, in a person's words.
    pub cause: String,
}

impl StoreError {
    pub(crate) fn new(path: &Path, cause: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), cause: cause.to_string() }
    }

    /// For `map_err`: names the path.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |cause| Self::new(path, cause)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for StoreError {}
