//! A bounded queue on disk between the sensor and a remote output: what was taken survives an outage of hours, `kill -9`
//! and a disk that others fill, and is handed out again until it is said to have arrived.
//!
//! A folder of files of one size, its segments, whose room is taken when the spool is opened. They are filled one after
//! the other and used again once everything in them has arrived. Each record carries its length and a checksum that
//! also covers the segment's number, so that neither half a record nor what a segment held before is ever taken for one.
//! Records are numbered without gaps: what damage took is counted to the record.

mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use segment::{Header, RECORD_OVERHEAD, Segment};

/// The largest segment.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// The smallest: a record must fit.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Segments that a spool has at least, so that one is filled while another is emptied.
const SEGMENTS_MIN: u64 = 4;

/// How long to wait for the lock.
const LOCK_TIME_MAX: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How far everything has arrived.
const POSITION: &str = "position";
const LOCK: &str = "lock";

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpoolTotals {
    /// Taken, and safe.
    pub(crate) taken: u64,
    /// Not taken because the spool was full.
    pub(crate) dropped_full: u64,
    /// Not taken because they were larger than a segment.
    pub(crate) dropped_large: u64,
    /// Taken, but found damaged when they were to be handed out.
    pub(crate) damaged: u64,
}

/// A record and its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The open queue.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    /// Oldest first; the last one is filled.
    live: VecDeque<Segment>,
    free: Vec<PathBuf>,
    segment_bytes: u64,
    segments_max: usize,
    segments_made: u64,
    /// The number that the next record gets, and that of the first one not dealt with.
    next: u64,
    first: u64,
    /// Where the next record to hand out is.
    cursor: Cursor,
    totals: SpoolTotals,
    is_synced: bool,
    /// Kept for its lock.
    _lock: File,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    /// Index among the live segments.
    segment: usize,
    offset: u64,
    number: u64,
}

/// Why a spool cannot be had, or what was found when it was opened.
#[derive(Debug, thiserror::Error)]
#[error("the spool {}: {cause}", folder.display())]
pub(crate) struct SpoolError {
    folder: PathBuf,
    cause: String,
}

