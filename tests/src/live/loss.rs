//! What is delivered and what is said to be lost is what happened.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::tests;
use crate::ctx::{Ctx, Mount, act, ok};
use crate::runner::Outcome;
use crate::sensor::{ATTACH_VARIABLE, Kind, Run, Sensor};

tests![
    overload_is_told_kind_by_kind,
    renames_whose_return_the_kernel_leaves_out_are_told,
    programs_that_were_interrupted_by_themselves_are_told,
    what_is_missed_of_other_things_than_creations_is_no_loss,
    threads_that_fail_on_purpose_hide_nobody,
];

/// What the totals say where the kernel does not count.
const UNCOUNTED: &str = "are not counted by this kernel";
/// Gives a process another class of scheduling.
const CHRT: &str = "/usr/bin/chrt";

/// Of one kind, as the totals tell.
fn lost(run: &Run, kind: &str) -> Result<u64> {
    let line = run.stderr.lines().rfind(|line| line.starts_with("lost ")).context("no totals")?;
    let (_, kinds) = line.split_once(':').unwrap_or_default();
    let (kinds, _) = kinds.split_once('(').unwrap_or((kinds, ""));
    let count = kinds.split(',').find_map(|item| item.trim().strip_prefix(kind)?.trim().parse().ok());
    Ok(count.unwrap_or(0))
}

fn lost_in_all(run: &Run) -> Result<u64> {
    let line = run.stderr.lines().rfind(|line| line.starts_with("lost ")).context("no totals")?;
    let text = line.trim_start_matches("lost").trim_start();
    let number = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    number.parse().with_context(|| format!("no number in {line:?}"))
}

