//! A sensor as a service: what its manager hears, and that it is the only one.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::cli::refused;
use super::tests;
use crate::command::wait;
use crate::ctx::Ctx;
use crate::runner::Outcome;
use crate::sensor::{RULES, SENSOR, attach_args, run_to_end};

tests![a_service_manager_hears_of_ready_life_and_end_and_a_second_sensor_is_refused];

/// A machine that emulates is slow.
const LIMIT: Duration = Duration::from_secs(300);

/// A sensor and the socket on which it speaks to the manager of services.
struct Service {
    child: Child,
    socket: UnixDatagram,
}

impl Service {
    fn start(dir: &Path) -> Result<Self> {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let mut command = Command::new(SENSOR);
        command.args(["run", "--rules", RULES]).args(attach_args());
        command.arg("--state-directory").arg(dir.join("state")).arg("--alerts").arg(dir.join("alerts"));
        // Nothing else may be what the manager hears of: its address, and how long it waits for a sign of life.
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000").env_remove("WATCHDOG_PID");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(dir.join("stderr.log"))?);
        Ok(Self { child: command.spawn().with_context(|| format!("cannot run {SENSOR}"))?, socket })
    }

    /// The next message.
    fn hear(&self) -> Result<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).context("the sensor does not say anything")?;
        Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Every thread of a running sensor has given up what it does not need.
fn confined(pid: u32) -> Result<()> {
    // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: what reads processes or writes files.
    const KEPT: u64 = 1 << 1 | 1 << 2 | 1 << 19;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.path();
        let status = fs::read_to_string(thread.join("status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("Name:").unwrap_or("?");
        ensure!(field("NoNewPrivs:") == Some("1"), "thread {name} may gain privileges:\n{status}");
        ensure!(field("Seccomp:") == Some("2"), "thread {name} has no filter:\n{status}");
        for set in ["CapEff:", "CapPrm:"] {
            let capabilities = field(set).and_then(|hex| u64::from_str_radix(hex, 16).ok());
            let capabilities = capabilities.with_context(|| format!("no {set} of {name}"))?;
            ensure!(capabilities & !KEPT == 0, "thread {name} keeps {set} {capabilities:x}");
        }
    }
    Ok(())
}

fn a_service_manager_hears_of_ready_life_and_end_and_a_second_sensor_is_refused(
    ctx: &Ctx,
) -> Result<Outcome> {
    let dir = ctx.scratch();
    let mut service = Service::start(dir)?;
    // The loop turns, and says so, before it is ready.
    let mut first = service.hear()?;
    while first.trim() == "WATCHDOG=1" {
        first = service.hear()?;
    }
    let said = fs::read_to_string(dir.join("stderr.log"))?;
    ensure!(first.lines().any(|line| line == "READY=1"), "the first message is {first:?}");
    ensure!(first.contains("STATUS=") && first.contains("rules"), "no status: {first:?}");
    ensure!(said.contains("sensor: ready: "), "it told its manager before it was ready:\n{said}");
    for sign in 1..=2 {
        let message = service.hear()?;
        ensure!(message.trim() == "WATCHDOG=1", "sign of life {sign} is {message:?}");
    }

    confined(service.child.id())?;

    let state = dir.join("state").display().to_string();
    let second =
        run_to_end(SENSOR, &["run", "--rules", RULES, "--state-directory", &state, "--alerts", "/dev/null"])?;
    refused(&second, &format!("another sensor is running with the state directory {state}"))?;
    refused(&second, &format!("process {} (sensor)", service.child.id()))?;

    let pid = i32::try_from(service.child.id()).ok().and_then(Pid::from_raw).context("no such process id")?;
    kill_process(pid, Signal::TERM)?;
    let asked = Instant::now();
    while service.hear()?.trim() != "STOPPING=1" {
        if asked.elapsed() > LIMIT {
            bail!("it does not say that it stops");
        }
    }
    let status = wait(&mut service.child, LIMIT)?;
    ensure!(status.success(), "{status}: {}", fs::read_to_string(dir.join("stderr.log"))?);
    Ok(Outcome::Passed)
}
