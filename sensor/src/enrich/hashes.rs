//! Hashes of executables: `process.hash.sha256`.
//!
//! A thread of its own hashes each version of a file once. The first record of a version waits for it a little, so that
//! the first run of a program has its hash as well; all waiting together stays below a share of the time, whatever is
//! executed, so that nobody keeps the sensor from reading by running many new programs. What comes later than that is
//! there for the next run.
//!
//! Missed: what is larger than the limit, what lies on a file system whose answers can be held back, what was executed
//! by a process that was gone before it could be asked for, scripts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use sensor_ecs::Text;

use crate::hash::{self, Limits};
use crate::open;

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
type Ask = (Version, PathBuf);
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
    known: HashMap<Version, Option<Text>>,
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
            known: HashMap::new(),
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
        self.worker.as_ref()?.asks.try_send((version, link)).ok()?;
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
        for (version, link) in asked {
            let hash = sha256(&link, version, bytes_max);
            if answer.send((version, hash)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("hashes".to_owned()).spawn(work).ok()?;
    Some(Worker { asks, answers })
}

/// The hash, if the file is and stays the one that is meant.
fn sha256(link: &Path, version: Version, bytes_max: u64) -> Option<Text> {
    let held = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_meant = || {
        rustix::fs::statx(&held, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .is_ok_and(|stat| Version::of(&stat) == version)
    };
    if !is_meant() {
        return None;
    }
    let mut opened = open::held_regular(&held).ok()?;
    let limits = Limits { bytes: bytes_max, deadline: Instant::now() + HASHING_MAX };
    let hash = hash::sha256(&mut opened.file, limits, |_| {}).ok()?.ok()?;
    is_meant().then(|| Arc::from(hash.into_bytes()))
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
