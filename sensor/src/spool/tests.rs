//! Outages, kills, full disks, damage.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::*;

/// The smallest spool.
const BYTES_MIN: u64 = SEGMENTS_MIN * SEGMENT_BYTES_MIN;

fn open(folder: &Path) -> Spool {
    let (spool, note) = Spool::open(folder, BYTES_MIN).unwrap();
    assert_eq!(note, None);
    spool
}

fn text(number: u64) -> String {
    format!("{{\"number\":{number},\"filling\":\"{}\"}}", "x".repeat((number % 700) as usize))
}

/// Appends until it is full; says how many there are.
fn fill(spool: &mut Spool) -> u64 {
    let mut number = spool.next;
    while spool.append(text(number).as_bytes()).unwrap() {
        number += 1;
    }
    number
}

/// Takes and checks everything that waits.
fn check_all(spool: &mut Spool, from: u64, to: u64) {
    let mut expected = from;
    loop {
        let records = spool.take(7, 1 << 20).unwrap();
        let Some(last) = records.last() else { break };
        for record in &records {
            assert_eq!(record.number, expected);
            assert_eq!(record.bytes, text(expected).into_bytes());
            expected += 1;
        }
        spool.done(last.number).unwrap();
    }
    assert_eq!(expected, to);
    assert_eq!(spool.waiting(), 0);
}

#[test]
fn what_fits_comes_out_in_order_and_what_does_not_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    assert!(count > 500, "{count}");
    assert_eq!(spool.totals(), SpoolTotals { taken: count, dropped_full: 1, ..SpoolTotals::default() });
    assert!(!spool.append(&vec![b'x'; SEGMENT_BYTES_MIN as usize]).unwrap());
    assert_eq!(spool.totals().dropped_large, 1);
    check_all(&mut spool, 0, count);
    // What is done makes room, without end.
    for _ in 0..5 {
        let from = spool.next;
        let to = fill(&mut spool);
        assert!(to - from > 100);
        check_all(&mut spool, from, to);
    }
    let bytes: u64 =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= BYTES_MIN + 64, "{bytes}");
}

#[test]
fn another_run_goes_on_where_the_last_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    assert!(Spool::open(folder.path(), BYTES_MIN).is_err(), "it is in use");
    let records = spool.take(150, 1 << 20).unwrap();
    spool.done(records.get(99).unwrap().number).unwrap();
    drop(spool);
    let mut spool = open(folder.path());
    assert_eq!(spool.waiting(), count - 100);
    check_all(&mut spool, 100, count);
    drop(spool);
    let mut spool = open(folder.path());
    assert_eq!((spool.waiting(), spool.next), (0, count));
    spool.append(text(count).as_bytes()).unwrap();
    check_all(&mut spool, count, count + 1);
}

#[test]
fn a_bound_that_was_changed_holds_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    drop(spool);
    let (mut spool, _) = Spool::open(folder.path(), 3 * BYTES_MIN).unwrap();
    let more = fill(&mut spool);
    assert!(more > 2 * count, "{count} {more}");
    drop(spool);
    let mut spool = open(folder.path());
    assert!(!spool.append(&[b'x'; 60_000]).unwrap());
    check_all(&mut spool, 0, more);
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(spool.live.len() + spool.free.len(), spool.segments_max);
}

/// Where each file's records begin, in the order of filling.
fn segments(spool: &Spool) -> Vec<PathBuf> {
    spool.live.iter().map(|segment| segment.path.clone()).collect()
}

#[test]
fn half_a_record_at_the_end_is_none() {
    for cut in [1, 7, 8, 20] {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        for number in 0..10 {
            spool.append(text(number).as_bytes()).unwrap();
        }
        let (path, end) = (segments(&spool).remove(0), spool.live.back().unwrap().end);
        drop(spool);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xee; cut], end - cut as u64).unwrap();
        let mut spool = open(folder.path());
        assert_eq!(spool.next, 9);
        spool.append(text(9).as_bytes()).unwrap();
        check_all(&mut spool, 0, 10);
    }
}

#[test]
fn damage_in_the_middle_is_counted_to_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    let following = spool.live.get(1).unwrap().header.first;
    let path = segments(&spool).remove(0);
    drop(spool);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 4], segment::HEADER_BYTES + RECORD_OVERHEAD + 2).unwrap();
    let mut spool = open(folder.path());
    check_all(&mut spool, following, count);
    assert_eq!(spool.totals().damaged, following);
    // A file without a header is nothing at all: its records are missed by their numbers.
    drop(spool);
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    fs::write(segments(&spool).remove(0), b"").unwrap();
    drop(spool);
    let mut spool = open(folder.path());
    check_all(&mut spool, following, count);
    assert_eq!(spool.totals().damaged, following);
}

#[test]
fn damage_under_our_hands_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path());
    for number in 0..10 {
        spool.append(text(number).as_bytes()).unwrap();
    }
    let file = File::options().write(true).open(segments(&spool).remove(0)).unwrap();
    file.write_all_at(&[0xff; 4], segment::HEADER_BYTES).unwrap();
    assert_eq!(spool.take(100, 1 << 20).unwrap(), []);
    assert_eq!((spool.totals().damaged, spool.waiting()), (10, 0));
    spool.append(text(10).as_bytes()).unwrap();
    check_all(&mut spool, 10, 11);
}

#[test]
fn garbage_in_the_folder_is_no_record_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("position"), b"garbage").unwrap();
    fs::write(folder.path().join("00000.spool"), vec![0xff; 100_000]).unwrap();
    fs::write(folder.path().join("00001.spool"), b"SNSPOOL1").unwrap();
    fs::create_dir(folder.path().join("00002")).unwrap();
    let mut spool = open(folder.path());
    let count = fill(&mut spool);
    check_all(&mut spool, 0, count);
}

/// Where a child process appends until it is killed.
const CHILD: &str = "SENSOR_TEST_SPOOL";

#[test]
fn a_kill_loses_nothing_that_was_taken() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let mut spool = open(Path::new(&folder));
        let said = File::options().append(true).create(true).open(Path::new(&folder).join("said")).unwrap();
        while spool.append(text(spool.next).as_bytes()).unwrap() {
            // What has been said is what must be there.
            use std::io::Write as _;
            (&said).write_all(b".").unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    for round in 1..=3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::tests::a_kill_loses_nothing_that_was_taken", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while fs::metadata(&said).map_or(0, |said| said.len()) < round * 50
            && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let count = fs::metadata(&said).unwrap().len();
    let mut spool = open(folder.path());
    // The one that was under way at each kill may have been taken unsaid.
    let taken = spool.next;
    assert!((count..=count + 3).contains(&taken), "{count} said, {taken} taken");
    check_all(&mut spool, 0, taken);
}
