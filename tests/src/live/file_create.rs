//! New files in APT's configuration directory: one event and one alert each, with the facts of the creating process.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, HOOK, SHELL, act, as_alice, fails, ok, shell};
use crate::runner::Outcome;
use crate::sensor::{APT_RULE, Sensor};

tests![
    shell_writing_a_hook_alerts_once,
    shell_of_an_ordinary_user_alerts_with_that_user,
    open_truncating_an_existing_file_is_no_creation,
    open_of_an_uncached_existing_file_is_no_creation,
    create_refused_with_eacces_gives_no_event,
    create_refused_with_eexist_gives_no_event,
    create_that_fails_after_the_file_exists_gives_an_event,
    deep_child_of_the_directory_alerts,
];

fn shell_writing_a_hook_alerts_once(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let script = format!("echo '{HOOK}' >{APT_DIR}/99evil");
    ok(shell(&script).current_dir("/srv"))?;
    let run = sensor.stop()?;

    let command_line = format!("{SHELL} -c {script}");
    let own_pid = std::process::id().to_string();
    let own_parent = [
        ("process.parent.pid", own_pid.as_str()),
        ("process.parent.executable", "/usr/bin/sensor-livetest"),
        ("process.parent.name", "sensor-livetest"),
        ("process.parent.command_line", "/usr/bin/sensor-livetest one shell_writing_a_hook_alerts_once"),
    ];
    let facts = [
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.name", "99evil"),
        ("process.executable", SHELL),
        ("process.name", "sh"),
        ("process.command_line", &command_line),
        ("process.working_directory", "/srv"),
        ("user.name", "root"),
        ("user.id", "0"),
        ("group.name", "root"),
        ("host.os.type", "linux"),
        ("host.hostname", "sensor-vm"),
    ];
    let event = run.file("/etc/apt/apt.conf.d/99evil", "creation")?;
    event.expect(&facts)?;
    event.expect(&own_parent)?;
    event.expect(&[("event.type", "creation"), ("event.outcome", "success"), ("event.kind", "event")])?;
    event.expect_absent(&["file.extension", "file.Ext.original.path", "container.id"])?;

    let alert = run.only_alert()?;
    alert.expect(&facts)?;
    alert.expect(&own_parent)?;
    alert.expect(&[
        ("event.kind", "alert"),
        ("rule.id", APT_RULE),
        ("rule.version", "5"),
        ("event.risk_score", "47"),
    ])?;
    Ok(Outcome::Passed)
}

fn shell_of_an_ordinary_user_alerts_with_that_user(ctx: &Ctx) -> Result<Outcome> {
    std::os::unix::fs::chown(APT_DIR, Some(crate::ctx::ALICE_UID), None)?;
    let sensor = Sensor::start(ctx)?;
    ok(as_alice(&mut shell(&format!("echo >{APT_DIR}/99alice"))))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[
        ("file.path", "/etc/apt/apt.conf.d/99alice"),
        ("user.id", "1000"),
        ("user.name", "alice"),
        ("group.id", "1000"),
        ("group.name", "alice"),
    ])?;
    Ok(Outcome::Passed)
}

fn open_truncating_an_existing_file_is_no_creation(ctx: &Ctx) -> Result<Outcome> {
    fs::write(Path::new(APT_DIR).join("01old"), "old")?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut shell(&format!("echo new >{APT_DIR}/01old; echo more >>{APT_DIR}/01old; cat {APT_DIR}/01old")))?;
    let run = sensor.stop()?;
    ensure!(run.files(APT_DIR).is_empty(), "an open of an existing file is no creation: {}", run.show(&[]));
    run.no_alert()?;
    Ok(Outcome::Passed)
}

/// `open` asks for permission to create before it looks an uncached name up, and the lookup instantiates the dentry.
fn open_of_an_uncached_existing_file_is_no_creation(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    // The kernel makes the directory's files; their names are looked up when they are first opened.
    let dir = "/sys/fs/cgroup/uncached";
    fs::create_dir(dir)?;
    ok(&mut shell(&format!("echo max >{dir}/cgroup.max.depth")))?;
    fs::remove_dir(dir)?;
    let run = sensor.stop()?;
    let files = run.files(&format!("{dir}/"));
    ensure!(files.is_empty(), "events of files that were there:{}", run.show(&files));
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn create_refused_with_eacces_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    let path = format!("{APT_DIR}/99refused");
    fails(as_alice(&mut act(&["create", &path])))?;
    ensure!(!Path::new(&path).exists(), "the system allowed what it had to refuse");
    let run = sensor.stop()?;
    ensure!(run.files(APT_DIR).is_empty(), "refused, yet reported: {}", run.show(&run.files(APT_DIR)));
    run.no_alert()?;
    Ok(Outcome::Passed)
}

fn create_refused_with_eexist_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{APT_DIR}/01there");
    fs::write(&path, "")?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    fails(&mut act(&["create-new", &path]))?;
    let run = sensor.stop()?;
    ensure!(run.files(APT_DIR).is_empty(), "refused, yet reported: {}", run.show(&run.files(APT_DIR)));
    run.no_alert()?;
    Ok(Outcome::Passed)
}

/// ramfs cannot do direct I/O: the open fails with EINVAL, but the file stays.
fn create_that_fails_after_the_file_exists_gives_an_event(ctx: &Ctx) -> Result<Outcome> {
    let dir = ctx.dir("ramfs")?;
    let _mount = crate::ctx::Mount::new("ramfs", "", "none", &dir)?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    let path = dir.join("left").display().to_string();
    fails(&mut act(&["create-direct", &path]))?;
    ensure!(Path::new(&path).exists(), "this kernel removed the file again");
    let run = sensor.stop()?;
    run.file(&path, "creation")?;
    Ok(Outcome::Passed)
}

fn deep_child_of_the_directory_alerts(ctx: &Ctx) -> Result<Outcome> {
    let deep = format!("{APT_DIR}/a/b/c");
    fs::create_dir_all(&deep)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo >{deep}/99deep.conf")))?;
    let run = sensor.stop()?;
    run.only_alert()?
        .expect(&[("file.path", "/etc/apt/apt.conf.d/a/b/c/99deep.conf"), ("file.extension", "conf")])?;
    Ok(Outcome::Passed)
}
