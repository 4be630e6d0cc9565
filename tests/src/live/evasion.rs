//! Ways to hide what happens: each is recorded rightly, or marked as doubtful, and never passes as something else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{ALICE_UID, Ctx, Mount, act, as_alice, ok, shell};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    program_in_memory_is_reported_by_its_name,
    deep_working_directory_does_not_hide_the_arguments,
    creation_on_an_overlay_says_the_user_and_not_the_mounter,
    creation_below_a_detached_mount_is_marked_incomplete,
];

fn program_in_memory_is_reported_by_its_name(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut act(&["memfd-exec", "/usr/bin/sensor-livetest", "livetest", "act", "create", "/srv/by-memfd"]))?;
    let run = sensor.stop()?;
    fs::remove_file("/srv/by-memfd")?;
    let made = run.file("/srv/by-memfd", "creation")?;
    made.expect(&[("process.executable", "/memfd:livetest"), ("process.name", "memfd:livetest")])?;
    Ok(Outcome::Passed)
}

/// Twelve kilobytes of working directory: longer than any path, and than most of a record's room.
fn deep_working_directory_does_not_hide_the_arguments(ctx: &Ctx) -> Result<Outcome> {
    let dir = ctx.dir("deep")?.display().to_string();
    let sensor = Sensor::start(ctx)?;
    ok(&mut act(&["exec-below", &dir, "50", "/usr/bin/basename", "two words"]))?;
    let run = sensor.stop()?;
    let exec = run.events.iter().find(|doc| {
        doc.is("event.action", "exec") && doc.is("process.command_line", "/usr/bin/basename two words")
    });
    ensure!(exec.is_some(), "no exec with its arguments");
    Ok(Outcome::Passed)
}

/// overlayfs does its work with the credentials of whoever mounted it.
fn creation_on_an_overlay_says_the_user_and_not_the_mounter(ctx: &Ctx) -> Result<Outcome> {
    let (lower, upper) = (ctx.dir("lower")?, ctx.dir("upper")?);
    let (work, merged) = (ctx.dir("work")?, ctx.dir("merged")?);
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o777))?;
    let _mount = Mount::new("overlay", &options, "overlay", &merged)?;
    let path = merged.join("by-alice").display().to_string();
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(as_alice(&mut act(&["create", &path])))?;
    let run = sensor.stop()?;
    let uid = ALICE_UID.to_string();
    run.file(&path, "creation")?.expect(&[("user.name", "alice"), ("user.id", &uid)])?;
    Ok(Outcome::Passed)
}

/// A mount that was unmounted lazily has no place any more: what is left of the path must not pass as whole.
fn creation_below_a_detached_mount_is_marked_incomplete(ctx: &Ctx) -> Result<Outcome> {
    let (from, to) = (ctx.dir("from")?, ctx.dir("to")?);
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut shell(&format!(
        "mount --bind {} {to}; cd {to}; umount -l {to}; echo >LAZY",
        from.display(),
        to = to.display()
    )))?;
    let run = sensor.stop()?;
    run.file("/LAZY", "creation")?.expect(&[("file.Ext.path_incomplete", "true")])?;
    Ok(Outcome::Passed)
}
