//! What `/proc` says about a process: the time that it ran, the memory that it holds.

use std::fs;

use anyhow::{Context, Result};

/// Nanoseconds on a processor of all threads of a process that live.
pub(crate) fn runtime_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))? {
        let path = task?.path().join("schedstat");
        // A thread that ended meanwhile takes its time with it; watchers do not end theirs while they are measured.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        sum += first.parse::<u64>().with_context(|| format!("{}: {text:?}", path.display()))?;
    }
    Ok(sum)
}

/// Nanoseconds on a processor of the children of a process that have ended, in steps of a clock tick.
pub(crate) fn children_ns(pid: u32) -> Result<u64> {
    const TICK_NS: u64 = 10_000_000;
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Ok(ticks.sum::<u64>() * TICK_NS)
}

/// Resident KiB of a process, but for what it maps of eBPF maps: the ring's pages are the kernel's.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/smaps")).with_context(|| format!("no process {pid}"))?;
    let (mut sum, mut counts) = (0, true);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") if counts => {
                sum +=
                    words.next().and_then(|word| word.parse::<u64>().ok()).context("Rss without a number")?;
            }
            Some(word) if word.contains('-') && !word.ends_with(':') => {
                counts = !line.contains("anon_inode:bpf")
            }
            _ => {}
        }
    }
    Ok(sum)
}
