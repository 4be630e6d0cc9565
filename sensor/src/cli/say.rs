//! Speaking to a person: standard output and error may be closed, which must not be a panic.

use std::fmt;
use std::io::{self, StdoutLock, Write as _};

use rustix::fs::{FileType, OFlags, fcntl_getfl};

/// Writes a line to stderr. Nobody can be told when that fails.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Standard output, unless it is closed. The runtime opens /dev/null in place of a closed one, for reading and writing,
/// as no shell or service manager does: what is printed there would be lost without a word.
pub(crate) fn stdout() -> io::Result<StdoutLock<'static>> {
    let out = io::stdout().lock();
    if is_closed(&out).unwrap_or(true) {
        return Err(io::Error::other("it is closed"));
    }
    Ok(out)
}

fn is_closed(out: &StdoutLock<'_>) -> io::Result<bool> {
    let status = rustix::fs::fstat(out)?;
    let is_null = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == rustix::fs::stat("/dev/null")?.st_rdev;
    Ok(is_null && fcntl_getfl(out)?.contains(OFlags::RDWR))
}

/// Writes to stdout. A reader that has gone away has seen enough.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout()?;
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
