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

const LIMIT: Duration = Duration::from_secs(1_800);
/// What all scripts are made of.
const COMMON: &str = "guest.sh";
/// Scripts beside this file, what each runs on, and the packages that it wants.
const SCRIPTS: [(&str, Root, &[Format]); 3] = [
    ("system.sh", Root::Bare, &[Format::Deb, Format::Tar]),
    ("programs.sh", Root::Programs, &[Format::Deb]),
    ("deploy.sh", Root::Programs, &[Format::Rpm, Format::Tar]),
];

pub(super) fn run(
    kernels: &[KernelId],
    filters: &[String],
    with_binaries: bool,
    totals: &mut Totals,
) -> Result<()> {
    let sources = paths::root()?.join("xtask/src/test");
    let is_wanted =
        |script: &str| filters.is_empty() || filters.iter().any(|filter| script.contains(&**filter));
    let scripts: Vec<_> = SCRIPTS.into_iter().filter(|(script, ..)| is_wanted(script)).collect();
    let mut formats: Vec<Format> = scripts.iter().flat_map(|(.., formats)| formats.iter().copied()).collect();
    formats.sort_unstable();
    formats.dedup();
    let packages: Vec<(Format, PathBuf)> =
        formats.iter().copied().zip(package::build(&formats, with_binaries)?).collect();
    // A real peer for the senders.
    let common = [setup::ensure_osmem()?, sources.join(COMMON)];
    let newest = [KernelId::newest()];
    for (script, root, formats) in scripts {
        let disk = root::ensure(root)?;
        let packages = packages.iter().filter(|(format, _)| formats.contains(format)).map(|(_, path)| path);
        let files = packages.chain(&common).cloned().chain([sources.join(script)]);
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
