//! What is compared: nothing at all, the floors, the sensor, its peers.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::work::WATCHED;

/// Rules of others, when the bench was given them.
pub(crate) const CORPUS: &str = "/usr/share/sensor-bench/corpus";
const READY_WITHIN: Duration = Duration::from_secs(900);
pub(crate) const SENSOR: &str = "/usr/bin/sensor";

/// What runs beside the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Config {
    Nothing,
    EmptyPrograms,
    Records,
    Sensor,
    SensorWithCorpus,
    Inotifywait,
    Bpftrace,
    /// Again, to see how far the machine itself drifts.
    NothingAgain,
}

impl Config {
    pub(crate) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::EmptyPrograms,
        Self::Records,
        Self::Sensor,
        Self::SensorWithCorpus,
        Self::Inotifywait,
        Self::Bpftrace,
        Self::NothingAgain,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::EmptyPrograms => "empty_programs",
            Self::Records => "records",
            Self::Sensor => "sensor",
            Self::SensorWithCorpus => "sensor_corpus",
            Self::Inotifywait => "inotifywait",
            Self::Bpftrace => "bpftrace",
            Self::NothingAgain => "nothing_again",
        }
    }

    /// Why it cannot be measured here, if it cannot.
    pub(crate) fn obstacle(self) -> Option<String> {
        let wanted = match self {
            Self::SensorWithCorpus => CORPUS,
            Self::Inotifywait => "/usr/bin/inotifywait",
            Self::Bpftrace => "/usr/bin/bpftrace",
            Self::Nothing | Self::EmptyPrograms | Self::Records | Self::Sensor | Self::NothingAgain => {
                return None;
            }
        };
        (!Path::new(wanted).exists()).then(|| format!("the machine has no {wanted}"))
    }

    /// Starts what there is to start, and waits until it watches.
    pub(crate) fn start(self, extra: &[String]) -> Result<Option<Watcher>> {
        let own = env::current_exe()?;
        let (mut command, ready) = match self {
            Self::Nothing | Self::NothingAgain => return Ok(None),
            Self::EmptyPrograms => (own_command(&own, "empty")?, "ready"),
            Self::Records => (own_command(&own, "record")?, "ready"),
            Self::Sensor => (sensor(extra), "sensor: ready"),
            Self::SensorWithCorpus => {
                let mut command = sensor(extra);
                command.args(["--rules", CORPUS]);
                (command, "sensor: ready")
            }
            Self::Inotifywait => (inotifywait(), "Watches established"),
            Self::Bpftrace => (bpftrace(), "Attaching"),
        };
        Watcher::start(&mut command, ready).map(Some)
    }
}

/// The sensor as it starts by itself, but for its alerts, which nobody reads here.
fn sensor(extra: &[String]) -> Command {
    let mut command = Command::new(SENSOR);
    command.args(["run", "--alerts", "/dev/null"]).args(extra);
    command
}

fn own_command(own: &Path, what: &str) -> Result<Command> {
    let mut command = Command::new(own);
    command.arg("floor").arg(what);
    for (target, mode) in hooks()? {
        command.arg(format!("{target}:{mode}"));
    }
    Ok(command)
}

/// Watches the folder of the watched operations.
pub(crate) fn inotifywait() -> Command {
    let mut command = Command::new("/usr/bin/inotifywait");
    for event in ["create", "delete", "moved_from", "moved_to"] {
        command.args(["-e", event]);
    }
    command.args(["-m", WATCHED]);
    command
}

fn bpftrace() -> Command {
    let mut command = Command::new("/usr/bin/bpftrace");
    command.arg("-e").arg(
        "kfunc:security_inode_create { printf(\"%d %s %s\\n\", pid, comm, str(args->dentry->d_name.name)); } \
         kfunc:vfs_rename { printf(\"%d %s %s\\n\", pid, comm, str(args->rd->old_dentry->d_name.name)); } \
         tracepoint:sched:sched_process_exec { printf(\"%d %s %s\\n\", pid, comm, str(args->filename)); }",
    );
    command
}

/// The hooks that the sensor attaches on this kernel, as it says itself: target and mode.
pub(crate) fn hooks() -> Result<Vec<(String, String)>> {
    let output = Command::new(SENSOR).arg("doctor").stdin(Stdio::null()).output().context("no sensor")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let hook = |line: &str| {
        let mut words = line.strip_prefix("hook ")?.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let found: Vec<_> = said.lines().filter_map(hook).collect();
    if !output.status.success() || found.is_empty() {
        bail!("the sensor cannot work here:\n{said}");
    }
    Ok(found)
}

/// A process that watches; it ends when the value goes.
pub(crate) struct Watcher {
    child: Child,
    log: PathBuf,
    /// From its start until it said that it was ready.
    pub(crate) ready_after: Duration,
}

impl Watcher {
    pub(crate) fn start(command: &mut Command, ready: &str) -> Result<Self> {
        // Its own output goes where it costs it least; only the line that says that it is ready is looked for.
        let log = PathBuf::from("/run/sensor-bench.log");
        let file = File::create(&log)?;
        let piped = ready == "ready" || ready == "Attaching";
        let stdout = if piped { Stdio::from(file.try_clone()?) } else { Stdio::null() };
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(file).spawn();
        let child = child.with_context(|| format!("{command:?}"))?;
        let mut watcher = Self { child, log, ready_after: Duration::ZERO };
        while !watcher.said().contains(ready) {
            if let Some(status) = watcher.child.try_wait()? {
                bail!("{command:?} ended with {status}:\n{}", watcher.said());
            }
            if start.elapsed() > READY_WITHIN {
                bail!("{command:?} was not ready in time:\n{}", watcher.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        watcher.ready_after = start.elapsed();
        Ok(watcher)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Ends it as a service manager would; returns what it said.
    pub(crate) fn stop(mut self) -> Result<String> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait()?;
        Ok(self.said())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
