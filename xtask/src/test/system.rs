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
use crate::setup::root;
use crate::vm::{Extra, Spec};

const LIMIT: Duration = Duration::from_secs(1_800);

pub(super) fn run(kernels: &[KernelId], totals: &mut Totals) -> Result<()> {
    let packages = package::build(&[Format::Deb], true)?;
    let disk = root::ensure()?;
    let script = paths::root()?.join("xtask/src/test/system.sh");
    let package = packages.first().context("no package was made")?;
    let name = package.file_name().context("a package without a name")?.to_string_lossy().into_owned();
    let files = [(format!("/root/{name}"), package.clone()), ("/root/system.sh".to_owned(), script)];
    let extras: Vec<Extra> = files.map(|(guest, host): (String, PathBuf)| Extra { guest, host }).into();
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
