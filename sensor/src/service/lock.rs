//! One sensor for each state directory: two would write one id, one memory and one store.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const LOCK_FILE: &str = "lock";
/// Of the state directory, where there is none.
const DIRECTORY_MODE: u32 = 0o750;

/// Held for as long as the value lives; the kernel takes it from a process that dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why this process may not be the one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// There is another.
    #[error(
        "another sensor is running with the state directory {directory}{holder}; \
         stop it first, or give this one another --state-directory"
    )]
    Held { directory: String, holder: String },
    /// Nobody can be shut out.
    #[error("cannot lock {path}: {source}")]
    Failed { path: String, source: io::Error },
}

/// Makes this process the only sensor of the directory. Nothing is locked, with a warning, where nothing can be written:
/// no sensor keeps anything there.
///
/// # Errors
///
/// When another process is.
pub(crate) fn acquire(state_directory: &Path) -> Result<Option<Lock>, LockError> {
    let path = state_directory.join(LOCK_FILE);
    let file = match open(state_directory, &path) {
        Ok(file) => file,
        Err(cause) => {
            tracing::warn!("{} cannot be written: {cause}; a second sensor is not refused", path.display());
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let directory = state_directory.display().to_string();
            return Err(LockError::Held { directory, holder: holder(file) });
        }
        Err(TryLockError::Error(source)) => return Err(failed(path, source)),
    }
    sign(&file).map_err(|source| failed(path, source))?;
    Ok(Some(Lock { _file: file }))
}

fn failed(path: PathBuf, source: io::Error) -> LockError {
    LockError::Failed { path: path.display().to_string(), source }
}

fn open(directory: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let mut options = File::options();
    options.read(true).write(true).create(true).mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// For a person: whoever holds it is known by the lock alone.
fn sign(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds it, as far as can be told.
fn holder(file: File) -> String {
    let mut text = String::new();
    // Half written or damaged, it names nobody.
    let read = file.take(16).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = sensor_eql::diag::printable(name.trim()).to_string();
            if name.is_empty() { format!(": process {pid}") } else { format!(": process {pid} ({name})") }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = acquire(&state).unwrap();
        assert!(first.is_some());
        let refused = acquire(&state).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.contains(&state.display().to_string()), "{refused}");
        drop(first);
        assert!(acquire(&state).unwrap().is_some());
    }

    #[test]
    fn what_a_dead_sensor_left_does_not_refuse_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "4194305\nand more\n").unwrap();
        assert!(acquire(dir.path()).unwrap().is_some());
        let other = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "untouched").unwrap();
        std::os::unix::fs::symlink(&target, other.path().join(LOCK_FILE)).unwrap();
        assert!(acquire(other.path()).unwrap().is_none());
        assert_eq!(fs::read_to_string(target).unwrap(), "untouched");
    }

    #[test]
    fn a_holder_that_cannot_be_read_is_not_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for text in ["", "no number", "\u{1b}[31m7"] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(File::open(&path).unwrap()), "");
        }
    }
}
