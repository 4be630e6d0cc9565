//! Live tests: in a virtual machine for each kernel, and what can be tried on this host's own.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::slice::Iter;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Totals, build_guest, host_sensor};
use crate::paths;
use crate::setup::kernels::KernelId;
use crate::vm::{self, Extra, Outcome, Spec, Streams};

const MACHINES_AT_ONCE: usize = 2;
/// How long the stress test runs, in seconds.
const STRESS_VARIABLE: &str = "SENSOR_LIVETEST_STRESS_SECONDS";
const LIMIT: Duration = Duration::from_secs(1_800);

/// Where the live tests run.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) kernel: KernelId,
    /// How sensors attach there.
    pub(super) attach: String,
    /// The tests that are enough for it; none means all.
    pub(super) only: &'static [&'static str],
    /// The tests that another machine is enough for.
    pub(super) left_out: &'static [&'static str],
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kernel, self.attach)
    }
}

pub(super) fn run(machines: &[Machine], filters: &[String], totals: &mut Totals) -> Result<()> {
    let mut files = build_guest()?;
    // Of a package that every host has, and that is needed here anyway.
    let chrt = PathBuf::from("/usr/bin/chrt");
    if chrt.exists() {
        files.push(Extra { guest: "/usr/bin/chrt".to_owned(), host: chrt });
    }
    files.extend(makers());
    files.extend(super::packages::build()?);
    if let Some(rules) = more_rules()? {
        files.push(Extra { guest: "/usr/share/sensor-livetest/rules".to_owned(), host: rules });
    }
    host(filters, totals)?;
    // Each runs on one thread of this host.
    let queue = Mutex::new(machines.iter());
    let shared = Mutex::new(totals);
    thread::scope(|scope| {
        for _ in 0..MACHINES_AT_ONCE {
            scope.spawn(|| {
                while let Some(machine) = next(&queue) {
                    run_on(machine, &files, filters, &shared);
                }
            });
        }
    });
    Ok(())
}

fn next<'a>(queue: &Mutex<Iter<'a, Machine>>) -> Option<&'a Machine> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn run_on(machine: &Machine, files: &[Extra], filters: &[String], totals: &Mutex<&mut Totals>) {
    println!("\n--- kernel {machine}");
    let start = Instant::now();
    let mut own = Totals::default();
    if let Err(error) = boot(machine, files, filters, &mut own) {
        println!("error: {error:#}");
        own.failed.push(format!("[{machine}] {error:#}"));
    }
    println!("--- kernel {machine}: {:.1} s", start.elapsed().as_secs_f32());
    totals.lock().unwrap_or_else(PoisonError::into_inner).add(own);
}

fn boot(machine: &Machine, files: &[Extra], filters: &[String], totals: &mut Totals) -> Result<()> {
    let attach = format!("SENSOR_LIVETEST_ATTACH={}", machine.attach);
    let mut command = ["/usr/bin/env", &attach].map(OsString::from).to_vec();
    if let Some(seconds) = std::env::var_os(STRESS_VARIABLE) {
        let mut setting = OsString::from(format!("{STRESS_VARIABLE}="));
        setting.push(seconds);
        command.push(setting);
    }
    command.push("/usr/bin/sensor-livetest".into());
    if KernelId::required().contains(&machine.kernel) || machine.kernel == KernelId::rt() {
        command.push("--required".into());
    }
    let only = machine.only.iter().copied();
    let filters: Vec<&str> =
        if filters.is_empty() { only.collect() } else { filters.iter().map(String::as_str).collect() };
    for filter in filters {
        command.extend(["--filter".into(), filter.into()]);
    }
    for name in machine.left_out {
        command.extend(["--leave-out".into(), (*name).into()]);
    }
    let spec = Spec {
        timeout: LIMIT,
        label: machine.to_string().replace(' ', "-"),
        ..Spec::new(machine.kernel, files.to_vec(), command)
    };
    follow(&spec, &machine.to_string(), totals)
}

/// Boots the machine and counts the verdicts that its command prints.
pub(super) fn follow(spec: &Spec, name: &str, totals: &mut Totals) -> Result<()> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let stdout = Lines { prefix: format!("[{name}] "), partial: Vec::new(), seen: Arc::clone(&lines) };
    let outcome = vm::boot(spec, Streams { stdout: Box::new(stdout), stderr: Box::new(io::stderr()) })?;
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let closed = count(name, &lines, totals);
    match outcome {
        Outcome::Failed(why) => bail!(why),
        Outcome::Exited(code) if !closed => bail!("the tests ended early, with status {code}"),
        Outcome::Exited(_) => Ok(()),
    }
}

