//! Runs inside the virtual machine: measures what watchers cost, prints lines that `cargo xtask bench kernel` reads.
//!
//! `row CONFIG WORKLOAD INLINE READER WALL`, `value NAME NUMBER`, `skipped WHAT: WHY`.

mod floor;
mod latency;
mod load;
mod process;
mod programs;
mod store;
mod watch;
mod work;

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use process::{resident_kib, runtime_ns};
use watch::Config;

/// The shipped rule leaves this program alone, so that what a match costs further on is not measured.
const EXCLUDED: &str = "/usr/bin/dpkg";
const IDLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["costs", rest @ ..] => costs(rest),
        ["loads", rest @ ..] => load::run(rest),
        ["latency"] => latency::run(),
        ["programs", rest @ ..] => programs::run(rest),
        ["store", rest @ ..] => store::run(rest),
        ["pace", seconds] => store::pace(seconds),
        ["work", name, batches, watcher] => work(name, batches, watcher),
        ["rename", dir, count] => load::rename_many(dir, count),
        ["floor", what, hooks @ ..] => floor(what, hooks),
        _ => Err(anyhow::anyhow!("costs, loads, latency, programs, store, work, rename, pace or floor")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn floor(what: &str, hooks: &[&str]) -> Result<()> {
    let hooks: Option<Vec<_>> = hooks
        .iter()
        .map(|hook| hook.split_once(':').map(|(target, mode)| (target.to_owned(), mode.to_owned())))
        .collect();
    floor::run(what == "record", &hooks.context("hooks are TARGET:MODE")?)
}

fn work(name: &str, batches: &str, watcher: &str) -> Result<()> {
    let watcher = watcher.parse::<u32>().ok().filter(|pid| *pid > 0);
    let cost = work::run(name, batches.parse()?, watcher)?;
    println!("{} {} {}", cost.inline, cost.reader, cost.wall);
    Ok(())
}

/// `BATCHES CONFIGS|all WORKLOADS|all [SENSOR ARGUMENT]...`: lists have commas.
fn costs(args: &[&str]) -> Result<()> {
    let [batches, configs, workloads, extra @ ..] = args else { bail!("costs BATCHES CONFIGS WORKLOADS") };
    let batches: usize = batches.parse().context("BATCHES is a number")?;
    let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
    let wanted = |list: &str, name: &str| list == "all" || list.split(',').any(|word| word == name);
    fs::copy(env::current_exe()?, EXCLUDED)?;
    for config in Config::ALL.into_iter().filter(|config| wanted(configs, config.name())) {
        if let Some(obstacle) = config.obstacle() {
            println!("skipped {}: {obstacle}", config.name());
            continue;
        }
        // A peer that does not start is told; the sensor and its floors must.
        let watcher = match config.start(&extra) {
            Ok(watcher) => watcher,
            Err(error) if matches!(config, Config::Inotifywait | Config::Bpftrace) => {
                println!("skipped {}: {}", config.name(), format!("{error:#}").replace('\n', " "));
                continue;
            }
            Err(error) => return Err(error),
        };
        let pid = watcher.as_ref().map(watch::Watcher::pid);
        for workload in work::ALL.iter().filter(|workload| wanted(workloads, workload.name)) {
            let mut command = Command::new(EXCLUDED);
            command.args(["work", workload.name, &batches.to_string(), &pid.unwrap_or(0).to_string()]);
            let output = command.output()?;
            if !output.status.success() {
                bail!("{}: {}", workload.name, String::from_utf8_lossy(&output.stderr));
            }
            let cost = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            println!("row {} {} {cost}", config.name(), workload.name);
        }
        if let Some(watcher) = watcher {
            if config == Config::Sensor {
                at_rest(&watcher)?;
            }
            for line in watcher.stop()?.lines().filter(|_| extra.iter().any(|word| word == "--verbose")) {
                println!("{} said: {line}", config.name());
            }
        }
    }
    Ok(())
}

/// What the sensor takes when nothing happens.
fn at_rest(watcher: &watch::Watcher) -> Result<()> {
    println!("value ready_after {}", watcher.ready_after.as_secs_f64());
    thread::sleep(Duration::from_secs(5));
    let before = runtime_ns(watcher.pid())?;
    thread::sleep(IDLE);
    let busy = runtime_ns(watcher.pid())? - before;
    println!("value idle_cpu {}", busy as f64 / IDLE.as_nanos() as f64 * 100.0);
    println!("value rss_after_workloads {}", resident_kib(watcher.pid())? as f64 / 1024.0);
    Ok(())
}
