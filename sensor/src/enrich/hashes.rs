//! Hashes of executables and of files that are renamed: `process.hash.sha256`, `file.hash.sha256`.
//!
//! A thread of its own hashes each version of a file once. The first record of a version waits for it a little, so that
//! the first run of a program has its hash as well; all waiting together stays below a share of the time, whatever is
//! executed, so that nobody keeps the sensor from reading by running many new programs. What comes later than that is
//! there for the next run.
//!
//! A file that has just been created is empty, and has no hash; one that gets its name by a rename is written by then.
//!
//! Missed: what is larger than the limit, what lies on a file system whose answers can be held back, what was executed,
//! elsewhere than on the file system of the root directory, by a process that was gone before it could be asked for,
//! scripts, files that were changed or moved on before they could be read.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use sensor_common::wire::FileRecord;
use sensor_ecs::Text;

use crate::hash::{self, Limits};
use crate::open::{self, Identity};

/// Versions of files that are remembered.
const KNOWN_MAX: usize = 4096;
/// Files that wait to be hashed.
const WAITING_MAX: usize = 64;
/// How long one record waits.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// All waiting, as a share of the time: one part in so many.
const WAIT_SHARE: u32 = 20;
/// Waiting that can be saved up.
const WAIT_SAVED_MAX: Duration = Duration::from_millis(100);
/// How long one file may take.
const HASHING_MAX: Duration = Duration::from_secs(5);

/// Times of change move once in a tick of the kernel's, 10 ms at most: what is written within the same one has the same
/// version. A hash that was made so soon is asked for again at the next event.
const FRESH: i64 = 20_000_000;
/// Versions of which that is remembered.
const FRESH_MAX: usize = 256;

/// One state of a file's content, as far as a file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    device: (u32, u32),
    inode: u64,
    size: u64,
    /// Nanoseconds since the Unix epoch, as records have them.
    modified: i64,
    changed: i64,
}

impl Version {
    fn of(stat: &Statx) -> Self {
        let ns = |time: &rustix::fs::StatxTimestamp| {
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
        };
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            modified: ns(&stat.stx_mtime),
            changed: ns(&stat.stx_ctime),
        }
    }

    /// Whether it could still be written to without another time of change.
    fn is_fresh(&self) -> bool {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let now_ns = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        self.is_fresh_at(now_ns)
    }

    fn is_fresh_at(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.changed) < FRESH
    }

    /// As the kernel side tells of it; `dev` is in the kernel's encoding.
    pub(crate) fn told(dev: u32, inode: u64, size: u64, modified_ns: i64, changed_ns: i64) -> Self {
        Self { device: (dev >> 20, dev & 0xf_ffff), inode, size, modified: modified_ns, changed: changed_ns }
    }
}

/// What is to be hashed, and where it is found.
type Ask = (Version, Place);

#[derive(Debug)]
enum Place {
    /// The link to what a process runs.
    Executable(PathBuf),
    /// Paths below root directories, one of which leads to the file.
    File(Vec<(PathBuf, Vec<u8>)>),
}

/// An executable as a record tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran<'r> {
    pub(crate) pid: u32,
    /// In the kernel's encoding.
    pub(crate) dev: u32,
    pub(crate) inode: u64,
    /// As the process names it, if that is known.
    pub(crate) path: Option<&'r [u8]>,
    /// Its state when it was run, if the record says that.
    pub(crate) version: Option<Version>,
}

/// A file as a record tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'r> {
    pub(crate) record: &'r FileRecord,
    /// As the acting process names it.
    pub(crate) path: &'r [u8],
    /// As the host does, where that is another name.
    pub(crate) host_path: Option<&'r [u8]>,
}

impl Told<'_> {
    fn version(&self) -> Version {
        let Self { record, .. } = self;
        Version::told(record.dev, record.inode, record.size, record.mtime_ns, record.ctime_ns)
    }
}

#[derive(Debug)]
struct Answer {
    version: Version,
    hash: Option<Text>,
    /// See [`FRESH`].
    is_fresh: bool,
}

#[derive(Debug)]
struct Worker {
    asks: SyncSender<Ask>,
    answers: Receiver<Answer>,
    /// Asked and not answered.
    open: usize,
}

/// Hashes by version of the file.
#[derive(Debug)]
pub(crate) struct Hashes {
    bytes_max: u64,
    /// The host's root directory, unless it is on a file system that can make its reader wait.
    root: Option<(PathBuf, OwnedFd)>,
    /// Nothing for one that is being hashed, or that cannot be.
    known: HashMap<Version, Option<Text>, RandomState>,
    /// Those of `known` that hold for one event alone: see [`FRESH`].
    fresh: Vec<Version>,
    worker: Option<Worker>,
    allowance: Allowance,
}

