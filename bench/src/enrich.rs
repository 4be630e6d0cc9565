//! What a record costs until it is an event, and an event until it is a document: `cargo xtask bench enrich`.
//!
//! One thread, records of readable sizes. A time is the best of many rounds. That a file event makes no system call is
//! shown by the kernel: it ends a thread that makes any but `read`, `write` and `exit` after it said that it would not.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{SecureComputingMode, set_secure_computing_mode};
use sensor::bench::Enriching;

const ROUNDS: usize = 50;
const FILE_EVENTS: usize = 2_000;
const EXECS: u32 = 2_000;
const DOCUMENTS: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::temp_dir().join(format!("sensor-bench-{}", std::process::id()));
    std::fs::create_dir(&root)?;
    let done = measure(&root);
    std::fs::remove_dir_all(&root)?;
    done
}

fn measure(root: &Path) -> Result<(), Box<dyn Error>> {
    let mut enriching = Enriching::new(root, 1)?;
    // For a profiler: so many file events, and nothing else.
    if let Some(number) = std::env::args().nth(1) {
        for _ in 0..number.parse::<u64>()? {
            assert!(black_box(enriching.file_event()));
        }
        return Ok(());
    }
    let file = best(|| {
        for _ in 0..FILE_EVENTS {
            assert!(black_box(enriching.file_event()));
        }
        FILE_EVENTS
    });
    println!("figure file_event_of_known_process {file:.1}");
    let counted = allocation_counter::measure(|| {
        for _ in 0..FILE_EVENTS {
            black_box(enriching.file_event());
        }
    });
    println!("figure file_event_allocations {}", counted.count_total as f64 / FILE_EVENTS as f64);
    println!("figure file_event_syscalls {}", if makes_no_system_call(root)? { 0 } else { 1 });

    let mut exec = f64::MAX;
    for _ in 0..ROUNDS / 5 {
        let mut enriching = Enriching::new(root, EXECS)?;
        let start = Instant::now();
        for _ in 0..EXECS {
            assert!(black_box(enriching.exec_record()));
        }
        exec = exec.min(start.elapsed().as_nanos() as f64 / f64::from(EXECS));
    }
    println!("figure exec_record {:.3}", exec / 1e3);

    let mut enriching = Enriching::new(root, ROUNDS as u32)?;
    let (mut out, mut bytes) = (Vec::with_capacity(64 << 10), 0);
    let document = best(|| {
        enriching.exec_documents(DOCUMENTS, &mut out, |out| {
            bytes = black_box(&*out).len();
            out.clear();
        });
        DOCUMENTS
    });
    println!("an exec document has {bytes} bytes");
    println!("figure exec_document_json {:.3}", document / 1e3);
    Ok(())
}

/// Nanoseconds for each of what a round says that it did.
fn best(mut round: impl FnMut() -> usize) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let number = round();
        best = best.min(start.elapsed().as_nanos() as f64 / number as f64);
    }
    best
}

/// How long the confined thread may take; it needs milliseconds.
const CONFINED_MAX: Duration = Duration::from_secs(20);

fn makes_no_system_call(root: &Path) -> Result<bool, Box<dyn Error>> {
    let mut enriching = Enriching::new(root, 1)?;
    let (confined, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (tell_confined, tell_done) = (Arc::clone(&confined), Arc::clone(&done));
    // Never joined: it ends when it makes the first system call, its last in order included.
    thread::spawn(move || {
        // What is allocated once.
        enriching.file_event();
        if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
            return;
        }
        tell_confined.store(true, Ordering::SeqCst);
        for _ in 0..FILE_EVENTS {
            black_box(enriching.file_event());
        }
        tell_done.store(true, Ordering::SeqCst);
    });
    let start = Instant::now();
    while start.elapsed() < CONFINED_MAX && !done.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
    if !confined.load(Ordering::SeqCst) {
        return Err("the kernel confines nothing".into());
    }
    Ok(done.load(Ordering::SeqCst))
}
