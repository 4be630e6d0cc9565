//! Processes with another root: the path is the one that they see.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::tests;
use crate::ctx::{Ctx, Mount, container_root, ok};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    container_with_pivot_root_alerts_with_its_own_path,
    chroot_alerts_with_the_path_inside,
    private_mount_namespace_alerts,
    container_on_overlay_alerts_once,
];

const WRITE: &str = "echo >/etc/apt/apt.conf.d/99evil";

/// Unshares the mount namespace and makes `root` the root of everything in it.
pub(super) fn in_container(root: &Path, script: &str) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["-m", "sh", "-c"]).arg(format!(
        "cd '{}' && mount --make-rprivate / && pivot_root . old && cd / && mount -t proc proc /proc && \
         umount -l /old && exec /usr/bin/sh -c '{script}'",
        root.display()
    ));
    command
}

fn container_with_pivot_root_alerts_with_its_own_path(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    let _mount = Mount::new("tmpfs", "", "container", &root)?;
    container_root(&root)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut in_container(&root, WRITE))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/99evil", "creation")?.expect(&[("process.name", "sh")])?;
    run.only_alert()?.expect(&[
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("process.executable", "/usr/bin/sh"),
        ("user.name", "root"),
    ])?;
    Ok(Outcome::Passed)
}

fn chroot_alerts_with_the_path_inside(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    container_root(&root)?;
    let sensor = Sensor::start(ctx)?;
    ok(Command::new("/usr/bin/chroot").arg(&root).args(["/usr/bin/sh", "-c", WRITE]))?;
    let run = sensor.stop()?;
    run.only_alert()?
        .expect(&[("file.path", "/etc/apt/apt.conf.d/99evil"), ("process.executable", "/usr/bin/sh")])?;
    Ok(Outcome::Passed)
}

fn private_mount_namespace_alerts(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(Command::new("/usr/bin/unshare")
        .args(["-m", "sh", "-c"])
        .arg(format!("mount -t tmpfs none /etc/apt/apt.conf.d && {WRITE}")))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("file.path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

fn container_on_overlay_alerts_once(ctx: &Ctx) -> Result<Outcome> {
    let lower = ctx.dir("lower")?;
    container_root(&lower)?;
    let (upper, work, root) = (ctx.dir("upper")?, ctx.dir("work")?, ctx.dir("root")?);
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let _mount = Mount::new("overlay", &options, "overlay", &root)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut in_container(&root, WRITE))?;
    let run = sensor.stop()?;
    run.file("/etc/apt/apt.conf.d/99evil", "creation")?;
    run.only_alert()?;
    Ok(Outcome::Passed)
}
