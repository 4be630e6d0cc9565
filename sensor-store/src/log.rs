//! The writer of the log: all of the store that the sensor itself holds. Sealing and merging are another program's work.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::coverage::{self, Gap, Session};
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::wal::{self, Wal};

/// How often the coverage's sign of life is written.
const ALIVE_NS: i64 = 60_000_000_000;

/// When a log is closed, so that it can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of rows, before compression.
    pub close_bytes: u64,
    /// Age.
    pub close_age: Duration,
    /// Bytes of closed logs that nobody seals, at which further events are refused.
    pub waiting_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { close_bytes: 24 << 20, close_age: Duration::from_secs(900), waiting_bytes_max: 1 << 30 }
    }
}

/// Writes the log of a store. There is one at a time; the lock ends with the process.
#[derive(Debug)]
pub struct Log {
    root: PathBuf,
    options: LogOptions,
    wal: Wal,
    since_ns: i64,
    alive_ns: i64,
    _lock: File,
}

/// Takes a lock; `None` if another process has it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = File::create(path).map_err(StoreError::at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(StoreError::new(path, cause)),
    }
}

/// Makes the folders and the manifest of a new store.
pub(crate) fn make(root: &Path) -> Result<Manifest, StoreError> {
    fs::create_dir_all(wal::folder(root)).map_err(StoreError::at(root))?;
    if let Some(manifest) = Manifest::load(root)? {
        return Ok(manifest);
    }
    let mut manifest = Manifest::default();
    manifest.save(root)?;
    Ok(manifest)
}

pub(crate) fn lock_path(root: &Path) -> PathBuf {
    root.join("LOCK")
}

impl Log {
    /// Opens the log of a store, which is made if there is none.
    ///
    /// # Errors
    ///
    /// When another process writes it, the store is of a newer version, or the disk refuses.
    pub fn open(root: &Path, options: LogOptions) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::at(root))?;
        let taken = || StoreError::new(root, "another process writes to this store");
        let lock = lock(&lock_path(root))?.ok_or_else(taken)?;
        let manifest = make(root)?;
        let last = wal::numbers(root)?.last().copied().unwrap_or(0);
        let number = last.max(manifest.wal_from.saturating_sub(1)) + 1;
        let wal = Wal::create(root, number)?;
        Ok(Self { root: root.to_owned(), options, wal, since_ns: 0, alive_ns: 0, _lock: lock })
    }

    /// Notes from when on the sensor watches, over what. A former session ends there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn start_session(&mut self, session: Session) -> Result<(), StoreError> {
        if self.alive_ns > 0 {
            coverage::alive(&self.root, session.first_ns)?;
        }
        self.alive_ns = session.first_ns;
        coverage::start(&self.root, session)
    }

    /// Notes a loss.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn gap(&mut self, gap: Gap) -> Result<(), StoreError> {
        coverage::gap(&self.root, gap)
    }

    /// Appends rows that an [`crate::Encoder`] wrote and makes them durable.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or too much waits to be sealed; the rows can be tried again.
    pub fn commit(&mut self, rows: &[u8], count: u64, now_ns: i64) -> Result<(), StoreError> {
        if now_ns.saturating_sub(self.alive_ns) >= ALIVE_NS && self.alive_ns > 0 {
            self.alive_ns = now_ns;
            coverage::alive(&self.root, now_ns)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        if self.wal.rows == 0 {
            self.since_ns = now_ns;
        }
        self.wal.append(rows, count)?;
        self.wal.sync()
    }

    /// Closes the log and begins another if it is large or old enough. Returns whether closed ones wait to be sealed.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn turn(&mut self, now_ns: i64) -> Result<bool, StoreError> {
        let age = u128::try_from(now_ns.saturating_sub(self.since_ns)).unwrap_or(0);
        let old = age > self.options.close_age.as_nanos();
        if self.wal.raw_bytes >= self.options.close_bytes || (self.wal.rows > 0 && old) {
            let number = self.wal.number + 1;
            self.wal = Wal::create(&self.root, number)?;
        }
        let waiting = self.waiting()?;
        let bytes: u64 = waiting.iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum();
        if bytes > self.options.waiting_bytes_max {
            let cause = format!("{bytes} bytes of closed logs wait to be sealed, and nobody does");
            return Err(StoreError::new(&self.root, cause));
        }
        Ok(!waiting.is_empty())
    }

    fn waiting(&self) -> Result<Vec<PathBuf>, StoreError> {
        let closed = wal::numbers(&self.root)?.into_iter().filter(|number| *number < self.wal.number);
        Ok(closed.map(|number| wal::path(&self.root, number)).collect())
    }

    /// Ends: notes the time. Readers see the log, and the next sealing takes it.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn close(mut self, now_ns: i64) -> Result<(), StoreError> {
        self.wal.sync()?;
        if self.alive_ns > 0 { coverage::alive(&self.root, now_ns) } else { Ok(()) }
    }
}
