//! Much at once: no wrong path, no wrong process, nothing that grows, no complaint of the kernel.

use std::env;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::tests;
use crate::ctx::{Ctx, act, container_root};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Kind, Run, Sensor};

tests![stress_ends_with_no_wrong_path_and_no_wrong_process];

/// Set to run longer than an ordinary test does.
const SECONDS_VARIABLE: &str = "SENSOR_LIVETEST_STRESS_SECONDS";
const SECONDS: u64 = 8;
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// So that pids come around every few seconds; the least that the kernel accepts lies above 300.
const FEW_PIDS: &str = "700";
const LEFT_KIB_MAX: u64 = 1024;
const FREED_WITHIN: Duration = Duration::from_secs(60);
const GROWTH_KIB_MAX: u64 = 16 * 1024;

fn stress_ends_with_no_wrong_path_and_no_wrong_process(ctx: &Ctx) -> Result<Outcome> {
    let seconds = env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let pid_max = fs::read_to_string(PID_MAX)?;
    let (warnings, maps) = (kernel_warnings()?, bpf_memory_kib()?);
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    let resident = resident_kib(sensor.pid()?)?;
    fs::write(PID_MAX, FEW_PIDS)?;
    let said = act_all(ctx, seconds);
    fs::write(PID_MAX, pid_max.trim())?;
    let grown = resident_kib(sensor.pid()?)?.saturating_sub(resident);
    let run = sensor.stop()?;
    let said = said?;

    let Said { moving, programs, mounts } = &said;
    println!("{seconds} s: files and moves {moving}, programs {programs}, mounts {mounts}, {grown} KiB more");
    paths(ctx, &run)?;
    processes(&run)?;
    let is_whole = run.stderr.lines().any(|line| line.starts_with("lost       0"));
    if is_whole {
        let made: u64 =
            said.moving.split_whitespace().next().and_then(|word| word.parse().ok()).context("no count")?;
        let seen = names(&run, "file-").len() as u64;
        ensure!(seen == made, "{made} files were made between moves, {seen} are told");
    }
    ensure!(!run.stderr.contains("unaccounted"), "not all is accounted for:\n{}", run.stderr);
    ensure!(grown < GROWTH_KIB_MAX, "the sensor has grown by {grown} KiB");
    given_back(maps)?;
    let new = kernel_warnings()?;
    ensure!(new.len() <= warnings.len(), "the kernel complains:\n{}", new.join("\n"));
    Ok(Outcome::Passed)
}

/// What the actors said that they did.
struct Said {
    moving: String,
    programs: String,
    mounts: String,
}

fn act_all(ctx: &Ctx, seconds: u64) -> Result<Said> {
    let seconds = seconds.to_string();
    let dir = |name: &str| ctx.dir(name).map(|dir| dir.display().to_string());
    // Two copies of a shell: who has the pid of one must not be taken for the other.
    container_root(&ctx.dir("one")?)?;
    container_root(&ctx.dir("two")?)?;
    let shell = |name: &str| ctx.scratch().join(name).join("usr/bin/sh").display().to_string();
    let start = |words: &[&str]| -> Result<Child> {
        Ok(act(words).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?)
    };
    let moving = start(&["moving-parents", &dir("moving")?, &seconds])?;
    let programs = start(&["two-programs", &shell("one"), &shell("two"), &dir("by")?, &seconds])?;
    let mounts = start(&["mounts", &dir("mnt")?, &seconds])?;
    let said = |child: Child| -> Result<String> {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "an actor ended with {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(Said { moving: said(moving)?, programs: said(programs)?, mounts: said(mounts)? })
}

/// File events about names that begin so.
fn names<'r>(run: &'r Run, prefix: &str) -> Vec<&'r Doc> {
    let named = |doc: &&Doc| doc.text("file.name").is_some_and(|name| name.starts_with(prefix));
    run.events.iter().filter(|doc| doc.is("event.action", "creation")).filter(named).collect()
}

/// A path that is not marked is one that the file had at some time.
fn paths(ctx: &Ctx, run: &Run) -> Result<()> {
    let base = ctx.scratch().display().to_string();
    let (mut marked, mut whole) = (0, 0);
    for (prefix, parents) in [
        ("file-", [format!("{base}/moving/left/here"), format!("{base}/moving/right/there")].as_slice()),
        ("mounted-", [format!("{base}/mnt")].as_slice()),
        ("detached-", [].as_slice()),
    ] {
        let found = names(run, prefix);
        ensure!(!found.is_empty(), "no event about {prefix}");
        for doc in found {
            if doc.is("file.Ext.path_incomplete", "true") {
                marked += 1;
                continue;
            }
            whole += 1;
            let path = doc.text("file.path").context("a file event without a path")?;
            let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
            ensure!(
                parents.iter().any(|known| Some(known) == parent.as_ref()),
                "{path} never was the path of a file"
            );
        }
    }
    println!("{whole} paths whole, {marked} marked");
    Ok(())
}

/// Each file is named after the program that made it, and its pid.
fn processes(run: &Run) -> Result<()> {
    let made = names(run, "by-");
    ensure!(!made.is_empty(), "no program made a file");
    for doc in made {
        let name = doc.text("file.name").unwrap_or_default();
        let mut words = name.split('-').skip(1);
        let program = if words.next() == Some("0") { "/one/usr/bin/sh" } else { "/two/usr/bin/sh" };
        let pid = words.next().unwrap_or_default();
        doc.expect(&[("process.pid", pid)])?;
        let executable = doc.text("process.executable");
        ensure!(
            executable.as_ref().is_some_and(|executable| executable.ends_with(program))
                || (executable.is_none() && doc.get("process.Ext.degraded").is_some()),
            "{name} was made by {executable:?}"
        );
    }
    Ok(())
}

fn kernel_warnings() -> Result<Vec<String>> {
    let output = Command::new("/usr/bin/dmesg").output()?;
    let bad = ["WARNING:", "BUG:", "Oops", "general protection", "possible recursive locking"];
    // A virtual processor that its host let wait is no fault of anybody here.
    let is_bad = |line: &&str| !line.contains("soft lockup") && bad.iter().any(|word| line.contains(word));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter(is_bad).map(str::to_owned).collect())
}

/// The kernel frees maps and programs some time after their last user is gone.
fn given_back(before_kib: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let left = bpf_memory_kib()?.saturating_sub(before_kib);
        if left < LEFT_KIB_MAX {
            return Ok(());
        }
        ensure!(start.elapsed() < FREED_WITHIN, "{left} KiB more for maps and programs than before");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Memory of the kernel's that is not given back: of programs and maps.
fn bpf_memory_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmallocinfo")?;
    let bytes = text.lines().filter(|line| line.contains("bpf")).filter_map(|line| {
        let mut words = line.split_whitespace();
        words.nth(1)?.parse::<u64>().ok()
    });
    Ok(bytes.sum::<u64>() / 1024)
}

fn resident_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).context("no number")
}
