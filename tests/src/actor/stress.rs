//! Actors that make much happen at once, and know what they did.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::process::Pid;

/// Large enough that the thread that makes room for it holds the file's lock while all others come to want it.
const HELD_FILE_BYTES: u64 = 128 << 20;
const ROUNDS_MAX: u64 = 20;
const BETWEEN_FILES: Duration = Duration::from_millis(4);

/// The stress operations of the actor.
pub(super) fn run(operation: &str, rest: &[OsString]) -> Result<()> {
    match (operation, rest) {
        ("rename-held", [dir, count]) => rename_held(Path::new(dir), number(count)?),
        ("rename-paced" | "create-paced" | "pipe-paced", [dir, count, pause_us]) => {
            paced(operation, dir, number(count)?, Duration::from_micros(number(pause_us)?))
        }
        ("fail-in-threads", [dir, count]) => fail_in_threads(Path::new(dir), number(count)?),
        ("execs", [program, count]) => (0..number(count)?).try_for_each(|_| execute(program, &[])),
        ("moving-parents", [dir, seconds]) => {
            moving_parents(Path::new(dir), Duration::from_secs(number(seconds)?))
        }
        ("two-programs", [one, two, dir, seconds]) => {
            two_programs(&[one, two], Path::new(dir), Duration::from_secs(number(seconds)?))
        }
        ("mounts", [dir, seconds]) => mounts(Path::new(dir), Duration::from_secs(number(seconds)?)),
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

/// Each of many threads finds no room for a file, and lives on. Says how many did, and ends with its input.
fn fail_in_threads(dir: &Path, count: u64) -> Result<()> {
    let (failed, all) = (AtomicU64::new(0), Barrier::new(count as usize + 1));
    thread::scope(|scope| {
        for number in 0..count {
            let path = dir.join(format!("refused-{number}"));
            let (failed, all) = (&failed, &all);
            let started = thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || {
                if File::create(path).is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                all.wait();
                thread::park();
            });
            if let Err(error) = started {
                // Those that wait for it would wait for ever.
                eprintln!("thread {number}: {error}");
                std::process::exit(1);
            }
        }
        all.wait();
        println!("{}", failed.load(Ordering::Relaxed));
        let ended = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(i32::from(ended.is_err()))
    })
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
fn paced(operation: &str, dir: &OsStr, count: u64, pause: Duration) -> Result<()> {
    std::env::set_current_dir(dir)?;
    let name = |number: u64| format!("paced-{number}");
    if operation == "rename-paced" {
        File::create(name(0))?;
    }
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    for number in 0..count {
        match operation {
            "rename-paced" => fs::rename(name(number), name(number + 1))?,
            "create-paced" => drop(File::create_new(name(number))?),
            _ => drop(io::pipe()?),
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    match operation {
        "rename-paced" => fs::remove_file(name(count))?,
        "create-paced" => (0..count).try_for_each(|number| fs::remove_file(name(number)))?,
        _ => {}
    }
    Ok(())
}

/// A directory that is `left/here` and `right/there` by turns while files are made in it: no other path is ever theirs.
/// Prints how many were made.
fn moving_parents(dir: &Path, time: Duration) -> Result<()> {
    const WRITERS: u64 = 2;
    let (one, other) = (dir.join("left/here"), dir.join("right/there"));
    fs::create_dir_all(&one)?;
    fs::create_dir_all(dir.join("right"))?;
    let inside = rustix::fs::open(&one, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let (over, made, moves) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let writer = |number: u64| -> Result<()> {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            while !over.load(Ordering::Relaxed) {
                let name = format!("file-{number}-{}", made.fetch_add(1, Ordering::Relaxed));
                drop(rustix::fs::openat(&inside, &name, flags, Mode::from(0o644))?);
                rustix::fs::unlinkat(&inside, &name, AtFlags::empty())?;
                // Each becomes a document that the test keeps in memory.
                thread::sleep(BETWEEN_FILES);
            }
            Ok(())
        };
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || writer(number))).collect();
        let start = Instant::now();
        while start.elapsed() < time {
            fs::rename(&one, &other)?;
            fs::rename(&other, &one)?;
            moves.fetch_add(2, Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().ok().context("a thread panicked")??;
        }
        Ok(())
    })?;
    println!("{} {}", made.into_inner(), moves.into_inner());
    Ok(())
}

/// Two programs by turns, each of which makes one file that is named after it and its process. Prints how many.
fn two_programs(programs: &[&OsString; 2], dir: &Path, time: Duration) -> Result<()> {
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        for (number, program) in programs.iter().enumerate() {
            let script = format!("echo >{}/by-{number}-$$", dir.display());
            execute(program, &["-c".into(), script.into()])?;
            count += 1;
        }
    }
    println!("{count}");
    Ok(())
}

/// A file system that comes and goes, with a file in it each time.
fn mounts(dir: &Path, time: Duration) -> Result<()> {
    let (start, mut count) = (Instant::now(), 0_u64);
    let at = dir.as_os_str().to_owned();
    while start.elapsed() < time {
        execute(OsStr::new("/usr/bin/mount"), &["-t".into(), "tmpfs".into(), "stress".into(), at.clone()])?;
        let inside = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        File::create(dir.join(format!("mounted-{count}")))?;
        execute(OsStr::new("/usr/bin/umount"), &["-l".into(), at.clone()])?;
        // Where it was, nothing is any more: this one has no path.
        let flags = OFlags::CREATE | OFlags::WRONLY;
        drop(rustix::fs::openat(&inside, format!("detached-{count}"), flags, Mode::from(0o644))?);
        count += 1;
    }
    println!("{count}");
    Ok(())
}
