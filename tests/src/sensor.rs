//! A sensor under test: one of a test's own, or one that all tests share since starting it takes seconds.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub use crate::command::{Ended, end, run_to_end};
pub use crate::rules::MATCH_ALL;
pub use crate::run::{APT_RULE, Run};

use crate::command::wait;
use crate::ctx::{APT_DIR, Ctx};
use crate::doc::{Doc, parse_ndjson};
use crate::rules::MARKER;

/// The binary under test.
pub const SENSOR: &str = "/usr/bin/sensor";
/// The rules that ship with it.
pub const RULES: &str = "/usr/share/sensor/rules";

/// Names the folder of the shared sensors; unset, every test starts its own.
pub const SHARED_VARIABLE: &str = "SENSOR_LIVETEST_SHARED";

/// Names the way in which sensors attach; unset, they choose.
pub const ATTACH_VARIABLE: &str = "SENSOR_LIVETEST_ATTACH";

/// The arguments that say so.
#[must_use]
pub fn attach_args() -> Vec<String> {
    env::var(ATTACH_VARIABLE).map(|mode| vec!["--attach".to_owned(), mode]).unwrap_or_default()
}

/// How the files are called that mark where a test begins and ends; the rule in `rules` knows it too.
const MARKER_NAME: &str = "zz-marker-";
const READY_WITHIN: Duration = Duration::from_secs(300);
/// What is still in the ring is written first: seconds where everything is emulated.
const STOPPED_WITHIN: Duration = Duration::from_secs(120);
const MARKED_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(10);

/// Which rules a sensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The shipped ones.
    Shipped,
    /// Also one that matches every file event, so that no filter may drop any.
    SeeingAll,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::SeeingAll => "all",
        }
    }

    fn rules(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shipped => &[("marker.toml", MARKER)],
            Self::SeeingAll => &[("marker.toml", MARKER), ("all.toml", MATCH_ALL)],
        }
    }
}

/// Where a sensor writes.
#[derive(Clone, Debug)]
struct Outputs {
    dir: PathBuf,
}

impl Outputs {
    fn events(&self) -> PathBuf {
        self.dir.join("events.ndjson")
    }

    fn alerts(&self) -> PathBuf {
        self.dir.join("alerts.ndjson")
    }

