//! A sensor under test: started with its outputs in files, watched until it is ready, stopped by a signal.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::ctx::Ctx;
use crate::doc::{Doc, read_ndjson};

/// The binary under test.
pub const SENSOR: &str = "/usr/bin/sensor";
/// The rules that ship with it.
pub const RULES: &str = "/usr/share/sensor/rules";

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A running sensor; it is killed when a test gives up on it.
pub struct Sensor {
    child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    stderr: String,
    events: PathBuf,
    alerts: PathBuf,
}

/// What a sensor left behind.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// Every event, in order.
    pub events: Vec<Doc>,
    /// Every alert, in order.
    pub alerts: Vec<Doc>,
    /// What it said.
    pub stderr: String,
}

impl Sensor {
    /// Starts it with the shipped rules and waits until it is ready.
    pub fn start(ctx: &Ctx) -> Result<Self> {
        Self::start_with(ctx, &["--rules", RULES])
    }

    /// Starts it with the shipped rules and one that matches every file event, so that no filter may drop any.
    pub fn start_seeing_all(ctx: &Ctx) -> Result<Self> {
        let rule = ctx.scratch().join("all.toml");
        fs::write(&rule, MATCH_ALL)?;
        Self::start_with(
            ctx,
            &[OsStr::new("--rules"), OsStr::new(RULES), OsStr::new("--rules"), rule.as_os_str()],
        )
    }

    /// Starts `sensor run` with these arguments beside the two outputs.
    pub fn start_with<S: AsRef<OsStr>>(ctx: &Ctx, args: &[S]) -> Result<Self> {
        let events = ctx.scratch().join("events.ndjson");
        let alerts = ctx.scratch().join("alerts.ndjson");
        let mut command = Command::new(SENSOR);
        command.arg("run").args(args);
        command.arg("--output").arg(&events).arg("--alerts").arg(&alerts);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {SENSOR}"))?;
        let stderr = child.stderr.take().context("no pipe")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut sensor = Self { child, lines, reader: Some(reader), stderr: String::new(), events, alerts };
        sensor.wait_ready()?;
        Ok(sensor)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let ready = line.contains("ready");
                    self.note(&line);
                    if ready {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("not ready after {} s; it said:\n{}", READY_WITHIN.as_secs(), self.stderr)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("ended before it was ready: {status}; it said:\n{}", self.stderr)
                }
            }
        }
    }

    fn note(&mut self, line: &str) {
        self.stderr.push_str(line);
        self.stderr.push('\n');
    }

    /// Stops it with SIGTERM, as a service manager does. Fails unless it exits with status 0.
    pub fn stop(self) -> Result<Run> {
        let run = self.stop_by(Signal::TERM)?;
        if !run.status.success() {
            bail!("after SIGTERM it ended with {}; it said:\n{}", run.status, run.stderr);
        }
        Ok(run)
    }

    /// Stops it with the signal and collects what it wrote.
    pub fn stop_by(mut self, signal: Signal) -> Result<Run> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
        kill_process(pid, signal)?;
        let status = wait(&mut self.child, STOPPED_WITHIN)?;
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
        if self.stderr.contains("panicked at") {
            bail!("the sensor panicked:\n{}", self.stderr);
        }
        Ok(Run {
            status,
            events: read_ndjson(&self.events)?,
            alerts: read_ndjson(&self.alerts)?,
            stderr: std::mem::take(&mut self.stderr),
        })
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Run {
    /// File events whose path begins so, of one action or of any.
    #[must_use]
    pub fn files(&self, prefix: &str) -> Vec<&Doc> {
        let wanted = |doc: &&Doc| {
            doc.is("event.category", "file")
                && doc.text("file.path").is_some_and(|path| path.starts_with(prefix))
        };
        self.events.iter().filter(wanted).collect()
    }

    /// The one file event with this path and action.
    pub fn file(&self, path: &str, action: &str) -> Result<&Doc> {
        let of_path = |doc: &&Doc| doc.is("event.category", "file") && doc.is("file.path", path);
        let found: Vec<&Doc> = self.events.iter().filter(of_path).collect();
        match found.as_slice() {
            [doc] if doc.is("event.action", action) => Ok(doc),
            _ => bail!("wanted one {action} of {path}, got {}", self.show(&found)),
        }
    }

    /// The one alert of the shipped APT rule.
    pub fn only_alert(&self) -> Result<&Doc> {
        match self.apt_alerts().as_slice() {
            [alert] => Ok(alert),
            found => bail!("wanted one alert, got {}", self.show(found)),
        }
    }

    /// Alerts of the shipped APT rule.
    #[must_use]
    pub fn apt_alerts(&self) -> Vec<&Doc> {
        self.alerts.iter().filter(|alert| alert.is("rule.id", APT_RULE)).collect()
    }

    /// Fails if there is any alert of the shipped APT rule.
    pub fn no_alert(&self) -> Result<()> {
        let found = self.apt_alerts();
        if !found.is_empty() {
            bail!("wanted no alert, got {}", self.show(&found));
        }
        Ok(())
    }

    /// Documents for a failure's text, with what the sensor said.
    #[must_use]
    pub fn show(&self, docs: &[&Doc]) -> String {
        let lines: Vec<String> = docs.iter().map(|doc| doc.0.to_string()).collect();
        let files: Vec<String> = self
            .files("/")
            .iter()
            .map(|doc| {
                format!(
                    "{} {}",
                    doc.text("event.action").unwrap_or_default(),
                    doc.text("file.path").unwrap_or_default()
                )
            })
            .collect();
        format!(
            "{}:\n{}\nall file events:\n{}\nthe sensor said:\n{}",
            docs.len(),
            lines.join("\n"),
            files.join("\n"),
            self.stderr
        )
    }
}

/// The APT rule's id.
pub const APT_RULE: &str = "7c2e1297-7664-42bc-af11-6d5d35220b6b";

const MATCH_ALL: &str = r#"[metadata]
creation_date = "2026/01/01"
maturity = "production"
updated_date = "2026/01/01"

[rule]
author = ["sensor"]
description = "Matches every file event, so that a filter compiled from the rules lets all of them through."
index = ["logs-endpoint.events.file*"]
language = "eql"
license = "Apache-2.0"
name = "Every File Event"
risk_score = 1
rule_id = "00000000-0000-4000-8000-000000000001"
severity = "low"
type = "eql"
query = '''
file where event.action != null
'''
"#;

/// Runs a sensor command that must end by itself.
pub fn run_to_end<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(args);
    end(&mut command)
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the command, with a limit in time.
pub fn end(command: &mut Command) -> Result<Ended> {
    let words: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = read_all(child.stdout.take().context("no pipe")?);
    let stderr = read_all(child.stderr.take().context("no pipe")?);
    let status = match wait(&mut child, STOPPED_WITHIN) {
        Ok(status) => status,
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            return Err(error.context(format!("{words:?}")));
        }
    };
    let collect = |handle: JoinHandle<String>| handle.join().unwrap_or_default();
    Ok(Ended { status, stdout: collect(stdout), stderr: collect(stderr) })
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("did not end within {} s", limit.as_secs())
}

/// Whether the sensor is installed here at all.
#[must_use]
pub fn installed() -> bool {
    Path::new(SENSOR).exists()
}