/// How long may still be waited.
#[derive(Debug)]
struct Allowance {
    left: Duration,
    since: Instant,
}

impl Allowance {
    fn at(&mut self, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.since) / WAIT_SHARE;
        self.since = now;
        self.left = (self.left + earned).min(WAIT_SAVED_MAX);
        self.left.min(WAIT_MAX)
    }

    fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }
}

impl Hashes {
    /// Nothing larger than `bytes_max` is hashed; nothing at all with 0.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            root: None,
            known: HashMap::default(),
            fresh: Vec::new(),
            worker: None,
            allowance: Allowance { left: WAIT_SAVED_MAX, since: Instant::now() },
        }
    }

    /// Looks for executables below this directory before asking `/proc`.
    pub(crate) fn below(mut self, root: &Path) -> Self {
        let held = open::root(root).ok().filter(|held| open::trusted(held).is_ok());
        self.root = held.map(|held| (root.to_owned(), held));
        self
    }

    /// The hash of what this process runs, if that is still the file of the record.
    pub(crate) fn of_executable(&mut self, proc_root: &Path, ran: Ran<'_>) -> Option<Text> {
        if self.bytes_max == 0 {
            return None;
        }
        self.take_answers();
        // Most programs have run before: no system call.
        if let Some(Some(known)) = ran.version.and_then(|version| self.remembered(version)) {
            return Some(known);
        }
        let by_path = ran.path.and_then(|path| Some((self.version_by_path(path, ran)?, path)));
        let version = match by_path {
            Some((version, _)) => version,
            None => {
                // What a server would have to be asked for is not worth waiting for.
                let flags = AtFlags::STATX_DONT_SYNC;
                let link = link_of(proc_root, ran.pid);
                Version::of(&rustix::fs::statx(CWD, &link, flags, StatxFlags::BASIC_STATS).ok()?)
            }
        };
        if version.inode != ran.inode || version.size > self.bytes_max {
            return None;
        }
        self.of_version(version, |hashes| match hashes.root.as_ref().zip(by_path) {
            Some(((root, _), (_, path))) => Place::File(vec![(root.clone(), path.to_vec())]),
            None => Place::Executable(link_of(proc_root, ran.pid)),
        })
    }

    /// The same for what was there before the sensor, by its name alone: what does not run under the name that it was
    /// started by, such as a script, has none.
    pub(crate) fn of_named_executable(&mut self, ran: Ran<'_>) -> Option<Text> {
        if self.bytes_max == 0 {
            return None;
        }
        self.take_answers();
        let path = ran.path?;
        let version = self.version_by_path(path, ran).filter(|version| version.size <= self.bytes_max)?;
        let root = self.root.as_ref().map(|(root, _)| root.clone())?;
        self.of_version(version, |_| Place::File(vec![(root, path.to_vec())]))
    }

    /// The version that has the executable's name, if it is the executable: most are on the file system of the root
    /// directory, and are looked up in half the time that the kernel needs to make entries of `/proc`.
    fn version_by_path(&self, path: &[u8], ran: Ran<'_>) -> Option<Version> {
        let resolve = ResolveFlags::IN_ROOT
            | ResolveFlags::NO_XDEV
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (_, root) = self.root.as_ref()?;
        let held = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let version = Version::of(&rustix::fs::statx(&held, c"", flags, StatxFlags::BASIC_STATS).ok()?);
        let is_it = version.inode == ran.inode && version.device == (ran.dev >> 20, ran.dev & 0xf_ffff);
        is_it.then_some(version)
    }

    /// The hash of a file that was written before it got its name.
    pub(crate) fn of_file(&mut self, proc_root: &Path, root: &Path, told: Told<'_>) -> Option<Text> {
        let version = told.version();
        if self.bytes_max == 0 || version.size > self.bytes_max {
            return None;
        }
        self.take_answers();
        if let Some(known) = self.remembered(version) {
            return known;
        }
        // Nobody will ask for it again: what cannot be waited for is not worth reading.
        if self.allowance.at(Instant::now()).is_zero() {
            return None;
        }
        self.of_version(version, |_| {
            let of_process = proc_root.join(told.record.header.task.tgid.to_string()).join("root");
            let on_host = told.host_path.unwrap_or(told.path);
            Place::File(vec![(of_process, told.path.to_vec()), (root.to_owned(), on_host.to_vec())])
        })
    }

    /// What is known of a version, and still holds.
    fn remembered(&mut self, version: Version) -> Option<Option<Text>> {
        if let Some(at) = self.fresh.iter().position(|fresh| *fresh == version) {
            self.fresh.swap_remove(at);
            self.known.remove(&version);
        }
        self.known.get(&version).cloned()
    }

    fn of_version(&mut self, version: Version, place: impl FnOnce(&Self) -> Place) -> Option<Text> {
        if let Some(known) = self.remembered(version) {
            return known;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
            self.fresh.clear();
        }
        if self.worker.is_none() {
            self.worker = start(self.bytes_max);
        }
        // Whatever keeps it from being asked now need not do so at the next run.
        let ask = (version, place(self));
        let worker = self.worker.as_mut()?;
        worker.asks.try_send(ask).ok()?;
        worker.open += 1;
        self.known.insert(version, None);
        self.wait_for(version)
    }

    fn wait_for(&mut self, version: Version) -> Option<Text> {
        let begun = Instant::now();
        let until = begun + self.allowance.at(begun);
        let Worker { answers, open, .. } = self.worker.as_mut()?;
        while let Ok(answer) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            *open = open.saturating_sub(1);
            let of = answer.version;
            remember(&mut self.known, &mut self.fresh, answer);
            if of == version {
                break;
            }
        }
        self.allowance.spend(begun.elapsed());
        self.known.get(&version)?.clone()
    }

    fn take_answers(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        while worker.open > 0
            && let Ok(answer) = worker.answers.try_recv()
        {
            worker.open -= 1;
            remember(&mut self.known, &mut self.fresh, answer);
        }
    }
}

