//! A file has one name for each way that leads to it; a rule is asked about all of them, and raises one alert.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, Mount, act, container_root, install_actor, ok, shell};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Run, Sensor};

tests![
    own_path_matches_first,
    chroot_into_etc_does_not_blind_the_rule,
    bind_mount_elsewhere_does_not_blind_the_rule,
    bind_mount_of_one_directory_above_does_not_blind_the_rule,
    bind_mount_in_another_namespace_does_not_blind_the_rule,
    rename_below_a_bind_mount_has_both_names_by_one_way,
    foreign_root_descriptor_does_not_blind_the_rule,
    detached_bind_mount_does_not_blind_the_rule,
    overlay_over_the_directory_does_not_blind_the_rule,
    program_in_a_root_of_its_own_is_not_the_packager,
    program_mounted_over_the_packager_is_not_it,
    packager_in_a_root_that_shows_the_hosts_stays_silent,
    file_outside_the_directory_alerts_by_no_name,
];

const DPKG: &str = "/usr/bin/dpkg";

/// The one alert, by this way, with the path that every one of these tests hides.
fn alert_by<'r>(run: &'r Run, view: &str) -> Result<&'r Doc> {
    let alert = run.only_alert()?;
    alert.expect(&[
        ("sensor.view", view),
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.name", "99evil"),
    ])?;
    Ok(alert)
}

fn own_path_matches_first(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99evil")))?;
    alert_by(&sensor.stop()?, "task")?;
    Ok(Outcome::Passed)
}

