//! Sinks that work, fail, recover and stay silent.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn quiet() -> Report {
    Box::new(|_| {})
}

fn file(path: impl Into<PathBuf>) -> Place {
    Place { target: Target::File(path.into()), rotation: Rotation::default() }
}

fn rotating(path: impl Into<PathBuf>, rotation: Rotation) -> Place {
    Place { rotation, ..file(path) }
}

/// An output that fails when told to.
#[derive(Clone, Default)]
struct Fickle {
    written: Arc<Mutex<Vec<u8>>>,
    failure: Arc<Mutex<Option<i32>>>,
    attempts: Arc<AtomicUsize>,
    bytes_per_write_max: usize,
}

impl Output for Fickle {}

impl io::Write for Fickle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if let Some(errno) = *lock(&self.failure) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let bytes = &bytes[..bytes.len().min(self.bytes_per_write_max)];
        lock(&self.written).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn fickle(failure: Option<i32>) -> (Fickle, Sink, Arc<Mutex<Vec<String>>>) {
    let output = Fickle { bytes_per_write_max: 7, ..Fickle::default() };
    *lock(&output.failure) = failure;
    let said = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&said);
    let report: Report = Box::new(move |text| lock(&into).push(text.to_owned()));
    let sink = Sink::start(output.clone(), "the sink".to_owned(), Role::Tell, 64, report).unwrap();
    (output, sink, said)
}

#[test]
fn lines_are_appended_in_order_to_a_file_of_mode_0640() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    for run in 0..2 {
        let sink = Sink::open(&file(&path), quiet()).unwrap();
        for line in 0..1000 {
            assert!(sink.line(|out| out.extend_from_slice(format!("{run} {line}").as_bytes())));
        }
        assert_eq!(sink.close(), Totals { written: 1000, ..Totals::default() });
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let expected: String =
        (0..2).flat_map(|run| (0..1000).map(move |line| format!("{run} {line}\n"))).collect();
    assert_eq!(text, expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
}

#[test]
fn a_symbolic_link_is_refused_and_its_target_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    std::fs::write(&target, "precious").unwrap();
    symlink(&target, &link).unwrap();
    let error = Sink::open(&file(&link), quiet()).err().unwrap().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    symlink(directory.path().join("nowhere"), directory.path().join("dangling")).unwrap();
    assert!(Sink::open(&file(directory.path().join("dangling")), quiet()).is_err());
    assert!(!directory.path().join("nowhere").exists());
}

#[test]
fn a_missing_directory_and_a_directory_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such");
    let error = Sink::open(&file(missing.join("events")), quiet()).err().unwrap().to_string();
    assert!(error.ends_with(&format!("the directory {} does not exist", missing.display())), "{error}");
    let error = Sink::open(&file(directory.path()), quiet()).err().unwrap().to_string();
    assert!(error.to_lowercase().contains("is a directory"), "{error}");
}

#[test]
fn a_fifo_without_a_reader_does_not_hang_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let error = Sink::open(&file(&path), quiet()).err().unwrap().to_string();
    assert!(error.contains("fifo that nobody reads"), "{error}");
}

#[test]
fn a_torn_last_line_is_ended_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    std::fs::write(&path, "{\"half\":").unwrap();
    let sink = Sink::open(&file(&path), quiet()).unwrap();
    sink.line(|out| out.extend_from_slice(b"{}"));
    let _ = sink.close();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\":\n{}\n");
}

#[test]
fn a_full_disk_is_reported_once_counted_and_recovered_from() {
    let (output, sink, said) = fickle(Some(libc::ENOSPC));
    sink.line(|out| out.extend_from_slice(b"first"));
    wait_for(|| output.attempts.load(Ordering::SeqCst) >= 2);
    let kept = (0..20).filter(|_| sink.line(|out| out.extend_from_slice(b"0123456789"))).count();
    assert_eq!(kept, 5, "64 bytes hold five lines of eleven");
    assert_eq!(sink.totals(), Totals { dropped_full: 15, ..Totals::default() });
    assert!(sink.gauge().trouble().unwrap().contains("No space left"));
    *lock(&output.failure) = None;
    wait_for(|| sink.totals().written == 6);
    assert_eq!(sink.gauge().trouble(), None);
    assert!(sink.line(|out| out.extend_from_slice(b"after")));
    assert_eq!(sink.close(), Totals { written: 7, dropped_full: 15, dropped_failed: 0 });
    let expected = format!("first\n{}after\n", "0123456789\n".repeat(5));
    assert_eq!(String::from_utf8(lock(&output.written).clone()).unwrap(), expected);
    let said = lock(&said);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("No space left") && said[1].contains("15 lines were lost"), "{said:?}");
}

#[test]
fn a_closed_pipe_is_reported_once_and_every_line_counted() {
    let (_output, sink, said) = fickle(Some(libc::EPIPE));
    for count in 1..=4 {
        sink.line(|out| out.extend_from_slice(b"x"));
        wait_for(|| sink.totals().dropped_failed == count);
    }
    assert_eq!(sink.close(), Totals { dropped_failed: 4, ..Totals::default() });
    assert_eq!(lock(&said).len(), 1);
}

#[test]
fn an_output_that_never_works_does_not_hold_up_the_end() {
    let (_output, mut sink, _said) = fickle(Some(libc::ENOSPC));
    sink.line(|out| out.extend_from_slice(b"x"));
    let totals = sink.finish(Duration::from_millis(50));
    assert_eq!(totals, Totals { dropped_failed: 1, ..Totals::default() });
}

