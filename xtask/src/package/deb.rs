//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::stage::{CONFIGURATION, HUNT, SENSOR, file, pack};
use super::{Release, glibc};
use crate::paths;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn build(release: &Release, tree: &Path) -> Result<PathBuf> {
    // Its own copy: the control files lie within.
    let work = release.out.join("deb");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    crate::cmd::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(tree).arg(&work))?;
    let control = work.join("DEBIAN");
    fs::create_dir_all(&control)?;
    let kib: u64 = super::stage::listed(tree)?
        .iter()
        .filter(|(_, is_dir)| !is_dir)
        .map(|(path, _)| {
            fs::metadata(tree.join(path.trim_start_matches('/'))).map(|m| m.len().div_ceil(1024))
        })
        .sum::<std::io::Result<u64>>()?;
    let needed = glibc(&[tree.join(SENSOR), tree.join(HUNT)])?;
    fs::write(control.join("control"), description(release, &needed, kib))?;
    fs::write(control.join("conffiles"), format!("/{CONFIGURATION}\n"))?;
    for script in SCRIPTS {
        file(&paths::root()?.join("packaging/deb").join(script), &control.join(script), 0o755)?;
    }
    let made = release.out.join(format!("sensor_{}_amd64.deb", release.version));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&work).arg(&made);
    pack(dpkg.env("SOURCE_DATE_EPOCH", &release.epoch), &made)
}

fn description(release: &Release, glibc: &str, kib: u64) -> String {
    format!(
        "Package: sensor\n\
         Version: {}\n\
         Architecture: amd64\n\
         Maintainer: The sensor's developers <sensor@localhost>\n\
         Installed-Size: {kib}\n\
         Depends: libc6 (>= {}), libgcc-s1, init-system-helpers (>= 1.54)\n\
         Recommends: systemd\n\
         Section: admin\n\
         Priority: optional\n\
         Description: kernel telemetry sensor with Elastic's EQL rules\n \
         Sees every file name that comes to be, every rename and every program through eBPF,\n \
         writes them as ECS documents, and matches Elastic's EQL rules on them at once.\n",
        release.version, glibc
    )
}
