//! Actors that make much happen at once, and know what they did.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FallocateFlags;
use rustix::process::Pid;

/// Large enough that the thread that makes room for it holds the file's lock while all others come to want it.
const HELD_FILE_BYTES: u64 = 128 << 20;
const ROUNDS_MAX: u64 = 20;

/// The stress operations of the actor.
pub(super) fn run(operation: &str, rest: &[OsString]) -> Result<()> {
    match (operation, rest) {
        ("rename-held", [dir, count]) => rename_held(Path::new(dir), number(count)?),
        ("rename-paced", [dir, count, pause_us]) => {
            rename_paced(dir, number(count)?, Duration::from_micros(number(pause_us)?))
        }
        ("execs", [program, count]) => (0..number(count)?).try_for_each(|_| execute(program, &[])),
        _ => bail!("no operation {operation} with {} arguments", rest.len()),
    }
}

fn number(text: &OsStr) -> Result<u64> {
    text.to_str().and_then(|text| text.parse().ok()).context("not a number")
}

fn execute(program: &OsStr, args: &[OsString]) -> Result<()> {
    let status = Command::new(program).args(args).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{} ended with {status}", program.display());
    Ok(())
}

/// So many renames under way at one time: each waits for the lock of the one file that all names belong to. Tries until
/// that was so; prints how many renames there were.
fn rename_held(dir: &Path, count: u64) -> Result<()> {
    for rounds in 1..=ROUNDS_MAX {
        if all_held(dir, count)? {
            println!("{}", rounds * count);
            return Ok(());
        }
    }
    bail!("the lock was never held for long enough")
}

/// Returns whether all were seen to wait at one time.
fn all_held(dir: &Path, count: u64) -> Result<bool> {
    let held = dir.join("held");
    let file = File::create(&held)?;
    let dirs: Vec<PathBuf> = (0..count).map(|number| dir.join(format!("dir-{number}"))).collect();
    for dir in &dirs {
        fs::create_dir(dir)?;
        fs::hard_link(&held, dir.join("before"))?;
    }
    let (start, over) = (Barrier::new(dirs.len() + 1), AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let all_wait = thread::scope(|scope| -> Result<bool> {
        let mut renames = Vec::new();
        for dir in &dirs {
            let (tell, start) = (tell.clone(), &start);
            renames.push(scope.spawn(move || {
                let _ = tell.send(rustix::thread::gettid());
                start.wait();
                fs::rename(dir.join("before"), dir.join("after"))
            }));
        }
        let threads: Vec<_> = told.iter().take(dirs.len()).collect();
        let holder = scope.spawn(|| {
            let done = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, HELD_FILE_BYTES);
            over.store(true, Ordering::SeqCst);
            done
        });
        // Its first blocks are there: it has the lock.
        while file.metadata()?.blocks() == 0 && !over.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        start.wait();
        let mut all_wait = false;
        while !all_wait && !over.load(Ordering::SeqCst) {
            // Uninterruptibly: for the lock.
            let wait = threads.iter().filter(|thread| state(**thread) == Some('D')).count();
            all_wait = wait == threads.len() && !over.load(Ordering::SeqCst);
        }
        for rename in renames {
            rename.join().ok().context("a thread panicked")??;
        }
        holder.join().ok().context("a thread panicked")??;
        Ok(all_wait)
    })?;
    // Its memory is the machine's.
    file.set_len(0)?;
    dirs.iter().try_for_each(fs::remove_dir_all)?;
    fs::remove_file(&held)?;
    Ok(all_wait)
}

/// Of a thread of this process, as `/proc` says it.
fn state(thread: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", thread.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Says that it is ready, and begins when its input ends.
fn rename_paced(dir: &OsStr, count: u64, pause: Duration) -> Result<()> {
    std::env::set_current_dir(dir)?;
    File::create("paced-0")?;
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    for number in 0..count {
        fs::rename(format!("paced-{number}"), format!("paced-{}", number + 1))?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(fs::remove_file(format!("paced-{count}"))?)
}
