//! Versions of files that are hashed once, and what keeps them from it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

const MAX: u64 = 64 << 20;

fn ran(pid: u32, inode: u64) -> Ran<'static> {
    Ran { pid, dev: 0, inode, path: None, version: None }
}

/// A `/proc` whose only process runs this.
fn proc(program: &[u8]) -> (tempfile::TempDir, u64) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("7")).unwrap();
    let file = root.path().join("program");
    fs::write(&file, program).unwrap();
    symlink(&file, root.path().join("7/exe")).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    grow_old(&file);
    (root, inode)
}

/// Until a hash of it is remembered.
fn grow_old(file: &Path) {
    let told = record(file);
    while Version::told(told.dev, told.inode, told.size, told.mtime_ns, told.ctime_ns).is_fresh() {
        thread::sleep(Duration::from_millis(5));
    }
}

fn eventually(hashes: &mut Hashes, root: &Path, ran: Ran<'_>) -> Option<String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(hash) = hashes.of_executable(root, ran) {
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
    assert_eq!(eventually(&mut hashes, root.path(), ran(7, inode)).as_deref(), Some(abc));
    assert_eq!(hashes.known.len(), 1);
    fs::write(root.path().join("program"), b"abcd").unwrap();
    assert_ne!(eventually(&mut hashes, root.path(), ran(7, inode)).as_deref(), Some(abc));
    assert_eq!(hashes.known.len(), 2);
}

#[test]
fn an_executable_is_found_by_its_name_if_it_is_still_the_one() {
    let (root, inode) = proc(b"abc");
    let dev = record(&root.path().join("program")).dev;
    let hashes = Hashes::new(MAX).below(root.path());
    let found = |path: &str, ran: Ran<'_>| hashes.version_by_path(path.as_bytes(), ran).is_some();
    let it = Ran { dev, ..ran(7, inode) };
    assert!(found("/program", it));
    assert!(
        !found("/program", Ran { inode: inode + 1, ..it }) && !found("/program", Ran { dev: dev + 1, ..it })
    );
    // No link is followed, and nothing outside is looked at.
    assert!(!found("/7/exe", it) && !found("/nothing", it) && !found("", it));
    let elsewhere = Hashes::new(MAX).below(Path::new("/nowhere"));
    assert!(elsewhere.version_by_path(b"/program", it).is_none());
    // The process need not be there any more.
    let gone = Ran { pid: 8, path: Some(b"/program"), ..it };
    let mut hashes = Hashes::new(MAX).below(root.path());
    let abc = eventually(&mut Hashes::new(MAX), root.path(), ran(7, inode));
    assert!(abc.is_some());
    assert_eq!(eventually(&mut hashes, root.path(), gone), abc);
}

#[test]
fn what_has_run_before_is_known_by_its_record() {
    let (root, inode) = proc(b"abc");
    let told = record(&root.path().join("program"));
    let version = |ctime_ns| Version::told(told.dev, told.inode, told.size, told.mtime_ns, ctime_ns);
    let mut hashes = Hashes::new(MAX);
    let first = eventually(&mut hashes, root.path(), ran(7, inode));
    assert!(first.is_some());
    // Nothing can be looked up of this one.
    let of = |hashes: &mut Hashes, version| {
        let gone = Ran { version: Some(version), ..ran(8, inode) };
        hashes.of_executable(root.path(), gone).map(|hash| String::from_utf8(hash.to_vec()).unwrap())
    };
    assert_eq!(of(&mut hashes, version(told.ctime_ns)), first);
    assert_eq!(of(&mut hashes, version(told.ctime_ns + 1)), None);
}

#[test]
fn another_file_than_the_one_that_was_executed_is_not() {
    let (root, inode) = proc(b"abc");
    let mut hashes = Hashes::new(MAX);
    assert!(hashes.of_executable(root.path(), ran(7, inode + 1)).is_none());
    assert!(hashes.of_executable(root.path(), ran(8, inode)).is_none());
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
    grow_old(&path);
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
    assert!(Hashes::new(2).of_executable(root.path(), ran(7, inode)).is_none());
    let mut off = Hashes::new(0);
    assert!(off.of_executable(root.path(), ran(7, inode)).is_none());
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
    hashes.worker = Some(Worker { asks, answers, open: 0 });
    let start = Instant::now();
    for _ in 0..50 {
        let (root, inode) = proc(b"abc");
        assert!(hashes.of_executable(root.path(), ran(7, inode)).is_none());
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// On kernels whose times of change move once in a tick, two contents can have the same version.
#[test]
fn a_hash_made_in_the_tick_of_the_change_holds_once() {
    let mut hashes = Hashes::new(1 << 20);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    for (changed, again) in [(now_ns + FRESH, None), (now_ns - 2 * FRESH, Some(Some("hash")))] {
        let version = Version::told(1, 2, 3, changed, changed);
        assert!(version.is_fresh_at(changed + 10_000_000) && !version.is_fresh_at(changed + 20_000_000));
        let answer = Answer { version, hash: Some((*b"hash").into()), is_fresh: version.is_fresh() };
        remember(&mut hashes.known, &mut hashes.fresh, answer);
        let again = again.map(|hash: Option<&str>| hash.map(|hash| hash.as_bytes().into()));
        assert_eq!(hashes.remembered(version), again);
    }
    assert!(hashes.fresh.is_empty());
}
