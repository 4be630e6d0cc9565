//! `cargo xtask package`: a .deb, an .rpm and an archive of one staged tree, each with its bill of materials.

mod audit;
mod crates;
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
    /// Only build the eBPF object in two other folders, and compare
    #[arg(long, conflicts_with_all = ["formats", "no_build"])]
    check_reproducible: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
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
    if args.check_reproducible {
        println!("eBPF object: sha256 {}, the same in two other folders", ebpf::check_reproducible()?);
        return Ok(ExitCode::SUCCESS);
    }
    let formats = if args.formats.is_empty() { &FORMATS[..] } else { &args.formats };
    for package in build(formats, !args.no_build)? {
        println!("{}: {} bytes", package.display(), fs::metadata(&package)?.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds packages and returns their paths, in the order of `formats`.
pub(crate) fn build(formats: &[Format], with_binaries: bool) -> Result<Vec<PathBuf>> {
    let out = paths::target()?.join("package");
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let root = paths::root()?;
    let epoch = cmd::stdout(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(&root))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let release = Release { version, epoch: epoch.trim().to_owned(), out };
    // Who has no package manager that checks for libraries gets programs that need none.
    let needs = |wanted: &[Format]| formats.iter().any(|format| wanted.contains(format));
    let (mut tree, mut static_tree) = (PathBuf::new(), PathBuf::new());
    if needs(&[Format::Deb, Format::Rpm]) {
        tree = stage::stage(&release, &programs(with_binaries)?, "root")?;
    }
    if needs(&[Format::Tar]) {
        static_tree = stage::stage(&release, &static_programs(with_binaries)?, "root-static")?;
    }
    let made = formats.iter().map(|format| match format {
        Format::Deb => deb::build(&release, &tree),
        Format::Rpm => rpm::build(&release, &tree),
        Format::Tar => tarball::build(&release, &static_tree),
    });
    made.collect()
}

/// Both programs, with every symbol stripped and the list of their crates inside.
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
    finished(&sensor, &hunt, "bin")
}

fn static_programs(build: bool) -> Result<Programs> {
    let [sensor, hunt] = if build { ebpf::build_static()? } else { ebpf::static_binaries()? };
    let programs = finished(&sensor, &hunt, "bin-static")?;
    for program in [&programs.sensor, &programs.hunt] {
        let dynamic = cmd::stdout(Command::new("readelf").args(["--dynamic", "--wide"]).arg(program))?;
        ensure!(!dynamic.contains("(NEEDED)"), "{} needs libraries:\n{dynamic}", program.display());
    }
    Ok(programs)
}

/// The programs as they are packed, in a folder of this name.
fn finished(sensor: &Path, hunt: &Path, folder: &str) -> Result<Programs> {
    let folder = paths::target()?.join("package").join(folder);
    fs::create_dir_all(&folder)?;
    let (sensor, sensor_bytes) = stripped(sensor, crates::SENSOR, &folder)?;
    let (hunt, hunt_bytes) = stripped(hunt, crates::HUNT, &folder)?;
    ensure!(sensor_bytes < SENSOR_BYTES_MAX, "the sensor is larger than {SENSOR_BYTES_MAX} bytes");
    ensure!(sensor_bytes + hunt_bytes < BOTH_BYTES_MAX, "both are larger than {BOTH_BYTES_MAX} bytes");
    Ok(Programs { sensor, hunt })
}

/// The program as it is packed, and its size.
fn stripped(built: &Path, name: &str, folder: &Path) -> Result<(PathBuf, u64)> {
    let program = folder.join(name);
    cmd::run(Command::new("strip").arg("--strip-all").arg("-o").arg(&program).arg(built))?;
    let crates = audit::embed(&paths::root()?, name, &program)?;
    let bytes = fs::metadata(&program)?.len();
    println!("{}: {bytes} bytes, stripped, with the list of its {crates} crates", program.display());
    Ok((program, bytes))
}

/// The newest version of glibc that a program asks for, as `2.34`.
fn glibc(programs: &[PathBuf]) -> Result<String> {
    let mut newest = Vec::new();
    for program in programs {
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
