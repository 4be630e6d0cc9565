//! What it costs the sensor to keep its events: the same load without a store and with one.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::EXCLUDED;
use crate::process::{children_ns, resident_kib, runtime_ns};
use crate::watch::{Config, Watcher};
use crate::work::WATCHED;

/// Recorded events a second.
const RATE: u32 = 1_000;
/// As programs do, some at a time.
const BURSTS: u32 = 100;
/// So that the table of processes and the buffers have grown.
const BEFORE: u32 = 5;
const STORE: &str = "/srv/bench-store";
const SEALER: &str = "sensor-hunt";

/// `SECONDS`
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let [seconds] = args else { anyhow::bail!("store SECONDS") };
    let seconds: u32 = seconds.parse().context("SECONDS is a number")?;
    fs::copy(std::env::current_exe()?, EXCLUDED)?;
    fs::create_dir_all(WATCHED)?;
    let store = ["--store", STORE].map(str::to_owned);
    for (name, extra) in [("without", [].as_slice()), ("with", store.as_slice())] {
        let watcher = Config::Sensor.start(extra)?.context("nothing was started")?;
        paced(BEFORE, &mut || Ok(()))?;
        let before = runtime_ns(watcher.pid())? + children_ns(watcher.pid())?;
        let (start, mut sealing_kib) = (Instant::now(), 0);
        paced(seconds, &mut || {
            sealing_kib = sealing_kib.max(peak_kib_of(SEALER)?);
            Ok(())
        })?;
        let took = start.elapsed();
        settled(&watcher)?;
        let busy = runtime_ns(watcher.pid())? + children_ns(watcher.pid())? - before;
        println!("value {name}_events_per_s {}", f64::from(seconds * RATE) / took.as_secs_f64());
        println!("value {name}_cpu {}", busy as f64 / took.as_nanos() as f64 * 100.0);
        println!(
            "value {name}_sealing_cpu {}",
            children_ns(watcher.pid())? as f64 / took.as_nanos() as f64 * 100.0
        );
        println!("value {name}_rss {}", resident_kib(watcher.pid())? as f64 / 1024.0);
        println!("value {name}_sealing_rss {}", sealing_kib as f64 / 1024.0);
        let said = watcher.stop()?;
        let told = |line: &&str| line.contains("stored") || line.contains("rename");
        said.lines().filter(told).for_each(|line| println!("{name}: {line}"));
        ensure!(!said.contains("could not be written"), "{said}");
    }
    Ok(())
}

/// Renames at an even pace; `look` is called ten times a second.
fn paced(seconds: u32, look: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let mut load = std::process::Command::new(EXCLUDED)
        .args(["pace", &seconds.to_string()])
        .spawn()
        .context("the load cannot be started")?;
    loop {
        look()?;
        if let Some(status) = load.try_wait()? {
            ensure!(status.success(), "the load ended with {status}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The load: one file, renamed from name to name in the watched directory.
pub(crate) fn pace(seconds: &str) -> Result<()> {
    let seconds: u32 = seconds.parse().context("SECONDS is a number")?;
    std::env::set_current_dir(WATCHED)?;
    let name = |number: u32| format!("package-{:04}.dpkg-new", number % 10_000);
    fs::write(name(0), "")?;
    let (start, mut number) = (Instant::now(), 0);
    for burst in 1..=seconds * BURSTS {
        for _ in 0..RATE / BURSTS {
            rustix::fs::rename(name(number), name(number + 1))?;
            number += 1;
        }
        let due = Duration::from_secs(1) * burst / BURSTS;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    fs::remove_file(name(number)).context("the file is gone")
}

/// Waits until what was recorded is committed and sealed: nothing of the sensor's runs any more.
fn settled(watcher: &Watcher) -> Result<()> {
    let mut quiet = 0;
    for _ in 0..240 {
        let before = runtime_ns(watcher.pid())?;
        thread::sleep(Duration::from_millis(500));
        let ran = runtime_ns(watcher.pid())? - before;
        quiet = if ran < 5_000_000 && peak_kib_of(SEALER)? == 0 { quiet + 1 } else { 0 };
        if quiet == 4 {
            return Ok(());
        }
    }
    anyhow::bail!("the sensor does not come to rest")
}

/// The most that a process of this name has held, in KiB; 0 if there is none.
fn peak_kib_of(name: &str) -> Result<u64> {
    let mut peak = 0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(comm) = fs::read_to_string(path.join("comm")) else { continue };
        if comm.trim_end() != name {
            continue;
        }
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0));
    }
    Ok(peak)
}
