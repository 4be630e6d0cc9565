//! The RPM package.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Release;
use super::stage::{CONFIGURATION, listed, pack};
use crate::paths;
use crate::setup::apt;

/// Directories that are the sensor's alone; the others are the system's.
const OWN: [&str; 4] = ["/etc/sensor", "/usr/share/sensor", "/usr/libexec/sensor", "/usr/share/doc/sensor"];

pub(super) fn build(release: &Release, tree: &Path) -> Result<PathBuf> {
    apt::ensure("RPM", &["rpm"])?;
    let work = release.out.join("rpm");
    fs::create_dir_all(&work)?;
    let mut files = String::from("%defattr(-,root,root,-)\n");
    for (path, is_dir) in listed(tree)? {
        let own = OWN
            .iter()
            .any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        if path == format!("/{CONFIGURATION}") {
            writeln!(files, "%config(noreplace) {path}")?;
        } else if !is_dir {
            writeln!(files, "{path}")?;
        } else if own {
            writeln!(files, "%dir {path}")?;
        }
    }
    let list = work.join("files");
    fs::write(&list, files)?;
    let made = release.out.join(format!("sensor-{}-1.x86_64.rpm", release.version));
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--target", "x86_64"]);
    for (name, value) in [
        ("_topdir", work.display().to_string()),
        ("_rpmdir", release.out.display().to_string()),
        ("_rpmfilename", "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()),
        ("version", release.version.clone()),
        ("staged", tree.display().to_string()),
        ("listed", list.display().to_string()),
        ("_buildhost", "localhost".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        ("_binary_payload", "w19.zstdio".to_owned()),
    ] {
        rpmbuild.args(["--define", &format!("{name} {value}")]);
    }
    rpmbuild.arg(paths::root()?.join("packaging/rpm/sensor.spec"));
    pack(rpmbuild.env("SOURCE_DATE_EPOCH", &release.epoch), &made)
}
