//! The write-ahead log: frames of rows, each with its checksum.
//!
//! A file begins with eight bytes and a frame of the column names that its rows' numbers stand for. A frame is `u32`
//! length, `u32` CRC-32 of what follows, `u32` length before compression, and rows compressed with LZ4. A frame that
//! is cut off or whose checksum is wrong ends the file: it was being written when the power went.

use std::fs::{self, File, OpenOptions};
#[cfg(feature = "files")]
use std::io::Read;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
#[cfg(feature = "files")]
use crate::read::Reader;
use crate::schema;

const MAGIC: &[u8; 8] = b"SNSRWAL\x01";
/// What a frame may hold: a batch of a second, and one row at least.
#[cfg(feature = "files")]
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    file: File,
    pub(crate) number: u64,
    /// Bytes before compression.
    pub(crate) raw_bytes: u64,
    pub(crate) rows: u64,
    packed: Vec<u8>,
    /// Where the last whole frame ends.
    end: u64,
    unsynced: bool,
}

pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("wal")
}

pub(crate) fn path(root: &Path, number: u64) -> PathBuf {
    folder(root).join(format!("{number:012}.wal"))
}

/// The files that are called logs.
pub(crate) fn names(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let folder = folder(root);
    let entries = fs::read_dir(&folder).map_err(StoreError::at(&folder))?;
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(StoreError::at(&folder))?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            all.push(path);
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The numbers of the logs that are there, in order.
pub(crate) fn numbers(root: &Path) -> Result<Vec<u64>, StoreError> {
    let number = |path: PathBuf| path.file_stem()?.to_str()?.parse().ok();
    let mut all: Vec<u64> = names(root)?.into_iter().filter_map(number).collect();
    all.sort_unstable();
    Ok(all)
}

/// Whether a file does not begin as a log does. One that is gone, or that nothing was written to, is no damaged one.
#[cfg(feature = "files")]
pub(crate) fn is_damaged(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
    read.is_ok_and(|read| read > 0 && head != MAGIC)
}

fn frame(payload: &[u8], packed: &mut Vec<u8>) {
    packed.clear();
    packed.extend_from_slice(&[0; 12]);
    let rest = lz4_flex::block::compress(payload);
    packed.extend_from_slice(&rest);
    let mut set = |at: usize, value: u32| {
        if let Some(place) = packed.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    };
    set(0, rest.len() as u32);
    set(8, payload.len() as u32);
    let sum = crc32fast::hash(packed.get(8..).unwrap_or_default());
    if let Some(place) = packed.get_mut(4..8) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

impl Wal {
    /// Starts a new log.
    pub(crate) fn create(root: &Path, number: u64) -> Result<Self, StoreError> {
        let path = path(root, number);
        let options = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = options.map_err(StoreError::at(&path))?;
        let names: Vec<&str> = schema::columns().iter().map(|column| column.name).collect();
        let mut packed = Vec::new();
        let mut head = MAGIC.to_vec();
        frame(names.join("\n").as_bytes(), &mut packed);
        head.extend_from_slice(&packed);
        file.write_all(&head).and_then(|()| file.sync_all()).map_err(StoreError::at(&path))?;
        sync_folder(&folder(root))?;
        let end = head.len() as u64;
        Ok(Self { path, file, number, raw_bytes: 0, rows: 0, packed, end, unsynced: false })
    }

    /// Appends rows. When that fails the file is cut back to where it was, and the rows can be tried again.
    pub(crate) fn append(&mut self, rows: &[u8], count: u64) -> Result<(), StoreError> {
        frame(rows, &mut self.packed);
        if let Err(cause) = self.file.write_all(&self.packed) {
            use std::io::Seek;
            let cut = self.file.set_len(self.end);
            let back = self.file.seek(std::io::SeekFrom::Start(self.end));
            let cause = match (cut, back) {
                (Ok(()), Ok(_)) => cause.to_string(),
                (Err(second), _) | (_, Err(second)) => {
                    format!("{cause}; and it cannot be cut back: {second}")
                }
            };
            return Err(StoreError::new(&self.path, cause));
        }
        self.end += self.packed.len() as u64;
        self.raw_bytes += rows.len() as u64;
        self.rows += count;
        self.unsynced = true;
        Ok(())
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data().map_err(StoreError::at(&self.path))?;
        }
        Ok(())
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::at(folder))
}

/// What a log holds.
#[cfg(feature = "files")]
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Rows, one after another.
    pub(crate) rows: Vec<u8>,
    /// Which column each number of the rows is.
    pub(crate) columns: Vec<Option<usize>>,
    /// Bytes after the last whole frame.
    pub(crate) torn_bytes: u64,
}

/// Reads a log, up to the first frame that is not whole.
#[cfg(feature = "files")]
pub(crate) fn read(path: &Path) -> Result<Contents, StoreError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(StoreError::at(path))?;
    Ok(parse(&bytes))
}

/// [`read`] of what is in memory.
#[cfg(feature = "files")]
pub(crate) fn parse(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut reader = Reader { bytes, at: 0 };
    let mut whole = 0;
    if reader.take(8) == Some(MAGIC) {
        let names = next_frame(&mut reader)
            .and_then(|frame| lz4_flex::block::decompress(frame.packed, frame.raw_len).ok());
        if let Some(names) = names {
            whole = reader.at;
            let names = String::from_utf8_lossy(&names).into_owned();
            contents.columns = names.split('\n').map(schema::find).collect();
        }
        let mut frames = Vec::new();
        while whole > 0
            && let Some(frame) = next_frame(&mut reader)
        {
            frames.push((frame, reader.at));
        }
        // Fresh memory is zero already, and each frame is unpacked to where its rows stay.
        contents.rows = vec![0; frames.iter().map(|(frame, _)| frame.raw_len).sum()];
        let mut at = 0;
        for (frame, end) in frames {
            let room = contents.rows.get_mut(at..at + frame.raw_len);
            let unpacked = room.and_then(|room| lz4_flex::block::decompress_into(frame.packed, room).ok());
            if unpacked != Some(frame.raw_len) {
                contents.rows.truncate(at);
                break;
            }
            at += frame.raw_len;
            whole = end;
        }
    }
    contents.torn_bytes = (bytes.len() - whole.min(bytes.len())) as u64;
    contents
}

/// A frame whose checksum is right.
#[cfg(feature = "files")]
#[derive(Clone, Copy, Debug)]
struct Frame<'b> {
    packed: &'b [u8],
    raw_len: usize,
}

#[cfg(feature = "files")]
fn next_frame<'b>(reader: &mut Reader<'b>) -> Option<Frame<'b>> {
    let len = reader.u32()? as usize;
    let sum = reader.u32()?;
    let start = reader.at;
    let raw_len = reader.u32()? as usize;
    let packed = reader.take(len)?;
    let summed = reader.bytes.get(start..reader.at)?;
    // A byte of LZ4 stands for 255 at most.
    let possible = raw_len <= FRAME_BYTES_MAX && raw_len / 256 <= packed.len();
    (crc32fast::hash(summed) == sum && possible).then_some(Frame { packed, raw_len })
}
