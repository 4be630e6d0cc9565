//! What is in a file: its beginning, its hash.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Bounds;
use crate::hash::{self, hex};
use crate::open::Opened;

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Content {
    /// `text` or `hex`.
    encoding: &'static str,
    data: String,
    /// There is more.
    truncated: bool,
    /// For a person.
    #[serde(skip)]
    first_bytes: Vec<u8>,
}

/// Of what is no text.
const FIRST_BYTES: usize = 32;

impl Content {
    pub(super) fn new(bytes: &[u8], truncated: bool) -> Self {
        // A cut may go through a character.
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) if truncated && error.error_len().is_none() => {
                bytes.get(..error.valid_up_to()).and_then(|whole| std::str::from_utf8(whole).ok())
            }
            Err(_) => None,
        };
        match text.filter(|text| !text.contains('\0')) {
            Some(text) => {
                Self { encoding: "text", data: text.to_owned(), truncated, first_bytes: Vec::new() }
            }
            None => {
                let first_bytes = bytes.iter().take(FIRST_BYTES).copied().collect();
                Self { encoding: "hex", data: hex(bytes), truncated, first_bytes }
            }
        }
    }

    /// Of what is no text.
    pub(super) fn first_bytes(&self) -> &[u8] {
        &self.first_bytes
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        (self.encoding == "text").then_some(&self.data)
    }
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) content: Content,
    /// As far as it was to be looked at.
    pub(super) beginning: Vec<u8>,
    /// Lower-case hexadecimal, or why there is none.
    pub(super) sha256: Result<String, &'static str>,
}

/// Longer than what a time of change is exact to.
const WRITE_STEP: Duration = Duration::from_millis(10);

/// Waits until something is in the file that does not change any more, or until the time is over.
pub(super) fn settle(opened: &mut Opened, until: Instant) {
    while Instant::now() < until {
        thread::sleep(WRITE_STEP);
        let Ok(stat) = rustix::fs::fstat(&opened.file) else { return };
        let state = |stat: &rustix::fs::Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        let is_still = stat.st_size > 0 && state(&stat) == state(&opened.stat);
        opened.stat = stat;
        if is_still {
            return;
        }
    }
}

/// Reads a file's beginning, `looked_at` bytes of it at least, and hashes all of it, as far as time and size allow.
pub(super) fn read(opened: &mut Opened, bounds: Bounds, looked_at: usize) -> std::io::Result<Read> {
    let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
    let (mut beginning, mut seen) = (Vec::new(), 0);
    let kept_max = bounds.content_bytes.max(looked_at);
    let sha256 = hash::sha256(&mut opened.file, bounds.hashing(), |bytes| {
        seen += bytes.len() as u64;
        let room = kept_max.saturating_sub(beginning.len());
        beginning.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    })?;
    let shown = beginning.get(..bounds.content_bytes).unwrap_or(&beginning);
    // A file can grow after its size was looked at.
    let truncated = size.max(seen) > shown.len() as u64;
    Ok(Read { content: Content::new(shown, truncated), beginning, sha256 })
}

/// The hash of a whole file.
pub(super) fn sha256(file: &mut File, bounds: Bounds) -> std::io::Result<Result<String, &'static str>> {
    hash::sha256(file, bounds.hashing(), |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_text() {
        assert_eq!(Content::new(b"DPkg::Pre-Invoke", false).text(), Some("DPkg::Pre-Invoke"));
        assert_eq!(Content::new("caf\u{e9}".as_bytes(), false).text(), Some("caf\u{e9}"));
        // Cut within the last character.
        assert_eq!(Content::new("caf\u{e9}".as_bytes().get(..4).unwrap(), true).text(), Some("caf"));
    }

    /// Between the look at its size and the reading of it.
    #[test]
    fn a_file_that_grows_is_not_called_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hook");
        std::fs::write(&file, "innocent\n").unwrap();
        let held = crate::open::hold(&crate::open::root(directory.path()).unwrap(), b"/hook").unwrap();
        let mut opened = crate::open::held_regular(&held).unwrap();
        std::fs::write(&file, "#\n".repeat(10_000)).unwrap();
        let bounds = Bounds {
            deadline: Instant::now() + Duration::from_secs(60),
            content_bytes: 4096,
            hashed_bytes: 1 << 20,
        };
        let content = read(&mut opened, bounds, 0).unwrap().content;
        assert_eq!((content.data.len(), content.truncated), (4096, true));
    }

    #[test]
    fn anything_else_is_shown_as_numbers() {
        let content = Content::new(b"\x7fELF\0", true);
        assert_eq!((content.encoding, content.data.as_str()), ("hex", "7f454c4600"));
        assert_eq!(Content::new(b"\xff", false).data, "ff");
    }
}
