//! `sensor rules`, and loading rules for every other command.

mod explain;
mod find;
mod list;
mod load;
mod test;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
pub(super) use explain::explain;
pub(super) use list::list;
pub(crate) use load::load_for_run;
pub use load::{Choice, Rules, obstacles};
use sensor_ecs::Ecs;
use sensor_eql::diag::printable;
pub(super) use test::test;

use super::args::RulesCheckArgs;
use super::say::{note, print};

/// `sensor rules check`: everything about the rules at these paths.
///
/// # Errors
///
/// When a path cannot be read or has no rule file.
pub fn check(args: &RulesCheckArgs) -> anyhow::Result<ExitCode> {
    let rules = Rules::load(&args.paths, Choice::UserOrShipped, &Ecs)?;
    let mut text = String::new();
    for rule in rules.set.rules() {
        let about = &rule.rule;
        let version = about.version.map_or(String::new(), |version| format!(" version {version}"));
        let obstacles = obstacles(rule);
        let state = if obstacles.is_empty() { "loaded" } else { "listed" };
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
    }
    for listed in rules.set.listed() {
        let _ = writeln!(text, "{}", load::listed_line(listed));
    }
    print(&text).context("standard output")?;
    for problem in rules.errors().chain(rules.set.warnings()) {
        note(format_args!("{problem}"));
    }
    note(format_args!("{}", rules.summary()));
    let refused = rules.broken() > 0 || (args.strict && !rules.set.warnings().is_empty());
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
