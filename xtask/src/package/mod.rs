//! `cargo xtask package`: a .deb, an .rpm and an archive of one staged tree, each with its bill of materials.

mod deb;
#[cfg(test)]
mod manifests;
mod rpm;
mod sbom;
mod stage;
mod tarball;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{cmd, ebpf, paths};

/// What the resident program, and both together, may weigh.
const SENSOR_BYTES_MAX: u64 = 15 << 20;
const BOTH_BYTES_MAX: u64 = 30 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which packages (default: all)
    #[arg(long = "format", value_name = "FORMAT")]
    formats: Vec<Format>,
    /// Take the binaries as they are, without building them
    #[arg(long)]
    no_build: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Debian and its kin
    Deb,
    /// Fedora, RHEL, SUSE and their kin
    Rpm,
    /// Everybody else: an archive with a script
    Tar,
}

const FORMATS: [Format; 3] = [Format::Deb, Format::Rpm, Format::Tar];

/// What every package is called by.
pub(crate) struct Release {
    version: String,
    /// Of the commit, in seconds: what is packed twice is the same twice.
    epoch: String,
    /// Where packages go.
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let formats = if args.formats.is_empty() { &FORMATS[..] } else { &args.formats };
    for package in build(formats, !args.no_build)? {
        println!("{}: {} bytes", package.display(), fs::metadata(&package)?.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds packages and returns their paths, in the order of `formats`.
pub(crate) fn build(formats: &[Format], with_binaries: bool) -> Result<Vec<PathBuf>> {
    let programs = programs(with_binaries)?;
    let out = paths::target()?.join("package");
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let root = paths::root()?;
    let epoch = cmd::stdout(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(&root))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let release = Release { version, epoch: epoch.trim().to_owned(), out };
    let tree = stage::stage(&release, &programs)?;
    let made = formats.iter().map(|format| match format {
        Format::Deb => deb::build(&release, &tree),
        Format::Rpm => rpm::build(&release, &tree),
        Format::Tar => tarball::build(&release, &tree),
    });
    made.collect()
}

/// Both programs, with every symbol stripped.
struct Programs {
    sensor: PathBuf,
    hunt: PathBuf,
}

fn programs(build: bool) -> Result<Programs> {
    let (sensor, hunt) = if build {
        (ebpf::build_sensor(true)?, ebpf::build_hunt()?)
    } else {
        (ebpf::binary("sensor", true)?, ebpf::binary("sensor-hunt", true)?)
    };
    let stripped = paths::target()?.join("package/bin");
    fs::create_dir_all(&stripped)?;
    let strip = |from: &Path| -> Result<(PathBuf, u64)> {
        let to = stripped.join(from.file_name().context("a program without a name")?);
        cmd::run(Command::new("strip").arg("--strip-all").arg("-o").arg(&to).arg(from))?;
        let bytes = fs::metadata(&to)?.len();
        println!("{}: {bytes} bytes, stripped", to.display());
        Ok((to, bytes))
    };
    let ((sensor, sensor_bytes), (hunt, hunt_bytes)) = (strip(&sensor)?, strip(&hunt)?);
    ensure!(sensor_bytes < SENSOR_BYTES_MAX, "the sensor is larger than {SENSOR_BYTES_MAX} bytes");
    ensure!(sensor_bytes + hunt_bytes < BOTH_BYTES_MAX, "both are larger than {BOTH_BYTES_MAX} bytes");
    Ok(Programs { sensor, hunt })
}

/// The newest version of glibc that a program asks for, as `2.34`.
fn glibc(programs: &Programs) -> Result<String> {
    let mut newest = Vec::new();
    for program in [&programs.sensor, &programs.hunt] {
        let text = cmd::stdout(Command::new("readelf").args(["--version-info", "--wide"]).arg(program))?;
        newest.extend(text.split("GLIBC_").skip(1).filter_map(version));
    }
    let (major, minor) = newest.into_iter().max().context("the programs name no version of glibc")?;
    Ok(format!("{major}.{minor}"))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut parts = text.get(..end)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let found: Vec<_> =
            ["2.9 (4)", "2.34  Flags", "PRIVATE", "2.2.5"].into_iter().filter_map(version).collect();
        assert_eq!(found, [(2, 9), (2, 34), (2, 2)]);
    }
}
