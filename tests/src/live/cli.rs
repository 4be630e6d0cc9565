//! The command line: what each command says and returns, and how it refuses.

use std::fs;

use anyhow::{Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, ok, shell};
use crate::runner::Outcome;
use crate::sensor::{Ended, MATCH_ALL, RULES, SENSOR, Sensor, attach_args, run_to_end};

tests![
    version_is_printed,
    doctor_finds_every_hook_usable,
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
