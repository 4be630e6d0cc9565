//! `cargo xtask build-ebpf`, and the builds that embed its object.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use object::build::elf::{Builder, SectionData};

use crate::setup::{self, compiler};
use crate::{cmd, paths};

/// Tells the sensor's build script which object to embed.
const OBJECT_VARIABLE: &str = "SENSOR_EBPF_OBJECT";

pub(crate) fn run() -> Result<ExitCode> {
    let object = build_object()?;
    println!("{}", object.display());
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask build`.
pub(crate) fn run_build() -> Result<ExitCode> {
    println!("{}", build_sensor(true)?.display());
    println!("{}", build_hunt()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the eBPF object and returns its path.
pub(crate) fn build_object() -> Result<PathBuf> {
    let source = paths::root()?.join("sensor-ebpf");
    if !source.join("Cargo.toml").is_file() {
        bail!("{} is missing", source.join("Cargo.toml").display());
    }
    let target = paths::target()?;
    let built = build_object_of(&source, &target.join("ebpf"))?;
    let object = target.join("bpf/sensor-ebpf.o");
    write_if_changed(&stripped(&built)?, &object)?;
    Ok(object)
}

/// The object as it is embedded: DWARF is four fifths of it, the kernel reads BTF alone.
pub(crate) fn stripped(object: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(object).with_context(|| format!("the build left no {}", object.display()))?;
    let mut builder =
        Builder::read(bytes.as_slice()).with_context(|| format!("{} is no ELF object", object.display()))?;
    for section in builder.sections.iter_mut() {
        section.delete = [&b".debug_"[..], b".rel.debug_"].iter().any(|kind| section.name.starts_with(kind));
    }
    builder.delete_orphans();
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        // The linker keeps names of sections with those of symbols.
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("the object cannot be written anew")?;
    Ok(stripped)
}

/// Builds the object of these sources below `output` and returns its path.
pub(crate) fn build_object_of(source: &Path, output: &Path) -> Result<PathBuf> {
    let (compiler, linker) = setup::ensure_ebpf()?;
    eprintln!("eBPF object: {}", compiler.describe());
    let root = source.parent().context("sources without a folder")?;
    let flags = [
        "-C".to_owned(),
        format!("linker={}", linker.display()),
        "-C".to_owned(),
        "link-arg=--btf".to_owned(),
        "-C".to_owned(),
        "debuginfo=2".to_owned(),
        "-C".to_owned(),
        // Atomic fetch-and-add needs the third version of the instruction set: Linux 5.12.
        "target-cpu=v3".to_owned(),
        // The same object wherever it is built: BTF names the files of the sources.
        format!("--remap-path-prefix={}=sensor", root.display()),
        format!("--remap-path-prefix={}=cargo", paths::cargo_home()?.display()),
    ];
    let mut cargo = compiler.cargo("build");
    cargo
        .arg("--release")
        .current_dir(source)
        .env("CARGO_TARGET_DIR", output)
        // Replaces what the outer cargo or the user set: those flags are for the host.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .env_remove(OBJECT_VARIABLE);
    // The same for profiles: a quick build of the sensor must not be a slow program in the kernel.
    for setting in ["LTO", "OPT_LEVEL", "CODEGEN_UNITS", "INCREMENTAL"] {
        cargo.env_remove(format!("CARGO_PROFILE_RELEASE_{setting}"));
    }
    cmd::run(&mut cargo)?;
    Ok(output.join(compiler::TARGET).join("release/sensor-ebpf"))
}

/// Builds the programs that the sensor's are compared with and returns their object's path.
pub(crate) fn build_floor() -> Result<PathBuf> {
    build_object()?;
    Ok(paths::target()?.join("ebpf").join(compiler::TARGET).join("release/floor"))
}

/// Builds the sensor with the eBPF object inside and returns the binary's path.
pub(crate) fn build_sensor(release: bool) -> Result<PathBuf> {
    let object = build_object()?;
    build_package("sensor", release, Some(&object))
}

/// Builds the program that hunts and seals, which the sensor looks for beside itself, and returns its path.
pub(crate) fn build_hunt() -> Result<PathBuf> {
    build_package("sensor-hunt", true, None)
}

/// The same as the unit tests have it, which is built already when they have run: in the machine it is not its speed
/// that counts. Without what only a debugger reads, which is most of it.
pub(crate) fn build_hunt_for_tests() -> Result<PathBuf> {
    // Its own tests are what has it built: the same command line as theirs, so that nothing is compiled twice.
    let mut cargo = cmd::cargo();
    cargo.args(["test", "--workspace", "--test", "it", "--no-run"]).current_dir(paths::root()?);
    cmd::run(&mut cargo)?;
    let stripped = paths::target()?.join("livetest-hunt/sensor-hunt");
    if let Some(dir) = stripped.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    cmd::run(Command::new("strip").arg("-o").arg(&stripped).arg(binary("sensor-hunt", false)?))?;
    Ok(stripped)
}

/// Builds the program that runs inside the virtual machine and returns its path.
pub(crate) fn build_livetest(release: bool) -> Result<PathBuf> {
    build_package("sensor-tests", release, None)?;
    binary("sensor-livetest", release)
}

/// Where cargo puts a binary of the workspace.
pub(crate) fn binary(name: &str, release: bool) -> Result<PathBuf> {
    Ok(paths::target()?.join(if release { "release" } else { "debug" }).join(name))
}

/// Makes `cargo` embed the object when it builds the sensor.
pub(crate) fn embed(cargo: &mut Command, object: &Path) {
    cargo.env(OBJECT_VARIABLE, object);
}

fn build_package(package: &str, release: bool, object: Option<&Path>) -> Result<PathBuf> {
    let mut cargo = cmd::cargo();
    cargo.args(["build", "--package", package]).current_dir(paths::root()?);
    if release {
        cargo.arg("--release");
    }
    if let Some(object) = object {
        embed(&mut cargo, object);
    }
    cmd::run(&mut cargo)?;
    binary(package, release)
}

/// Keeps the modification time of an object that did not change, so that nothing is rebuilt around it.
fn write_if_changed(new: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
