//! The tree that every package carries.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Programs, Release, sbom};
use crate::{cmd, paths};

pub(super) const SENSOR: &str = "usr/bin/sensor";
pub(super) const HUNT: &str = "usr/libexec/sensor/sensor-hunt";
/// Files that an administrator may change.
pub(super) const CONFIGURATION: &str = "etc/sensor/sensor.toml";
const DOCUMENTS: &str = "usr/share/doc/sensor";

/// Makes the tree in a folder of this name, and returns its root.
pub(super) fn stage(release: &Release, programs: &Programs, name: &str) -> Result<PathBuf> {
    let source = paths::root()?;
    let root = release.out.join(name);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let place = |from: &Path, to: &str, mode: u32| file(from, &root.join(to), mode);
    place(&programs.sensor, SENSOR, 0o755)?;
    place(&programs.hunt, HUNT, 0o755)?;
    let packaging = source.join("packaging");
    place(&packaging.join("sensor.service"), "usr/lib/systemd/system/sensor.service", 0o644)?;
    let mut configuration = Command::new(&programs.sensor);
    let configuration = cmd::stdout(configuration.args(["config", "default", "--service"]))?;
    write(&root.join(CONFIGURATION), configuration.as_bytes())?;
    // It may come to hold secrets.
    fs::set_permissions(root.join(CONFIGURATION), Permissions::from_mode(0o640))?;
    for kind in ["rules", "hunts", "examples"] {
        copy(&source.join(kind), &root.join("usr/share/sensor").join(kind))?;
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        place(&source.join(licence), &format!("{DOCUMENTS}/{licence}"), 0o644)?;
    }
    place(&packaging.join("copyright"), &format!("{DOCUMENTS}/copyright"), 0o644)?;
    place(&source.join("CHANGELOG.md"), &format!("{DOCUMENTS}/changelog"), 0o644)?;
    compress(&root.join(DOCUMENTS).join("changelog"))?;
    write(&root.join(DOCUMENTS).join("sbom.cdx.json"), &sbom::bill(&source, release)?)?;
    manual(programs, &root)?;
    directories(&root)?;
    Ok(root)
}

/// The pages and completions that the program makes of its own arguments.
fn manual(programs: &Programs, root: &Path) -> Result<()> {
    let made = tempfile::tempdir()?;
    cmd::run(Command::new(&programs.sensor).arg("manual").arg(made.path()))?;
    for entry in sorted(&made.path().join("man"))? {
        let page = root.join("usr/share/man/man1").join(name(&entry)?);
        file(&entry, &page, 0o644)?;
        compress(&page)?;
    }
    for (made_as, to) in [
        ("sensor", "usr/share/bash-completion/completions/sensor"),
        ("_sensor", "usr/share/zsh/site-functions/_sensor"),
        ("sensor.fish", "usr/share/fish/vendor_completions.d/sensor.fish"),
    ] {
        file(&made.path().join("completions").join(made_as), &root.join(to), 0o644)?;
    }
    Ok(())
}

pub(super) fn file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &content)?;
    fs::set_permissions(to, Permissions::from_mode(mode))?;
    Ok(())
}

fn write(to: &Path, content: &[u8]) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))?;
    fs::set_permissions(to, Permissions::from_mode(0o644))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in sorted(from)? {
        let target = to.join(name(&entry)?);
        if entry.is_dir() {
            copy(&entry, &target)?;
        } else {
            file(&entry, &target, 0o644)?;
        }
    }
    Ok(())
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> Result<&OsStr> {
    path.file_name().with_context(|| format!("{} has no name", path.display()))
}

/// `x` becomes `x.gz`, the same for the same content.
fn compress(path: &Path) -> Result<()> {
    cmd::run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(path))
}

/// Whatever umask made them.
fn directories(dir: &Path) -> Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    for entry in sorted(dir)?.iter().filter(|entry| entry.is_dir()) {
        directories(entry)?;
    }
    Ok(())
}

/// Every file and directory below the root, as paths on the target.
pub(super) fn listed(root: &Path) -> Result<Vec<(String, bool)>> {
    fn walk(root: &Path, dir: &Path, into: &mut Vec<(String, bool)>) -> Result<()> {
        for entry in sorted(dir)? {
            let path = entry.strip_prefix(root)?.to_str().context("a name that is not UTF-8")?;
            into.push((format!("/{path}"), entry.is_dir()));
            if entry.is_dir() {
                walk(root, &entry, into)?;
            }
        }
        Ok(())
    }
    let mut all = Vec::new();
    walk(root, root, &mut all)?;
    Ok(all)
}

/// Runs a packer quietly: what it says is shown when it fails.
pub(super) fn pack(command: &mut Command, made: &Path) -> Result<PathBuf> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run `{}`", cmd::line(command)))?;
    if !output.status.success() || !made.is_file() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`{}` failed: {}\n{}", cmd::line(command), output.status, said.trim_end());
    }
    Ok(made.to_owned())
}