/// Programs that did not run, of all kinds.
fn missed(run: &Run) -> u64 {
    let said = run.stderr.rsplit_once("programs that did not run ").map(|(_, rest)| rest);
    let digits = said.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn seen(run: &Run, actions: &[&str]) -> u64 {
    run.events.iter().filter(|doc| actions.iter().any(|action| doc.is("event.action", action))).count() as u64
}

/// Every lost record is in a gap, and nothing else is missing.
fn gaps_tell_all(run: &Run) -> Result<()> {
    let gaps: Vec<_> = run.events.iter().filter(|doc| doc.is("event.kind", "pipeline_error")).collect();
    let mut told = 0;
    for gap in &gaps {
        gap.expect(&[("event.action", "gap"), ("data_stream.dataset", "sensor.gap")])?;
        told += gap.get("sensor.gap.lost").and_then(serde_json::Value::as_u64).context("no number")?;
        let uncounted = gap.get("sensor.gap.uncounted").is_some();
        ensure!(
            uncounted == run.stderr.contains(UNCOUNTED),
            "what is not counted is not told alike: {gap:?}"
        );
    }
    let lost = lost_in_all(run)?;
    ensure!(told == lost, "{lost} are lost, {told} of them in {} gaps:\n{}", gaps.len(), run.stderr);
    ensure!(!run.stderr.contains("unaccounted"), "not all is accounted for:\n{}", run.stderr);
    Ok(())
}

fn signal(sensor: &Sensor, signal: Signal) -> Result<()> {
    let pid = i32::try_from(sensor.pid()?).ok().and_then(Pid::from_raw).context("no such process")?;
    Ok(kill_process(pid, signal)?)
}

/// The reader is held up until the ring has overflowed, by each kind of record in turn.
fn overload_is_told_kind_by_kind(ctx: &Ctx) -> Result<Outcome> {
    const FILES: u64 = 1_500;
    const EXECS: u64 = 60;
    let store = ctx.scratch().join("store");
    let args = ["--no-self-test", "--ring-bytes", "131072", "--store", &store.display().to_string()]
        .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let sensor = Sensor::start_own_with(ctx, Kind::SeeingAll, &args)?;
    let (made, renamed) = (ctx.dir("made")?, ctx.dir("renamed")?);
    signal(&sensor, Signal::STOP)?;
    let files = FILES.to_string();
    let mut acted = vec![
        act(&["execs", "/usr/bin/true", &EXECS.to_string()]).status(),
        act(&["create-many", &made.display().to_string(), &files]).status(),
        act(&["rename-many", &renamed.display().to_string(), &files]).status(),
    ];
    signal(&sensor, Signal::CONT)?;
    // It goes on: what is delivered now shows the holes before it.
    acted.push(act(&["execs", "/usr/bin/true", &EXECS.to_string()]).status());
    for status in acted {
        ensure!(status?.success(), "an actor failed");
    }
    let run = sensor.stop()?;
    gaps_tell_all(&run)?;
    let (stored, lost_there) = (fs::read_to_string(store.join("coverage.ndjson"))?, lost_in_all(&run)?);
    let events = |line: &str| -> Option<u64> {
        serde_json::from_str::<serde_json::Value>(line).ok()?.pointer("/gap/events")?.as_u64()
    };
    let told: u64 = stored.lines().filter_map(events).sum();
    ensure!(told == lost_there, "{lost_there} are lost, the store knows of {told}:\n{stored}");
    let wanted = [
        ("file_create", seen(&run, &["creation", "mkdir", "link", "symlink", "mknod"]), FILES + 1 + 2),
        ("file_rename", seen(&run, &["rename"]), FILES),
        ("exec", seen(&run, &["exec"]), 2 * EXECS + 4),
    ];
    for (kind, seen, happened) in wanted {
        let lost = lost(&run, kind)?;
        // Where everything can be interrupted, programs may have been left out that had nothing to report.
        ensure!(
            (happened..=happened + missed(&run)).contains(&(seen + lost)),
            "{kind}: {happened} happened, {seen} were delivered, {lost} said to be lost:\n{}",
            run.stderr
        );
    }
    ensure!(
        lost(&run, "file_create")? > 0 && lost(&run, "file_rename")? > 0,
        "nothing is lost:\n{}",
        run.stderr
    );
    Ok(Outcome::Passed)
}

/// The kernel remembers a few calls of a function with a program at its return, and leaves the others out.
fn renames_whose_return_the_kernel_leaves_out_are_told(ctx: &Ctx) -> Result<Outcome> {
    const AT_ONCE: u64 = 48;
    let chosen = std::env::var(ATTACH_VARIABLE);
    let args: &[&str] = if chosen.is_ok() { &[] } else { &["--attach", "kprobe"] };
    let sensor = Sensor::start_own_with(ctx, Kind::SeeingAll, args)?;
    let dir = ctx.dir("held")?;
    let said = ok(&mut act(&["rename-held", &dir.display().to_string(), &AT_ONCE.to_string()]))?.stdout;
    let count: u64 = said.trim().parse().context("no count")?;
    let run = sensor.stop()?;
    gaps_tell_all(&run)?;
    let (seen, lost) = (seen(&run, &["rename"]), lost(&run, "file_rename")?);
    ensure!(
        seen + lost == count,
        "{count} happened, {seen} were delivered, {lost} said to be lost:\n{}",
        run.stderr
    );
    let by_return = chosen.is_err() || chosen.is_ok_and(|mode| mode == "kprobe");
    ensure!(!by_return || lost > 0, "nothing was left out, so nothing is shown:\n{}", run.stderr);
    println!("{lost} of {count} were left out");
    Ok(Outcome::Passed)
}

/// Under full preemption a process can be interrupted inside a program by another that comes to the same place on the
/// same CPU: the kernel does not run the program a second time there, and only counts.
fn programs_that_were_interrupted_by_themselves_are_told(ctx: &Ctx) -> Result<Outcome> {
    preempted(ctx, interrupted)
}

/// The program that sees a file's name come to be runs for every pipe, too.
fn what_is_missed_of_other_things_than_creations_is_no_loss(ctx: &Ctx) -> Result<Outcome> {
    preempted(ctx, interrupted_by_others)
}

fn preempted(ctx: &Ctx, show: fn(&Ctx) -> Result<Outcome>) -> Result<Outcome> {
    const HOW: &str = "/sys/kernel/debug/sched/preempt";
    if !Path::new(CHRT).exists() {
        return Ok(Outcome::Skipped(format!("the machine has no {CHRT}")));
    }
    let before = fs::read_to_string(HOW).ok().and_then(|text| {
        let (_, rest) = text.split_once('(')?;
        rest.split_once(')').map(|(mode, _)| mode.to_owned())
    });
    let realtime = fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() == "1");
    if before.is_some() {
        fs::write(HOW, "full")?;
    } else if !realtime {
        return Ok(Outcome::Skipped("this kernel cannot be made preemptible".to_owned()));
    }
    let outcome = show(ctx);
    if let Some(before) = before {
        fs::write(HOW, before)?;
    }
    outcome
}

