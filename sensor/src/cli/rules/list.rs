//! `sensor rules list`: every rule that was found, and whether it runs.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use sensor_ecs::Ecs;
use sensor_eql::diag::printable;
use sensor_eql::{LoadedRule, Rule, RuleType};
use serde::Serialize;

use super::{Choice, Rules};
use crate::cli::args::{ListFormat, RulesListArgs};
use crate::cli::say::{note, print};
use crate::config::{self, RuleSettings};

/// A rule as the list shows it. What a file that does not run does not say is absent.
#[derive(Debug, Serialize)]
struct Row<'r> {
    id: Option<&'r str>,
    name: Option<&'r str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_score: Option<u8>,
    enabled: bool,
    /// Why it does not run, or cannot match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    tags: &'r [String],
    path: &'r str,
}

/// Prints the list.
///
/// # Errors
///
/// When the configuration or a path cannot be read.
pub(in crate::cli) fn list(args: &RulesListArgs) -> anyhow::Result<ExitCode> {
    let mut loaded = config::load(args.config.config.as_deref())?;
    if !args.rules.is_empty() {
        loaded.config.rules.paths.clone_from(&args.rules);
    }
    let settings = &loaded.config.rules;
    let rules = Rules::load(&settings.paths, Choice::UserAndShipped, &Ecs)?;
    for problem in rules.errors().chain(&rules.unmatched(&loaded)) {
        note(format_args!("{problem}"));
    }
    let rows = rows(&rules, settings);
    let text = match args.format {
        ListFormat::Table => table(&rows),
        ListFormat::Json => serde_json::to_string_pretty(&rows)? + "\n",
    };
    print(&text).context("standard output")?;
    Ok(if rules.broken() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn rows<'r>(rules: &'r Rules, settings: &RuleSettings) -> Vec<Row<'r>> {
    let loaded = rules.set.rules().iter().map(|rule| row(rule, settings, rules.obstacles(rule)));
    let listed = rules.set.listed().iter().map(|rule| Row {
        id: rule.id.as_deref(),
        name: rule.name.as_deref(),
        kind: None,
        severity: None,
        risk_score: None,
        enabled: false,
        reasons: vec![rule.reason.to_string()],
        tags: &[],
        path: &rule.path,
    });
    loaded.chain(listed).collect()
}

fn row<'r>(loaded: &'r LoadedRule, settings: &RuleSettings, obstacles: Vec<String>) -> Row<'r> {
    let LoadedRule { rule, path, .. } = loaded;
    let disabled = settings.disables(rule);
    let enabled = disabled.is_none();
    let reasons = disabled.map(|reason| reason.to_string()).into_iter().chain(obstacles).collect();
    Row {
        id: Some(&rule.id),
        name: Some(&rule.name),
        kind: Some(kind(rule)),
        severity: Some(rule.severity.as_str()),
        risk_score: Some(rule.risk_score),
        enabled,
        reasons,
        tags: &rule.tags,
        path,
    }
}

fn kind(rule: &Rule) -> &str {
    match &rule.kind {
        RuleType::Eql => "eql",
        RuleType::Query => "query",
        RuleType::NewTerms => "new_terms",
        RuleType::Threshold => "threshold",
        RuleType::Other(name) => name,
    }
}

/// In columns; the name, of whatever length, comes last.
fn table(rows: &[Row<'_>]) -> String {
    let width = |of: fn(&Row<'_>) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let id_width = width(|row| row.id.map_or(1, str::len)).max(2);
    let mut text = format!("{:<id_width$}  enabled  type       severity  risk  name\n", "id");
    for row in rows {
        let risk = row.risk_score.map_or_else(|| "-".to_owned(), |risk| risk.to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<id_width$}  {:<7}  {:<9}  {:<8}  {risk:>4}  {}",
            printable(row.id.unwrap_or("-")),
            if row.enabled { "yes" } else { "no" },
            row.kind.unwrap_or("-"),
            row.severity.unwrap_or("-"),
            printable(row.name.unwrap_or(row.path)),
        );
        for reason in &row.reasons {
            let _ = writeln!(text, "{:id_width$}  {}", "", printable(reason));
        }
    }
    text
}
