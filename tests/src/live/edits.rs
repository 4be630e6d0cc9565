//! Rules and configuration that are edited under a running sensor.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::blinded::wait_for;
use super::tests;
use crate::ctx::Ctx;
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![edited_files_are_read_anew_and_broken_ones_are_not];

fn rule(number: u32, name: &str) -> String {
    format!(
        "[rule]\nauthor = [\"sensor\"]\ndescription = \"One file.\"\nindex = [\"logs-endpoint.events.file*\"]\n\
         language = \"eql\"\nlicense = \"Apache-2.0\"\nname = \"Edited\"\nrisk_score = 1\n\
         rule_id = \"00000000-0000-4000-a000-{number:012}\"\nseverity = \"low\"\ntype = \"eql\"\n\
         query = 'file where file.name : \"{name}*\"'\n"
    )
}

/// As an editor does: the new file takes the place of the old one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, path)?)
}

fn edited_files_are_read_anew_and_broken_ones_are_not(ctx: &Ctx) -> Result<Outcome> {
    let (rules, seen) = (ctx.dir("rules")?, ctx.dir("seen")?);
    let config = ctx.scratch().join("sensor.toml");
    fs::write(rules.join("first.toml"), rule(1, "edited-first"))?;
    fs::write(&config, "agent.reload_on_change = true\nrules.paths = [\"rules\"]\n")?;
    let sensor = Sensor::start_in(ctx.scratch(), &["--config", &config.display().to_string()])?;
    let log = ctx.scratch().join("stderr.log");
    let alerts_on = |name: &str| {
        let path = seen.join(name);
        sensor.wait_for_alert_on(&path.display().to_string(), || {
            if path.exists() {
                fs::remove_file(&path)?;
            }
            Ok(fs::write(&path, "x")?)
        })
    };
    alerts_on("edited-first")?;
    replace(&rules.join("second.toml"), &rule(2, "edited-second"))?;
    alerts_on("edited-second")?;
    // Written in place, and broken: the rule of before holds.
    fs::write(rules.join("second.toml"), "query = ")?;
    wait_for(&log, "nothing was changed: a rule is broken that was not")?;
    fs::write(seen.join("edited-second-after"), "x")?;
    replace(&config, "agent.reload_on_change = true\nrules.paths = [\"rules\"\n")?;
    wait_for(&log, "nothing was changed: the configuration is broken")?;
    fs::write(seen.join("edited-first-after"), "x")?;
    fs::remove_file(rules.join("second.toml"))?;
    fs::write(rules.join("third.toml"), rule(3, "edited-third"))?;
    let disabled = "agent.reload_on_change = true\nrules.paths = [\"rules\"]\n\
                    rules.disable.ids = [\"00000000-0000-4000-a000-000000000001\"]\n";
    replace(&config, disabled)?;
    alerts_on("edited-third")?;
    for name in ["edited-first", "edited-second"] {
        fs::write(seen.join(format!("{name}-late")), "x")?;
    }
    alerts_on("edited-third")?;
    let run = sensor.stop()?;
    let is_alerted = |name: &str| {
        let path = seen.join(name).display().to_string();
        run.alerts.iter().any(|alert| alert.is("file.path", &path))
    };
    for name in ["edited-first-after", "edited-second-after"] {
        ensure!(is_alerted(name), "a broken edit took the rule of {name} away: {}", run.stderr);
    }
    for name in ["edited-first-late", "edited-second-late"] {
        ensure!(!is_alerted(name), "the rule of {name} is still there: {}", run.stderr);
    }
    Ok(Outcome::Passed)
}