fn interrupted(ctx: &Ctx) -> Result<Outcome> {
    const BUSY: u64 = 800;
    const PACED: u64 = 200;
    const ROUNDS_MAX: u64 = 30;
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    let (low, high) = (ctx.dir("low")?.display().to_string(), ctx.dir("high")?.display().to_string());
    let by_probe = std::env::var(ATTACH_VARIABLE).as_deref() == Ok("kprobe");
    let mut happened = 0;
    for _ in 0..ROUNDS_MAX {
        on_one_cpu(["rename-paced", &low, &BUSY.to_string()], ["rename-paced", &high, &PACED.to_string()])?;
        happened += BUSY + PACED;
        // Probes do not let their processor go.
        if by_probe || is_told(ctx)? {
            break;
        }
    }
    let run = sensor.stop()?;
    gaps_tell_all(&run)?;
    let (seen, lost) = (seen(&run, &["rename"]), lost(&run, "file_rename")?);
    println!("{lost} of {happened} were left out or lost");
    let account =
        format!("{happened} happened, {seen} were delivered, {lost} said to be lost:\n{}", run.stderr);
    if run.stderr.contains(UNCOUNTED) {
        // Probes are left out where the sensor itself was interrupted while it read its counters: this kernel tells
        // nobody, and that is what is said.
        ensure!(seen + lost <= happened, account);
        return Ok(Outcome::Passed);
    }
    ensure!(seen + lost == happened, account);
    ensure!(by_probe || run.stderr.contains("programs that did not run"), "none was interrupted:\n{account}");
    Ok(Outcome::Passed)
}

fn interrupted_by_others(ctx: &Ctx) -> Result<Outcome> {
    const BUSY: u64 = 200;
    const PACED: u64 = 50;
    const ROUNDS_MAX: u64 = 30;
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    let (low, high) = (ctx.dir("low")?.display().to_string(), ctx.dir("high")?.display().to_string());
    let (busy, paced) = (BUSY.to_string(), PACED.to_string());
    let by_probe = std::env::var(ATTACH_VARIABLE).as_deref() == Ok("kprobe");
    let mut happened = 0;
    for _ in 0..ROUNDS_MAX {
        on_one_cpu(["create-paced", &low, &busy], ["pipe-paced", &high, &paced])?;
        on_one_cpu(["create-paced", &low, &busy], ["create-paced", &high, &paced])?;
        happened += BUSY + BUSY + PACED;
        if by_probe || recursion_misses(sensor.pid()?)? > 0 {
            break;
        }
    }
    let left_out = recursion_misses(sensor.pid()?)?;
    let run = sensor.stop()?;
    gaps_tell_all(&run)?;
    let created = |dir: &str| {
        let docs = run.files(&format!("{dir}/"));
        docs.iter().filter(|doc| doc.is("event.action", "creation")).count() as u64
    };
    let (seen, lost) = (created(&low) + created(&high), lost(&run, "file_create")?);
    println!("{left_out} runs were left out, {lost} of {happened} were lost");
    let account =
        format!("{happened} happened, {seen} were delivered, {lost} said to be lost:\n{}", run.stderr);
    ensure!(by_probe || left_out > 0, "none was interrupted:\n{account}");
    if run.stderr.contains(UNCOUNTED) {
        ensure!(seen + lost <= happened, account);
    } else {
        ensure!(seen + lost == happened, account);
    }
    Ok(Outcome::Passed)
}

