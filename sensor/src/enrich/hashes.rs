//! Hashes of executables and of files that are renamed: `process.hash.sha256`, `file.hash.sha256`.
//!
//! A thread of its own hashes each version of a file once. The first record of a version waits for it a little, so that
//! the first run of a program has its hash as well; all waiting together stays below a share of the time, whatever is
//! executed, so that nobody keeps the sensor from reading by running many new programs. What comes later than that is
//! there for the next run.
//!
//! A file that has just been created is empty, and has no hash; one that gets its name by a rename is written by then.
//!
//! Missed: what is larger than the limit, what lies on a file system whose answers can be held back, what was executed
//! by a process that was gone before it could be asked for, scripts, files that were changed or moved on before they
//! could be read.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
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

/// One state of a file's content, as far as a file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: (u32, u32),
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Version {
    fn of(stat: &Statx) -> Self {
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        }
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
        let time = |ns: i64| {
            let second = 1_000_000_000;
            (ns.div_euclid(second), u32::try_from(ns.rem_euclid(second)).unwrap_or(0))
        };
        Version {
            device: (record.dev >> 20, record.dev & 0xf_ffff),
            inode: record.inode,
            size: record.size,
            modified: time(record.mtime_ns),
            changed: time(record.ctime_ns),
        }
    }
}

type Answer = (Version, Option<Text>);

#[derive(Debug)]
struct Worker {
    asks: SyncSender<Ask>,
    answers: Receiver<Answer>,
}

/// Hashes by version of the file.
#[derive(Debug)]
pub(crate) struct Hashes {
    bytes_max: u64,
    /// Nothing for one that is being hashed, or that cannot be.
    known: HashMap<Version, Option<Text>, RandomState>,
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
            known: HashMap::default(),
            worker: None,
            allowance: Allowance { left: WAIT_SAVED_MAX, since: Instant::now() },
        }
    }

    /// The hash of what this process runs, if that is still the file with this inode.
    pub(crate) fn of_executable(&mut self, proc_root: &Path, pid: u32, inode: u64) -> Option<Text> {
        if self.bytes_max == 0 {
            return None;
        }
        self.take_answers();
        let link = proc_root.join(pid.to_string()).join("exe");
        // What a server would have to be asked for is not worth waiting for.
        let flags = AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(CWD, &link, flags, StatxFlags::BASIC_STATS).ok()?;
        let version = Version::of(&stat);
        if version.inode != inode || version.size > self.bytes_max {
            return None;
        }
        self.of_version(version, || Place::Executable(link))
    }

    /// The hash of a file that was written before it got its name.
    pub(crate) fn of_file(&mut self, proc_root: &Path, root: &Path, told: Told<'_>) -> Option<Text> {
        let version = told.version();
        if self.bytes_max == 0 || version.size > self.bytes_max {
            return None;
        }
        self.take_answers();
        if let Some(known) = self.known.get(&version) {
            return known.clone();
        }
        // Nobody will ask for it again: what cannot be waited for is not worth reading.
        if self.allowance.at(Instant::now()).is_zero() {
            return None;
        }
        self.of_version(version, || {
            let of_process = proc_root.join(told.record.header.task.tgid.to_string()).join("root");
            let on_host = told.host_path.unwrap_or(told.path);
            Place::File(vec![(of_process, told.path.to_vec()), (root.to_owned(), on_host.to_vec())])
        })
    }

    fn of_version(&mut self, version: Version, place: impl FnOnce() -> Place) -> Option<Text> {
        if let Some(known) = self.known.get(&version) {
            return known.clone();
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        if self.worker.is_none() {
            self.worker = start(self.bytes_max);
        }
        // Whatever keeps it from being asked now need not do so at the next run.
        self.worker.as_ref()?.asks.try_send((version, place())).ok()?;
        self.known.insert(version, None);
        self.wait_for(version)
    }

    fn wait_for(&mut self, version: Version) -> Option<Text> {
        let begun = Instant::now();
        let until = begun + self.allowance.at(begun);
        let answers = &self.worker.as_ref()?.answers;
        while let Ok((of, hash)) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.known.insert(of, hash);
            if of == version {
                break;
            }
        }
        self.allowance.spend(begun.elapsed());
        self.known.get(&version)?.clone()
    }

    fn take_answers(&mut self) {
        let Some(worker) = &self.worker else { return };
        while let Ok((of, hash)) = worker.answers.try_recv() {
            self.known.insert(of, hash);
        }
    }
}

