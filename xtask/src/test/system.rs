//! The packages on a real system: Debian with systemd, in a virtual machine without network.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Totals;
use super::live::follow;
use crate::package::{self, Format};
use crate::paths;
use crate::setup::kernels::KernelId;
use crate::setup::{self, root};
use crate::vm::{Extra, Spec};
use root::Root;

/// The script that installs and removes packages of every kind.
const PACKAGES: &str = "system.sh";
const LIMIT: Duration = Duration::from_secs(1_800);
/// What both scripts are made of.
const COMMON: &str = "guest.sh";
/// Scripts beside this file, and what each runs on.
const SCRIPTS: [(&str, Root); 2] = [(PACKAGES, Root::Bare), ("programs.sh", Root::Programs)];

pub(super) fn run(
    kernels: &[KernelId],
    filters: &[String],
    with_binaries: bool,
    totals: &mut Totals,
) -> Result<()> {
    let sources = paths::root()?.join("xtask/src/test");
    let is_wanted =
        |script: &str| filters.is_empty() || filters.iter().any(|filter| script.contains(&**filter));
    let formats = [Format::Deb, Format::Tar];
    let formats = if is_wanted(PACKAGES) { &formats[..] } else { &formats[..1] };
    let mut files = package::build(formats, with_binaries)?;
    // A real peer for the senders.
    files.push(setup::ensure_osmem()?);
    files.push(sources.join(COMMON));
    let newest = [KernelId::newest()];
    for (script, root) in SCRIPTS.into_iter().filter(|(script, _)| is_wanted(script)) {
        let disk = root::ensure(root)?;
        let files = files.iter().cloned().chain([sources.join(script)]);
        let extras: Vec<Extra> = files.map(in_root).collect::<Result<_>>()?;
        let label = script.trim_end_matches(".sh");
        for kernel in if kernels.is_empty() { &newest[..] } else { kernels } {
            let command = ["/bin/sh".to_owned(), format!("/root/{script}")].map(OsString::from).to_vec();
            let collect = paths::target()?.join(label);
            if collect.exists() {
                fs::remove_dir_all(&collect)?;
            }
            let spec = Spec {
                mem_mib: 1024,
                timeout: LIMIT,
                label: format!("{label}-{kernel}"),
                disk: Some(disk.clone()),
                collect: Some(collect),
                ..Spec::new(*kernel, extras.clone(), command)
            };
            follow(&spec, &format!("{kernel} {label}"), totals)?;
        }
    }
    Ok(())
}

fn in_root(host: PathBuf) -> Result<Extra> {
    let name = host.file_name().context("a file without a name")?;
    Ok(Extra { guest: format!("/root/{}", name.to_string_lossy()), host })
}