impl Spool {
    /// Opens or makes the spool, which takes about `bytes_max` bytes of disk. The second value is what a person should
    /// know: that the disk has no room for all of it.
    ///
    /// # Errors
    ///
    /// When its folder cannot be used, or another sensor has it.
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<(Self, Option<String>), SpoolError> {
        let failed = |cause: String| SpoolError { folder: folder.to_owned(), cause };
        let open = || -> io::Result<Self> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let lock = open_file(&folder.join(LOCK))?;
            take_lock(&lock)?;
            let segment_bytes = (bytes_max / (2 * SEGMENTS_MIN)).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            let mut spool = Self {
                folder: folder.to_owned(),
                live: VecDeque::new(),
                free: Vec::new(),
                segment_bytes,
                segments_max: usize::try_from((bytes_max / segment_bytes).max(SEGMENTS_MIN))
                    .unwrap_or(usize::MAX),
                segments_made: 0,
                next: 0,
                first: 0,
                cursor: Cursor::default(),
                totals: SpoolTotals::default(),
                is_synced: true,
                _lock: lock,
            };
            spool.recover()?;
            Ok(spool)
        };
        let mut spool = open().map_err(|cause| failed(cause.to_string()))?;
        let note = spool.reserve().err().map(|cause| {
            format!(
                "the spool {}: the room for {bytes_max} bytes cannot be taken: {cause}; it holds less while the disk \
                 has none",
                folder.display()
            )
        });
        Ok((spool, note))
    }

    /// Finds out what is there.
    fn recover(&mut self) -> io::Result<()> {
        let mut found: Vec<(Header, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == segment::EXTENSION) {
                match segment::read_header(&path) {
                    Some(header) => found.push((header, path)),
                    None => self.free.push(path),
                }
            }
        }
        found.sort_by_key(|(header, _)| header.number);
        self.first = read_position(&self.folder.join(POSITION)).unwrap_or(0);
        for (header, path) in found {
            self.segments_made = self.segments_made.max(header.number + 1);
            let segment = Segment::open(&path, header)?;
            if segment.next <= self.first {
                self.next = self.next.max(segment.next);
                self.free.push(path);
            } else {
                self.next = segment.next;
                self.live.push_back(segment);
            }
        }
        // The position may be ahead of what a power loss left of the segments.
        self.next = self.next.max(self.first);
        if let Some(oldest) = self.live.front() {
            let lost = oldest.header.first.saturating_sub(self.first);
            self.totals.damaged += lost;
            self.first += lost;
        }
        self.cursor = Cursor { segment: 0, offset: segment::HEADER_BYTES, number: 0 };
        if let Some(oldest) = self.live.front() {
            self.cursor.number = oldest.header.first;
        }
        while self.cursor.number < self.first {
            if self.take_next(true)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes the room on disk before somebody else does.
    fn reserve(&mut self) -> io::Result<()> {
        for path in self.free.iter().filter(|_| self.live.len() + self.free.len() > self.segments_max) {
            // There are too many since the bound was lowered.
            drop(fs::remove_file(path));
        }
        self.free.retain(|path| path.exists());
        let mut number = 0;
        while self.live.len() + self.free.len() < self.segments_max {
            let path = self.folder.join(format!("{number:05}.{}", segment::EXTENSION));
            number += 1;
            if !path.exists() {
                segment::allocate(&path, self.segment_bytes)?;
                self.free.push(path);
            }
        }
        for path in &self.free {
            segment::allocate(path, self.segment_bytes)?;
        }
        // From the end, so that they are used in the order of their names.
        self.free.sort_by(|left, right| right.cmp(left));
        Ok(())
    }

    /// Takes a record; `false` if it does not fit, which is counted.
    ///
    /// # Errors
    ///
    /// When it cannot be written; it is as if nothing had been tried.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let needed = bytes.len() as u64 + RECORD_OVERHEAD;
        if needed + segment::HEADER_BYTES > self.segment_bytes {
            self.totals.dropped_large += 1;
            return Ok(false);
        }
        if self.live.back().is_none_or(|last| last.end + needed > last.bytes_max) && !self.begin_segment()? {
            self.totals.dropped_full += 1;
            return Ok(false);
        }
        let Some(last) = self.live.back_mut() else { return Ok(false) };
        last.append(bytes)?;
        self.next += 1;
        self.totals.taken += 1;
        self.is_synced = false;
        Ok(true)
    }

    fn begin_segment(&mut self) -> io::Result<bool> {
        let Some(path) = self.free.last() else { return Ok(false) };
        if let Some(last) = self.live.back() {
            last.sync()?;
        }
        let header = Header { number: self.segments_made, first: self.next };
        let segment = Segment::begin(path, header, self.segment_bytes)?;
        self.free.pop();
        self.segments_made += 1;
        if self.live.is_empty() {
            self.cursor = Cursor { segment: 0, offset: segment::HEADER_BYTES, number: self.next };
        }
        self.live.push_back(segment);
        Ok(true)
    }

    /// Hands out the next records, at least one if there is any, up to so many and so many bytes.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(crate) fn take(&mut self, count_max: usize, bytes_max: usize) -> io::Result<Vec<Record>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < count_max && bytes < bytes_max {
            let Some(record) = self.take_next(false)? else { break };
            bytes += record.bytes.len();
            records.push(record);
        }
        Ok(records)
    }

    /// The next record. Steps over what is damaged; `skip` when it has been dealt with in a former run.
    fn take_next(&mut self, skip: bool) -> io::Result<Option<Record>> {
        while let Some(segment) = self.live.get(self.cursor.segment) {
            if let Some((bytes, end)) = segment.read(self.cursor.offset)? {
                let record = Record { number: self.cursor.number, bytes };
                self.cursor.offset = end;
                self.cursor.number += 1;
                return Ok(Some(record));
            }
            let next = match self.live.get(self.cursor.segment + 1) {
                Some(following) => Cursor {
                    segment: self.cursor.segment + 1,
                    offset: segment::HEADER_BYTES,
                    number: following.header.first,
                },
                None if self.cursor.offset < segment.end => {
                    Cursor { segment: self.cursor.segment, offset: segment.end, number: segment.next }
                }
                None => return Ok(None),
            };
            if !skip {
                self.totals.damaged += next.number.saturating_sub(self.cursor.number);
                // Nothing is under way that would be said to be done later.
                if self.first == self.cursor.number {
                    self.first = next.number;
                }
            }
            self.cursor = next;
        }
        Ok(None)
    }

    /// Everything up to and with record `number` is dealt with: it is not handed out again, unless the sensor is killed
    /// before that is on disk.
    ///
    /// # Errors
    ///
    /// When it cannot be noted; it is then handed out again after a restart.
    pub(crate) fn done(&mut self, number: u64) -> io::Result<()> {
        let first = (number + 1).min(self.cursor.number);
        self.first = self.first.max(first);
        let noted = self.write_position();
        // A segment is free when the next one has begun and all of it is done; the last one when all is done.
        while self.cursor.segment > 0
            && self.live.get(1).is_some_and(|following| following.header.first <= self.first)
            && let Some(segment) = self.live.pop_front()
        {
            self.cursor.segment -= 1;
            self.free.push(segment.path);
        }
        noted
    }

    fn write_position(&self) -> io::Result<()> {
        let fresh = self.folder.join("position.new");
        let mut bytes = self.first.to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&self.first.to_le_bytes()).to_le_bytes());
        let mut file = open_file(&fresh)?;
        file.set_len(0)?;
        file.write_all(&bytes)?;
        fs::rename(&fresh, self.folder.join(POSITION))
    }

    /// Brings what was taken to the disk: against loss of power.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced
            && let Some(last) = self.live.back()
        {
            last.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Records that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }

    /// Bytes of segments in use, and of all.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let used = self.live.iter().map(|segment| segment.end).sum();
        (used, self.segment_bytes * self.segments_max as u64)
    }

    /// What became of the records in this run.
    pub(crate) fn totals(&self) -> SpoolTotals {
        self.totals
    }
}

/// Waits a moment for a former run to end, or for a program that was just started to let go of what it inherited.
fn take_lock(lock: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_TIME_MAX;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another sensor uses it")),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn read_position(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    let (number, sum) = (bytes.get(..8)?, bytes.get(8..12)?);
    let is_whole = crc32fast::hash(number).to_le_bytes() == sum;
    is_whole.then(|| u64::from_le_bytes(number.try_into().unwrap_or_default()))
}