#[test]
fn a_slow_reader_is_waited_for_in_silence() {
    let (output, sink, said) = fickle(Some(libc::EAGAIN));
    sink.line(|out| out.extend_from_slice(b"x"));
    wait_for(|| output.attempts.load(Ordering::SeqCst) >= 3);
    *lock(&output.failure) = None;
    assert_eq!(sink.close(), Totals { written: 1, ..Totals::default() });
    assert!(lock(&said).is_empty());
}

#[test]
fn a_line_larger_than_the_buffer_is_dropped_and_counted() {
    let (_output, sink, _said) = fickle(None);
    assert!(!sink.line(|out| out.extend_from_slice(&[b'x'; 100])));
    assert!(sink.line(|out| out.extend_from_slice(b"y")));
    assert_eq!(sink.close(), Totals { written: 1, dropped_full: 1, dropped_failed: 0 });
}

#[test]
fn many_threads_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let sink = Sink::open(&file(&path), quiet()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5000).for_each(|_| assert!(sink.line(|out| out.extend_from_slice(b"line")))));
        }
    });
    assert_eq!(sink.close().written, 20_000);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "line\n".repeat(20_000));
}

/// Writes `lines` and reads what is left of the file and its former ones, newest first.
fn rotated(path: &std::path::Path, rotation: Rotation, lines: std::ops::Range<u32>) -> Vec<String> {
    let sink = Sink::open(&rotating(path, rotation), quiet()).unwrap();
    for line in lines.clone() {
        assert!(sink.line(|out| out.extend_from_slice(format!("{line:04}").as_bytes())));
    }
    assert_eq!(sink.close().written, u64::from(lines.end - lines.start));
    let mut names = vec![path.to_owned()];
    names.extend((1..9).map(|number| PathBuf::from(format!("{}.{number}", path.display()))));
    names.iter().map_while(|name| std::fs::read_to_string(name).ok()).collect()
}

#[test]
fn a_file_that_has_grown_enough_is_begun_anew_at_a_records_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("e.ndjson");
    let rotation = Rotation { bytes_max: Some(12), age_max: None, keep: 2 };
    let files = rotated(&path, rotation, 0..7);
    assert_eq!(
        files,
        ["0006\n", "0004\n0005\n", "0002\n0003\n"],
        "twelve bytes hold two lines; the oldest is gone"
    );
    // What a run before left counts.
    assert_eq!(rotated(&path, rotation, 7..9), ["0008\n", "0006\n0007\n", "0004\n0005\n"]);
    // A record that is longer than all of it has a file of its own.
    let sink = Sink::open(&rotating(&path, rotation), quiet()).unwrap();
    sink.line(|out| out.extend_from_slice(&[b'x'; 40]));
    let _ = sink.close();
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 41);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
}

#[test]
fn a_file_that_is_old_enough_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("e.ndjson");
    let aged = |age| Rotation { bytes_max: None, age_max: Some(age), keep: 3 };
    assert_eq!(rotated(&path, aged(Duration::from_secs(3600)), 0..2), ["0000\n0001\n"]);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(rotated(&path, aged(Duration::from_millis(50)), 2..3), ["0002\n", "0000\n0001\n"]);
}

#[test]
fn a_file_that_cannot_be_begun_anew_goes_on_and_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("e.ndjson");
    // A directory with something in it cannot be replaced.
    std::fs::create_dir_all(directory.path().join("e.ndjson.1/x")).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&said);
    let report: Report = Box::new(move |text| lock(&into).push(text.to_owned()));
    let rotation = Rotation { bytes_max: Some(6), age_max: None, keep: 1 };
    let sink = Sink::open(&rotating(&path, rotation), report).unwrap();
    for _ in 0..20 {
        assert!(sink.line(|out| out.extend_from_slice(b"0123")));
    }
    assert_eq!(sink.close().written, 20);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 100);
    let said = lock(&said);
    assert!(said.len() == 1 && said[0].contains("cannot be begun anew"), "{said:?}");
}

#[test]
fn a_file_that_somebody_else_moved_away_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("e.ndjson"), directory.path().join("moved"));
    let rotation = Rotation { bytes_max: Some(6), age_max: None, keep: 1 };
    let sink = Sink::open(&rotating(&path, rotation), quiet()).unwrap();
    sink.line(|out| out.extend_from_slice(b"01234"));
    wait_for(|| sink.totals().written == 1);
    std::fs::rename(&path, &moved).unwrap();
    sink.line(|out| out.extend_from_slice(b"56789"));
    let _ = sink.close();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "56789\n");
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "01234\n");
    assert!(!directory.path().join("e.ndjson.1").exists());
}

#[test]
fn a_file_that_is_moved_or_removed_is_made_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.ndjson");
    let sink = Sink::open(&file(&path), quiet()).unwrap();
    let written = |line: &str| {
        sink.line(|out| out.extend_from_slice(line.as_bytes()));
        wait_for(|| std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with(&format!("{line}\n"))));
    };
    written("first");
    std::fs::remove_file(&path).unwrap();
    written("second");
    std::fs::rename(&path, directory.path().join("alerts.ndjson.1")).unwrap();
    written("third");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    // Another file with the name is appended to, a link is not followed.
    let others = directory.path().join("others");
    std::fs::write(&others, "others\n").unwrap();
    std::fs::rename(&others, &path).unwrap();
    written("fourth");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "others\nfourth\n");
    let target = directory.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    sink.line(|out| out.extend_from_slice(b"fifth"));
    wait_for(|| sink.totals().written == 5);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "");
}
