//! Killed and cut off at any point: what was sealed stays whole, what was committed is there, each event once.
#![cfg(feature = "files")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests, helpers outside of test functions fail by panicking too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sensor_ecs::{Document, OpenSchema};
use sensor_store::{Encoder, Log, LogOptions, Options, Store, Writer};

const DAY_NS: i64 = 86_400_000_000_000;

fn rows(numbers: impl Iterator<Item = u64>) -> (Vec<u8>, u64) {
    let records = OpenSchema::new();
    let encoder = Encoder::new(&records);
    let mut document = Document::new();
    let (mut rows, mut count) = (Vec::new(), 0);
    for number in numbers {
        let json = format!(
            r#"{{"@timestamp":{},"event":{{"sequence":{number}}},"data_stream":{{"dataset":"endpoint.events.file"}},"file":{{"path":"/tmp/{number}"}}}}"#,
            1_768_003_200_000 + number
        );
        document.parse(json.as_bytes(), &records).unwrap();
        encoder.append(&document, &mut rows).unwrap();
        count += 1;
    }
    (rows, count)
}

/// The sequence numbers that a reader sees.
fn seen(root: &Path) -> Vec<u64> {
    let mut out = Vec::new();
    let parts = Store::open(root).unwrap().snapshot().unwrap();
    let take = &mut |line: &[u8]| {
        out.extend_from_slice(line);
        std::ops::ControlFlow::Continue(())
    };
    assert_eq!(sensor_store::export(&parts, i64::MIN, i64::MAX, take), Vec::<String>::new());
    let lines = std::str::from_utf8(&out).unwrap().lines();
    let mut all: Vec<u64> = lines
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["sequence"].as_u64().unwrap()
        })
        .collect();
    all.sort_unstable();
    all
}

fn each_once(all: &[u64]) {
    let unique: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(unique.len(), all.len(), "an event is there twice");
}

const CHILD: &str = "SENSOR_STORE_CRASH_CHILD";

/// Not a test of its own: what the killed process does. It says every number that it has committed.
#[test]
fn child() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let from: u64 = std::env::var("SENSOR_STORE_CRASH_FROM").unwrap().parse().unwrap();
    let options =
        LogOptions { close_bytes: 4_000, close_age: Duration::from_secs(3600), ..LogOptions::default() };
    let mut log = Log::open(&root, options).unwrap();
    let keeper_root = root.clone();
    std::thread::spawn(move || {
        loop {
            let (mut writer, _) =
                Writer::open(&keeper_root, Options { age_max: None, ..Options::default() }).unwrap();
            writer.keep(20_463 * DAY_NS).unwrap();
            drop(writer);
        }
    });
    for first in (from..).step_by(10) {
        let (rows, count) = rows(first..first + 10);
        log.commit(&rows, count, 0).unwrap();
        println!("committed {}", first + 9);
        log.turn(0).unwrap();
    }
}

#[test]
fn killed_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let started = Instant::now();
    let (mut next, mut kills, mut random) = (0_u64, 0, 0x9e37_79b9_u64);
    let rounds = std::env::var("SENSOR_STORE_KILLS").map_or(25, |text| text.parse().unwrap());
    while kills < rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, &root)
            .env("SENSOR_STORE_CRASH_FROM", next.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pause = Duration::from_micros(20_000 + random % 180_000);
        std::thread::sleep(pause);
        child.kill().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        // A line may be cut off; the number before it counts.
        let last = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok())
            .last();
        child.wait().unwrap();
        kills += 1;
        if root.join("MANIFEST.json").exists() {
            let all = seen(&root);
            each_once(&all);
            let committed = last.map_or(next, |last| last + 1);
            let missing = (0..committed).find(|number| all.binary_search(number).is_err());
            assert_eq!(missing, None, "after kill {kills}, an event that was committed is gone");
            next = all.last().map_or(0, |last| last + 1);
        }
    }
    let (mut writer, messages) =
        Writer::open(&root, Options { age_max: None, ..Options::default() }).unwrap();
    writer.compact(0).unwrap();
    drop(writer);
    let all = seen(&root);
    each_once(&all);
    assert_eq!(all.len() as u64, next);
    println!("{kills} kills, {next} events, none lost that was committed; {:?}", started.elapsed());
    println!("{} messages of torn ends", messages.len());
    assert!(next > 0);
}

