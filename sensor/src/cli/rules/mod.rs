//! `sensor rules`, and loading rules for every other command.

mod explain;
mod find;
mod list;
mod load;
mod test;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
pub(super) use explain::explain;
pub(crate) use find::rule_files;
pub(super) use list::list;
use load::unfilled;
pub use load::{Choice, Rules};
pub(crate) use load::{ForRun, load_for_run};
use sensor_ecs::{Action, Ecs};
use sensor_eql::Rule;
use sensor_eql::diag::printable;
pub(super) use test::test;

use super::args::{ConfigArg, RulesCheckArgs};
use super::say::{note, print};
use crate::config::{self, Scope};
use crate::filter::{Filter, RuleNeeds};

/// Those that are named, or else those of the configuration.
fn paths(named: &[PathBuf], config: &ConfigArg) -> anyhow::Result<Vec<PathBuf>> {
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    Ok(config::load(config.config.as_deref())?.config.rules.paths)
}

/// `sensor rules check`: everything about the rules at these paths.
///
/// # Errors
///
/// When a path cannot be read or has no rule file.
pub fn check(args: &RulesCheckArgs) -> anyhow::Result<ExitCode> {
    let paths = paths(&args.paths, &args.config)?;
    let mut rules = Rules::load(&paths, Choice::UserOrShipped, &Ecs)?;
    if args.paths.is_empty() || args.config.config.is_some() {
        rules.for_streams(config::load(args.config.config.as_deref())?.config.streams());
    }
    let mut text = String::new();
    for rule in rules.set.rules() {
        let about = &rule.rule;
        let version = about.version.map_or(String::new(), |version| format!(" version {version}"));
        let obstacles = rules.obstacles(rule);
        let state = if obstacles.is_empty() { "loaded" } else { "listed" };
        let unfilled = if obstacles.is_empty() { unfilled(rule) } else { Vec::new() };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{state}  {}  {} ({}):{version} {} {}",
            about.id,
            printable(&about.name),
            printable(&rule.path),
            about.severity.as_str(),
            about.risk_score
        );
        for obstacle in obstacles {
            let _ = writeln!(text, "        {obstacle}");
        }
        if !unfilled.is_empty() {
            let _ = writeln!(text, "        null on every event of this sensor: {}", unfilled.join(", "));
        }
        if rules.streams().is_read_in_containers(&rule.rule, Action::Creation) {
            for line in RuleNeeds::of(&rule.compiled).lines() {
                let _ = writeln!(text, "        kernel filter: {line}");
            }
        }
    }
    for listed in rules.set.listed() {
        let _ = writeln!(text, "{}", load::listed_line(listed));
    }
    let asked = |rule: &Rule, action| rules.streams().is_read_in_containers(rule, action);
    let filter = Filter::new(Scope::Rules, &rules.set, asked);
    let _ = writeln!(text, "{}", filter.summary());
    print(&text).context("standard output")?;
    for problem in rules.errors().chain(rules.set.warnings()) {
        note(format_args!("{problem}"));
    }
    note(format_args!("{}", rules.summary()));
    let refused = rules.broken() > 0 || (args.strict && !rules.set.warnings().is_empty());
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
