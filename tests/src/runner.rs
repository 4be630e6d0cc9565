//! Runs the cases one by one, each in a process of its own, and sums them up.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ctx::Ctx;
use crate::live;
use crate::sensor::{Kind, Process, SHARED_VARIABLE};

/// What became of a test that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Passed,
    /// It could not be tried here, and why.
    Skipped(String),
    /// It needs data that is not part of the project.
    NoData(String),
}

/// One live test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Says the behaviour.
    pub name: &'static str,
    /// Fails with what was wrong.
    pub run: fn(&Ctx) -> Result<Outcome>,
}

/// Exit status of a case that was skipped; its reason is the last line that it printed.
const SKIPPED: u8 = 77;
/// The same for a case that has no data: no reason to fail, wherever it runs.
const NO_DATA: u8 = 78;
const CASE_LIMIT: Duration = Duration::from_secs(400);

/// Where the shared sensors write.
const SHARED_DIR: &str = "/run/livetest";

#[derive(Default)]
struct Options {
    required: bool,
    filters: Vec<String>,
    left_out: Vec<String>,
}

/// The command line of `sensor-livetest`, without the actor's.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    let mut options = Options::default();
    let mut words = args.iter().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        match word.as_str() {
            "list" => {
                live::all().iter().for_each(|test| println!("{}", test.name));
                return Ok(ExitCode::SUCCESS);
            }
            "one" => return one(&words.next().context("one wants a name")?),
            "--required" => options.required = true,
            "--leave-out" => options.left_out.push(words.next().context("--leave-out wants a name")?),
            "--filter" => options.filters.push(words.next().context("--filter wants a text")?),
            other => bail!("unknown argument {other}"),
        }
    }
    all(&options)
}

/// Runs a single case in this very process.
fn one(name: &str) -> Result<ExitCode> {
    let test =
        live::all().into_iter().find(|test| test.name == name).with_context(|| format!("no test {name}"))?;
    match (test.run)(&Ctx::new(name)?)? {
        Outcome::Passed => Ok(ExitCode::SUCCESS),
        Outcome::Skipped(reason) => {
            println!("{reason}");
            Ok(ExitCode::from(SKIPPED))
        }
        Outcome::NoData(reason) => {
            println!("{reason}");
            Ok(ExitCode::from(NO_DATA))
        }
    }
}

fn all(options: &Options) -> Result<ExitCode> {
    let (mut passed, mut failed, mut skipped) = (0_u32, 0_u32, 0_u32);
    let wanted = |test: &Test| {
        let asked = options.filters.is_empty()
            || options.filters.iter().any(|text| test.name.contains(text.as_str()));
        asked && !options.left_out.iter().any(|name| test.name == name)
    };
    let mut shared = Shared::default();
    for test in live::all().into_iter().filter(wanted) {
        shared.keep_alive();
        let start = Instant::now();
        let verdict = case(test.name)?;
        let seconds = start.elapsed().as_secs_f32();
        match verdict {
            Verdict::Ok => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", test.name);
            }
            Verdict::NoData(reason) => {
                skipped += 1;
                println!("test {} ... skipped: {reason}", test.name);
            }
            Verdict::Skipped(reason) if !options.required => {
                skipped += 1;
                println!("test {} ... skipped: {reason}", test.name);
            }
            Verdict::Skipped(reason) => {
                failed += 1;
                println!("test {} ... FAILED: skipped where it is required: {reason}", test.name);
            }
            Verdict::Failed(why) => {
                failed += 1;
                println!("test {} ... FAILED ({seconds:.1} s)", test.name);
                why.lines().for_each(|line| println!("    {line}"));
            }
        }
    }
    println!("livetest: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The sensors that tests share, by kind.
#[derive(Default)]
struct Shared {
    running: Vec<(Kind, Process)>,
    failed_starts: u32,
}

impl Shared {
    /// Starts what does not run, at most so often in vain. What could not be started is told; the tests that need it
    /// then fail on their own.
    fn keep_alive(&mut self) {
        const FAILED_STARTS_MAX: u32 = 3;
        self.running.retain_mut(|(kind, process)| {
            let alive = process.is_alive().unwrap_or(false);
            if !alive {
                println!("the shared sensor ({kind:?}) ended by itself");
            }
            alive
        });
        let missing = [Kind::Shipped, Kind::SeeingAll]
            .into_iter()
            .filter(|kind| self.running.iter().all(|(running, _)| running != kind));
        // At the same time: the kernel's verifier takes seconds in an emulated machine.
        let starting: Vec<_> = missing
            .filter(|_| self.failed_starts < FAILED_STARTS_MAX)
            .map(|kind| (kind, thread::spawn(move || Process::start_shared(Path::new(SHARED_DIR), kind))))
            .collect();
        for (kind, handle) in starting {
            match handle.join() {
                Ok(Ok(process)) => self.running.push((kind, process)),
                Ok(Err(error)) => {
                    self.failed_starts += 1;
                    println!("the shared sensor ({kind:?}) did not start: {error:#}");
                }
                Err(_) => self.failed_starts += 1,
            }
        }
    }
}

enum Verdict {
    Ok,
    Skipped(String),
    NoData(String),
    Failed(String),
}

fn case(name: &str) -> Result<Verdict> {
    let (log, path) = {
        let path = env::temp_dir().join(format!("{name}.log"));
        (fs::File::create(&path)?, path)
    };
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["one", name])
        .env(SHARED_VARIABLE, SHARED_DIR)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // A group of its own, so that what the case left running ends with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > CASE_LIMIT {
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }
    drop(child.wait());
    let said = String::from_utf8_lossy(&fs::read(&path)?).trim().to_owned();
    Ok(match status {
        Some(status) if status.success() => Verdict::Ok,
        Some(status) if status.code() == Some(i32::from(SKIPPED)) => {
            Verdict::Skipped(said.lines().last().unwrap_or("no reason given").to_owned())
        }
        Some(status) if status.code() == Some(i32::from(NO_DATA)) => {
            Verdict::NoData(said.lines().last().unwrap_or("no reason given").to_owned())
        }
        Some(status) => Verdict::Failed(format!("{said}\n({status})")),
        None => Verdict::Failed(format!("{said}\n(stopped after {} s)", CASE_LIMIT.as_secs())),
    })
}