#[test]
fn a_log_cut_off_at_any_byte_keeps_its_whole_frames() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut log = Log::open(&root, LogOptions::default()).unwrap();
    let mut ends = Vec::new();
    let path = root.join("wal/000000000001.wal");
    for first in [0, 5, 10] {
        let (rows, count) = rows(first..first + 5);
        log.commit(&rows, count, 0).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(log);
    let whole = fs::read(&path).unwrap();
    let mut cuts = 0;
    for cut in ends[0]..=ends[2] {
        fs::write(&path, &whole[..cut as usize]).unwrap();
        let expected = ends.iter().filter(|end| **end <= cut).count() as u64 * 5;
        assert_eq!(seen(&root), (0..expected).collect::<Vec<_>>(), "cut at {cut}");
        cuts += 1;
    }
    // A flipped bit in the last frame costs that frame.
    for at in (ends[1] as usize..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(seen(&root), (0..10).collect::<Vec<_>>(), "bit flipped at {at}");
        cuts += 1;
    }
    // The next sealing takes what is whole and says what is not.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (writer, messages) = Writer::open(&root, Options { age_max: None, ..Options::default() }).unwrap();
    drop(writer);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(seen(&root), (0..10).collect::<Vec<_>>());
    println!("{cuts} cuts and flips");
}

#[test]
fn a_file_cut_off_is_set_aside_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let options = Options { age_max: None, ..Options::default() };
    let (mut writer, _) = Writer::open(&root, options).unwrap();
    writer.import_rows(rows(0..100).0).unwrap();
    writer.import_rows(rows(100..200).0).unwrap();
    drop(writer);
    let store = Store::open(&root).unwrap();
    let day = root.join("dataset=endpoint.events.file/day=2026-01-10");
    let mut files: Vec<_> = fs::read_dir(&day).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let whole = fs::read(&files[0]).unwrap();
    for cut in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        fs::write(&files[0], &whole[..cut]).unwrap();
        let parts = store.snapshot().unwrap();
        let opened = parts.iter().filter(|part| part.open().is_ok()).count();
        assert_eq!((parts.len(), opened), (2, 1), "cut at {cut}");
    }
    let (writer, messages) = Writer::open(&root, options).unwrap();
    drop(writer);
    assert!(messages[0].contains("100 events are lost"), "{messages:?}");
    assert!(root.join("quarantine").read_dir().unwrap().next().is_some());
    assert_eq!(seen(&root), (100..200).collect::<Vec<_>>());
    assert_eq!(store.stat().unwrap().rows_damaged, 100);
}

#[test]
fn merging_keeps_every_event_and_makes_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let options = Options { age_max: None, ..Options::default() };
    let (mut writer, _) = Writer::open(&root, options).unwrap();
    for first in (0..2_000).step_by(100) {
        writer.import_rows(rows(first..first + 100).0).unwrap();
    }
    let store = Store::open(&root).unwrap();
    assert_eq!(store.stat().unwrap().datasets[0].files, 20);
    writer.compact(0).unwrap();
    let stat = store.stat().unwrap();
    assert_eq!((stat.datasets[0].files, stat.datasets[0].rows), (1, 2_000));
    assert_eq!(seen(&root), (0..2_000).collect::<Vec<_>>());
}

#[test]
fn only_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let log = Log::open(&root, LogOptions::default()).unwrap();
    assert!(Log::open(&root, LogOptions::default()).unwrap_err().to_string().contains("another process"));
    let (writer, _) = Writer::open(&root, Options::default()).unwrap();
    assert!(Writer::open(&root, Options::default()).unwrap_err().to_string().contains("another process"));
    drop((log, writer));
    Log::open(&root, LogOptions::default()).unwrap();
}

#[test]
fn an_export_leaves_out_what_is_damaged_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let (mut writer, _) = Writer::open(&root, Options::default()).unwrap();
    let event = |day: u32| {
        format!("{{\"@timestamp\":\"2026-01-0{day}T00:00:00Z\",\"data_stream\":{{\"dataset\":\"a\"}}}}\n")
    };
    let events: String = (1..=3).map(event).collect();
    writer.import(&mut events.as_bytes(), &mut |_| true).unwrap();
    drop(writer);
    let damaged = root.join("dataset=a/day=2026-01-02/000002.parquet");
    let len = fs::metadata(&damaged).unwrap().len();
    fs::OpenOptions::new().write(true).open(&damaged).unwrap().set_len(len - 9).unwrap();
    let parts = Store::open(&root).unwrap().snapshot().unwrap();
    let mut count = 0;
    let said = sensor_store::export(&parts, i64::MIN, i64::MAX, &mut |_| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(count, 2);
    assert!(said.len() == 1 && said[0].starts_with("1 events could not be read: "), "{said:?}");
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    drop(Log::open(&root, LogOptions::default()).unwrap());
    let path = root.join("MANIFEST.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"schema_version\":1", "\"schema_version\":9");
    fs::write(&path, text).unwrap();
    assert!(Store::open(&root).unwrap_err().to_string().contains("version 9"));
}
