//! A server that answers as OpenSearch does, for the test of the sensor's own client: from Python's package index, into
//! the target folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cmd, paths};

const PACKAGE: &str = "osmem-server==0.1.6";

/// Its executable, installed if it is not there.
pub(crate) fn ensure() -> Result<PathBuf> {
    let venv = paths::target()?.join("osmem");
    if let Some(program) = find(&venv) {
        return Ok(program);
    }
    cmd::run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).context("no Python environment")?;
    let pip = venv.join("bin/pip");
    cmd::run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))?;
    let program = find(&venv);
    ensure!(program.is_some(), "{PACKAGE} holds no osmem-server");
    program.context("it is not there")
}

/// Below `lib/pythonX.Y`.
fn find(venv: &std::path::Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(venv.join("lib")).ok()?;
    versions
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/osmem_server/bin/osmem-server")))
        .find(|program| program.is_file())
}
