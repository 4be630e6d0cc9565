//! `cargo xtask bench hunt`: ten million stored file events, and one question, asked of the store, of DuckDB on the same
//! files and of a SQLite table of the same rows. And what it costs the sensor to keep its events.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::kernels::KernelId;
use crate::vm::{self, Extra, Spec};
use crate::{cmd, ebpf, paths, setup};

const EVENTS: u32 = 10_000_000;
const EVENTS_QUICK: u32 = 1_000_000;
/// Of each engine in turn, so that what else the machine does meets both.
const ROUNDS: u32 = 4;
/// Long enough for the log to be sealed twice.
const LOAD_SECONDS: u32 = 120;
const LOAD_SECONDS_QUICK: u32 = 60;
const VM_LIMIT: Duration = Duration::from_secs(1_800);

/// Measures, prints the table, and returns the lines with the figures.
pub(super) fn run(quick: bool) -> Result<String> {
    let mut figures = String::new();
    let mut figure = |name: &str, value: f64| figures.push_str(&format!("figure {name} {value}\n"));
    let storing = storing(if quick { LOAD_SECONDS_QUICK } else { LOAD_SECONDS })?;
    let of = |name: &str| storing.get(name).copied().with_context(|| format!("the guest did not say {name}"));
    figure("store_cpu_at_1000_events_per_s", of("with_cpu")? - of("without_cpu")?);
    figure("store_added_memory", of("with_rss")? - of("without_rss")?);

    let work = tempfile::Builder::new().prefix("bench-hunt-").tempdir_in(paths::target()?)?;
    let (store, table) = (work.path().join("store"), work.path().join("events.sqlite"));
    let events = if quick { EVENTS_QUICK } else { EVENTS };
    let made = bench(&["make", &text(&store), &events.to_string()])?;
    figure("ingest", value(&made, "ingest")?);
    figure("disk_after_compaction", value(&made, "disk")?);
    let python = setup::ensure_readers()?;
    let script = paths::root()?.join("sensor-hunt/benches/hunt/duckdb_ask.py");
    let (mut ours, mut theirs, mut memory) = (f64::MAX, f64::MAX, 0.0_f64);
    for _ in 0..ROUNDS {
        let asked = bench(&["ask", &text(&store)])?;
        ours = ours.min(value(&asked, "wall")?);
        memory = memory.max(value(&asked, "memory")?);
        let asked = told(Command::new(&python).arg(&script).arg(&store))?;
        theirs = theirs.min(value(&asked, "wall")?);
    }
    figure("seed_query_time_over_duckdb", ours / theirs);
    figure("seed_query_peak_memory", memory);
    drop(fs::remove_dir_all(&store));
    bench(&["sqlite", &text(&table), &events.to_string()])?;
    Ok(figures)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn bench(args: &[&str]) -> Result<String> {
    let mut cargo = cmd::cargo();
    cargo.args(["bench", "--quiet", "--package", "sensor-hunt", "--bench", "hunt", "--"]).args(args);
    told(cargo.current_dir(paths::root()?))
}

/// Runs it, shows what it says, and returns it.
fn told(command: &mut Command) -> Result<String> {
    let said = cmd::stdout(command)?;
    said.lines().filter(|line| !line.starts_with("value ")).for_each(|line| println!("{line}"));
    Ok(said)
}

/// The number of a line `value NAME NUMBER`.
fn value(said: &str, name: &str) -> Result<f64> {
    let prefix = format!("value {name} ");
    let number = said.lines().find_map(|line| line.strip_prefix(&prefix));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("it did not say {name}:\n{said}"))
}

/// The sensor with a store and without, in a machine whose clock counts instructions.
fn storing(seconds: u32) -> Result<BTreeMap<String, f64>> {
    let mut extras = vm::guest_files(true)?;
    extras.push(Extra { guest: vm::HUNT.to_owned(), host: ebpf::build_hunt()? });
    extras
        .push(Extra { guest: "/usr/bin/sensor-bench".to_owned(), host: ebpf::binary("sensor-bench", true)? });
    let command = ["/usr/bin/sensor-bench", "store", &seconds.to_string()].map(OsString::from).to_vec();
    let spec = Spec {
        icount: true,
        mem_mib: 2_048,
        timeout: VM_LIMIT,
        ..Spec::new(KernelId::newest(), extras, command)
    };
    let said = super::kernel::boot(&spec)?;
    let mut values = BTreeMap::new();
    for line in said.lines() {
        if let ["value", name, number] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
            values.insert((*name).to_owned(), number.parse::<f64>().with_context(|| line.to_owned())?);
        }
    }
    if values.is_empty() {
        bail!("the guest measured nothing:\n{said}");
    }
    println!(
        "a sensor that keeps 1,000 events/s, at one instruction a nanosecond (with a store; without one):"
    );
    for (what, unit) in
        [("events_per_s", ""), ("cpu", " %"), ("sealing_cpu", " %"), ("rss", " MiB"), ("sealing_rss", " MiB")]
    {
        let of = |which: &str| values.get(&format!("{which}_{what}")).copied().unwrap_or(f64::NAN);
        println!("  {what:<14}{:>9.2}{unit}; {:.2}{unit}", of("with"), of("without"));
    }
    Ok(values)
}
