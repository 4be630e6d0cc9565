//! The other process: does one file operation with exactly one system call, so that a test knows what must be seen.
//!
//! A copy of this binary at `/usr/bin/dpkg` acts as that executable.

mod operations;
mod programs;
mod raw;
mod stress;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

/// Does the operation; its failure is exit status 1 and a line on standard error.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    let (operation, rest) = args.split_first().context("act wants an operation")?;
    let operation = operation.to_str().context("the operation is no text")?;
    match (operation, rest) {
        ("create", [path]) => write(path, b"", OpenOptions::new().write(true).create(true))?,
        ("create", [path, content]) => {
            write(path, content.as_bytes(), OpenOptions::new().write(true).create(true))?;
        }
        ("create-new", [path]) => write(path, b"", OpenOptions::new().write(true).create_new(true))?,
        ("append", [path, content]) => write(path, content.as_bytes(), OpenOptions::new().append(true))?,
        ("create-direct", [path]) => {
            let flags = i32::try_from(OFlags::DIRECT.bits()).context("O_DIRECT")?;
            write(path, b"", OpenOptions::new().write(true).create(true).custom_flags(flags))?;
        }
        ("create-many", [dir, count]) => create_many(dir, number(count)?)?,
        ("rename-many", [dir, count]) => rename_many(dir, number(count)?)?,
        ("rename", [from, to]) => fs::rename(from, to)?,
        ("exchange", [from, to]) => rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?,
        ("rename-new", [from, to]) => rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?,
        ("link", [from, to]) => fs::hard_link(from, to)?,
        ("symlink", [target, path]) => std::os::unix::fs::symlink(target, path)?,
        ("mkdir", [path]) => fs::create_dir(path)?,
        ("unlink", [path]) => fs::remove_file(path)?,
        ("mknod", [path]) => rustix::fs::mknodat(CWD, path, FileType::RegularFile, Mode::from(0o644), 0)?,
        ("mkfifo", [path]) => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from(0o644), 0)?,
        ("tmpfile-link", [dir, path]) => tmpfile_link(dir, path)?,
        ("operations", [dir]) => operations::by_calls(dir)?,
        ("ring-create", [path]) => operations::create_by_ring(path)?,
        ("ring-operations", [dir]) => operations::by_ring(dir)?,
        ("fexecve", [program, args @ ..]) => programs::fexecve(program, args)?,
        ("delete-exec", [program, args @ ..]) => programs::delete_exec(program, args)?,
        ("thread-exec", [program, args @ ..]) => programs::thread_exec(program, args)?,
        ("exec-bare", [program]) => programs::exec_bare(program)?,
        ("exec-many", [count, bytes, program, args @ ..]) => {
            programs::exec_many(number(count)?, number(bytes)?, program, args)?;
        }
        ("groups-exec", [group, program, args @ ..]) => {
            raw::set_groups(&[number(group)?, number(group)? + 1])?;
            return exec(program, args);
        }
        ("add-loop", [count]) => {
            raw::add_loop_device(&File::open("/dev/loop-control")?.into(), number(count)?)?;
        }
        ("leader-exits", [path]) => programs::leader_exits(path)?,
        ("setsid", []) => drop(rustix::process::setsid()?),
        ("thread-create", [path]) => thread_create(path)?,
        ("threads-end-together", [count]) => threads_end_together(number(count)?),
        ("wait-create", [trigger, path]) => wait_create(trigger, path)?,
        ("exec", [program, args @ ..]) => return exec(program, args),
        ("memfd-exec", [program, name, args @ ..]) => return memfd_exec(program, name, args),
        ("exec-below", [dir, depth, program, args @ ..]) => {
            descend(dir, number(depth)?)?;
            return exec(program, args);
        }
        _ => stress::run(operation, rest)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &OsStr, content: &[u8], how: &mut OpenOptions) -> Result<()> {
    let mut file = how.open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.write_all(content)?;
    Ok(())
}

fn number(text: &OsStr) -> Result<u32> {
    text.to_str().and_then(|text| text.parse().ok()).context("not a number")
}

/// Runs a copy of `program` that is in memory only.
fn memfd_exec(program: &OsStr, name: &OsStr, args: &[OsString]) -> Result<ExitCode> {
    let mut copy = File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::empty())?);
    copy.write_all(&fs::read(program)?)?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    exec(OsStr::new(&path), args)
}

/// Makes and enters directories with long names, one below the other.
fn descend(dir: &OsStr, depth: u32) -> Result<()> {
    std::env::set_current_dir(dir)?;
    let name = "d".repeat(250);
    for _ in 0..depth {
        fs::create_dir(&name)?;
        std::env::set_current_dir(&name)?;
    }
    Ok(())
}

fn create_many(dir: &OsStr, count: u32) -> Result<()> {
    std::env::set_current_dir(dir)?;
    for number in 0..count {
        drop(File::create(format!("burst-{number}"))?);
    }
    Ok(())
}

fn rename_many(dir: &OsStr, count: u32) -> Result<()> {
    std::env::set_current_dir(dir)?;
    drop(File::create("moving-0")?);
    for number in 0..count {
        fs::rename(format!("moving-{number}"), format!("moving-{}", number + 1))?;
    }
    Ok(())
}

fn tmpfile_link(dir: &OsStr, path: &OsStr) -> Result<()> {
    let file = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, Mode::from(0o644))?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, name, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

fn thread_create(path: &OsStr) -> Result<()> {
    let path = path.to_owned();
    let worker = thread::spawn(move || File::create(path).map(drop));
    match worker.join() {
        Ok(result) => Ok(result?),
        Err(_) => bail!("the thread panicked"),
    }
}

/// Ends the process while its threads end by themselves.
fn threads_end_together(count: u32) {
    let barrier = Arc::new(Barrier::new(count as usize + 1));
    for _ in 0..count {
        let barrier = Arc::clone(&barrier);
        thread::spawn(move || barrier.wait());
    }
    barrier.wait();
}

/// Creates the file once the trigger exists: for a process that ran before the sensor did.
fn wait_create(trigger: &OsStr, path: &OsStr) -> Result<()> {
    for _ in 0..3_000 {
        if fs::exists(trigger)? {
            return write(path, b"", OpenOptions::new().write(true).create(true));
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{} never came", trigger.display())
}

/// Replaces this process.
fn exec(program: &OsStr, args: &[OsString]) -> Result<ExitCode> {
    let error = std::os::unix::process::CommandExt::exec(Command::new(program).args(args));
    Err(error).with_context(|| format!("cannot execute {}", program.display()))
}
