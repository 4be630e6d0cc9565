//! Opening a target without being led elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::OFlags;

use super::rotate::{Output, RotatingFile};
use super::{Place, Target, lock};

/// Events name files and arguments of every user: not for everybody's eyes.
const FILE_MODE: u32 = 0o640;

/// Why a target cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {target}: {why}")]
pub struct OpenError {
    target: String,
    why: String,
    source: Option<io::Error>,
}

impl OpenError {
    fn new(target: &Target, why: impl Into<String>) -> Self {
        Self { target: target.to_string(), why: why.into(), source: None }
    }

    pub(crate) fn thread(target: &Target, cause: io::Error) -> Self {
        Self { source: Some(cause), ..Self::new(target, "cannot start a thread for it") }
    }
}

/// An output that knows nothing of lines or batches.
pub(super) fn open(place: &Place) -> Result<Box<dyn Output>, OpenError> {
    let target = &place.target;
    match target {
        Target::Stdout => {
            let file = io::stdout().as_fd().try_clone_to_owned().map_err(|cause| {
                let why = cause.to_string();
                OpenError::new(target, why)
            })?;
            Ok(Box::new(Stdout(file.into())))
        }
        Target::File(path) => {
            RotatingFile::open(path, place.rotation).map(|file| Box::new(file) as _).map_err(|cause| {
                let why = explain(path, &cause);
                OpenError::new(target, why)
            })
        }
    }
}

/// Standard output without the buffer of the standard library, which would take bytes that it then fails to write.
struct Stdout(File);

impl Output for Stdout {}

/// Events and alerts may both go to standard output: a batch of whole lines is written before the other's.
static STDOUT: Mutex<()> = Mutex::new(());

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _turn = lock(&STDOUT);
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.0.write(rest) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if done > 0 => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn open_file(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK a fifo that nobody reads would hang the start. A symbolic link is never followed: a directory
    // that others may write to must not lead a process with our rights to another file.
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !(kind.is_file() || kind.is_fifo() || kind.is_char_device()) {
        return Err(io::Error::other("not a file, fifo or character device"));
    }
    rustix::fs::fcntl_setfl(&file, rustix::fs::fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    if kind.is_file() {
        end_torn_line(path, &file)?;
    }
    Ok(file)
}

/// A run that was killed may have left half a line; a record appended to it would be lost as well.
fn end_torn_line(path: &Path, mut file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut reader =
        OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    reader.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    reader.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

fn explain(path: &Path, cause: &io::Error) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cause.raw_os_error() == Some(libc::ELOOP) {
        "it is a symbolic link, which is never followed (for standard output use -)".to_owned()
    } else if cause.kind() == io::ErrorKind::NotFound && !parent.is_dir() {
        format!("the directory {} does not exist", parent.display())
    } else if cause.raw_os_error() == Some(libc::ENXIO) {
        "it is a fifo that nobody reads, or a socket".to_owned()
    } else {
        cause.to_string()
    }
}