/// Runs two actors on one CPU; the second interrupts the first.
fn on_one_cpu(busy: [&str; 3], other: [&str; 3]) -> Result<()> {
    let actor = |words: &[&str], actor: [&str; 3], pause_us: &str| {
        let mut command = Command::new("/usr/bin/taskset");
        command.arg("2").args(words).args([crate::ctx::ACTOR, "act"]).args(actor).arg(pause_us);
        command
    };
    at_once(&mut [&mut actor(&[], busy, "0"), &mut actor(&[CHRT, "-f", "50"], other, "100")])
}

/// What the kernel has left out of the programs that a process holds.
fn recursion_misses(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors come and go.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let count = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
        sum += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// What a thread is about to do is remembered in one of so many places, also when it fails and the thread lives on. Who comes
/// when all are taken is seen all the same, and whoever loses a place to it counts as lost.
fn threads_that_fail_on_purpose_hide_nobody(ctx: &Ctx) -> Result<Outcome> {
    const THREADS: u64 = 4_500;
    const FILES: u64 = 200;
    // Most places are taken, not all: a single one may find a free one.
    const PROCESSES: u64 = 10;
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    let (full, made) = (ctx.dir("full")?, ctx.dir("made")?.display().to_string());
    let _full = Mount::new("tmpfs", "nr_inodes=1", "full", &full)?;
    let mut command = act(&["fail-in-threads", &full.display().to_string(), &THREADS.to_string()]);
    let mut failing = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(failing.stdout.as_mut().context("no pipe")?).read_line(&mut said)?;
    ensure!(said.trim() == THREADS.to_string(), "not all have failed: {said}");
    for process in 0..PROCESSES {
        let dir = format!("{made}/{process}");
        fs::create_dir(&dir)?;
        ok(&mut act(&["create-many", &dir, &(FILES / PROCESSES).to_string()]))?;
    }
    drop(failing.stdin.take());
    ensure!(failing.wait()?.success(), "the actor failed");
    let run = sensor.stop()?;
    gaps_tell_all(&run)?;
    let created = run.events.iter().filter(|doc| {
        doc.get("file.path").and_then(serde_json::Value::as_str).is_some_and(|path| path.starts_with(&made))
    });
    let created = created.count() as u64;
    ensure!(created >= FILES, "{created} of {FILES} are seen:\n{}", run.stderr);
    let lost = lost(&run, "file_create")?;
    ensure!(lost > 0 && lost <= THREADS, "{lost} of those that failed count as lost:\n{}", run.stderr);
    Ok(Outcome::Passed)
}

/// Runs actors that wait for a word when they are ready, until all have ended.
fn at_once(actors: &mut [&mut Command]) -> Result<()> {
    let start = |actor: &mut &mut Command| actor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut running = actors.iter_mut().map(start).collect::<io::Result<Vec<_>>>()?;
    for child in &mut running {
        let mut said = [0];
        child.stdout.as_mut().context("no pipe")?.read_exact(&mut said).context("an actor is not ready")?;
    }
    running.iter_mut().for_each(|child| drop(child.stdin.take()));
    for mut child in running {
        ensure!(child.wait()?.success(), "an actor failed");
    }
    Ok(())
}

/// Whether the stream tells of a gap, at the latest when the counters have been compared once more.
fn is_told(ctx: &Ctx) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if fs::read_to_string(ctx.scratch().join("events.ndjson"))?.contains("program_missed") {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}
