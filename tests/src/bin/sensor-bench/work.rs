//! The workloads: one operation many times, in batches, with names that rotate so that watchers cannot merge events.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::process::runtime_ns;

/// Names that rotate.
const NAMES: usize = 256;
/// What a watcher that polls needs to come to rest; nothing runs meanwhile, so it costs no host time.
const SETTLE: Duration = Duration::from_millis(1500);
const TRUE: &str = "/usr/bin/true";

/// Cost of one operation, in nanoseconds of the guest: instructions, where its clock counts them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Of the workload alone.
    pub(crate) inline: f64,
    /// Of the watcher, until it has come to rest.
    pub(crate) reader: f64,
    /// Of both as they ran together.
    pub(crate) wall: f64,
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Operations in a batch.
    pub(crate) ops: usize,
    /// Where the files are; `watched` is where the shipped rule looks.
    dir: &'static str,
    run: fn(&Files, usize) -> Result<()>,
}

pub(crate) const WATCHED: &str = "/etc/apt/apt.conf.d";
const UNWATCHED: &str = "/srv/bench/files";

/// In the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "getppid", ops: 100_000, dir: UNWATCHED, run: getppid },
    Workload { name: "open_read_close", ops: 4_096, dir: UNWATCHED, run: open_read_close },
    Workload { name: "create_unwatched", ops: 512, dir: UNWATCHED, run: create_unlink },
    Workload { name: "create_watched", ops: 512, dir: WATCHED, run: create_unlink },
    Workload { name: "rename_unwatched", ops: 512, dir: UNWATCHED, run: rename },
    Workload { name: "rename_watched", ops: 512, dir: WATCHED, run: rename },
    Workload { name: "fork_exec", ops: 64, dir: UNWATCHED, run: fork_exec },
    Workload { name: "dpkg_like", ops: 16, dir: "/srv/bench/dpkg", run: dpkg_like },
];

/// Prepared names, so that no batch pays for making them.
pub(crate) struct Files {
    dir: PathBuf,
    names: Vec<PathBuf>,
    existing: Vec<PathBuf>,
}

impl Files {
    fn prepare(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let existing_dir = PathBuf::from("/srv/bench/existing");
        fs::create_dir_all(&existing_dir)?;
        let named = |dir: &Path, number: usize| dir.join(format!("file-{number:03}"));
        let existing: Vec<PathBuf> = (0..NAMES).map(|number| named(&existing_dir, number)).collect();
        for path in &existing {
            fs::write(path, "0123456789abcdef")?;
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            names: (0..NAMES).map(|number| named(dir, number)).collect(),
            existing,
        })
    }

    fn name(&self, number: usize) -> Result<&Path> {
        self.names.get(number % NAMES).map(PathBuf::as_path).context("no names")
    }
}

/// Runs a workload; `watcher` is whose time is told apart.
pub(crate) fn run(name: &str, batches: usize, watcher: Option<u32>) -> Result<Cost> {
    let workload = find(name)?;
    let files = Files::prepare(Path::new(workload.dir))?;
    let reader_ns = || watcher.map_or(Ok(0), runtime_ns);
    // Once for the caches: of the kernel's, and of the translation of the emulator.
    (workload.run)(&files, workload.ops)?;
    thread::sleep(SETTLE);
    let at_rest = reader_ns()?;
    let (mut inline, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..batches {
        let (start, reader_start) = (now_ns(), reader_ns()?);
        (workload.run)(&files, workload.ops)?;
        let (end, reader_end) = (now_ns(), reader_ns()?);
        let elapsed = (end - start) as f64;
        wall.push(elapsed / workload.ops as f64);
        inline.push((elapsed - (reader_end - reader_start) as f64) / workload.ops as f64);
    }
    thread::sleep(SETTLE);
    let reader = (reader_ns()? - at_rest) as f64 / (batches * workload.ops) as f64;
    Ok(Cost { inline: median(inline)?, reader, wall: median(wall)? })
}

fn find(name: &str) -> Result<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name).with_context(|| format!("no workload {name}"))
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no batch ran")
}

fn getppid(_: &Files, ops: usize) -> Result<()> {
    for _ in 0..ops {
        std::hint::black_box(rustix::process::getppid());
    }
    Ok(())
}

fn open_read_close(files: &Files, ops: usize) -> Result<()> {
    let mut buffer = [0; 16];
    for path in files.existing.iter().cycle().take(ops) {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        ensure!(rustix::io::read(&file, &mut buffer)? == buffer.len(), "a short read");
    }
    Ok(())
}

fn create_unlink(files: &Files, ops: usize) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    for number in 0..ops {
        let path = files.name(number)?;
        drop(rustix::fs::open(path, flags, Mode::from(0o644))?);
        rustix::fs::unlink(path)?;
    }
    Ok(())
}

/// One file under one name after the other.
fn rename(files: &Files, ops: usize) -> Result<()> {
    File::create(files.name(0)?)?;
    for number in 0..ops {
        rustix::fs::rename(files.name(number)?, files.name(number + 1)?)?;
    }
    fs::remove_file(files.name(ops)?)?;
    Ok(())
}

fn fork_exec(_: &Files, ops: usize) -> Result<()> {
    for _ in 0..ops {
        spawn_true()?;
    }
    Ok(())
}

fn spawn_true() -> Result<()> {
    let status = Command::new(TRUE).stdin(Stdio::null()).status().with_context(|| TRUE)?;
    if !status.success() {
        bail!("{TRUE} ended with {status}");
    }
    Ok(())
}

/// What unpacking a small package does: files beside their names, then renamed into place; a script runs.
fn dpkg_like(files: &Files, ops: usize) -> Result<()> {
    const FILES: usize = 8;
    for package in 0..ops {
        let dir = files.dir.join(format!("package-{package}"));
        fs::create_dir(&dir)?;
        for number in 0..FILES {
            let path = dir.join(format!("file-{number}"));
            let new = dir.join(format!("file-{number}.dpkg-new"));
            let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
            file.write_all(&[0; 4096])?;
            rustix::fs::chmodat(CWD, &new, Mode::from(0o755), AtFlags::empty())?;
            fs::rename(&new, &path)?;
        }
        spawn_true()?;
        for number in 0..FILES {
            fs::remove_file(dir.join(format!("file-{number}")))?;
        }
        fs::remove_dir(&dir)?;
    }
    Ok(())
}
