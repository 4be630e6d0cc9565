//! What a process may change of itself: user, group, session.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{ALICE_UID, Ctx, as_alice, fails, ok};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Run, Sensor};

tests![
    setuid_and_setgid_give_one_event_each,
    exec_of_a_set_user_id_program_changes_the_user,
    ids_that_stay_give_no_event,
    setsid_gives_an_event,
    setsid_that_fails_gives_none,
];

fn events<'r>(run: &'r Run, action: &str, pid: u32) -> Vec<&'r Doc> {
    let pid = pid.to_string();
    run.events.iter().filter(|doc| doc.is("event.action", action) && doc.is("process.pid", &pid)).collect()
}

fn finished(command: &mut Command) -> Result<u32> {
    let mut child = command.spawn()?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(child.id())
}

/// Between fork and exec the child gives up root.
fn setuid_and_setgid_give_one_event_each(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let pid = finished(as_alice(&mut Command::new("/usr/bin/true")))?;
    let run = sensor.stop()?;
    let uid = ALICE_UID.to_string();
    for (action, fields) in [
        ("uid_change", [("user.id", uid.as_str()), ("user.name", "alice")]),
        ("gid_change", [("group.id", uid.as_str()), ("group.name", "alice")]),
    ] {
        let found = events(&run, action, pid);
        ensure!(found.len() == 1, "wanted one {action}, got {}", run.show(&found));
        for doc in found {
            doc.expect(&fields)?;
            doc.expect(&[
                ("event.category", "process"),
                ("event.type", "change"),
                ("event.outcome", "success"),
            ])?;
            doc.expect(&[("process.executable", "/usr/bin/sensor-livetest")])?;
        }
    }
    Ok(Outcome::Passed)
}

fn exec_of_a_set_user_id_program_changes_the_user(ctx: &Ctx) -> Result<Outcome> {
    let path = ctx.scratch().join("suid");
    fs::copy("/usr/bin/sensor-livetest", &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    let sensor = Sensor::start(ctx)?;
    let pid = finished(as_alice(Command::new(&path).arg("list")).stdout(std::process::Stdio::null()))?;
    let run = sensor.stop()?;
    let changes = events(&run, "uid_change", pid);
    let [_, raised] = changes.as_slice() else {
        anyhow::bail!("wanted two changes of user, got {}", run.show(&changes));
    };
    raised.expect(&[("user.id", "0"), ("user.Ext.real.id", &ALICE_UID.to_string())])?;
    raised.expect_absent(&["process.Ext.degraded"])?;
    let execs = events(&run, "exec", pid);
    ensure!(execs.len() == 1, "wanted one exec, got {}", run.show(&execs));
    for exec in execs {
        exec.expect(&[
            ("user.id", "0"),
            ("process.saved_user.id", "0"),
            ("process.saved_group.id", &ALICE_UID.to_string()),
            ("process.executable", &path.display().to_string()),
        ])?;
        exec.expect_absent(&["process.Ext.degraded"])?;
    }
    Ok(Outcome::Passed)
}

fn ids_that_stay_give_no_event(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let pid = finished(&mut Command::new("/usr/bin/true"))?;
    let run = sensor.stop()?;
    for action in ["uid_change", "gid_change", "session_id_change"] {
        let found = events(&run, action, pid);
        ensure!(found.is_empty(), "no {action} took place: {}", run.show(&found));
    }
    Ok(Outcome::Passed)
}

fn setsid_gives_an_event(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    let pid = finished(Command::new("/usr/bin/busybox").args(["setsid", "true"]))?;
    let run = sensor.stop()?;
    let found = events(&run, "session_id_change", pid);
    ensure!(found.len() == 1, "wanted one change, got {}", run.show(&found));
    for doc in found {
        doc.expect(&[("event.type", "change"), ("process.session_leader.pid", &pid.to_string())])?;
    }
    Ok(Outcome::Passed)
}

/// A leader of its group cannot open a session.
fn setsid_that_fails_gives_none(ctx: &Ctx) -> Result<Outcome> {
    use std::os::unix::process::CommandExt;
    let sensor = Sensor::start(ctx)?;
    let mut child = crate::ctx::act(&["setsid"]);
    fails(child.process_group(0))?;
    ok(&mut crate::ctx::act(&["setsid"]))?;
    let run = sensor.stop()?;
    let all = run.events.iter().filter(|doc| {
        doc.is("event.action", "session_id_change") && doc.is("process.executable", crate::ctx::ACTOR)
    });
    ensure!(all.count() == 1, "one of two took place");
    Ok(Outcome::Passed)
}
