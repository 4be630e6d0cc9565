//! Starting where the sensor cannot work: one clear message and a non-zero status.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, ensure};

use super::cli::refused;
use super::tests;
use crate::ctx::Ctx;
use crate::runner::Outcome;
use crate::sensor::{Ended, RULES, SENSOR, end};

tests![
    start_as_nobody_is_refused,
    start_with_capabilities_dropped_is_refused,
    start_without_btf_is_refused,
    doctor_as_nobody_says_that_it_cannot_work,
];

const NOBODY: u32 = 65534;
const RUN: [&str; 7] = ["run", "--rules", RULES, "--output", "/dev/null", "--alerts", "/dev/null"];

/// The one message: a single error, not a cascade of them.
fn one_message(ended: &Ended) -> Result<()> {
    let errors = ended.stderr.lines().filter(|line| line.to_lowercase().contains("error")).count();
    ensure!(errors <= 1, "{errors} errors instead of one:\n{}", ended.stderr);
    Ok(())
}

fn start_as_nobody_is_refused(_ctx: &Ctx) -> Result<Outcome> {
    let ended = end(Command::new(SENSOR).args(RUN).uid(NOBODY).gid(NOBODY))?;
    refused(&ended, "CAP_")?;
    one_message(&ended)?;
    Ok(Outcome::Passed)
}

/// Root by name, but in a user namespace of its own: no capability counts outside it.
fn start_with_capabilities_dropped_is_refused(_ctx: &Ctx) -> Result<Outcome> {
    let ended = end(Command::new("/usr/bin/unshare").args(["-U", "-r", SENSOR]).args(RUN))?;
    refused(&ended, "")?;
    one_message(&ended)?;
    Ok(Outcome::Passed)
}

fn start_without_btf_is_refused(ctx: &Ctx) -> Result<Outcome> {
    let empty = ctx.dir("empty")?;
    let script =
        format!("mount --bind '{}' /sys/kernel/btf && exec {SENSOR} {}", empty.display(), RUN.join(" "));
    let ended = end(Command::new("/usr/bin/unshare").args(["-m", "sh", "-c", &script]))?;
    refused(&ended, "btf")?;
    one_message(&ended)?;
    Ok(Outcome::Passed)
}

fn doctor_as_nobody_says_that_it_cannot_work(_ctx: &Ctx) -> Result<Outcome> {
    let ended = end(Command::new(SENSOR).arg("doctor").uid(NOBODY).gid(NOBODY))?;
    ensure!(!ended.status.success(), "doctor says that all is well:\n{}", ended.stdout);
    ensure!(!ended.stderr.contains("panicked at"), "{}", ended.stderr);
    Ok(Outcome::Passed)
}
