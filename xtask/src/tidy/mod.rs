//! `cargo xtask tidy`: the house rules that no compiler checks. Each finding names file, line and cause.

mod deps;
mod links;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cmd, paths};

/// Something against the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    cause: String,
}

impl Finding {
    fn new(file: &str, line: usize, cause: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, cause: cause.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.cause)
    }
}

pub(crate) fn run() -> Result<ExitCode> {
    let (files, findings) = check()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {files} files, {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Number of files looked at, and what is wrong with them.
fn check() -> Result<(usize, Vec<Finding>)> {
    let root = paths::root()?;
    let files = list(&root)?;
    let mut findings = Vec::new();
    for file in &files {
        let path = root.join(file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Pictures and other data have no lines.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(source::check(file, &text));
        if file.ends_with(".md") {
            findings.extend(links::check(&root, file, &text));
        }
        if file.ends_with(".toml") {
            findings.extend(parse_toml(file, &text));
        }
    }
    findings.extend(deps::check(&root)?);
    Ok((files.len(), findings))
}

/// What is in the repository or would be with the next commit.
fn list(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = cmd::stdout(&mut git)?;
    let mut files: Vec<String> = listed
        .split('\0')
        .filter(|file| !file.is_empty())
        // Deleted, but not yet committed as such.
        .filter(|file| root.join(file).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn parse_toml(file: &str, text: &str) -> Option<Finding> {
    let error = text.parse::<toml::Table>().err()?;
    let offset = error.span().map_or(0, |span| span.start);
    let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
    Some(Finding::new(file, line, format!("not TOML: {}", error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_toml_is_located() {
        let finding = parse_toml("rules/x.toml", "a = 1\nb = \n").unwrap();
        assert_eq!(finding.line, 2);
        assert!(parse_toml("rules/x.toml", "a = 1\n").is_none());
    }
}
