//! Mount points and stacked file systems: whole paths, one event.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, Mount, act, ok, shell};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    separate_mount_on_etc_apt_gives_the_whole_path,
    rename_on_a_separate_mount_gives_whole_paths,
    nested_mounts_give_the_whole_path,
    bind_mount_gives_the_path_through_the_bind,
    overlay_create_gives_one_event,
    overlay_rename_gives_one_event,
    overlay_copy_up_gives_no_event,
];

fn separate_mount_on_etc_apt_gives_the_whole_path(ctx: &Ctx) -> Result<Outcome> {
    let _mount = Mount::new("tmpfs", "", "apt", Path::new("/etc/apt"))?;
    fs::create_dir_all(APT_DIR)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/99evil", "creation")?;
    run.only_alert()?.expect(&[("file.path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

fn rename_on_a_separate_mount_gives_whole_paths(ctx: &Ctx) -> Result<Outcome> {
    let _mount = Mount::new("tmpfs", "", "apt", Path::new("/etc/apt"))?;
    fs::create_dir_all(APT_DIR)?;
    fs::write("/etc/apt/new.conf", "")?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("mv /etc/apt/new.conf {APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.Ext.original.path", "/etc/apt/new.conf"),
    ])?;
    Ok(Outcome::Passed)
}

fn nested_mounts_give_the_whole_path(ctx: &Ctx) -> Result<Outcome> {
    let _apt = Mount::new("tmpfs", "", "apt", Path::new("/etc/apt"))?;
    fs::create_dir_all(APT_DIR)?;
    let _conf = Mount::new("tmpfs", "", "conf", Path::new(APT_DIR))?;
    let sub = Path::new(APT_DIR).join("sub");
    fs::create_dir_all(&sub)?;
    let _sub = Mount::new("tmpfs", "", "sub", &sub)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{}/99evil", sub.display())))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("file.path", "/etc/apt/apt.conf.d/sub/99evil")])?;
    Ok(Outcome::Passed)
}

fn bind_mount_gives_the_path_through_the_bind(ctx: &Ctx) -> Result<Outcome> {
    let elsewhere = ctx.dir("elsewhere")?;
    let _mount = Mount::bind(&elsewhere, Path::new(APT_DIR))?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("file.path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

struct Overlay {
    _mount: Mount,
    merged: PathBuf,
}

/// An overlay whose lower layer holds `lower-file`.
fn overlay(ctx: &Ctx) -> Result<Overlay> {
    let (lower, upper) = (ctx.dir("lower")?, ctx.dir("upper")?);
    let (work, merged) = (ctx.dir("work")?, ctx.dir("merged")?);
    for name in ["appended", "changed", "deleted", "moved"] {
        fs::write(lower.join(name), "from the lower layer")?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    Ok(Overlay { _mount: Mount::new("overlay", &options, "overlay", &merged)?, merged })
}

fn overlay_create_gives_one_event(ctx: &Ctx) -> Result<Outcome> {
    let overlay = overlay(ctx)?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    let path = overlay.merged.join("new").display().to_string();
    ok(&mut act(&["create", &path]))?;
    let run = sensor.stop()?;
    run.file(&path, "creation")?;
    let all = run.files(&ctx.scratch().display().to_string());
    ensure!(all.len() == 1, "wanted one event, got {}", run.show(&all));
    Ok(Outcome::Passed)
}

fn overlay_rename_gives_one_event(ctx: &Ctx) -> Result<Outcome> {
    let overlay = overlay(ctx)?;
    let from = overlay.merged.join("upper-file").display().to_string();
    fs::write(&from, "")?;
    let to = overlay.merged.join("renamed").display().to_string();
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut act(&["rename", &from, &to]))?;
    let run = sensor.stop()?;
    run.file(&to, "rename")?.expect(&[("file.Ext.original.path", &from)])?;
    let all = run.files(&ctx.scratch().display().to_string());
    ensure!(all.len() == 1, "wanted one event, got {}", run.show(&all));
    Ok(Outcome::Passed)
}

/// Copying a file to the upper layer creates it there, but no name came to be for anyone.
fn overlay_copy_up_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let overlay = overlay(ctx)?;
    let merged = overlay.merged.display();
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut act(&["append", &format!("{merged}/appended"), "more"]))?;
    ok(&mut shell(&format!("chmod 600 {merged}/changed; rm {merged}/deleted")))?;
    let run = sensor.stop()?;
    let made: Vec<_> = run
        .files(&ctx.scratch().display().to_string())
        .into_iter()
        .filter(|doc| !doc.is("event.action", "deletion"))
        .collect();
    ensure!(made.is_empty(), "copying up is no creation: {}", run.show(&made));
    Ok(Outcome::Passed)
}
