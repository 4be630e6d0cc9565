//! Debian kernels for the virtual machine: fetched and unpacked into the cache, never installed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{cmd, paths};

/// Which build of a kernel series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// For virtual machines; the default.
    Cloud,
    /// PREEMPT_RT.
    Rt,
    /// For any hardware.
    Generic,
}

impl Flavour {
    /// How package and release names end.
    fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "-cloud-amd64",
            Self::Rt => "-rt-amd64",
            Self::Generic => "-amd64",
        }
    }
}

/// A kernel as developers name it: `6.12`, `6.12-rt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelId {
    major: u32,
    minor: u32,
    flavour: Flavour,
}

impl KernelId {
    /// The kernels that every live test must pass on.
    pub(crate) const fn required() -> [Self; 2] {
        [
            Self { major: 6, minor: 1, flavour: Flavour::Cloud },
            Self { major: 6, minor: 12, flavour: Flavour::Cloud },
        ]
    }

    /// PREEMPT_RT: where everything is preempted, and locks sleep.
    pub(crate) const fn rt() -> Self {
        Self { major: 6, minor: 12, flavour: Flavour::Rt }
    }

    /// Those whose structures are looked at without booting them.
    pub(crate) fn described() -> Vec<Self> {
        let generic = Self { major: 6, minor: 12, flavour: Flavour::Generic };
        Self::required().into_iter().chain([generic, Self::rt()]).collect()
    }

    /// The one that a task takes when none is named.
    pub(crate) const fn newest() -> Self {
        Self { major: 6, minor: 12, flavour: Flavour::Cloud }
    }

    /// Whether a release such as `6.1.0-56-cloud-amd64` is of this series and flavour.
    fn covers(self, release: &str) -> bool {
        let Some(version) = release.strip_suffix(self.flavour.suffix()) else { return false };
        // "-amd64" also ends the names of the other flavours.
        !version.ends_with("-cloud")
            && !version.ends_with("-rt")
            && version.starts_with(&format!("{}.{}.", self.major, self.minor))
    }
}

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.flavour {
            Flavour::Cloud => Ok(()),
            Flavour::Rt => f.write_str("-rt"),
            Flavour::Generic => f.write_str("-generic"),
        }
    }
}

impl FromStr for KernelId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (series, flavour) = match text.split_once('-') {
            None | Some((_, "cloud")) => (text.trim_end_matches("-cloud"), Flavour::Cloud),
            Some((series, "rt")) => (series, Flavour::Rt),
            Some((series, "generic")) => (series, Flavour::Generic),
            Some((_, other)) => bail!("unknown kernel flavour {other:?}: cloud, rt or generic"),
        };
        let (major, minor) = series.split_once('.').context("a kernel series looks like 6.12")?;
        Ok(Self {
            major: major.parse().context("a kernel series looks like 6.12")?,
            minor: minor.parse().context("a kernel series looks like 6.12")?,
            flavour,
        })
    }
}

/// A kernel that is unpacked in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// As `uname -r` prints it.
    pub(crate) release: String,
    /// The unpacked package.
    pub(crate) dir: PathBuf,
}

impl Kernel {
    /// The bootable image.
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The tree of modules.
    pub(crate) fn modules(&self) -> PathBuf {
        let usr = self.dir.join("usr/lib/modules").join(&self.release);
        if usr.is_dir() { usr } else { self.dir.join("lib/modules").join(&self.release) }
    }
}

