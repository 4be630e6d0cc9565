//! What root does to a running sensor that leaves it without sight.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, ok, shell};
use crate::runner::Outcome;
use crate::sensor::{RULES, Sensor};

tests![turning_ftrace_off_is_told];

const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
const LIMIT: Duration = Duration::from_secs(60);

/// However the test ends, those after it see again.
struct Off;

impl Off {
    fn new() -> Result<Self> {
        let off = Self;
        fs::write(FTRACE, "0").context("ftrace cannot be turned off")?;
        Ok(off)
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        if let Err(error) = fs::write(FTRACE, "1") {
            eprintln!("ftrace stays off: {error}");
        }
    }
}

/// Waits until a sensor's log says so.
pub(super) fn wait_for(log: &Path, what: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let said = fs::read_to_string(log)?;
        if said.contains(what) {
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            bail!("it never says {what:?}, but\n{said}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn turning_ftrace_off_is_told(ctx: &Ctx) -> Result<Outcome> {
    let dir = ctx.dir("blinded")?;
    let sensor = Sensor::start_in(&dir, &["--rules", RULES])?;
    let log = dir.join("stderr.log");
    let off = Off::new()?;
    wait_for(&log, "ftrace is turned off")?;
    drop(off);
    wait_for(&log, "no longer so: ftrace is turned off")?;
    ok(&mut shell(&format!("echo x >{APT_DIR}/99seen; rm {APT_DIR}/99seen")))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("file.path", &format!("{APT_DIR}/99seen"))])?;
    Ok(Outcome::Passed)
}
