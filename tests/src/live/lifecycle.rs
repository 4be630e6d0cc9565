//! What a sensor takes, and that it gives it back.

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::tests;
use crate::ctx::Ctx;
use crate::runner::Outcome;
use crate::sensor::{Kind, RULES, Sensor};

tests![loading_and_unloading_leaks_nothing, idle_memory_is_bounded];

/// How often; a machine that emulates takes seconds for each. `sensor-livetest one NAME` knows no limit in time.
const ROUNDS_VARIABLE: &str = "SENSOR_LIVETEST_ROUNDS";
const ROUNDS: u64 = 4;
/// What may be gone after any number of rounds: caches that grow once.
const GONE_KIB_MAX: u64 = 6 << 10;

/// Programs and maps that the kernel has; both linger until nobody can be in them.
fn loaded() -> (usize, usize) {
    (aya::programs::loaded_programs().flatten().count(), aya::maps::loaded_maps().flatten().count())
}

fn settled(wanted: (usize, usize)) -> (usize, usize) {
    let start = Instant::now();
    loop {
        let now = loaded();
        if now == wanted || start.elapsed() > Duration::from_secs(10) {
            return now;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the kernel holds for itself: other tests' files in memory are none of it.
fn kernel_kib() -> Result<u64> {
    fs::write("/proc/sys/vm/drop_caches", "2")?;
    let text = fs::read_to_string("/proc/meminfo")?;
    ["SUnreclaim:", "VmallocUsed:", "Percpu:"].iter().map(|name| field(&text, name)).sum()
}

/// The number of KiB behind a name.
fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("{name} is no number"))
}

fn loading_and_unloading_leaks_nothing(ctx: &Ctx) -> Result<Outcome> {
    let rounds = env::var(ROUNDS_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let before = loaded();
    let round = || -> Result<()> {
        let sensor = Sensor::start_with(ctx, &["--rules", RULES])?;
        let during = loaded();
        ensure!(during.0 > before.0 && during.1 > before.1, "nothing was loaded: {during:?}");
        sensor.stop()?;
        let after = settled(before);
        ensure!(after == before, "{after:?} programs and maps instead of {before:?}");
        Ok(())
    };
    // Not counted: what is set up once stays.
    round()?;
    let held = kernel_kib()?;
    for _ in 0..rounds {
        round()?;
    }
    // The kernel frees what maps held when it has time.
    let start = Instant::now();
    let gone = loop {
        let gone = kernel_kib()?.saturating_sub(held);
        if gone <= GONE_KIB_MAX || start.elapsed() > Duration::from_secs(20) {
            break gone;
        }
        thread::sleep(Duration::from_millis(200));
    };
    println!("{rounds} rounds: {before:?} programs and maps before and after, {gone} KiB more held");
    ensure!(gone <= GONE_KIB_MAX, "{gone} KiB more are held after {rounds} rounds");
    Ok(Outcome::Passed)
}

/// Beside the ring, which is mapped twice.
fn idle_memory_is_bounded(ctx: &Ctx) -> Result<Outcome> {
    const IDLE_KIB_MAX: u64 = 15 << 10;
    let sensor = Sensor::start_own(ctx, Kind::Shipped)?;
    let maps = fs::read_to_string(format!("/proc/{}/smaps", sensor.pid()?))?;
    let (mut resident, mut is_ring) = (0, false);
    for line in maps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !first.ends_with(':') {
            is_ring = line.contains("bpf-map");
        } else if first == "Rss:" && !is_ring {
            resident += field(line, "Rss:")?;
        }
    }
    println!("{resident} KiB beside the ring");
    ensure!(resident <= IDLE_KIB_MAX, "{resident} KiB beside the ring, {IDLE_KIB_MAX} are the limit");
    sensor.stop()?;
    Ok(Outcome::Passed)
}