fn start(bytes_max: u64) -> Option<Worker> {
    let (asks, asked) = sync_channel::<Ask>(WAITING_MAX);
    // There are never more answers than were asked for and those that are remembered.
    let (answer, answers) = sync_channel(KNOWN_MAX);
    let work = move || {
        for (version, place) in asked {
            let hash = match place {
                Place::Executable(link) => executable(&link, version, bytes_max),
                Place::File(paths) => file(&paths, version, bytes_max),
            };
            if answer.send((version, hash)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("hashes".to_owned()).spawn(work).ok()?;
    Some(Worker { asks, answers })
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
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const MAX: u64 = 64 << 20;

    /// A `/proc` whose only process runs this.
    fn proc(program: &[u8]) -> (tempfile::TempDir, u64) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("7")).unwrap();
        let file = root.path().join("program");
        fs::write(&file, program).unwrap();
        symlink(&file, root.path().join("7/exe")).unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        (root, inode)
    }

    fn eventually(hashes: &mut Hashes, root: &Path, inode: u64) -> Option<String> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(hash) = hashes.of_executable(root, 7, inode) {
                return Some(String::from_utf8(hash.to_vec()).unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    #[test]
    fn what_runs_is_hashed_in_each_of_its_versions() {
        let (root, inode) = proc(b"abc");
        let mut hashes = Hashes::new(MAX);
        // The example of FIPS 180.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(eventually(&mut hashes, root.path(), inode).as_deref(), Some(abc));
        assert_eq!(hashes.known.len(), 1);
        fs::write(root.path().join("program"), b"abcd").unwrap();
        assert_ne!(eventually(&mut hashes, root.path(), inode).as_deref(), Some(abc));
        assert_eq!(hashes.known.len(), 2);
    }

    #[test]
    fn another_file_than_the_one_that_was_executed_is_not() {
        let (root, inode) = proc(b"abc");
        let mut hashes = Hashes::new(MAX);
        assert!(hashes.of_executable(root.path(), 7, inode + 1).is_none());
        assert!(hashes.of_executable(root.path(), 8, inode).is_none());
        assert!(hashes.known.is_empty());
    }

    /// What the kernel would tell of a file.
    fn record(file: &Path) -> FileRecord {
        let stat = fs::metadata(file).unwrap();
        let ns = |seconds: i64, nanoseconds: i64| seconds * 1_000_000_000 + nanoseconds;
        FileRecord {
            inode: stat.ino(),
            size: stat.size(),
            dev: rustix::fs::major(stat.dev()) << 20 | rustix::fs::minor(stat.dev()),
            mtime_ns: ns(stat.mtime(), stat.mtime_nsec()),
            ctime_ns: ns(stat.ctime(), stat.ctime_nsec()),
            ..FileRecord::default()
        }
    }

    #[test]
    fn a_renamed_file_is_hashed_if_it_is_still_the_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, b"abc").unwrap();
        let of = |hashes: &mut Hashes, record: &FileRecord, name: &str| {
            let told = Told { record, path: name.as_bytes(), host_path: None };
            let start = Instant::now();
            loop {
                let hash = hashes.of_file(&root.path().join("proc"), root.path(), told);
                // While it is asked for there is no answer; then there is one, if only that there is none.
                let is_decided = hashes.worker.is_none() || start.elapsed() > Duration::from_millis(300);
                if hash.is_some() || is_decided {
                    return hash.map(|hash| String::from_utf8(hash.to_vec()).unwrap());
                }
                thread::sleep(Duration::from_millis(5));
            }
        };
        let mut hashes = Hashes::new(MAX);
        let written = record(&path);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(&mut hashes, &written, "/file").as_deref(), Some(abc));
        // Known without the file.
        fs::write(&path, b"abcd").unwrap();
        assert_eq!(of(&mut hashes, &written, "/file").as_deref(), Some(abc));
        // Another one has the name now.
        let changed = FileRecord { inode: written.inode, size: 3, ..record(&path) };
        assert_eq!(of(&mut hashes, &changed, "/file"), None);
        let other = FileRecord { inode: written.inode + 1, ..record(&path) };
        assert_eq!(of(&mut hashes, &other, "/file"), None);
        symlink("file", root.path().join("link")).unwrap();
        assert_eq!(of(&mut hashes, &record(&path), "/link"), None);
        assert_eq!(of(&mut Hashes::new(0), &record(&path), "/file"), None);
    }

    #[test]
    fn nothing_is_hashed_above_the_limit() {
        let (root, inode) = proc(b"abc");
        assert!(Hashes::new(2).of_executable(root.path(), 7, inode).is_none());
        let mut off = Hashes::new(0);
        assert!(off.of_executable(root.path(), 7, inode).is_none());
        assert!(off.worker.is_none());
    }

    #[test]
    fn many_new_programs_cannot_make_the_sensor_wait() {
        let start = Instant::now();
        let mut allowance = Allowance { left: WAIT_SAVED_MAX, since: start };
        let mut waited = Duration::ZERO;
        // Each waits as long as it may, without end.
        for turn in 0..10_000 {
            let now = start + Duration::from_micros(turn * 100) + waited;
            let allowed = allowance.at(now);
            allowance.spend(allowed);
            waited += allowed;
        }
        assert!(waited < Duration::from_millis(160), "{waited:?}");
    }

    #[test]
    fn a_reader_that_hangs_holds_nothing_up() {
        let mut hashes = Hashes::new(MAX);
        let (asks, _asked) = sync_channel(1);
        let (_answer, answers) = sync_channel(1);
        hashes.worker = Some(Worker { asks, answers });
        let start = Instant::now();
        for _ in 0..50 {
            let (root, inode) = proc(b"abc");
            assert!(hashes.of_executable(root.path(), 7, inode).is_none());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
