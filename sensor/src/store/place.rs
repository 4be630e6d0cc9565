//! The store's log, as long as it is where it was opened: files that somebody has removed can be written to for ever, and
//! nobody will read them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sensor_store::coverage::Session;
use sensor_store::{Log, LogOptions, StoreError};

/// What of a store is there for as long as its log is written.
const FILE: &str = "LOCK";
const LOGS: &str = "wal";

pub(super) struct Place {
    root: PathBuf,
    /// Absent when it could not be begun anew.
    log: Option<Log>,
    /// Device and inode of [`FILE`].
    file: Option<(u64, u64)>,
    session: Session,
}

impl Place {
    pub(super) fn open(root: &Path, session: Session) -> Result<Self, StoreError> {
        let mut place = Self { root: root.to_owned(), log: None, file: None, session };
        place.begin()?;
        Ok(place)
    }

    fn begin(&mut self) -> Result<&mut Log, StoreError> {
        // It holds the lock.
        self.log = None;
        let mut log = Log::open(&self.root, LogOptions::default())?;
        log.start_session(self.session.clone())?;
        self.file = identity(&self.root).ok();
        Ok(self.log.insert(log))
    }

    /// The log.
    ///
    /// # Errors
    ///
    /// When the store was taken away and another cannot be begun.
    pub(super) fn log(&mut self, now_ns: i64) -> Result<&mut Log, StoreError> {
        if let Some(log) = self.log.take() {
            return Ok(self.log.insert(log));
        }
        (self.session.first_ns, self.session.last_ns) = (now_ns, now_ns);
        self.begin()
    }

    /// From now on, that is what is recorded.
    pub(super) fn start_session(&mut self, session: &Session) -> Result<(), StoreError> {
        let Some(log) = &mut self.log else {
            self.session = session.clone();
            return Ok(());
        };
        log.start_session(session.clone())?;
        self.session = session.clone();
        Ok(())
    }

    /// Ends.
    pub(super) fn close(self, now_ns: i64) -> Result<(), StoreError> {
        self.log.map_or(Ok(()), |log| log.close(now_ns))
    }

    /// Lets go of a log that is no longer there; whether it was so.
    pub(super) fn let_go_if_gone(&mut self) -> bool {
        let is_gone = self.log.is_some() && self.is_gone();
        if is_gone {
            self.log = None;
        }
        is_gone
    }

    fn is_gone(&self) -> bool {
        let is_missing =
            |error: io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        // What cannot be looked at for another reason is no proof.
        identity(&self.root).map_or_else(is_missing, |now| Some(now) != self.file)
            || fs::read_dir(self.root.join(LOGS)).map_or_else(is_missing, |mut logs| logs.next().is_none())
    }
}

fn identity(root: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(root.join(FILE))?;
    Ok((metadata.dev(), metadata.ino()))
}