/// The newest unpacked kernel of this series and flavour; fetched when there is none, or when `update` finds a newer.
pub(crate) fn ensure(id: KernelId, update: bool) -> Result<Kernel> {
    let kernels = paths::cache()?.join("kernels");
    let cached = cached(id, &kernels)?;
    if let (Some(kernel), false) = (&cached, update) {
        return Ok(kernel.clone());
    }
    apt::update()?;
    let package = newest_package(id)?;
    let release = release_of(&package).to_owned();
    if let Some(kernel) = cached.filter(|kernel| kernel.release == release) {
        return Ok(kernel);
    }
    fs::create_dir_all(&kernels).with_context(|| format!("cannot create {}", kernels.display()))?;
    let work = tempfile::Builder::new().prefix(".unpack-").tempdir_in(&kernels)?;
    apt::download(&package, work.path())?;
    let unpacked = work.path().join("root");
    eprintln!("unpacking {package}");
    cmd::run(Command::new("dpkg").arg("-x").arg(find_deb(work.path())?).arg(&unpacked))?;
    let kernel = Kernel { dir: kernels.join(&release), release };
    if kernel.dir.exists() {
        // Left by an interrupted run, or emptied by hand: it had no kernel image.
        fs::remove_dir_all(&kernel.dir).with_context(|| format!("cannot remove {}", kernel.dir.display()))?;
    }
    fs::rename(&unpacked, &kernel.dir).with_context(|| format!("cannot create {}", kernel.dir.display()))?;
    if !kernel.image().is_file() {
        bail!("{package} holds no {}", kernel.image().display());
    }
    Ok(kernel)
}

fn cached(id: KernelId, kernels: &Path) -> Result<Option<Kernel>> {
    let Ok(entries) = fs::read_dir(kernels) else { return Ok(None) };
    let mut found = Vec::new();
    for entry in entries {
        let release = entry?.file_name().to_string_lossy().into_owned();
        let kernel = Kernel { dir: kernels.join(&release), release };
        if id.covers(&kernel.release) && kernel.image().is_file() {
            found.push(kernel);
        }
    }
    Ok(found.into_iter().max_by_key(|kernel| numbers(&kernel.release)))
}

fn newest_package(id: KernelId) -> Result<String> {
    let pattern = format!("^linux-image-{}\\.{}\\.[^ ]*-amd64(-unsigned)?$", id.major, id.minor);
    let newest = apt::search(&pattern)?
        .into_iter()
        .filter(|package| id.covers(release_of(package)))
        // The signed and the unsigned package hold the same kernel; the signed one is preferred.
        .max_by_key(|package| (numbers(release_of(package)), !package.ends_with("-unsigned")));
    newest.with_context(|| format!("the package archive has no kernel {id}"))
}

fn release_of(package: &str) -> &str {
    package.trim_start_matches("linux-image-").trim_end_matches("-unsigned")
}

/// Every number in a name, so that 6.1.0-56 sorts after 6.1.0-9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn find_deb(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            return Ok(path);
        }
    }
    bail!("apt-get download left no package in {}", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_covers_its_own_releases_only() {
        let id: KernelId = "6.1".parse().unwrap();
        assert!(id.covers("6.1.0-56-cloud-amd64"));
        assert!(!id.covers("6.12.117+deb12-cloud-amd64"));
        assert!(!id.covers("6.1.0-56-rt-amd64"));
        let generic: KernelId = "6.12-generic".parse().unwrap();
        assert!(generic.covers("6.12.117+deb12-amd64"));
        assert!(!generic.covers("6.12.117+deb12-rt-amd64"));
        assert!(!generic.covers("6.12.117+deb12-cloud-amd64"));
    }

    #[test]
    fn newer_releases_sort_last_by_number() {
        assert!(numbers("6.1.0-56-cloud-amd64") > numbers("6.1.0-9-cloud-amd64"));
        assert!(numbers("6.12.117+deb12-rt-amd64") > numbers("6.12.95+deb12-rt-amd64"));
    }

    #[test]
    fn names_round_trip() {
        for name in ["6.1", "6.12", "6.12-rt", "6.1-generic"] {
            assert_eq!(name.parse::<KernelId>().unwrap().to_string(), name);
        }
        assert!("6.12-azure".parse::<KernelId>().is_err());
        assert!("six".parse::<KernelId>().is_err());
    }
}
