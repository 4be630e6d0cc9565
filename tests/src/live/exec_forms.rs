//! Every way to run a program: what runs is named rightly, whatever the caller called it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::tests;
use crate::ctx::{ACTOR, APT_DIR, Ctx, SHELL, act, ok, shell};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Run, Sensor};

tests![
    fexecve_is_reported_by_the_file,
    script_through_fexecve_is_reported_by_its_own_path,
    deleted_executable_is_reported_and_marked,
    script_through_env_is_reported_by_its_own_path,
    exec_by_a_thread_keeps_the_process,
    exec_in_a_pid_namespace_has_the_pid_of_the_host,
    exec_without_arguments_is_reported,
    exec_with_a_hundred_thousand_arguments_is_cut_and_marked,
    exec_with_two_mebibytes_of_arguments_is_cut_and_marked,
    allowed_variables_of_the_environment_are_reported,
    large_environment_is_marked,
    supplementary_groups_are_reported,
];

fn execs(run: &Run, pid: u32) -> Vec<&Doc> {
    let pid = pid.to_string();
    run.events.iter().filter(|doc| doc.is("event.action", "exec") && doc.is("process.pid", &pid)).collect()
}

/// Runs the actor; the last exec of its process.
fn last_exec<S: AsRef<std::ffi::OsStr>>(ctx: &Ctx, words: &[S]) -> Result<(Run, Doc)> {
    let sensor = Sensor::start(ctx)?;
    let mut child = act(words).stdout(std::process::Stdio::null()).spawn()?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    let run = sensor.stop()?;
    let last = execs(&run, child.id()).last().map(|doc| (*doc).clone());
    let last = last.with_context(|| format!("no exec: {}", run.show(&[])))?;
    Ok((run, last))
}

