//! Stopping: what is in the ring comes out, the totals are told, the exit status is 0.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::tests;
use crate::ctx::{APT_DIR, Ctx, act, ok, shell};
use crate::runner::Outcome;
use crate::sensor::{Kind, Run, Sensor};

tests![
    sigterm_drains_and_tells_totals,
    sigint_drains_and_tells_totals,
    burst_of_creations_is_complete_or_counted,
    burst_of_renames_is_complete_or_counted,
    overflow_of_the_ring_is_counted_and_spoken_of,
    stopping_again_while_stopping_is_harmless,
];

fn stopped_by(ctx: &Ctx, signal: Signal) -> Result<Outcome> {
    let sensor = Sensor::start_own(ctx, Kind::Shipped)?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99evil")))?;
    // At once: the event is still in the ring, or on its way through the sensor.
    let run = sensor.stop_by(signal)?;
    exited_well(&run)?;
    run.only_alert()?;
    let said = run.stderr.to_lowercase();
    for word in ["creation", "exec", "match", "lost"] {
        ensure!(said.contains(word), "the totals do not tell {word:?}:\n{}", run.stderr);
    }
    Ok(Outcome::Passed)
}

fn sigterm_drains_and_tells_totals(ctx: &Ctx) -> Result<Outcome> {
    stopped_by(ctx, Signal::TERM)
}

fn sigint_drains_and_tells_totals(ctx: &Ctx) -> Result<Outcome> {
    stopped_by(ctx, Signal::INT)
}

fn exited_well(run: &Run) -> Result<()> {
    let code = run.status.and_then(|status| status.code());
    ensure!(code == Some(0), "it ended with {:?}:\n{}", run.status, run.stderr);
    Ok(())
}

/// The number after "lost" in the totals.
fn lost(run: &Run) -> Result<usize> {
    let number = |text: &str| -> Option<usize> {
        let digits: String =
            text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let totals = run.stderr.lines().rev().find(|line| line.to_lowercase().contains("lost"));
    let line = totals.context("no totals")?;
    let (before, after) = line.split_at(line.to_lowercase().find("lost").unwrap_or(0));
    // "lost 3" or "3 lost".
    let count = number(after).or_else(|| before.split_whitespace().last().and_then(number));
    count.with_context(|| format!("no number in {line:?}"))
}

fn burst(ctx: &Ctx, operation: &str, action: &str) -> Result<Outcome> {
    const COUNT: usize = 3_000;
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    let dir = ctx.dir("burst")?.display().to_string();
    ok(&mut act(&[operation, &dir, &COUNT.to_string()]))?;
    let run = sensor.stop()?;
    // The directory itself is another creation.
    let seen = run.files(&format!("{dir}/")).iter().filter(|doc| doc.is("event.action", action)).count();
    let lost = lost(&run)?;
    if seen + lost != COUNT {
        bail!("{COUNT} happened, {seen} were reported and {lost} said to be lost:\n{}", run.stderr);
    }
    ensure!(lost == 0, "a burst of {COUNT} fits the ring, but {lost} were lost");
    Ok(Outcome::Passed)
}

fn burst_of_creations_is_complete_or_counted(ctx: &Ctx) -> Result<Outcome> {
    burst(ctx, "create-many", "creation")
}

fn burst_of_renames_is_complete_or_counted(ctx: &Ctx) -> Result<Outcome> {
    burst(ctx, "rename-many", "rename")
}

/// The sensor is held up until the ring has overflowed: what it then reports and what it says was lost is what happened.
fn overflow_of_the_ring_is_counted_and_spoken_of(ctx: &Ctx) -> Result<Outcome> {
    // Records of 512 bytes and their headers: four times what the ring holds.
    const COUNT: usize = 1_000;
    let sensor = Sensor::start_with(ctx, &["--kernel-diagnostics", "--ring-bytes", "131072"])?;
    let dir = ctx.dir("overflow")?.display().to_string();
    ok(&mut shell(&format!("kill -STOP {}", sensor.pid()?)))?;
    let made = act(&["create-many", &dir, &COUNT.to_string()]).output();
    ok(&mut shell(&format!("kill -CONT {}", sensor.pid()?)))?;
    ensure!(made?.status.success(), "the files could not be made");
    let run = sensor.stop()?;
    let seen = run.files(&dir).iter().filter(|doc| doc.is("event.action", "creation")).count();
    let lost = lost(&run)?;
    // Forks, execs and ends around the burst may be among the lost.
    let others = 64;
    ensure!(lost > 0, "nothing was lost, so nothing is shown:\n{}", run.stderr);
    ensure!(
        seen + lost >= COUNT && seen + lost <= COUNT + others,
        "{COUNT} happened, {seen} were reported and {lost} said to be lost:\n{}",
        run.stderr
    );
    ensure!(run.stderr.contains("the ring is full"), "the programs said nothing:\n{}", run.stderr);
    Ok(Outcome::Passed)
}

fn stopping_again_while_stopping_is_harmless(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_own(ctx, Kind::Shipped)?;
    ok(shell(&format!("kill -TERM {}", sensor.pid()?)).arg(""))?;
    match sensor.stop_by(Signal::TERM) {
        Ok(run) => exited_well(&run)?,
        // It was gone before the second signal.
        Err(error) => ensure!(format!("{error:#}").contains("No such process"), "{error:#}"),
    }
    Ok(Outcome::Passed)
}
