//! Documents that a destination refuses for good, each with the reason, for a person to look at.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use serde::de::IgnoredAny;
use serde_json::json;

use crate::sink::{Output as _, RotatingFile, Rotation};

/// One file of so many bytes, and the one before it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The file, opened when it is needed.
pub(super) struct DeadLetters {
    path: PathBuf,
    file: Option<RotatingFile>,
}

impl DeadLetters {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Keeps one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn keep(&mut self, reason: &str, document: &[u8]) -> io::Result<()> {
        let mut line = json!({"time": jiff::Timestamp::now().to_string(), "reason": reason}).to_string();
        line.pop();
        // What is no JSON came damaged from somewhere; it is kept as text.
        let text = String::from_utf8_lossy(document);
        match serde_json::from_slice::<IgnoredAny>(document) {
            Ok(_) => line.push_str(&format!(",\"document\":{text}}}\n")),
            Err(_) => line.push_str(&format!(",\"text\":{}}}\n", json!(text))),
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                }
                let rotation = Rotation { bytes_max: Some(FILE_BYTES_MAX), age_max: None, keep: 1 };
                RotatingFile::open(&self.path, rotation)?
            }
        };
        // One that cannot be begun anew goes on growing.
        let _ = file.room(line.len() as u64);
        file.write_all(line.as_bytes())?;
        self.file = Some(file);
        Ok(())
    }
}
