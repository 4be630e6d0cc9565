//! Hashing a file of an unknown size on an unknown disk.
//!
//! By the library that is there for TLS: on a processor without instructions for SHA-256 it takes 33 instructions a byte,
//! where `sha2` takes 53.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Instant;

use ring::digest::{Context, SHA256};

const CHUNK_BYTES: usize = 64 << 10;

/// How far hashing goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A larger file is not hashed.
    pub(crate) bytes: u64,
    pub(crate) deadline: Instant,
}

/// SHA-256 in lower-case hexadecimal, or why there is none. `see` is shown what is read, piece by piece.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn sha256(
    file: &mut File,
    limits: Limits,
    mut see: impl FnMut(&[u8]),
) -> io::Result<Result<String, &'static str>> {
    let mut hash = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        let read = file.read(&mut chunk)?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Ok(hex(hash.finish().as_ref())));
        }
        see(bytes);
        hash.update(bytes);
        total += read as u64;
        if total > limits.bytes {
            return Ok(Err("the file is too large"));
        }
        if Instant::now() >= limits.deadline {
            return Ok(Err("it took too long"));
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};
    use std::time::Duration;

    use super::*;

    fn million() -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'a'; 1_000_000]).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn the_hash_is_of_the_whole_file() {
        let limits = Limits { bytes: 1_000_000, deadline: Instant::now() + Duration::from_secs(60) };
        let mut seen = 0;
        let sha256 = sha256(&mut million(), limits, |bytes| seen += bytes.len()).unwrap();
        assert_eq!(seen, 1_000_000);
        // The example of FIPS 180: a million times "a".
        assert_eq!(sha256.unwrap(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn size_and_time_are_bounded() {
        let later = Instant::now() + Duration::from_secs(60);
        assert!(sha256(&mut million(), Limits { bytes: 999_999, deadline: later }, |_| {}).unwrap().is_err());
        let now = Limits { bytes: 1 << 20, deadline: Instant::now() };
        assert!(sha256(&mut million(), now, |_| {}).unwrap().is_err());
    }
}
