//! Whose process did it: forks without exec, processes from before the sensor, threads, processes already gone.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::tests;
use crate::ctx::{ACTOR, APT_DIR, Ctx, SHELL, act, ok, shell};
use crate::runner::Outcome;
use crate::sensor::{Kind, Sensor};

tests![
    forked_shell_has_the_executable_of_its_parent,
    process_from_before_the_sensor_is_known,
    thread_is_reported_as_its_process,
    orphan_is_still_known,
    short_lived_processes_are_complete,
    thread_that_outlives_its_leader_is_reported_as_its_process,
    orphan_has_its_new_parent,
    reused_pid_is_another_process,
];

fn forked_shell_has_the_executable_of_its_parent(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    // The subshell is a fork that never executes anything; what follows keeps the shell from becoming it.
    ok(&mut shell(&format!("(echo >{APT_DIR}/99fork); true")))?;
    let run = sensor.stop()?;
    let alert = run.only_alert()?;
    alert.expect(&[
        ("process.executable", SHELL),
        ("process.name", "sh"),
        ("process.parent.executable", SHELL),
    ])?;
    Ok(Outcome::Passed)
}

fn process_from_before_the_sensor_is_known(ctx: &Ctx) -> Result<Outcome> {
    let trigger = ctx.scratch().join("go");
    let path = format!("{APT_DIR}/99before");
    let mut child =
        act(&["wait-create", &trigger.display().to_string(), &path]).current_dir("/srv").spawn()?;
    let sensor = Sensor::start_own(ctx, Kind::Shipped)?;
    fs::write(&trigger, "")?;
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the actor ended with {status}");
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[
        ("process.pid", &child.id().to_string()),
        ("process.executable", ACTOR),
        ("process.working_directory", "/srv"),
        ("process.command_line", &format!("{ACTOR} act wait-create {} {path}", trigger.display())),
        ("process.parent.pid", &std::process::id().to_string()),
    ])?;
    Ok(Outcome::Passed)
}

fn thread_is_reported_as_its_process(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let mut child = act(&["thread-create", &format!("{APT_DIR}/99thread")]).spawn()?;
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the actor ended with {status}");
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("process.pid", &child.id().to_string()), ("process.executable", ACTOR)])?;
    Ok(Outcome::Passed)
}

fn orphan_is_still_known(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{APT_DIR}/99orphan");
    let sensor = Sensor::start(ctx)?;
    // Detached: its parent ends before it acts.
    ok(&mut shell(&format!("(sleep 0.5; echo >{path}) >/dev/null 2>&1 &")))?;
    for _ in 0..300 {
        if Path::new(&path).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let run = sensor.stop()?;
    run.only_alert()?.expect(&[("process.executable", SHELL)])?;
    Ok(Outcome::Passed)
}

/// Each is gone long before its event is read: nothing may depend on /proc.
fn short_lived_processes_are_complete(ctx: &Ctx) -> Result<Outcome> {
    const COUNT: usize = 40;
    // So many alerts would use up the rule's cap for the tests that share a sensor.
    let sensor = Sensor::start_own(ctx, Kind::Shipped)?;
    let script = format!("for i in $(seq 1 {COUNT}); do /usr/bin/cp /etc/hostname {APT_DIR}/99-$i; done");
    ok(Command::new(SHELL).arg("-c").arg(&script))?;
    let run = sensor.stop()?;
    let alerts = run.apt_alerts();
    anyhow::ensure!(alerts.len() == COUNT, "wanted {COUNT} alerts, got {}", run.show(&alerts));
    for alert in alerts {
        let path = alert.text("file.path").unwrap_or_default();
        alert.expect(&[
            ("process.executable", "/usr/bin/cp"),
            ("process.command_line", &format!("/usr/bin/cp /etc/hostname {path}")),
            ("process.parent.executable", SHELL),
            ("user.name", "root"),
        ])?;
    }
    Ok(Outcome::Passed)
}

fn thread_that_outlives_its_leader_is_reported_as_its_process(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{APT_DIR}/99leaderless");
    let sensor = Sensor::start(ctx)?;
    let mut child = act(&["leader-exits", &path]).spawn()?;
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the actor ended with {status}");
    let run = sensor.stop()?;
    let alert = run.only_alert()?;
    let pid = child.id().to_string();
    alert.expect(&[
        ("process.pid", &pid),
        ("process.executable", ACTOR),
        ("process.command_line", &format!("{ACTOR} act leader-exits {path}")),
    ])?;
    alert.expect_absent(&["process.Ext.degraded"])?;
    let ends: Vec<_> = run
        .events
        .iter()
        .filter(|doc| doc.is("event.action", "end") && doc.is("process.pid", &pid))
        .collect();
    anyhow::ensure!(ends.len() == 1, "the process ended once, told {}", run.show(&ends));
    Ok(Outcome::Passed)
}

fn orphan_has_its_new_parent(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{APT_DIR}/99adopted");
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("(sleep 0.5; echo >{path}) >/dev/null 2>&1 &")))?;
    for _ in 0..300 {
        if Path::new(&path).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    sensor.stop()?.only_alert()?.expect(&[("process.executable", SHELL), ("process.parent.pid", "1")])?;
    Ok(Outcome::Passed)
}

/// Two processes with one pid, one after the other: the second is not taken for the first.
fn reused_pid_is_another_process(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    for attempt in 0..20 {
        let path = format!("{APT_DIR}/99reused-{attempt}");
        let mut first = Command::new("/usr/bin/true").spawn()?;
        let pid = first.id();
        first.wait()?;
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())?;
        let mut second = act(&["create", &path]).spawn()?;
        second.wait()?;
        if second.id() != pid {
            fs::remove_file(&path)?;
            continue;
        }
        let run = sensor.stop()?;
        let pid = pid.to_string();
        let execs: Vec<_> = run
            .events
            .iter()
            .filter(|doc| doc.is("event.action", "exec") && doc.is("process.pid", &pid))
            .collect();
        let ids: std::collections::BTreeSet<_> =
            execs.iter().filter_map(|doc| doc.text("process.entity_id")).collect();
        anyhow::ensure!(ids.len() == 2, "wanted two processes, got {}", run.show(&execs));
        let event = run.file(&path, "creation")?;
        event.expect(&[("process.pid", &pid), ("process.executable", ACTOR)])?;
        event.expect_absent(&["process.Ext.degraded"])?;
        return Ok(Outcome::Passed);
    }
    anyhow::bail!("no pid came twice")
}
