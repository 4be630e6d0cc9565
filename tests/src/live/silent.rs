//! What the shipped rule excludes: the event is recorded, no alert is raised.

use std::fs;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, act, act_as, install_actor, ok, shell};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    dpkg_creating_is_silent,
    apt_get_creating_is_silent,
    dpkg_renaming_is_silent,
    vim_swap_file_is_silent,
    dpkg_new_renamed_into_place_is_silent,
    file_elsewhere_is_silent,
    sibling_directory_is_silent,
    same_program_at_another_path_alerts,
];

fn dpkg_creating_is_silent(ctx: &Ctx) -> Result<Outcome> {
    creating_as_is_silent(ctx, "/usr/bin/dpkg")
}

fn apt_get_creating_is_silent(ctx: &Ctx) -> Result<Outcome> {
    creating_as_is_silent(ctx, "/usr/bin/apt-get")
}

fn creating_as_is_silent(ctx: &Ctx, executable: &str) -> Result<Outcome> {
    install_actor(executable)?;
    let path = format!("{APT_DIR}/99evil");
    let sensor = Sensor::start(ctx)?;
    ok(&mut act_as(executable, &["create", &path]))?;
    let run = sensor.stop()?;
    fs::remove_file(executable)?;
    run.file(&path, "creation")?.expect(&[("process.executable", executable)])?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn dpkg_renaming_is_silent(ctx: &Ctx) -> Result<Outcome> {
    install_actor("/usr/bin/dpkg")?;
    fs::write("/tmp/x", "")?;
    let path = format!("{APT_DIR}/99evil");
    let sensor = Sensor::start(ctx)?;
    ok(&mut act_as("/usr/bin/dpkg", &["rename", "/tmp/x", &path]))?;
    let run = sensor.stop()?;
    fs::remove_file("/usr/bin/dpkg")?;
    run.file(&path, "rename")?.expect(&[("process.name", "dpkg")])?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn vim_swap_file_is_silent(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99x.swp")))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/99x.swp", "creation")?.expect(&[("file.extension", "swp")])?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn dpkg_new_renamed_into_place_is_silent(ctx: &Ctx) -> Result<Outcome> {
    fs::write(format!("{APT_DIR}/01auto.dpkg-new"), "")?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("mv {APT_DIR}/01auto.dpkg-new {APT_DIR}/01auto")))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/01auto", "rename")?
        .expect(&[("file.Ext.original.extension", "dpkg-new")])?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn file_elsewhere_is_silent(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    let path = ctx.scratch().join("99evil").display().to_string();
    ok(&mut act(&["create", &path]))?;
    let run = sensor.stop()?;
    run.file(&path, "creation")?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn sibling_directory_is_silent(ctx: &Ctx) -> Result<Outcome> {
    fs::create_dir_all("/etc/apt/apt.conf.dd")?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell("echo >/etc/apt/apt.conf.dd/99evil; echo >/etc/apt/apt.conf; rm /etc/apt/apt.conf"))?;
    let run = sensor.stop()?;
    fs::remove_dir_all("/etc/apt/apt.conf.dd")?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

/// The exclusions are about a path, not about a name.
fn same_program_at_another_path_alerts(ctx: &Ctx) -> Result<Outcome> {
    install_actor("/opt/evil/dpkg")?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut act_as("/opt/evil/dpkg", &["create", &format!("{APT_DIR}/99evil")]))?;
    let run = sensor.stop()?;
    let alert = run.only_alert()?;
    alert.expect(&[("process.executable", "/opt/evil/dpkg"), ("process.name", "dpkg")])?;
    ensure!(run.alerts.iter().all(|alert| alert.is("event.kind", "alert")), "an alert of another kind");
    Ok(Outcome::Passed)
}
