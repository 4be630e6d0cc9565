//! One file of a spool: a header, then records of a length, a checksum and bytes, until one does not check.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::open_file;

/// How segments' names end.
pub(super) const EXTENSION: &str = "spool";
/// Eight bytes of magic, the segment's number, the number of its first record, a checksum.
pub(super) const HEADER_BYTES: u64 = 28;
/// The length and the checksum before a record's bytes.
pub(super) const RECORD_OVERHEAD: u64 = 8;

const MAGIC: [u8; 8] = *b"SNSPOOL1";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The number of its first record.
    pub(super) first: u64,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        let sum =
            crc32fast::hash(&[self.number.to_le_bytes(), self.first.to_le_bytes()].concat()).to_le_bytes();
        let parts = [&MAGIC[..], &self.number.to_le_bytes(), &self.first.to_le_bytes(), &sum].concat();
        bytes.copy_from_slice(&parts);
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Option<Self> {
        let number = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        let first = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
        let header = Self { number, first };
        (header.encode() == *bytes).then_some(header)
    }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    file: File,
    /// Where the next record goes.
    pub(super) end: u64,
    pub(super) bytes_max: u64,
    /// The number that it gets.
    pub(super) next: u64,
}

/// The header, if the file has a sound one.
pub(super) fn read_header(path: &Path) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES as usize];
    open_file(path).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    Header::decode(&bytes)
}

/// Makes the file so large, on disk and not only by its length.
pub(super) fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = open_file(path)?;
    if file.metadata()?.len() > bytes {
        file.set_len(bytes)?;
    }
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // A file system that cannot promise room gives it when it is written to.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

impl Segment {
    /// Opens one that has records, and finds its end.
    pub(super) fn open(path: &Path, header: Header) -> io::Result<Self> {
        let file = open_file(path)?;
        let bytes_max = file.metadata()?.len();
        let mut segment =
            Self { path: path.to_owned(), header, file, end: HEADER_BYTES, bytes_max, next: header.first };
        while let Some((_, end)) = segment.read_unbounded(segment.end)? {
            segment.end = end;
            segment.next += 1;
        }
        Ok(segment)
    }

    /// Begins a new one in a file that is free.
    pub(super) fn begin(path: &Path, header: Header, bytes_max: u64) -> io::Result<Self> {
        let file = open_file(path)?;
        file.write_all_at(&header.encode(), 0)?;
        Ok(Self { path: path.to_owned(), header, file, end: HEADER_BYTES, bytes_max, next: header.first })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(bytes.len() + RECORD_OVERHEAD as usize);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&self.sum(bytes).to_le_bytes());
        record.extend_from_slice(bytes);
        // Half a record that a full disk leaves does not check, and is written over.
        self.file.write_all_at(&record, self.end)?;
        self.end += record.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// The record at `offset` and where the next one begins; `None` at the end.
    pub(super) fn read(&self, offset: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        if offset >= self.end { Ok(None) } else { self.read_unbounded(offset) }
    }

    fn read_unbounded(&self, offset: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut head = [0; RECORD_OVERHEAD as usize];
        if offset + RECORD_OVERHEAD > self.bytes_max || !filled(self.file.read_exact_at(&mut head, offset))? {
            return Ok(None);
        }
        let [l0, l1, l2, l3, s0, s1, s2, s3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let end = offset + RECORD_OVERHEAD + u64::from(length);
        // Room that was never written to is all zeros.
        if length == 0 || end > self.bytes_max {
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        if !filled(self.file.read_exact_at(&mut bytes, offset + RECORD_OVERHEAD))?
            || self.sum(&bytes) != u32::from_le_bytes([s0, s1, s2, s3])
        {
            return Ok(None);
        }
        Ok(Some((bytes, end)))
    }

    /// Of the bytes in this segment: what the file held before it was this one does not check.
    fn sum(&self, bytes: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.header.number.to_le_bytes());
        sum.update(bytes);
        sum.finalize()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Whether so much could be read; a file may end early.
fn filled(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(cause),
    }
}
