//! After an alert, everything that its process tree does is recorded, and of nobody else.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, HOOK, SHELL};
use crate::runner::Outcome;
use crate::sensor::{Kind, Sensor};

tests![the_tree_of_an_alert_is_followed];

const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);

/// A tree of three: a shell that raises the alert, one that was there before, and one that leaves for a session of its
/// own.
fn the_tree_of_an_alert_is_followed(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_own_with(ctx, Kind::Shipped, &["--scope", "rules"])?;
    let dir = ctx.dir("quiet")?;
    let path = |name: &str| dir.join(name).display().to_string();
    let pipe = path("pipe");
    let mut session = Command::new("/usr/bin/setsid").arg(SHELL).stdin(Stdio::piped()).spawn()?;
    let mut to_session = session.stdin.take().context("no pipe")?;
    let mut say = |line: String| writeln!(to_session, "{line}");
    say(format!("mkfifo {pipe}; (read _ <{pipe}; echo >{}) &", path("brother")))?;
    say(format!("echo >{}", path("before")))?;
    let hook = Path::new(APT_DIR).join("99followed").display().to_string();
    say(format!("echo '{HOOK}' >{hook}"))?;
    sensor.wait_for_alert_on(&hook, || Ok(()))?;
    // The alert may be written before the tree is followed.
    let events = ctx.scratch().join("events.ndjson");
    let start = Instant::now();
    for attempt in 0.. {
        say(format!("echo >{}", path(&format!("after-{attempt}"))))?;
        thread::sleep(Duration::from_millis(100));
        if fs::read_to_string(&events)?.contains("/after-") {
            break;
        }
        ensure!(start.elapsed() < FOLLOWED_WITHIN, "the tree is not followed");
    }
    fs::write(dir.join("outside"), "")?;
    say(format!(
        "echo go >{pipe}; setsid {SHELL} -c 'echo >{}; mv {0} {0}-moved; rm {0}-moved'",
        path("daemon")
    ))?;
    say("wait".to_owned())?;
    drop(to_session);
    ensure!(session.wait()?.success(), "the session failed");
    let run = sensor.stop()?;
    let seen = |name: &str, action: &str| run.file(&path(name), action).map(drop);
    seen("brother", "creation")?;
    seen("daemon", "creation")?;
    let daemon = run.files(&path("daemon-moved"));
    ensure!(
        daemon
            .iter()
            .map(|doc| doc.text("event.action"))
            .eq([Some("rename".into()), Some("deletion".into())]),
        "{}",
        run.show(&daemon)
    );
    for name in ["before", "outside"] {
        ensure!(run.files(&path(name)).is_empty(), "{name} is nothing that a rule looks at");
    }
    let alert = run.only_alert()?;
    ensure!(alert.text("sensor.evidence.activity_left_out").is_some(), "the alert says nothing of its scope");
    Ok(Outcome::Passed)
}