/// Adds up the verdicts; tells whether the closing line was there, which a run that broke off lacks.
fn count(machine: &str, lines: &[String], totals: &mut Totals) -> bool {
    for (at, line) in lines.iter().enumerate() {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        if verdict.starts_with("ok") {
            totals.passed += 1;
        } else if let Some(reason) = verdict.strip_prefix("skipped: ") {
            totals.skipped.push(format!("[{machine}] {name}: {reason}"));
        } else {
            let why = lines.iter().skip(at + 1).take_while(|line| line.starts_with("    "));
            let why: String = why.flat_map(|line| ["\n", line]).collect();
            totals.failed.push(format!("[{machine}] {name}{why}"));
        }
    }
    lines.last().is_some_and(|line| line.starts_with("livetest: "))
}

/// Prints each line with a prefix, and keeps it.
struct Lines {
    prefix: String,
    partial: Vec<u8>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            println!("{}{line}", self.prefix);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// What makes file systems in the guest.
const MAKERS: [&str; 3] = ["/usr/sbin/mke2fs", "/usr/sbin/mkfs.xfs", "/usr/sbin/mkfs.btrfs"];

fn makers() -> impl Iterator<Item = Extra> {
    let there = MAKERS.into_iter().filter(|maker| std::path::Path::new(maker).exists());
    there.map(|maker| Extra { guest: maker.to_owned(), host: PathBuf::from(maker) })
}

/// Rules that are not part of the project, for the tests that compare many.
fn more_rules() -> Result<Option<PathBuf>> {
    let data = match std::env::var_os("SENSOR_TEST_DATA") {
        Some(data) => PathBuf::from(data),
        None => paths::root()?.join("../shared/data"),
    };
    Ok(Some(data.join("corpus/rules")).filter(|rules| rules.is_dir()))
}

/// Where a kernel refuses the hooks of files, a start with rules on files alone must end in one clear message.
fn host(filters: &[String], totals: &mut Totals) -> Result<()> {
    const NAME: &str = "start_where_no_rule_can_match_is_one_clear_error";
    if !filters.is_empty() && !filters.iter().any(|text| NAME.contains(text.as_str())) {
        return Ok(());
    }
    println!("\n--- this host");
    let doctor =
        host_sensor()?.arg("doctor").stdin(Stdio::null()).output().context("cannot run the sensor")?;
    if doctor.status.success() {
        println!("test {NAME} ... skipped: this host's kernel accepts every hook");
        totals.skipped.push(format!("[host] {NAME}: this host's kernel accepts every hook"));
        return Ok(());
    }
    match refusal() {
        Ok(()) => {
            totals.passed += 1;
            println!("test {NAME} ... ok");
        }
        Err(error) => {
            println!("test {NAME} ... FAILED\n    {error:#}");
            totals.failed.push(format!("[host] {NAME}"));
        }
    }
    Ok(())
}

fn refusal() -> Result<()> {
    let rules = paths::root()?.join("rules");
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "30"])
        .arg(host_sensor()?.get_program())
        .arg("run")
        .arg("--rules")
        .arg(rules);
    command.args(["--alerts", "/dev/null"]).stdin(Stdio::null());
    let output = command.output().context("cannot run the sensor")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() || output.status.code() == Some(124) {
        bail!(
            "it started, although `sensor doctor` says that there are no file events: {}\n{said}",
            output.status
        );
    }
    if output.status.code().is_none() || said.contains("panicked at") {
        bail!("it crashed: {}\n{said}", output.status);
    }
    let errors = said.lines().filter(|line| line.starts_with("error")).count();
    if said.trim().is_empty() || errors > 1 {
        bail!("wanted one clear message, got:\n{said}");
    }
    println!("{}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_added_up_and_a_missing_end_is_noticed() {
        let mut lines: Vec<String> =
            ["test a ... ok (0.1 s)", "test b ... skipped: no disk", "test c ... FAILED (1.0 s)", "    why"]
                .map(str::to_owned)
                .to_vec();
        let machine = "6.12 kprobe";
        let mut totals = Totals::default();
        assert!(!count(machine, &lines, &mut totals));
        assert_eq!((totals.passed, totals.failed.len(), totals.skipped.len()), (1, 1, 1));
        lines.push("livetest: 1 passed, 1 failed, 1 skipped".to_owned());
        assert!(count(machine, &lines, &mut Totals::default()));
    }

    #[test]
    fn lines_are_put_together_from_parts() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut lines = Lines { prefix: String::new(), partial: Vec::new(), seen: Arc::clone(&seen) };
        lines.write_all(b"test a ... ").unwrap();
        lines.write_all(b"ok\ntest b").unwrap();
        assert_eq!(*seen.lock().unwrap(), ["test a ... ok"]);
    }
}
