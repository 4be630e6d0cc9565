//! Dependencies between the workspace's crates point one way.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

/// A crate's folder and the crates of ours that it may use; every crate stands here.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("sensor-common", &[]),
    ("sensor-ebpf", &["sensor-common"]),
    ("sensor-ecs", &[]),
    ("sensor-eql", &["sensor-ecs"]),
    ("sensor-store", &["sensor-ecs"]),
    ("sensor-hunt", &["sensor-ecs", "sensor-eql", "sensor-store"]),
    ("sensor", &["sensor-common", "sensor-ecs", "sensor-eql", "sensor-store"]),
    ("tests", &["sensor", "sensor-common", "sensor-ecs", "sensor-eql", "sensor-hunt", "sensor-store"]),
    ("xtask", &[]),
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    for member in members(&workspace) {
        if !ALLOWED.iter().any(|(folder, _)| *folder == member) {
            let cause = format!("{member} has no entry in the table of allowed dependencies");
            findings.push(Finding::new("Cargo.toml", line_of(&workspace, &member), cause));
        }
    }
    for (folder, allowed) in ALLOWED {
        let file = format!("{folder}/Cargo.toml");
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        findings.extend(manifest(&file, &text, allowed));
    }
    Ok(findings)
}

fn members(workspace: &str) -> Vec<String> {
    let table: toml::Table = workspace.parse().unwrap_or_default();
    let listed =
        table.get("workspace").and_then(|value| value.get("members")).and_then(toml::Value::as_array);
    listed.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

fn manifest(file: &str, text: &str, allowed: &[&str]) -> Vec<Finding> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let mut findings = Vec::new();
    for section in SECTIONS {
        let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for name in dependencies.keys() {
            let ours = name == "sensor" || name.starts_with("sensor-") || name == "xtask";
            if ours && !allowed.contains(&name.as_str()) {
                let cause = format!("{section}: must not depend on {name}");
                findings.push(Finding::new(file, line_of(text, name), cause));
            }
        }
    }
    findings
}

fn line_of(text: &str, word: &str) -> usize {
    text.lines().position(|line| line.contains(word)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let text = "[package]\nname = \"sensor-ecs\"\n[dependencies]\nserde = \"1\"\nsensor-eql = { path = \"x\" }\n";
        let found = manifest("sensor-ecs/Cargo.toml", text, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 5);
        assert!(manifest("sensor-hunt/Cargo.toml", text, &["sensor-eql"]).is_empty());
    }
}
