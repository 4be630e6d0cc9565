//! Python's `eql`, in a virtual environment in the developer's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sensor_eql::RuleSet;
use serde_json::json;

use super::Outcome;
use crate::workload::Case;

const VERSION: &str = "0.9.19";
const SCRIPT: &str = include_str!("rival.py");

pub(super) fn run(set: &RuleSet, events: &[Case<'_>]) -> Result<Outcome, String> {
    let cache = std::env::var_os("SENSOR_DEV_CACHE").ok_or("SENSOR_DEV_CACHE is not set")?;
    let python = environment(&PathBuf::from(cache).join(format!("python-eql-{VERSION}")))?;
    let mut input = String::new();
    let queries: Vec<&str> = set.rules().iter().map(|loaded| loaded.rule.query.as_str()).collect();
    input.push_str(&json!(queries).to_string());
    for case in events {
        let mut line = Vec::new();
        sensor_ecs::write_json(&case.event, &mut line);
        input.push('\n');
        input.push_str(&String::from_utf8_lossy(&line));
    }
    let file = std::env::temp_dir().join(format!("sensor-bench-{}.json", std::process::id()));
    fs::write(&file, input).map_err(|error| format!("{}: {error}", file.display()))?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(&file).output();
    let _ = fs::remove_file(&file);
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    let [rules, ns, matches] = words.as_slice() else {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    };
    let number = |word: &str| word.parse::<f64>().map_err(|error| error.to_string());
    Ok(Outcome { rules: number(rules)? as usize, ns: number(ns)?, matches: number(matches)? as u64 })
}

/// The interpreter that has the package; made the first time.
fn environment(dir: &Path) -> Result<PathBuf, String> {
    let python = dir.join("bin/python");
    let has_it =
        || Command::new(&python).args(["-c", "import eql"]).output().is_ok_and(|o| o.status.success());
    if has_it() {
        return Ok(python);
    }
    let dir_text = dir.display().to_string();
    let pip = dir.join("bin/pip").display().to_string();
    let package = format!("eql=={VERSION}");
    for (program, args) in [
        ("python3", vec!["-m", "venv", dir_text.as_str()]),
        (pip.as_str(), vec!["install", "--quiet", "--disable-pip-version-check", package.as_str()]),
    ] {
        let output =
            Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{program} failed: {}", said.lines().last().unwrap_or("no word")));
        }
    }
    if has_it() { Ok(python) } else { Err("the package does not import".to_owned()) }
}
