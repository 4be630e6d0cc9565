//! `cargo xtask deny`: what is depended on may be, by its licence, its name and where it comes from (`deny.toml`).

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{cmd, paths, setup};

/// Workspaces of which something is shipped.
const SHIPPED: [&str; 2] = ["Cargo.toml", "sensor-ebpf/Cargo.toml"];

pub(crate) fn run() -> Result<ExitCode> {
    let program = setup::deny::ensure()?;
    let root = paths::root()?;
    for manifest in SHIPPED {
        let mut deny = Command::new(&program);
        deny.args(["--locked", "--log-level", "error", "--manifest-path", manifest]);
        deny.args(["--config", "deny.toml", "check", "licenses", "bans", "sources"]);
        cmd::run(deny.current_dir(&root))?;
    }
    Ok(ExitCode::SUCCESS)
}
