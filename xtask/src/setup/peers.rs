//! Programs that the sensor is compared with: fetched into the cache, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{cmd, paths};

const PACKAGES: [&str; 3] = ["inotify-tools", "bpftrace", "auditd"];
const PROGRAMS: [&str; 3] = ["inotifywait", "bpftrace", "auditctl"];

/// The programs, each in one folder with those of its libraries that this host does not have.
pub(crate) fn ensure() -> Result<Vec<PathBuf>> {
    let dir = paths::cache()?.join("peers");
    let programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| dir.join(name)).collect();
    if programs.iter().all(|program| program.is_file()) {
        return Ok(programs);
    }
    let parent = dir.parent().context("the cache is the root folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let work = tempfile::Builder::new().prefix(".peers-").tempdir_in(parent)?;
    apt::update()?;
    apt::download_with_dependencies(&PACKAGES, work.path())?;
    let (root, flat) = (work.path().join("root"), work.path().join("flat"));
    fs::create_dir_all(&flat)?;
    for package in packages(work.path())? {
        cmd::run(Command::new("dpkg").arg("-x").arg(package).arg(&root))?;
    }
    flatten(&root, &flat)?;
    if let Some(missing) = PROGRAMS.iter().find(|name| !flat.join(name).is_file()) {
        bail!("the packages hold no {missing}");
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::rename(&flat, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(programs)
}

fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

/// Copies the programs and all libraries below `from` into `to`; links become what they lead to.
fn flatten(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            flatten(&path, to)?;
        } else if path.is_file() && (name.contains(".so") || PROGRAMS.contains(&name.as_str())) {
            // The shell completion of a program has its name too.
            if fs::read(&path)?.starts_with(b"\x7fELF") {
                fs::copy(&path, to.join(&name))?;
            }
        }
    }
    Ok(())
}