    fn stderr(&self) -> String {
        fs::read(self.dir.join("stderr.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// A running sensor, seen by one test.
pub struct Sensor(Access);

enum Access {
    Own(Process),
    Shared { outputs: Outputs, events_from: u64, alerts_from: u64 },
}

/// A sensor process; it is killed when the value goes.
pub struct Process {
    child: Child,
    outputs: Outputs,
}

impl Sensor {
    /// The shipped rules.
    pub fn start(ctx: &Ctx) -> Result<Self> {
        Self::shared_or_own(ctx, Kind::Shipped)
    }

    /// The shipped rules and one that matches every file event.
    pub fn start_seeing_all(ctx: &Ctx) -> Result<Self> {
        Self::shared_or_own(ctx, Kind::SeeingAll)
    }

    /// A sensor of the test's own, which it may stop.
    pub fn start_own(ctx: &Ctx, kind: Kind) -> Result<Self> {
        Ok(Self(Access::Own(Process::start(ctx.scratch(), RULES, kind)?)))
    }

    /// A sensor of the test's own with these arguments beside the two outputs.
    pub fn start_with<S: AsRef<OsStr>>(ctx: &Ctx, args: &[S]) -> Result<Self> {
        Ok(Self(Access::Own(Process::start_with(ctx.scratch(), args)?)))
    }

    /// One that writes into this folder.
    pub fn start_in<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Result<Self> {
        Ok(Self(Access::Own(Process::start_with(dir, args)?)))
    }

    /// A sensor of the test's own with the rules of a kind and more arguments.
    pub fn start_own_with(ctx: &Ctx, kind: Kind, args: &[&str]) -> Result<Self> {
        Ok(Self(Access::Own(Process::start_kind_with(ctx.scratch(), RULES, kind, args)?)))
    }

    fn shared_or_own(ctx: &Ctx, kind: Kind) -> Result<Self> {
        let Some(shared) = env::var_os(SHARED_VARIABLE) else { return Self::start_own(ctx, kind) };
        let outputs = Outputs { dir: Path::new(&shared).join(kind.name()) };
        let marks = mark(&outputs, "begin")?;
        Ok(Self(Access::Shared { outputs, events_from: marks.events.end, alerts_from: marks.alerts.end }))
    }

    /// Its process id, where it is the test's own.
    pub fn pid(&self) -> Result<u32> {
        match &self.0 {
            Access::Own(process) => Ok(process.child.id()),
            Access::Shared { .. } => bail!("a test must not touch a shared sensor"),
        }
    }

    /// Waits until an own sensor has raised an alert on this path; `again` is called before each look.
    pub fn wait_for_alert_on(&self, path: &str, mut again: impl FnMut() -> Result<()>) -> Result<()> {
        let Access::Own(process) = &self.0 else { bail!("a shared sensor's alerts are read at the end") };
        let start = Instant::now();
        while start.elapsed() < MARKED_WITHIN {
            again()?;
            thread::sleep(POLL * 10);
            let size = fs::metadata(process.outputs.alerts())?.len();
            let alerts = slice(&process.outputs.alerts(), 0, size)?;
            // The last line may still be on its way.
            let whole = alerts.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
            if parse_ndjson(alerts.get(..whole).unwrap_or_default())?
                .iter()
                .any(|alert| alert.is("file.path", path))
            {
                return Ok(());
            }
        }
        bail!(
            "no alert on {path} within {} s; the sensor said:\n{}",
            MARKED_WITHIN.as_secs(),
            process.outputs.stderr()
        )
    }

    /// What it recorded. An own sensor is stopped with SIGTERM, as a service manager does, and must exit with status 0.
    pub fn stop(self) -> Result<Run> {
        match self.0 {
            Access::Own(process) => {
                let run = process.stop_by(Signal::TERM)?;
                match run.status {
                    Some(status) if status.success() => Ok(run),
                    status => bail!("after SIGTERM it ended with {status:?}; it said:\n{}", run.stderr),
                }
            }
            Access::Shared { outputs, events_from, alerts_from } => {
                let marks = mark(&outputs, "end")?;
                // The markers' removal is the harness's doing.
                let read = |file: &Path, from, to| -> Result<Vec<Doc>> {
                    let mut docs = parse_ndjson(&slice(file, from, to)?)?;
                    docs.retain(|doc| !doc.text("file.path").is_some_and(|path| path.contains(MARKER_NAME)));
                    Ok(docs)
                };
                Ok(Run {
                    status: None,
                    events: read(&outputs.events(), events_from, marks.events.start)?,
                    alerts: read(&outputs.alerts(), alerts_from, marks.alerts.start)?,
                    stderr: outputs.stderr(),
                })
            }
        }
    }

    /// Stops an own sensor with the signal and collects what it wrote.
    pub fn stop_by(self, signal: Signal) -> Result<Run> {
        match self.0 {
            Access::Own(process) => process.stop_by(signal),
            Access::Shared { .. } => bail!("a test must not stop a shared sensor"),
        }
    }
}

impl Process {
    /// Starts a sensor that tests will share.
    pub fn start_shared(shared: &Path, kind: Kind) -> Result<Self> {
        let dir = shared.join(kind.name());
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Self::start(&dir, &without_caps(&dir)?, kind)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    fn start(dir: &Path, rules: &str, kind: Kind) -> Result<Self> {
        Self::start_kind_with(dir, rules, kind, &[])
    }

    fn start_kind_with(dir: &Path, rules: &str, kind: Kind, more: &[&str]) -> Result<Self> {
        let mut args = vec!["--rules".to_owned(), rules.to_owned()];
        for (name, content) in kind.rules() {
            let path = dir.join(name);
            fs::write(&path, content)?;
            args.extend(["--rules".to_owned(), path.display().to_string()]);
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        Self::start_with(dir, &args)
    }

    fn start_with<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Result<Self> {
        let outputs = Outputs { dir: dir.to_path_buf() };
        let mut command = Command::new(SENSOR);
        command.arg("run").args(args);
        if args.iter().all(|arg| arg.as_ref() != "--attach") {
            command.args(attach_args());
        }
        // What no rule looks at is seen by tests all the same, unless they say otherwise.
        if args.iter().all(|arg| arg.as_ref() != "--scope") {
            command.args(["--scope", "all"]);
        }
        // A second sensor with the state of a first is refused.
        if args.iter().all(|arg| arg.as_ref() != "--state-directory") {
            command.arg("--state-directory").arg(dir.join("state"));
        }
        command.arg("--output").arg(outputs.events()).arg("--alerts").arg(outputs.alerts());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(dir.join("stderr.log"))?);
        let child = command.spawn().with_context(|| format!("cannot run {SENSOR}"))?;
        let mut process = Self { child, outputs };
        process.wait_ready()?;
        Ok(process)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let said = self.outputs.stderr();
            if let Some(status) = ended {
                bail!("ended before it was ready: {status}; it said:\n{said}");
            }
            if said.lines().any(|line| line.contains("ready")) {
                return Ok(());
            }
            if start.elapsed() > READY_WITHIN {
                bail!("not ready after {} s; it said:\n{said}", READY_WITHIN.as_secs());
            }
            thread::sleep(POLL);
        }
    }

    fn stop_by(mut self, signal: Signal) -> Result<Run> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
        kill_process(pid, signal)?;
        let status = wait(&mut self.child, STOPPED_WITHIN)?;
        let stderr = self.outputs.stderr();
        if stderr.contains("panicked at") {
            bail!("the sensor panicked:\n{stderr}");
        }
        Ok(Run {
            status: Some(status),
            events: parse_ndjson(&fs::read(self.outputs.events())?)?,
            alerts: parse_ndjson(&fs::read(self.outputs.alerts())?)?,
            stderr,
        })
    }
}

/// The shipped rules with room for every test's alerts: one must not use up what another waits for.
fn without_caps(dir: &Path) -> Result<String> {
    let rules = dir.join("rules");
    fs::create_dir_all(&rules)?;
    let mut waiting = vec![PathBuf::from(RULES)];
    while let Some(from) = waiting.pop() {
        for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml")
                && let Some(name) = path.file_name()
            {
                let text = fs::read_to_string(&path)?;
                let text = text.replace("\nmax_signals = 100\n", "\n");
                ensure!(!text.contains("\nmax_signals"), "{} has another cap", path.display());
                fs::write(rules.join(name), text.replacen("[rule]\n", "[rule]\nmax_signals = 100000\n", 1))?;
            }
        }
    }
    Ok(rules.display().to_string())
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The bytes of a marker's line.
struct Mark {
    start: u64,
    end: u64,
}

struct Marks {
    events: Mark,
    alerts: Mark,
}

/// Creates a file that must appear in both outputs: what happened before it stands before it there.
fn mark(outputs: &Outputs, what: &str) -> Result<Marks> {
    let name = format!("{MARKER_NAME}{}-{what}.swp", std::process::id());
    let path = Path::new(APT_DIR).join(&name);
    let sizes =
        [outputs.events(), outputs.alerts()].map(|file| fs::metadata(file).map_or(0, |meta| meta.len()));
    let [events_size, alerts_size] = sizes;
    fs::create_dir_all(APT_DIR)?;
    drop(File::create(&path)?);
    let marks = Marks {
        events: find(outputs, &outputs.events(), &name, events_size)?,
        alerts: find(outputs, &outputs.alerts(), &name, alerts_size)?,
    };
    fs::remove_file(&path)?;
    Ok(marks)
}

/// Whether a document is about a file of this name; an alert's evidence may name others.
fn is_about(line: &str, name: &str) -> bool {
    line.contains(name)
        && parse_ndjson(line.as_bytes()).is_ok_and(|docs| docs.iter().any(|doc| doc.is("file.name", name)))
}

/// Waits for a whole line about a file of this name. The size is from before the marker, perhaps amid a line.
fn find(outputs: &Outputs, file: &Path, name: &str, size: u64) -> Result<Mark> {
    let start = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&slice(file, size, u64::MAX)?).into_owned();
        let mut at = size;
        for line in text.split_inclusive('\n') {
            let end = at + line.len() as u64;
            if line.ends_with('\n') && is_about(line, name) {
                return Ok(Mark { start: at, end });
            }
            at = end;
        }
        if start.elapsed() > MARKED_WITHIN {
            bail!(
                "{name} did not appear in {} within {} s; the sensor said:\n{}",
                file.display(),
                MARKED_WITHIN.as_secs(),
                outputs.stderr()
            );
        }
        thread::sleep(POLL);
    }
}

fn slice(file: &Path, from: u64, to: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut opened = match File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(bytes),
        opened => opened.with_context(|| format!("cannot read {}", file.display()))?,
    };
    opened.seek(SeekFrom::Start(from))?;
    opened.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
