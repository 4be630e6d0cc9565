//! Ways to run a program that the standard library does not offer.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::raw;

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).context("a NUL in an argument")
}

/// By descriptor, without a name. The descriptor stays open for an interpreter.
pub(super) fn fexecve(program: &OsStr, args: &[OsString]) -> Result<()> {
    let file = OwnedFd::from(File::open(program)?);
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
    by_descriptor(&file, program, args)
}

/// By descriptor, when the name is gone.
pub(super) fn delete_exec(program: &OsStr, args: &[OsString]) -> Result<()> {
    let file = OwnedFd::from(File::open(program)?);
    fs::remove_file(program)?;
    by_descriptor(&file, program, args)
}

fn by_descriptor(file: &OwnedFd, program: &OsStr, args: &[OsString]) -> Result<()> {
    let words = std::iter::once(program).chain(args.iter().map(OsString::as_os_str));
    let words = words.map(c_string).collect::<Result<Vec<_>>>()?;
    Err(raw::fexecve(file, &words)).context("cannot execute")
}

/// From a thread that is not the leader.
pub(super) fn thread_exec(program: &OsStr, args: &[OsString]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args);
    match thread::spawn(move || command.exec()).join() {
        Ok(error) => Err(error).context("cannot execute"),
        Err(_) => bail!("the thread panicked"),
    }
}

/// Without arguments.
pub(super) fn exec_bare(program: &OsStr) -> Result<()> {
    Err(raw::exec_bare(&c_string(program)?)).context("cannot execute")
}

/// With `count` further arguments of `bytes` each.
pub(super) fn exec_many(count: u32, bytes: u32, program: &OsStr, args: &[OsString]) -> Result<()> {
    let filler = "x".repeat(bytes as usize);
    let mut command = Command::new(program);
    command.args(args).env_clear();
    for _ in 0..count {
        command.arg(&filler);
    }
    Err(command.exec()).context("cannot execute")
}

/// The leader ends, then a thread that lives on creates the file.
pub(super) fn leader_exits(path: &OsStr) -> Result<()> {
    let path = path.to_owned();
    drop(thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        let made = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        std::process::exit(i32::from(made.is_err()));
    }));
    raw::end_thread();
    bail!("the leader lives")
}
