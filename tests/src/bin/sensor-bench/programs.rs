//! Where the instructions go that an operation costs inline: the kernel's own account of each eBPF program.
//!
//! `program NAME WORKLOAD INSTRUCTIONS RUNS`, both of one operation; the account itself is not in it, nor is what calls
//! the program. Where the clock does not count instructions they are nanoseconds.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context, Result, bail, ensure};

use crate::EXCLUDED;
use crate::watch::Config;
use crate::work;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Of one program: nanoseconds that it ran, and how often.
type Ran = (u64, u64);

/// `CONFIGS|all WORKLOADS|all [SENSOR ARGUMENT]...`
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let [configs, workloads, extra @ ..] = args else { bail!("programs CONFIGS WORKLOADS") };
    let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
    let wanted = |list: &str, name: &str| list == "all" || list.split(',').any(|word| word == name);
    fs::copy(std::env::current_exe()?, EXCLUDED)?;
    let sensors = [Config::Sensor, Config::SensorWithCorpus];
    for config in sensors.into_iter().filter(|config| wanted(configs, config.name())) {
        let watcher = config.start(&extra)?.context("nothing was started")?;
        println!("value {}_ready_after {}", config.name(), watcher.ready_after.as_secs_f64());
        fs::write(SWITCH, "1").context(SWITCH)?;
        for workload in work::ALL.iter().filter(|workload| wanted(workloads, workload.name)) {
            let before = all()?;
            let status =
                std::process::Command::new(EXCLUDED).args(["work", workload.name, "1", "0"]).output()?;
            ensure!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
            // Once for the caches and once measured; the programs count both.
            let ops = 2 * workload.ops as u64;
            for (name, (ns, runs)) in all()? {
                let (ns_before, runs_before) = before.get(&name).copied().unwrap_or_default();
                let each = |now: u64, before: u64| (now - before) as f64 / ops as f64;
                if runs > runs_before {
                    let (ns, runs) = (each(ns, ns_before), each(runs, runs_before));
                    println!("program {} {} {name} {ns:.0} {runs:.2}", config.name(), workload.name);
                }
            }
        }
        fs::write(SWITCH, "0").context(SWITCH)?;
        watcher.stop()?;
    }
    Ok(())
}

/// Every program that is loaded, by name; names have fifteen bytes.
fn all() -> Result<BTreeMap<String, Ran>> {
    let mut all = BTreeMap::new();
    for program in aya::programs::loaded_programs() {
        let program = program?;
        let name = program.name_as_str().unwrap_or_default().to_owned();
        let fd = program.fd()?;
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
        let number = |key: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let ran: &mut Ran = all.entry(name).or_default();
        ran.0 += number("run_time_ns:");
        ran.1 += number("run_cnt:");
    }
    Ok(all)
}