fn remember(
    known: &mut HashMap<Version, Option<Text>, RandomState>,
    fresh: &mut Vec<Version>,
    answer: Answer,
) {
    let Answer { version, hash, is_fresh } = answer;
    if is_fresh && fresh.len() >= FRESH_MAX {
        fresh.drain(..FRESH_MAX / 2).for_each(|version| {
            known.remove(&version);
        });
    }
    if is_fresh && hash.is_some() {
        fresh.push(version);
    }
    known.insert(version, hash);
}

fn link_of(proc_root: &Path, pid: u32) -> PathBuf {
    let mut link = proc_root.join(pid.to_string());
    link.push("exe");
    link
}

fn start(bytes_max: u64) -> Option<Worker> {
    let (asks, asked) = sync_channel::<Ask>(WAITING_MAX);
    // There are never more answers than were asked for and those that are remembered.
    let (answer, answers) = sync_channel(KNOWN_MAX);
    let work = move || {
        for (version, place) in asked {
            let is_fresh = version.is_fresh();
            let hash = match place {
                Place::Executable(link) => executable(&link, version, bytes_max),
                Place::File(paths) => file(&paths, version, bytes_max),
            };
            if answer.send(Answer { version, hash, is_fresh }).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("hashes".to_owned()).spawn(work).ok()?;
    Some(Worker { asks, answers, open: 0 })
}

/// The hash, if the file is and stays the one that is meant.
fn executable(link: &Path, version: Version, bytes_max: u64) -> Option<Text> {
    let held = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_meant = || {
        rustix::fs::statx(&held, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .is_ok_and(|stat| Version::of(&stat) == version)
    };
    if !is_meant() {
        return None;
    }
    let mut opened = open::held_regular(&held).ok()?;
    let hash = sha256(&mut opened.file, bytes_max)?;
    is_meant().then_some(hash)
}

/// As [`executable`], of the first path that leads to the file.
fn file(paths: &[(PathBuf, Vec<u8>)], version: Version, bytes_max: u64) -> Option<Text> {
    let (major, minor) = version.device;
    let identity = Identity { device: Some(rustix::fs::makedev(major, minor)), inode: Some(version.inode) };
    let open =
        |(root, path): &(PathBuf, Vec<u8>)| open::regular(&open::root(root).ok()?, path, identity).ok();
    let mut opened = paths.iter().find_map(open)?;
    let is_meant = |file: &File| {
        // Whether the device is the file's was seen when it was opened.
        rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .is_ok_and(|stat| Version { device: version.device, ..Version::of(&stat) } == version)
    };
    if !is_meant(&opened.file) {
        return None;
    }
    let hash = sha256(&mut opened.file, bytes_max)?;
    is_meant(&opened.file).then_some(hash)
}

fn sha256(file: &mut File, bytes_max: u64) -> Option<Text> {
    let limits = Limits { bytes: bytes_max, deadline: Instant::now() + HASHING_MAX };
    let hash = hash::sha256(file, limits, |_| {}).ok()?.ok()?;
    Some(Arc::from(hash.into_bytes()))
}

#[cfg(test)]
mod tests;
