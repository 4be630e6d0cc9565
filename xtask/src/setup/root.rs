//! Debian roots with systemd and apt on ext4 images, each made once into the cache.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::apt;
use crate::{cmd, paths};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd-sysv,udev,kmod,dbus";
const BYTES: u64 = 2 << 30;
/// Another recipe is another file.
const RECIPE: u32 = 2;

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// What a package needs.
    Bare,
    /// Beside it, what administrators use.
    Programs,
}

impl Root {
    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Programs => "programs",
        }
    }

    const fn packages(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::Programs => {
                ",openssh-server,openssh-client,cron,ucf,vim-tiny,ansible-core,rpm,podman,crun,iproute2,procps"
            }
        }
    }
}

/// The image's path; made if it is missing.
pub(crate) fn ensure(kind: Root) -> Result<PathBuf> {
    super::with_lock(|| {
        let folder = paths::cache()?.join("roots");
        let image = folder.join(format!("{SUITE}-{}-{RECIPE}.ext4", kind.name()));
        if image.is_file() {
            return Ok(image);
        }
        apt::ensure("system test", &["mmdebstrap", "e2fsprogs"])?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        eprintln!("making a Debian root with systemd: {} (a minute or two)", kind.name());
        let work = tempfile::Builder::new().prefix(".root-").tempdir_in(&folder)?;
        let tree = work.path().join("tree");
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--mode=root", "--variant=apt", "--include"])
            .arg(format!("{PACKAGES}{}", kind.packages()));
        make.args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
        ]);
        cmd::run(make.arg(SUITE).arg(&tree))?;
        fs::write(tree.join("etc/hostname"), "sensor-vm\n")?;
        let unfinished = work.path().join("image");
        File::create(&unfinished)?.set_len(BYTES)?;
        let mut format = Command::new("mke2fs");
        format.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&unfinished);
        cmd::run(&mut format)?;
        fs::rename(&unfinished, &image).with_context(|| format!("cannot create {}", image.display()))?;
        Ok(image)
    })
}
