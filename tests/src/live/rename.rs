//! Renames into the directory: one event with both names, only when the rename took place.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, HOOK, act, fails, ok, shell};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    mv_into_the_directory_alerts_as_rename,
    mv_across_file_systems_alerts_as_creation,
    rename_onto_an_existing_file_alerts,
    rename_onto_a_filled_directory_gives_no_event,
    rename_of_a_missing_file_gives_no_event,
    rename_inside_the_directory_names_both_paths,
];

fn mv_into_the_directory_alerts_as_rename(ctx: &Ctx) -> Result<Outcome> {
    fs::write("/tmp/x", HOOK)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("/usr/bin/mv /tmp/x {APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    let facts = [
        ("event.action", "rename"),
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.name", "99evil"),
        ("file.Ext.original.path", "/tmp/x"),
        ("file.Ext.original.name", "x"),
        ("process.executable", "/usr/bin/mv"),
        ("process.name", "mv"),
        ("process.command_line", "/usr/bin/mv /tmp/x /etc/apt/apt.conf.d/99evil"),
    ];
    let event = run.file("/etc/apt/apt.conf.d/99evil", "rename")?;
    event.expect(&facts)?;
    event.expect(&[("event.type", "change"), ("event.outcome", "success")])?;
    event.expect_absent(&["file.Ext.original.extension"])?;
    let alert = run.only_alert()?;
    alert.expect(facts.get(1..).unwrap_or_default())?;
    Ok(Outcome::Passed)
}

/// `mv` then copies: the new file is created by its own name.
fn mv_across_file_systems_alerts_as_creation(ctx: &Ctx) -> Result<Outcome> {
    fs::write("/run/x", HOOK)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("/usr/bin/mv /run/x {APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/99evil", "creation")?;
    run.only_alert()?.expect(&[("process.executable", "/usr/bin/mv")])?;
    Ok(Outcome::Passed)
}

fn rename_onto_an_existing_file_alerts(ctx: &Ctx) -> Result<Outcome> {
    fs::write(format!("{APT_DIR}/01old"), "")?;
    fs::write("/tmp/x.new", HOOK)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut act(&["rename", "/tmp/x.new", &format!("{APT_DIR}/01old")]))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[
        ("file.path", "/etc/apt/apt.conf.d/01old"),
        ("file.Ext.original.path", "/tmp/x.new"),
        ("file.Ext.original.extension", "new"),
    ])?;
    Ok(Outcome::Passed)
}

fn rename_onto_a_filled_directory_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let filled = format!("{APT_DIR}/filled");
    fs::create_dir_all(format!("{filled}/child"))?;
    let from = ctx.dir("moving")?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    fails(&mut act(&["rename", &from.display().to_string(), &filled]))?;
    ensure!(from.exists(), "the system renamed what it had to refuse");
    let run = sensor.stop()?;
    ensure!(run.files(APT_DIR).is_empty(), "refused, yet reported: {}", run.show(&run.files(APT_DIR)));
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn rename_of_a_missing_file_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    fails(&mut act(&["rename", "/tmp/never-there", &format!("{APT_DIR}/99evil")]))?;
    let run = sensor.stop()?;
    ensure!(run.files(APT_DIR).is_empty(), "refused, yet reported: {}", run.show(&run.files(APT_DIR)));
    Ok(Outcome::Passed)
}

fn rename_inside_the_directory_names_both_paths(ctx: &Ctx) -> Result<Outcome> {
    let from = format!("{APT_DIR}/01mine.conf");
    fs::write(&from, "")?;
    let to = format!("{APT_DIR}/02mine");
    let sensor = Sensor::start(ctx)?;
    ok(&mut act(&["rename", &from, &to]))?;
    ensure!(Path::new(&to).exists(), "not renamed");
    let run = sensor.stop()?;
    let event = run.file(&to, "rename")?;
    event.expect(&[("file.Ext.original.path", &from), ("file.Ext.original.extension", "conf")])?;
    event.expect_absent(&["file.extension"])?;
    run.only_alert()?;
    Ok(Outcome::Passed)
}
