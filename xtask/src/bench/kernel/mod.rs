//! `cargo xtask bench kernel`: what the sensor costs the machine that it watches.
//!
//! In a virtual machine whose clock counts instructions, so that figures repeat on a noisy host. Everything that is
//! compared runs in one boot. Memory and bursts are measured in another, on two processors and with a real clock.

mod figures;
mod report;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::setup::{self, kernels::KernelId};
use crate::vm::{self, Extra, Outcome, Spec, Streams};
use crate::{ebpf, paths};
use report::Report;

const COSTS_LIMIT: Duration = Duration::from_secs(1_500);
const LOADS_LIMIT: Duration = Duration::from_secs(900);
const BATCHES: u32 = 15;
const BATCHES_QUICK: u32 = 5;
const CONFIGS_QUICK: &str = "nothing,empty_programs,sensor";
const EXECS: u32 = 100_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel to boot (kernel)
    #[arg(long, default_value_t = KernelId::newest())]
    kernel: KernelId,
    /// Measure only these: names as in the table, with commas (kernel)
    #[arg(long, value_name = "LIST")]
    configs: Option<String>,
    /// Measure only these operations: names as in the table, with commas (kernel)
    #[arg(long, value_name = "LIST")]
    workloads: Option<String>,
    /// One more argument of `sensor run` (kernel)
    #[arg(long = "sensor-arg", value_name = "ARG", allow_hyphen_values = true)]
    sensor_args: Vec<String>,
    /// Leave out memory and bursts (kernel)
    #[arg(long)]
    costs_only: bool,
    /// Only where the instructions go: those of each eBPF program (kernel)
    #[arg(long, conflicts_with_all = ["costs_only", "loads_only"])]
    programs: bool,
    /// Only memory and bursts (kernel)
    #[arg(long, conflicts_with = "costs_only")]
    loads_only: bool,
}

/// Measures, prints the table, and returns the lines with the figures.
pub(super) fn run(options: &Options, quick: bool) -> Result<String> {
    let mut report = Report::default();
    let extras = guest(&mut report)?;
    if options.programs {
        let (configs, workloads) = (options.configs.as_deref(), options.workloads.as_deref());
        let mut command = words(&["programs", configs.unwrap_or("sensor"), workloads.unwrap_or("all")]);
        command.extend(options.sensor_args.iter().map(OsString::from));
        let spec = Spec {
            icount: true,
            mem_mib: 2_048,
            timeout: COSTS_LIMIT,
            ..Spec::new(options.kernel, extras, command)
        };
        report.take(&boot(&spec)?)?;
        return Ok(String::new());
    }
    if !options.loads_only {
        let batches = if quick { BATCHES_QUICK } else { BATCHES };
        let configs = options.configs.as_deref().unwrap_or(if quick { CONFIGS_QUICK } else { "all" });
        let workloads = options.workloads.as_deref().unwrap_or("all");
        let mut command = words(&["costs", &batches.to_string(), configs, workloads]);
        command.extend(options.sensor_args.iter().map(OsString::from));
        let spec = Spec {
            icount: true,
            mem_mib: 2_048,
            timeout: COSTS_LIMIT,
            ..Spec::new(options.kernel, extras.clone(), command)
        };
        report.take(&boot(&spec)?)?;
    }
    if !options.costs_only && (!quick || options.loads_only) {
        let mut command = words(&["loads", &EXECS.to_string()]);
        command.extend(options.sensor_args.iter().map(OsString::from));
        for command in [command, words(&["latency"])] {
            let spec = Spec::new(options.kernel, extras.clone(), command);
            report.take(&boot(&Spec { mem_mib: 1_024, timeout: LOADS_LIMIT, ..spec })?)?;
        }
    }
    println!("\nkernel {}\n{report}", options.kernel);
    let figures = figures::of(&report);
    print!("{figures}");
    Ok(figures)
}

fn words(words: &[&str]) -> Vec<OsString> {
    std::iter::once("/usr/bin/sensor-bench").chain(words.iter().copied()).map(OsString::from).collect()
}

fn guest(report: &mut Report) -> Result<Vec<Extra>> {
    let mut extras = vm::guest_files(true)?;
    let floor = ebpf::build_floor()?;
    let bench = ebpf::binary("sensor-bench", true)?;
    let mut add = |guest: &str, host: PathBuf| extras.push(Extra { guest: guest.to_owned(), host });
    add("/usr/bin/sensor-bench", bench);
    add("/usr/share/sensor-bench/floor.o", floor);
    match corpus()? {
        Some(rules) => add("/usr/share/sensor-bench/corpus", rules),
        None => report.skip("sensor_corpus: no development corpus (set SENSOR_TEST_DATA)"),
    }
    match setup::ensure_peers() {
        Ok(programs) => {
            for program in programs {
                let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
                add(&format!("/usr/bin/{name}"), program);
            }
        }
        Err(error) => report.skip(&format!("inotifywait, bpftrace: {error:#}")),
    }
    Ok(extras)
}

fn corpus() -> Result<Option<PathBuf>> {
    let data = match std::env::var_os("SENSOR_TEST_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => paths::root()?.join("../shared/data"),
    };
    let rules = data.join("corpus/rules");
    Ok(rules.is_dir().then_some(rules))
}

/// Boots the machine and returns what its command said.
pub(super) fn boot(spec: &Spec) -> Result<String> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let stdout = Kept(Arc::clone(&kept));
    let outcome = vm::boot(spec, Streams { stdout: Box::new(stdout), stderr: Box::new(io::stderr()) })?;
    let text = String::from_utf8_lossy(&kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    match outcome {
        Outcome::Exited(0) => Ok(text),
        Outcome::Exited(code) => bail!("the measurement ended with status {code}"),
        Outcome::Failed(why) => bail!(why),
    }
}

/// Shows the output as it comes, and keeps it.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