fn script(ctx: &Ctx, name: &str, text: &str) -> Result<String> {
    let path = ctx.scratch().join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

fn fexecve_is_reported_by_the_file(ctx: &Ctx) -> Result<Outcome> {
    let (_, exec) = last_exec(ctx, &["fexecve", ACTOR, "list"])?;
    exec.expect(&[("process.executable", ACTOR), ("process.command_line", &format!("{ACTOR} list"))])?;
    Ok(Outcome::Passed)
}

fn script_through_fexecve_is_reported_by_its_own_path(ctx: &Ctx) -> Result<Outcome> {
    let path = script(ctx, "by-descriptor.sh", "#!/usr/bin/sh\nexit 0\n")?;
    let (_, exec) = last_exec(ctx, &["fexecve", &path])?;
    exec.expect(&[("process.executable", &path), ("process.name", "by-descriptor.sh")])?;
    exec.expect_absent(&["process.Ext.degraded"])?;
    Ok(Outcome::Passed)
}

fn deleted_executable_is_reported_and_marked(ctx: &Ctx) -> Result<Outcome> {
    let path = ctx.scratch().join("deleted").display().to_string();
    fs::copy(ACTOR, &path)?;
    let (_, exec) = last_exec(ctx, &["delete-exec", &path, "list"])?;
    exec.expect(&[("process.executable", &path), ("process.Ext.degraded", "executable_unlinked")])?;
    Ok(Outcome::Passed)
}

fn script_through_env_is_reported_by_its_own_path(ctx: &Ctx) -> Result<Outcome> {
    let path = script(ctx, "by-env.sh", "#!/usr/bin/env sh\nexit 0\n")?;
    let sensor = Sensor::start(ctx)?;
    let mut child = Command::new(&path).spawn()?;
    ensure!(child.wait()?.success(), "the script failed");
    let run = sensor.stop()?;
    let found = execs(&run, child.id());
    let [first, second] = found.as_slice() else { bail!("wanted two execs, got {}", run.show(&found)) };
    first.expect(&[("process.executable", &path), ("process.args", "/usr/bin/env")])?;
    // What `env` then runs is the shell, with the script as an argument.
    second.expect(&[("process.command_line", &format!("sh {path}"))])?;
    Ok(Outcome::Passed)
}

/// The leader dies, the thread takes its id: one process before and after.
fn exec_by_a_thread_keeps_the_process(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let path = format!("{APT_DIR}/99thread");
    let mut child = act(&["thread-exec", ACTOR, "act", "create", &path]).spawn()?;
    ensure!(child.wait()?.success(), "the actor failed");
    let run = sensor.stop()?;
    let found = execs(&run, child.id());
    let [first, second] = found.as_slice() else { bail!("wanted two execs, got {}", run.show(&found)) };
    let id = first.text("process.entity_id").context("no entity id")?;
    let command_line = format!("{ACTOR} act create {path}");
    second.expect(&[("process.entity_id", &id), ("process.command_line", &command_line)])?;
    run.only_alert()?.expect(&[("process.entity_id", &id), ("process.command_line", &command_line)])?;
    let pid = child.id().to_string();
    let ends = run.events.iter().filter(|doc| doc.is("event.action", "end") && doc.is("process.pid", &pid));
    ensure!(ends.count() == 1, "the process ended once");
    Ok(Outcome::Passed)
}

fn exec_in_a_pid_namespace_has_the_pid_of_the_host(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let said = ok(Command::new("/usr/bin/unshare").args([
        "-p",
        "-f",
        "sh",
        "-c",
        &format!("echo $$; exec {ACTOR} act create {APT_DIR}/99pid"),
    ]))?;
    ensure!(said.stdout.trim() == "1", "not the first of its namespace: {}", said.stdout);
    let run = sensor.stop()?;
    let alert = run.only_alert()?;
    alert.expect(&[("process.executable", ACTOR)])?;
    ensure!(!alert.is("process.pid", "1"), "the pid is that of the inner namespace");
    Ok(Outcome::Passed)
}

/// The kernel puts an empty one in the place of the name since 5.18.
fn exec_without_arguments_is_reported(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    // Without a name busybox does not know what to be, and fails.
    let mut child = act(&["exec-bare", "/usr/bin/busybox"]).stderr(std::process::Stdio::null()).spawn()?;
    child.wait()?;
    let run = sensor.stop()?;
    let found = execs(&run, child.id());
    let exec = found.last().context("no exec")?;
    exec.expect(&[("process.executable", "/usr/bin/busybox"), ("process.args_count", "1")])?;
    Ok(Outcome::Passed)
}

fn exec_with_a_hundred_thousand_arguments_is_cut_and_marked(ctx: &Ctx) -> Result<Outcome> {
    let (_, exec) = last_exec(ctx, &["exec-many", "100000", "1", ACTOR, "list"])?;
    exec.expect(&[
        ("process.executable", ACTOR),
        ("process.args_count", "100002"),
        ("process.Ext.command_line_truncated", "true"),
    ])?;
    Ok(Outcome::Passed)
}

fn exec_with_two_mebibytes_of_arguments_is_cut_and_marked(ctx: &Ctx) -> Result<Outcome> {
    // No single one may be longer than 128 KiB, and the kernel wants some room for itself.
    let (_, exec) = last_exec(ctx, &["exec-many", "16", "130000", ACTOR, "list"])?;
    exec.expect(&[
        ("process.executable", ACTOR),
        ("process.args_count", "18"),
        ("process.Ext.command_line_truncated", "true"),
    ])?;
    Ok(Outcome::Passed)
}

fn allowed_variables_of_the_environment_are_reported(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let mut child = Command::new(SHELL)
        .args(["-c", ":"])
        .env_clear()
        .env("PATH", "/usr/bin")
        .env("HISTFILE", "/dev/null")
        .env("SECRET", "x")
        .env("LD_LIBRARY_PATH", "/srv/lib")
        .spawn()?;
    child.wait()?;
    let run = sensor.stop()?;
    let found = execs(&run, child.id());
    let exec = found.first().context("no exec")?;
    let variables = exec.get("process.env_vars").context("no process.env_vars")?.to_string();
    for (variable, is_wanted) in
        [("HISTFILE=/dev/null", true), ("LD_LIBRARY_PATH=/srv/lib", true), ("SECRET", false)]
    {
        ensure!(variables.contains(variable) == is_wanted, "process.env_vars is {variables}");
    }
    exec.expect_absent(&["process.Ext.degraded"])?;
    Ok(Outcome::Passed)
}

fn large_environment_is_marked(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let mut child = shell(":").env("BULK", "x".repeat(20_000)).spawn()?;
    child.wait()?;
    let run = sensor.stop()?;
    let found = execs(&run, child.id());
    found.first().context("no exec")?.expect(&[("process.Ext.degraded", "environment_truncated")])?;
    Ok(Outcome::Passed)
}

fn supplementary_groups_are_reported(ctx: &Ctx) -> Result<Outcome> {
    let (_, exec) = last_exec(ctx, &["groups-exec", "4711", ACTOR, "list"])?;
    let groups = exec.get("process.supplemental_groups.id").context("no groups")?;
    ensure!(*groups == serde_json::json!(["4711", "4712"]), "process.supplemental_groups.id is {groups}");
    Ok(Outcome::Passed)
}
