//! Debian packages: asks dpkg what is there, names what it installs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::cmd;

/// Installs those of the packages that are missing.
pub(crate) fn ensure(purpose: &str, packages: &[&str]) -> Result<()> {
    let before = installed()?;
    let missing: Vec<&str> = packages.iter().copied().filter(|name| !before.contains(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("packages for the {purpose}: installing {}", missing.join(" "));
    if !is_root()? {
        bail!("not root, so please run: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    update()?;
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(&missing);
    cmd::run(&mut install)?;
    let after = installed()?;
    let new: Vec<&str> = after.difference(&before).map(String::as_str).collect();
    eprintln!("packages installed: {}", new.join(" "));
    Ok(())
}

/// Fetches one package file into `dir` without installing it.
pub(crate) fn download(package: &str, dir: &Path) -> Result<()> {
    eprintln!("downloading package {package}");
    cmd::run(apt_get().args(["download", package]).current_dir(dir))
}

/// Fetches packages and what they need that is not installed into `dir`, without installing them.
pub(crate) fn download_with_dependencies(packages: &[&str], dir: &Path) -> Result<()> {
    eprintln!("downloading packages {}", packages.join(" "));
    std::fs::create_dir_all(dir.join("partial"))?;
    let mut download = apt_get();
    download.arg("-o").arg(format!("Dir::Cache::archives={}", dir.display()));
    download.args(["-o", "Debug::NoLocking=1"]);
    download.args(["install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]);
    cmd::run(download.args(packages))
}

/// Names of packages in the archive that match an extended regular expression.
pub(crate) fn search(pattern: &str) -> Result<Vec<String>> {
    let found = cmd::stdout(Command::new("apt-cache").args(["search", "--names-only", pattern]))?;
    Ok(found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Refreshes the package lists, at most once in the life of this process.
pub(crate) fn update() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| outcome = cmd::run(apt_get().arg("update")));
    outcome
}

fn installed() -> Result<BTreeSet<String>> {
    let format = "-f=${Package} ${db:Status-Status}\n";
    let listed = cmd::stdout(Command::new("dpkg-query").args(["-W", format]))
        .context("this set-up is for Debian: it asks dpkg what is installed")?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Waits for another package manager instead of failing; never asks; draws no progress bar over its own lines. What
    // it downloads as root it downloads as root: its own user cannot write where the cache may lie.
    for option in ["DPkg::Lock::Timeout=600", "Dpkg::Use-Pty=0", "APT::Sandbox::User=root"] {
        command.args(["-o", option]);
    }
    // Standard output belongs to the command that needed the package.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(io::stderr());
    command
}

fn is_root() -> Result<bool> {
    Ok(cmd::stdout(Command::new("id").arg("-u"))?.trim() == "0")
}
