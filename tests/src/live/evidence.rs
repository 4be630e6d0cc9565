//! What an alert finds out by itself, and what trying to mislead it leads to.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context as _, Result, ensure};

use serde_json::Value;

use super::tests;
use crate::ctx::{Ctx, ok, shell};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![
    alert_carries_the_evidence_of_a_hook,
    evidence_is_not_taken_from_another_file,
    evidence_is_found_in_a_containers_root,
];

const HOOK: &str = "/etc/apt/apt.conf.d/99evidence";

fn is(value: &Value, pointer: &str, wanted: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_str) == Some(wanted)
}

fn about<'d>(alert: &'d Doc, what: &str) -> Result<&'d Value> {
    alert
        .get(&format!("sensor.evidence.{what}"))
        .with_context(|| format!("the alert has no evidence on {what}: {:?}", alert.get("sensor.evidence")))
}

fn alert_carries_the_evidence_of_a_hook(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start(ctx)?;
    ok(&mut shell(&format!("echo 'DPkg::Pre-Invoke {{\"/tmp/x\";}};' >{HOOK}; sleep 1")))?;
    let run = sensor.stop()?;
    fs::remove_file(HOOK)?;
    let alert = run.only_alert()?;
    ensure!(about(alert, "file.content.data")? == "DPkg::Pre-Invoke {\"/tmp/x\";};\n");
    let hooks = about(alert, "file.apt_hooks")?;
    ensure!(is(hooks, "/0/name", "DPkg::Pre-Invoke") && is(hooks, "/0/value", "/tmp/x"), "{hooks}");
    let ancestry = about(alert, "ancestry")?;
    ensure!(is(ancestry, "/0/executable", "/usr/bin/sh"), "{ancestry}");
    let sha256 = ancestry.pointer("/0/sha256").and_then(Value::as_str);
    let is_late = |reason: &str| reason == "no hash: it took too long";
    let late = ancestry.pointer("/0/reason").and_then(Value::as_str).is_some_and(is_late);
    ensure!(late || sha256.is_some_and(|sha256| sha256.len() == 64), "{ancestry}");
    ensure!(
        ancestry.as_array().and_then(|chain| chain.last()).is_some_and(|last| last["pid"] == 1),
        "{ancestry}"
    );
    let exclusions = about(alert, "exclusions")?;
    ensure!(exclusions.as_array().is_some_and(|all| all.len() == 9), "{exclusions}");
    let activity = about(alert, "activity")?;
    let did = |action: &str, name: &str| {
        activity.as_array().into_iter().flatten().any(|act| act["action"] == action && act["name"] == name)
    };
    ensure!(did("exec", "/usr/bin/sh") && did("creation", HOOK), "{activity}");
    Ok(Outcome::Passed)
}

/// The file is replaced before the alert looks: what is there now is not what happened.
fn evidence_is_not_taken_from_another_file(ctx: &Ctx) -> Result<Outcome> {
    let (other, pipe) = (ctx.scratch().join("innocent"), ctx.scratch().join("pipe"));
    fs::write(&other, "// innocent\n")?;
    ok(&mut shell(&format!("mkfifo {}", pipe.display())))?;
    for replacement in [&other, &pipe] {
        let sensor = Sensor::start(ctx)?;
        let swap = format!("echo evil >{HOOK}; rm {HOOK}; ln -s {} {HOOK}", replacement.display());
        ok(&mut shell(&swap))?;
        let run = sensor.stop()?;
        fs::remove_file(HOOK)?;
        // The link is another file of the directory, and may be another alert.
        let alert = run.apt_alerts().into_iter().find(|alert| alert.is("file.type", "file"));
        let alert = alert.context("no alert for the file")?;
        let file = about(alert, "file")?;
        let content = file.pointer("/content/data").and_then(Value::as_str);
        ensure!(content == Some("evil\n") || content.is_none() && file.get("absent").is_some(), "{file}");
    }
    Ok(Outcome::Passed)
}

/// The path is the container's: only below its root is the file to be found.
fn evidence_is_found_in_a_containers_root(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    crate::ctx::container_root(&root)?;
    let directory = root.join("etc/apt/apt.conf.d");
    fs::create_dir_all(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
    let sensor = Sensor::start(ctx)?;
    let inside = format!("echo inside >{HOOK}");
    ok(&mut shell(&format!("chroot {} /usr/bin/sh -c '{inside}'", root.display())))?;
    let run = sensor.stop()?;
    let alert = run.only_alert()?;
    ensure!(about(alert, "file.content.data")? == "inside\n");
    Ok(Outcome::Passed)
}
