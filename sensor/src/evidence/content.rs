//! What is in a file: its beginning, its hash.

use std::fs::File;
use std::io::Read as _;
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::open::Opened;

/// Bytes that an alert shows.
pub(super) const SHOWN_BYTES_MAX: usize = 4096;
/// A larger file is not hashed.
pub(super) const HASHED_BYTES_MAX: u64 = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Content {
    /// `text` or `hex`.
    encoding: &'static str,
    data: String,
    /// There is more.
    truncated: bool,
}

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
            Some(text) => Self { encoding: "text", data: text.to_owned(), truncated },
            None => Self { encoding: "hex", data: hex(bytes), truncated },
        }
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
    /// Lower-case hexadecimal, or why there is none.
    pub(super) sha256: Result<String, &'static str>,
}

/// Reads a file's beginning and hashes all of it, as far as time and size allow.
pub(super) fn read(opened: &mut Opened, deadline: Instant) -> std::io::Result<Read> {
    let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
    let (beginning, sha256) = hash(&mut opened.file, deadline)?;
    Ok(Read { content: Content::new(&beginning, size > beginning.len() as u64), sha256 })
}

/// The hash of a whole file.
pub(super) fn sha256(file: &mut File, deadline: Instant) -> std::io::Result<Result<String, &'static str>> {
    Ok(hash(file, deadline)?.1)
}

fn hash(file: &mut File, deadline: Instant) -> std::io::Result<(Vec<u8>, Result<String, &'static str>)> {
    let mut hash = Sha256::new();
    let mut beginning = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        let read = file.read(&mut chunk)?;
        let bytes = chunk.get(..read).unwrap_or_default();
        let room = SHOWN_BYTES_MAX.saturating_sub(beginning.len());
        beginning.extend_from_slice(bytes.get(..room.min(read)).unwrap_or_default());
        if read == 0 {
            return Ok((beginning, Ok(hex(&hash.finalize()))));
        }
        hash.update(bytes);
        total += read as u64;
        if total > HASHED_BYTES_MAX {
            return Ok((beginning, Err("the file is too large")));
        }
        if Instant::now() >= deadline {
            return Ok((beginning, Err("it took too long")));
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
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

    #[test]
    fn anything_else_is_shown_as_numbers() {
        let content = Content::new(b"\x7fELF\0", true);
        assert_eq!((content.encoding, content.data.as_str()), ("hex", "7f454c4600"));
        assert_eq!(Content::new(b"\xff", false).data, "ff");
    }

    #[test]
    fn the_hash_is_of_the_whole_file() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &vec![b'a'; 1_000_000]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let later = Instant::now() + std::time::Duration::from_secs(60);
        let (beginning, sha256) = hash(&mut file, later).unwrap();
        assert_eq!(beginning.len(), SHOWN_BYTES_MAX);
        // The example of FIPS 180: a million times "a".
        assert_eq!(sha256.unwrap(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn time_is_bounded() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &vec![b'a'; 1_000_000]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        assert!(sha256(&mut file, Instant::now()).unwrap().is_err());
    }
}
