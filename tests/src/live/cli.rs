//! The command line: what each command says and returns, and how it refuses.

use std::fs;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, act, ok, shell};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Ended, Kind, MATCH_ALL, RULES, SENSOR, Sensor, attach_args, run_to_end};

tests![
    version_is_printed,
    doctor_finds_every_hook_usable,
    self_test_leaves_no_event,
    raw_tracepoints_alone_see_programs,
    shipped_rules_are_accepted,
    missing_rules_path_is_one_clear_error,
    broken_rule_is_located,
    broken_rule_does_not_stop_the_good_ones,
    unknown_argument_is_refused,
];

/// A refusal: non-zero, something on standard error, no panic.
pub(super) fn refused(ended: &Ended, mention: &str) -> Result<()> {
    ensure!(!ended.status.success(), "it was to be refused, but ended with {}", ended.status);
    ensure!(ended.status.code().is_some(), "killed by a signal: {}", ended.status);
    ensure!(!ended.stderr.contains("panicked at"), "it panicked:\n{}", ended.stderr);
    ensure!(!ended.stderr.contains("RUST_BACKTRACE"), "it shows its insides:\n{}", ended.stderr);
    ensure!(
        ended.stderr.to_lowercase().contains(&mention.to_lowercase()),
        "the message does not name {mention:?}:\n{}",
        ended.stderr
    );
    Ok(())
}

fn version_is_printed(_ctx: &Ctx) -> Result<Outcome> {
    let ended = run_to_end(SENSOR, &["--version"])?;
    ensure!(ended.status.success(), "{}", ended.status);
    ensure!(ended.stdout.starts_with("sensor "), "it printed {:?}", ended.stdout);
    Ok(Outcome::Passed)
}

fn doctor_finds_every_hook_usable(_ctx: &Ctx) -> Result<Outcome> {
    let ended = run_to_end(SENSOR, &[vec!["doctor".to_owned()], attach_args()].concat())?;
    ensure!(ended.status.success(), "{}\n{}{}", ended.status, ended.stdout, ended.stderr);
    let said = ended.stdout.to_lowercase();
    for word in ["kernel", "btf", "lsm", "lockdown", "vfs_rename", "inode_create", "sched_process_exec"] {
        ensure!(said.contains(word), "doctor does not tell about {word}:\n{}", ended.stdout);
    }
    ensure!(said.contains("seccomp, landlock "), "no confinement:\n{}", ended.stdout);
    ensure!(!said.contains("not refused"), "what is forbidden can be done:\n{}", ended.stdout);
    Ok(Outcome::Passed)
}

fn self_test_leaves_no_event(ctx: &Ctx) -> Result<Outcome> {
    let run = Sensor::start_own(ctx, Kind::SeeingAll)?.stop()?;
    let of_test = |doc: &&Doc| doc.0.to_string().contains("self-test");
    let found: Vec<&Doc> = run.events.iter().chain(&run.alerts).filter(of_test).collect();
    ensure!(found.is_empty(), "the self-test shows: {}", run.show(&found));
    Ok(Outcome::Passed)
}

/// The worst that a kernel can be: no file events, and the exit of a process told by its tracepoint.
fn raw_tracepoints_alone_see_programs(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_with(ctx, &["--attach", "raw-tp"])?;
    ok(&mut shell("for n in 1 2 3 4 5; do /usr/bin/sh -c 'exit 3'; done; exit 0"))?;
    // Threads end at the same time as the last.
    ok(&mut act(&["threads-end-together", "20"]))?;
    let run = sensor.stop()?;
    let with = |action: &str, code: Option<&str>| {
        let wanted = |doc: &&Doc| {
            doc.is("event.action", action) && code.is_none_or(|code| doc.is("process.exit_code", code))
        };
        run.events.iter().filter(wanted).collect::<Vec<&Doc>>()
    };
    ensure!(with("end", Some("3")).len() == 5, "ends with 3: {}", run.show(&with("end", None)));
    let mut ended: Vec<String> =
        with("end", None).iter().filter_map(|doc| doc.text("process.entity_id")).collect();
    let all = ended.len();
    ended.sort_unstable();
    ended.dedup();
    ensure!(ended.len() == all, "{all} ends of {} processes", ended.len());
    ensure!(run.files("/").is_empty(), "file events without a hook: {}", run.show(&run.files("/")));
    ensure!(run.stderr.contains("file events: NOT available"), "{}", run.stderr);
    Ok(Outcome::Passed)
}

fn shipped_rules_are_accepted(_ctx: &Ctx) -> Result<Outcome> {
    let ended = run_to_end(SENSOR, &["rules", "check", RULES])?;
    ensure!(ended.status.success(), "{}\n{}{}", ended.status, ended.stdout, ended.stderr);
    Ok(Outcome::Passed)
}

fn missing_rules_path_is_one_clear_error(_ctx: &Ctx) -> Result<Outcome> {
    let ended = run_to_end(
        SENSOR,
        &["run", "--rules", "/nowhere/rules", "--output", "/dev/null", "--alerts", "/dev/null"],
    )?;
    refused(&ended, "/nowhere/rules")?;
    Ok(Outcome::Passed)
}

const BROKEN: &str = "[rule]\nname = \"Broken\"\nrule_id = \"00000000-0000-4000-8000-000000000002\"\n\
    language = \"eql\"\ntype = \"eql\"\nrisk_score = 1\nseverity = \"low\"\n\
    query = '''\nfile where file.path : \n'''\n";

fn broken_rule_is_located(ctx: &Ctx) -> Result<Outcome> {
    let path = ctx.scratch().join("broken.toml");
    fs::write(&path, BROKEN)?;
    let path = path.display().to_string();
    let checked = run_to_end(SENSOR, &["rules", "check", &path])?;
    refused(&checked, "broken.toml:")?;
    // Nothing is left to run: a sensor without a rule would look healthy and see nothing.
    let run =
        run_to_end(SENSOR, &["run", "--rules", &path, "--output", "/dev/null", "--alerts", "/dev/null"])?;
    refused(&run, "broken.toml")?;
    Ok(Outcome::Passed)
}

fn broken_rule_does_not_stop_the_good_ones(ctx: &Ctx) -> Result<Outcome> {
    let dir = ctx.dir("rules")?;
    fs::write(dir.join("broken.toml"), BROKEN)?;
    fs::write(dir.join("good.toml"), MATCH_ALL)?;
    let dir = dir.display().to_string();
    let sensor = Sensor::start_with(ctx, &["--rules", RULES, "--rules", &dir])?;
    ok(&mut shell(&format!("echo >{APT_DIR}/99evil")))?;
    let run = sensor.stop()?;
    run.only_alert()?;
    ensure!(
        run.alerts.iter().any(|alert| alert.is("rule.name", "Every File Event")),
        "the good neighbour is silent"
    );
    ensure!(run.stderr.contains("broken.toml"), "the broken rule is not named:\n{}", run.stderr);
    Ok(Outcome::Passed)
}

fn unknown_argument_is_refused(_ctx: &Ctx) -> Result<Outcome> {
    let ended = run_to_end(SENSOR, &["run", "--no-such-flag"])?;
    refused(&ended, "--no-such-flag")?;
    Ok(Outcome::Passed)
}
