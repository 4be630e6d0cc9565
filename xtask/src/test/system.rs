//! The package on a real system: Debian with systemd, in a virtual machine without network.

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

const LIMIT: Duration = Duration::from_secs(1_800);

pub(super) fn run(kernels: &[KernelId], with_binaries: bool, totals: &mut Totals) -> Result<()> {
    let mut files = package::build(&[Format::Deb, Format::Tar], with_binaries)?;
    let disk = root::ensure()?;
    files.push(paths::root()?.join("xtask/src/test/system.sh"));
    // A real peer for the senders.
    files.push(setup::ensure_osmem()?);
    let in_root = |host: PathBuf| {
        let name = host.file_name().context("a file without a name")?;
        Ok(Extra { guest: format!("/root/{}", name.to_string_lossy()), host })
    };
    let extras: Vec<Extra> = files.into_iter().map(in_root).collect::<Result<_>>()?;
    let newest = [KernelId::newest()];
    for kernel in if kernels.is_empty() { &newest[..] } else { kernels } {
        let command = ["/bin/sh", "/root/system.sh"].map(OsString::from).to_vec();
        let collect = paths::target()?.join("system");
        if collect.exists() {
            fs::remove_dir_all(&collect)?;
        }
        let spec = Spec {
            mem_mib: 1024,
            timeout: LIMIT,
            label: format!("system-{kernel}"),
            disk: Some(disk.clone()),
            collect: Some(collect),
            ..Spec::new(*kernel, extras.clone(), command)
        };
        follow(&spec, &format!("{kernel} system"), totals)?;
    }
    Ok(())
}
