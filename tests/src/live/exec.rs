//! Executions: the record of a program's start, and what it gives to later file events.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, act, ok, shell};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Run, Sensor};

tests![
    exec_gives_arguments_user_and_parent,
    script_is_reported_by_its_own_path,
    script_whose_interpreter_is_a_script_is_reported_by_its_own_path,
    script_through_a_symlink_is_the_resolved_file,
    script_writing_a_hook_alerts_with_the_script_as_executable,
    executable_through_a_symlink_is_the_resolved_file,
    failed_exec_gives_no_event,
    exec_replaces_the_image_of_the_process,
    exit_is_recorded,
];

/// The one exec event of this executable.
fn exec_of<'a>(run: &'a Run, executable: &str) -> Result<&'a Doc> {
    let found: Vec<&Doc> = run
        .events
        .iter()
        .filter(|doc| doc.is("event.action", "exec") && doc.is("process.executable", executable))
        .collect();
    match found.as_slice() {
        [doc] => Ok(doc),
        _ => bail!("wanted one exec of {executable}, got {}", run.show(&found)),
    }
}

fn script(ctx: &Ctx, name: &str, text: &str) -> Result<String> {
    let path = ctx.scratch().join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

fn exec_gives_arguments_user_and_parent(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(Command::new("/usr/bin/basename").args(["two words", ""]).current_dir("/srv"))?;
    let run = sensor.stop()?;
    let event = exec_of(&run, "/usr/bin/basename")?;
    event.expect(&[
        ("event.category", "process"),
        ("event.type", "start"),
        ("event.outcome", "success"),
        ("process.name", "basename"),
        ("process.command_line", "/usr/bin/basename two words "),
        ("process.args_count", "3"),
        ("process.working_directory", "/srv"),
        ("process.parent.pid", &std::process::id().to_string()),
        ("process.parent.executable", "/usr/bin/sensor-livetest"),
        ("user.name", "root"),
    ])?;
    let args = event.get("process.args").context("no process.args")?;
    anyhow::ensure!(
        *args == serde_json::json!(["/usr/bin/basename", "two words", ""]),
        "process.args is {args}"
    );
    Ok(Outcome::Passed)
}

fn script_is_reported_by_its_own_path(ctx: &Ctx) -> Result<Outcome> {
    let path = script(ctx, "probe.sh", "#!/usr/bin/sh\n:\n")?;
    let sensor = Sensor::start(ctx)?;
    // Relative, so that an absolute path is the sensor's own doing.
    ok(Command::new("./probe.sh").current_dir(ctx.scratch()))?;
    let run = sensor.stop()?;
    exec_of(&run, &path)?.expect(&[("process.name", "probe.sh"), ("process.args", "/usr/bin/sh")])?;
    Ok(Outcome::Passed)
}

fn script_whose_interpreter_is_a_script_is_reported_by_its_own_path(ctx: &Ctx) -> Result<Outcome> {
    let wrapper = script(ctx, "wrapper", "#!/usr/bin/sh\nexit 0\n")?;
    let nested = script(ctx, "nested", &format!("#!{wrapper}\n"))?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut Command::new(&nested))?;
    let run = sensor.stop()?;
    exec_of(&run, &nested)?.expect(&[
        ("process.name", "nested"),
        ("process.command_line", &format!("/usr/bin/sh {wrapper} {nested}")),
    ])?;
    Ok(Outcome::Passed)
}

fn script_through_a_symlink_is_the_resolved_file(ctx: &Ctx) -> Result<Outcome> {
    let target = script(ctx, "target", "#!/usr/bin/sh\nexit 0\n")?;
    let link = format!("{target}-link");
    std::os::unix::fs::symlink(&target, &link)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut Command::new(&link))?;
    let run = sensor.stop()?;
    exec_of(&run, &target)?.expect(&[("process.command_line", &format!("/usr/bin/sh {link}"))])?;
    Ok(Outcome::Passed)
}

fn script_writing_a_hook_alerts_with_the_script_as_executable(ctx: &Ctx) -> Result<Outcome> {
    let path = script(ctx, "install.sh", &format!("#!/usr/bin/sh\necho >{APT_DIR}/99evil\n"))?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut Command::new(&path))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("process.executable", &path), ("process.name", "install.sh")])?;
    Ok(Outcome::Passed)
}

fn executable_through_a_symlink_is_the_resolved_file(ctx: &Ctx) -> Result<Outcome> {
    let link = ctx.scratch().join("link");
    std::os::unix::fs::symlink("/usr/bin/sensor-livetest", &link)?;
    let sensor = Sensor::start(ctx)?;
    ok(&mut crate::ctx::act_as(&link.display().to_string(), &["create", &format!("{APT_DIR}/99evil")]))?;
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("process.executable", "/usr/bin/sensor-livetest")])?;
    Ok(Outcome::Passed)
}

fn failed_exec_gives_no_event(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    crate::ctx::fails(&mut act(&["exec", "/etc/passwd"]))?;
    let run = sensor.stop()?;
    let wrong: Vec<&Doc> =
        run.events.iter().filter(|doc| doc.is("process.executable", "/etc/passwd")).collect();
    anyhow::ensure!(wrong.is_empty(), "it was not executed: {}", run.show(&wrong));
    Ok(Outcome::Passed)
}

/// The same process, first a shell, then the actor: the file event has the facts of the latter.
fn exec_replaces_the_image_of_the_process(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("exec /usr/bin/sensor-livetest act create {APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    let command_line = format!("/usr/bin/sensor-livetest act create {APT_DIR}/99evil");
    run.only_alert()?.expect(&[
        ("process.executable", "/usr/bin/sensor-livetest"),
        ("process.command_line", &command_line),
    ])?;
    Ok(Outcome::Passed)
}

fn exit_is_recorded(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell("/usr/bin/sh -c 'exit 0'"))?;
    let run = sensor.stop()?;
    let ended = |doc: &&Doc| doc.is("event.action", "end") && doc.is("process.executable", "/usr/bin/sh");
    if !run.events.iter().any(|doc| ended(&doc)) {
        bail!("no end of the shell; {}", run.show(&[]));
    }
    anyhow::ensure!(Path::new("/usr/bin/sh").exists());
    Ok(Outcome::Passed)
}