fn chroot_into_etc_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    fs::create_dir_all("/etc/usr/bin")?;
    fs::copy("/usr/bin/busybox", "/etc/usr/bin/busybox")?;
    let sensor = Sensor::start(ctx)?;
    ok(Command::new("/usr/bin/chroot").args([
        "/etc",
        "/usr/bin/busybox",
        "sh",
        "-c",
        "echo >/apt/apt.conf.d/99evil",
    ]))?;
    let run = sensor.stop()?;
    fs::remove_dir_all("/etc/usr")?;
    alert_by(&run, "host")?;
    run.file("/apt/apt.conf.d/99evil", "creation")?
        .expect(&[("file.Ext.host_path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

/// What the rule excludes is a path, and any program has it in a root of the attacker's: file and program are looked at by
/// the same way.
fn program_in_a_root_of_its_own_is_not_the_packager(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    container_root(&root)?;
    fs::create_dir_all(root.join("etc/apt"))?;
    let program = root.join("usr/bin/dpkg").display().to_string();
    // A script, whose path is its own.
    fs::write(&program, format!("#!/usr/bin/sh\necho >{APT_DIR}/99evil\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let sensor = Sensor::start(ctx)?;
    let _mount = Mount::bind(Path::new("/etc/apt"), &root.join("etc/apt"))?;
    creating_as_dpkg_in(&root)?;
    let run = sensor.stop()?;
    alert_by(&run, "file_system")?.expect(&[("process.executable", &program), ("process.name", "dpkg")])?;
    run.file(&format!("{APT_DIR}/99evil"), "creation")?.expect(&[("process.executable", "/usr/bin/dpkg")])?;
    Ok(Outcome::Passed)
}

fn program_mounted_over_the_packager_is_not_it(ctx: &Ctx) -> Result<Outcome> {
    let program = ctx.scratch().join("program");
    let program = program.display().to_string();
    install_actor(&program)?;
    install_actor(DPKG)?;
    let sensor = Sensor::start(ctx)?;
    let script = format!(
        "mount --make-rprivate / && mount --bind '{program}' {DPKG} && exec {DPKG} act create {APT_DIR}/99evil",
    );
    ok(Command::new("/usr/bin/unshare").args(["-m", "sh", "-c", &script]))?;
    let run = sensor.stop()?;
    fs::remove_file(DPKG)?;
    alert_by(&run, "file_system")?
        .expect(&[("process.executable", &program), ("process.name", "program")])?;
    Ok(Outcome::Passed)
}

/// As administrators make a root for a build or a repair: both are the host's by the way of their file system.
fn packager_in_a_root_that_shows_the_hosts_stays_silent(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    install_actor(DPKG)?;
    let _whole = Mount::bind(Path::new("/"), &root)?;
    let _apt = Mount::bind(Path::new("/etc/apt"), &root.join("etc/apt"))?;
    let sensor = Sensor::start(ctx)?;
    creating_as_dpkg_in(&root)?;
    let run = sensor.stop()?;
    fs::remove_file(DPKG)?;
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn creating_as_dpkg_in(root: &Path) -> Result<()> {
    let path = format!("{APT_DIR}/99evil");
    ok(Command::new("/usr/bin/chroot").arg(root).args([DPKG, "act", "create", &path])).map(drop)
}

fn bind_mount_elsewhere_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let elsewhere = ctx.dir("elsewhere")?;
    let sensor = Sensor::start(ctx)?;
    let _mount = Mount::bind(Path::new(APT_DIR), &elsewhere)?;
    ok(&mut act(&["create", &elsewhere.join("99evil").display().to_string()]))?;
    let run = sensor.stop()?;
    alert_by(&run, "file_system")?;
    run.file(&elsewhere.join("99evil").display().to_string(), "creation")?
        .expect(&[("file.Ext.file_system_path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

fn bind_mount_of_one_directory_above_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let elsewhere = ctx.dir("elsewhere")?;
    let sensor = Sensor::start(ctx)?;
    let _mount = Mount::bind(Path::new("/etc/apt"), &elsewhere)?;
    ok(&mut act(&["create", &elsewhere.join("apt.conf.d/99evil").display().to_string()]))?;
    alert_by(&sensor.stop()?, "file_system")?;
    Ok(Outcome::Passed)
}

fn bind_mount_in_another_namespace_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    let _mount = Mount::new("tmpfs", "", "container", &root)?;
    container_root(&root)?;
    let sensor = Sensor::start(ctx)?;
    let script = format!(
        "cd '{}' && mount --make-rprivate / && mount --bind {APT_DIR} tmp && pivot_root . old && cd / && \
         umount -l /old && exec /usr/bin/sh -c 'echo >/tmp/99evil'",
        root.display()
    );
    ok(Command::new("/usr/bin/unshare").args(["-m", "sh", "-c", &script]))?;
    let run = sensor.stop()?;
    alert_by(&run, "file_system")?;
    run.file("/tmp/99evil", "creation")?.expect(&[("process.executable", "/usr/bin/sh")])?;
    Ok(Outcome::Passed)
}

/// The exclusion of the shipped rule looks at the old name's extension; it must be that of the same way.
fn rename_below_a_bind_mount_has_both_names_by_one_way(ctx: &Ctx) -> Result<Outcome> {
    let elsewhere = ctx.dir("elsewhere")?;
    fs::write(format!("{APT_DIR}/old.conf"), "")?;
    let sensor = Sensor::start(ctx)?;
    let _mount = Mount::bind(Path::new(APT_DIR), &elsewhere)?;
    let at = |name: &str| elsewhere.join(name).display().to_string();
    ok(&mut act(&["rename", &at("old.conf"), &at("99evil")]))?;
    let run = sensor.stop()?;
    alert_by(&run, "file_system")?.expect(&[
        ("file.Ext.original.path", "/etc/apt/apt.conf.d/old.conf"),
        ("file.Ext.original.extension", "conf"),
    ])?;
    run.file(&at("99evil"), "rename")?.expect(&[("file.Ext.original.path", &at("old.conf"))])?;
    Ok(Outcome::Passed)
}

/// Through `/proc/PID/root` of a process in another namespace, which has no path in ours.
fn foreign_root_descriptor_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let mut other = Command::new("/usr/bin/unshare")
        .args(["-m", "sh", "-c", "echo; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    std::io::Read::read(
        &mut other.stdout.take().into_iter().next().ok_or_else(|| anyhow::anyhow!("no pipe"))?,
        &mut [0],
    )?;
    let sensor = Sensor::start(ctx)?;
    let written = ok(&mut act(&["create", &format!("/proc/{}/root{APT_DIR}/99evil", other.id())]));
    let run = sensor.stop();
    other.kill()?;
    other.wait()?;
    written?;
    let run = run?;
    run.only_alert()?.expect(&[("file.path", "/etc/apt/apt.conf.d/99evil")])?;
    Ok(Outcome::Passed)
}

/// The directory's mount is gone from every namespace; only a working directory keeps it.
fn detached_bind_mount_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let to = ctx.dir("to")?.display().to_string();
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("mount --bind {APT_DIR} {to}; cd {to}; umount -l {to}; echo >99evil")))?;
    let run = sensor.stop()?;
    alert_by(&run, "file_system")?;
    run.file("/99evil", "creation")?.expect(&[("file.Ext.path_incomplete", "true")])?;
    Ok(Outcome::Passed)
}

fn overlay_over_the_directory_does_not_blind_the_rule(ctx: &Ctx) -> Result<Outcome> {
    let (lower, work, merged) = (ctx.dir("lower")?, "/etc/apt/work", ctx.dir("merged")?);
    fs::create_dir_all(work)?;
    let options = format!("lowerdir={},upperdir={APT_DIR},workdir={work}", lower.display());
    let sensor = Sensor::start(ctx)?;
    let mount = Mount::new("overlay", &options, "overlay", &merged)?;
    ok(&mut act(&["create", &merged.join("99evil").display().to_string()]))?;
    let run = sensor.stop()?;
    drop(mount);
    fs::remove_dir_all(work)?;
    alert_by(&run, "overlay_upper")?.expect(&[("file.Ext.path_incomplete", "true")])?;
    Ok(Outcome::Passed)
}

fn file_outside_the_directory_alerts_by_no_name(ctx: &Ctx) -> Result<Outcome> {
    let (from, to) = (ctx.dir("from")?, ctx.dir("to")?);
    let sensor = Sensor::start_seeing_all(ctx)?;
    let _mount = Mount::bind(&from, &to)?;
    let path = to.join("99evil").display().to_string();
    ok(&mut act(&["create", &path]))?;
    let run = sensor.stop()?;
    run.no_alert()?;
    let by_mount = from.join("99evil").display().to_string();
    run.file(&path, "creation")?.expect(&[("file.Ext.file_system_path", &by_mount)])?;
    ensure!(run.files("/").iter().filter(|doc| doc.is("file.name", "99evil")).count() == 1, "told twice");
    Ok(Outcome::Passed)
}
