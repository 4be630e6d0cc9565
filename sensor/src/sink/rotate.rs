//! A file that is begun anew when it has grown, or aged, enough: `x` becomes `x.1`, which became `x.2`, and so on.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::open::open_file;

/// How long to go on in the same file after it could not be begun anew.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// When a file is begun anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A record that would make the file longer begins the next one.
    pub bytes_max: Option<u64>,
    /// A record that comes so long after the file was begun begins the next one.
    pub age_max: Option<Duration>,
    /// How many former files are kept beside it, at least one.
    pub keep: u32,
}

impl Rotation {
    fn is_wanted(&self) -> bool {
        self.bytes_max.is_some() || self.age_max.is_some()
    }
}

/// What a writer writes records to.
pub(crate) trait Output: Write + Send {
    /// Asked before a record of so many bytes: how many may come, of that record and of others, before it is asked again;
    /// `None` while a failure is waited out.
    ///
    /// # Errors
    ///
    /// When the next file cannot be begun; writing goes on in this one.
    fn room(&mut self, _next_bytes: u64) -> io::Result<Option<u64>> {
        Ok(Some(u64::MAX))
    }
}

impl Output for Box<dyn Output> {
    fn room(&mut self, next_bytes: u64) -> io::Result<Option<u64>> {
        self.as_mut().room(next_bytes)
    }
}

/// A file with its past.
pub(crate) struct RotatingFile {
    file: File,
    path: PathBuf,
    rotation: Rotation,
    bytes: u64,
    begun: SystemTime,
    /// Device and inode of what has a name that can be taken from it: of a file, not of a pipe.
    identity: Option<(u64, u64)>,
    /// After a failure, when to try again.
    retry_at: Option<Instant>,
}

impl RotatingFile {
    pub(crate) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = open_file(path)?;
        let metadata = file.metadata()?;
        let is_wanted = metadata.is_file() && rotation.is_wanted();
        Ok(Self {
            path: path.to_owned(),
            rotation: if is_wanted { rotation } else { Rotation::default() },
            bytes: metadata.len(),
            begun: metadata.created().unwrap_or_else(|_| SystemTime::now()),
            identity: identity(&metadata),
            retry_at: None,
            file,
        })
    }

    fn is_due(&self, next_bytes: u64) -> bool {
        let is_old = |age_max| self.begun.elapsed().is_ok_and(|age| age >= age_max);
        // What is empty is not worth a file.
        self.bytes > 0
            && (self.rotation.bytes_max.is_some_and(|max| self.bytes.saturating_add(next_bytes) > max)
                || self.rotation.age_max.is_some_and(is_old))
    }

    /// Whether its name leads elsewhere by now: what is written to a file that was moved or removed, nobody finds.
    fn is_elsewhere(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok(identity(&there) != self.identity),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(cause) => Err(cause),
        }
    }

    fn begin_next(&mut self) -> io::Result<()> {
        // Somebody may have moved it already: then only the new one is missing.
        if !self.is_elsewhere()? {
            self.shift()?;
        }
        self.file = open_file(&self.path)?;
        let metadata = self.file.metadata()?;
        self.bytes = metadata.len();
        self.identity = identity(&metadata);
        self.begun = SystemTime::now();
        Ok(())
    }

    /// Each former file becomes one older; the last is overwritten.
    fn shift(&self) -> io::Result<()> {
        for number in (1..self.rotation.keep).rev() {
            match fs::rename(self.former(number), self.former(number + 1)) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        fs::rename(&self.path, self.former(1))
    }

    fn former(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn identity(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for RotatingFile {
    fn room(&mut self, next_bytes: u64) -> io::Result<Option<u64>> {
        let is_elsewhere = self.identity.is_some() && self.is_elsewhere().unwrap_or(false);
        if is_elsewhere || self.is_due(next_bytes) {
            if self.retry_at.is_some_and(|at| at > Instant::now()) {
                return Ok(None);
            }
            self.retry_at = None;
            if let Err(cause) = self.begin_next() {
                self.retry_at = Some(Instant::now() + RETRY_TIME);
                return Err(cause);
            }
            if is_elsewhere {
                tracing::warn!("{} was moved or removed; it is begun anew", self.path.display());
            }
        }
        Ok(Some(self.rotation.bytes_max.map_or(u64::MAX, |max| max.saturating_sub(self.bytes))))
    }
}
