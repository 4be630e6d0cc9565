//! Other engines that read the event store's files: from the Python package index, into the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cmd, paths};

/// Pinned, so that figures and answers are of the same programs everywhere.
const PACKAGES: [&str; 2] = ["duckdb==2.0.0", "chdb==4.4.0"];

/// A Python that has them, if it was made already.
pub(crate) fn there() -> Result<Option<PathBuf>> {
    let dir = paths::cache()?.join("readers");
    let python = dir.join("bin/python");
    let is_done = fs::read_to_string(dir.join("done")).is_ok_and(|there| there == PACKAGES.join("\n"));
    Ok(Some(python).filter(|python| is_done && python.is_file()))
}

/// A Python that has them.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(python) = there()? {
        return Ok(python);
    }
    let dir = paths::cache()?.join("readers");
    let python = dir.join("bin/python");
    eprintln!("other readers of the store's files: installing {}", PACKAGES.join(" "));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    let to_stderr = std::io::stderr;
    cmd::run(Command::new("python3").args(["-m", "venv"]).arg(&dir).stdout(to_stderr()))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    cmd::run(pip.stdout(to_stderr()))?;
    let done = dir.join("done");
    fs::write(&done, PACKAGES.join("\n")).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}
