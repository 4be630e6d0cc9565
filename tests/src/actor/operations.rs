//! Every way to make, move and remove a name, one after the other in one directory. Says of each whether the file
//! system could do it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags};

use super::raw::{self, Request, Ring};

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// An error by which a file system or kernel says that it has no such thing.
fn is_unsupported(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::EOPNOTSUPP, libc::EPERM, libc::ENOSYS];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Only these may be missing: no `RENAME_WHITEOUT` on overlayfs, no `O_TMPFILE` on an old one.
const OPTIONAL: [&str; 2] = ["whiteout", "tmpfile"];

fn say(name: &str, done: io::Result<()>) -> Result<()> {
    match done {
        Ok(()) => println!("{name} done"),
        Err(error) if OPTIONAL.contains(&name) && is_unsupported(&error) => println!("{name} unsupported"),
        Err(error) => return Err(error).with_context(|| format!("cannot do {name}")),
    }
    Ok(())
}

fn node(path: &Path, kind: FileType, device: u64) -> io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, kind, Mode::from(0o644), device)?)
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

fn tmpfile(dir: &Path, path: &Path) -> io::Result<()> {
    let file = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, Mode::from(0o644))?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, name, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// By system calls.
pub(super) fn by_calls(dir: &OsStr) -> Result<()> {
    let at = |name: &str| Path::new(dir).join(name);
    let create = OFlags::CREATE | OFlags::WRONLY;
    say("open", raw::open(&c_string(&at("open"))?))?;
    say("creat", raw::creat(&c_string(&at("creat"))?))?;
    say("openat", rustix::fs::open(at("openat"), create, Mode::from(0o644)).map(drop).map_err(Into::into))?;
    let opened = rustix::fs::openat2(CWD, at("openat2"), create, Mode::from(0o644), ResolveFlags::empty());
    say("openat2", opened.map(drop).map_err(Into::into))?;
    say("mknod", node(&at("mknod"), FileType::RegularFile, 0))?;
    say("fifo", node(&at("fifo"), FileType::Fifo, 0))?;
    say("socket", node(&at("socket"), FileType::Socket, 0))?;
    say("device", node(&at("device"), FileType::CharacterDevice, rustix::fs::makedev(1, 3)))?;
    say("mkdir", fs::create_dir(at("mkdir")))?;
    say("symlink", std::os::unix::fs::symlink("no/such target", at("symlink")))?;
    say("link", fs::hard_link(at("open"), at("link")))?;
    say("tmpfile", tmpfile(Path::new(dir), &at("tmpfile")))?;
    say("rename", fs::rename(at("openat"), at("renamed")))?;
    say("noreplace", rename(&at("renamed"), &at("moved"), RenameFlags::NOREPLACE))?;
    say("exchange", rename(&at("creat"), &at("openat2"), RenameFlags::EXCHANGE))?;
    say("whiteout", rename(&at("mknod"), &at("whited"), RenameFlags::WHITEOUT))?;
    say("rename-dir", fs::rename(at("mkdir"), at("moved-dir")))?;
    say("unlink", fs::remove_file(at("link")))?;
    say("rmdir", fs::remove_dir(at("moved-dir")))
}

/// A file through io_uring.
pub(super) fn create_by_ring(path: &OsStr) -> Result<()> {
    let path = c_string(Path::new(path))?;
    Ok(Ring::new().context("cannot set up a ring")?.submit(Request::Open(&path))?)
}

/// Through io_uring, by its worker threads.
pub(super) fn by_ring(dir: &OsStr) -> Result<()> {
    let at = |name: &str| c_string(&Path::new(dir).join(name));
    let mut ring = Ring::new().context("cannot set up a ring")?;
    let (open, renamed, link) = (at("open")?, at("renamed")?, at("link")?);
    let (made, symlink) = (at("mkdir")?, at("symlink")?);
    say("open", ring.submit(Request::Open(&open)))?;
    say("mkdir", ring.submit(Request::Mkdir(&made)))?;
    say("symlink", ring.submit(Request::Symlink(c"no/such target", &symlink)))?;
    say("link", ring.submit(Request::Link(&open, &link)))?;
    say("rename", ring.submit(Request::Rename(&open, &renamed)))?;
    say("unlink", ring.submit(Request::Unlink(&link)))?;
    say("rmdir", ring.submit(Request::Rmdir(&made)))
}
