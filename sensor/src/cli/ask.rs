//! `sensor status` and `sensor reload`: a running sensor is asked by its socket.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use super::AskArgs;
use super::say::{count, print};
use crate::config::{self, Config};
use crate::health::{self, Status};
use crate::shown::shown;

/// Rules that are named.
const RULES_SHOWN_MAX: usize = 20;

/// The socket of the sensor that is meant.
pub(super) fn socket(args: &AskArgs) -> anyhow::Result<PathBuf> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let socket = match config::load(args.config.config.as_deref()) {
        Ok(loaded) => loaded.config.health.socket,
        // A sensor that runs has the one before, and says what is wrong with this one.
        Err(error) => {
            let usual = Config::default().health.socket;
            if !usual.exists() {
                return Err(error.into());
            }
            usual
        }
    };
    ensure!(!socket.as_os_str().is_empty(), "the configuration gives no socket: health.socket is empty");
    Ok(socket)
}

/// Prints how the sensor fares; fails if it is not well.
///
/// # Errors
///
/// When no sensor answers.
pub(super) fn status(args: &AskArgs) -> anyhow::Result<ExitCode> {
    let json = health::ask(&socket(args)?, "/status")?;
    let status: Status = serde_json::from_slice(&json).context("the sensor is of another version")?;
    print(&page(&status)).context("standard output")?;
    Ok(if status.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the sensor read rules and configuration anew.
///
/// # Errors
///
/// When no sensor answers, or it keeps the old ones.
pub(super) fn reload(args: &AskArgs) -> anyhow::Result<ExitCode> {
    let said = health::tell(&socket(args)?, "/reload")?;
    print(&format!("reloaded: {}", String::from_utf8_lossy(&said))).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The state as people read it.
pub(super) fn page(status: &Status) -> String {
    let mut page = String::new();
    let mut line = |label: &str, text: &str| {
        for (at, text) in text.lines().enumerate() {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "{:<12}{text}", if at == 0 { label } else { "" });
        }
    };
    let (about, vitals) = (&status.about, &status.vitals);
    let state = match (vitals.ready, status.troubles.is_empty()) {
        (false, _) => "starting",
        (true, true) => "well",
        (true, false) => "running, with troubles",
    };
    line("sensor", &format!("{} [{}] on {}: {state}", about.version, about.pid, about.kernel));
    line("up", &format!("{} s, agent {}", status.uptime_seconds, about.agent_id));
    if !about.config.is_empty() {
        line("config", &about.config);
    }
    for trouble in &status.troubles {
        line("TROUBLE", &shown(trouble.as_bytes()));
    }
    let hooks = about.hooks.iter().filter(|hook| hook.is_used);
    line("hooks", &hooks.map(|hook| format!("{} {}", hook.name, hook.mode)).collect::<Vec<_>>().join(", "));
    let events = vitals.events.iter().filter(|(_, count)| *count > 0);
    let all: u64 = vitals.events.iter().map(|(_, count)| count).sum();
    let kinds = events.map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ");
    line("events", &format!("{all}: {kinds}"));
    let lost: Vec<String> = vitals
        .lost
        .iter()
        .flatten()
        .filter(|lost| lost.count > 0)
        .map(|lost| format!("{} {} ({})", lost.of, lost.count, lost.reason))
        .collect();
    line("lost", &if lost.is_empty() { "0".to_owned() } else { lost.join(", ") });
    line(
        "rules",
        &format!("{}, {}", count(vitals.rules.0.len() as u64, "rule"), count(vitals.alerts, "alert")),
    );
    let mut matches: Vec<_> =
        vitals.rules.0.iter().zip(&vitals.matches).filter(|(_, count)| **count > 0).collect();
    matches.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for ((_, name), matches) in matches.into_iter().take(RULES_SHOWN_MAX) {
        line("", &format!("{matches} x {}", shown(name.as_bytes())));
    }
    for suppressed in &vitals.suppressed {
        let (rule, reason) = (shown(suppressed.of.as_bytes()), shown(suppressed.reason.as_bytes()));
        line("suppressed", &format!("{} of {rule} by {reason}", suppressed.count));
    }
    let table = vitals.processes;
    line(
        "processes",
        &format!(
            "{}, {} found late, {} repaired, {} evicted",
            table.entries, table.discovered, table.repaired, table.evicted
        ),
    );
    if let Some(store) = status.store {
        line("store", &format!("{} stored, {} dropped", store.stored, store.dropped));
    }
    for channel in &status.channels {
        let mut text = format!("{} written, {} dropped", channel.lines.written, channel.dropped());
        if let (Some(spool), Some(remote)) = (&channel.spool, &channel.remote) {
            let _ = write!(
                text,
                "\n{} wait in {} of {} bytes; {} delivered, {} of them again, {} refused",
                spool.documents,
                spool.bytes,
                spool.bytes_max,
                remote.delivered,
                remote.duplicates,
                remote.dead + remote.dead_lost
            );
        }
        line("output", &format!("{}: {text}", channel.name));
    }
    if status.confinement.threads.is_empty() {
        line("confined", "NO: agent.confine is false");
    }
    for (at, (kind, state)) in status.confinement.threads.iter().enumerate() {
        line(if at == 0 { "confined" } else { "" }, &format!("{kind}: {state}"));
    }
    if !status.reloads.last.is_empty() {
        // What is wrong with a file is shown below its line.
        let said = status.reloads.last.lines().map(|line| shown(line.as_bytes()));
        line("reload", &said.collect::<Vec<_>>().join("\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_as_a_page() {
        let mut status = Status::default();
        status.about.version = "1".to_owned();
        status.vitals.ready = true;
        status.vitals.events = vec![("creation".to_owned(), 3), ("fork".to_owned(), 0)];
        assert!(page(&status).starts_with("sensor      1 [0] on : well\n"), "{}", page(&status));
        status.troubles = vec!["webhook: \u{1b}[31m500".to_owned()];
        status.reloads.last = "nothing was changed\n1 | a = [\u{7}\n  |      ^".to_owned();
        let page = page(&status);
        for line in [
            "with troubles\n",
            "TROUBLE     webhook: \\x1b[31m500\n",
            "events      3: creation 3\n",
            "lost        0\n",
            "reload      nothing was changed\n            1 | a = [\\x07\n              |      ^\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }
}
