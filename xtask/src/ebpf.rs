//! `cargo xtask build-ebpf`, and the builds that embed its object.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use object::build::elf::{Builder, SectionData};

use crate::setup::{self, compiler, musl};
use crate::{cmd, paths};

/// Tells the sensor's build script which object to embed.
const OBJECT_VARIABLE: &str = "SENSOR_EBPF_OBJECT";

/// What is packed.
const PROGRAMS: [&str; 2] = ["sensor", "sensor-hunt"];

/// Tells this program that cargo runs it in place of the compiler.
const STAND_IN_VARIABLE: &str = "SENSOR_XTASK_COMPILES";
/// Crates that cargo tells from others by the folder that they lie in.
const OWN_CRATES: [&str; 3] = ["sensor_common", "sensor_ebpf", "floor"];

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
        "-C".to_owned(),
        // Names lie anywhere, which the processors that the sensor runs on do not mind.
        "link-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
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
        .env("RUSTC_WRAPPER", this_program()?)
        .env(STAND_IN_VARIABLE, "1")
        .env_remove("RUSTFLAGS")
        .env_remove(OBJECT_VARIABLE);
    // The same for profiles: a quick build of the sensor must not be a slow program in the kernel.
    for setting in ["LTO", "OPT_LEVEL", "CODEGEN_UNITS", "INCREMENTAL"] {
        cargo.env_remove(format!("CARGO_PROFILE_RELEASE_{setting}"));
    }
    cmd::run(&mut cargo)?;
    Ok(output.join(compiler::TARGET).join("release/sensor-ebpf"))
}

/// Cargo may have built this program anew since it was started: what lies in its place does the same.
fn this_program() -> Result<PathBuf> {
    let path = env::current_exe().context("this program has no path")?.into_os_string().into_vec();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(&path);
    Ok(OsStr::from_bytes(path).into())
}

/// Whether cargo has started this program in place of the compiler.
pub(crate) fn is_compiler() -> bool {
    env::var_os(STAND_IN_VARIABLE).is_some()
}

/// Becomes the compiler. Cargo makes what tells crates apart of their folders, and the compiler the names of functions
/// of that: with the names of crates instead, an object is the same wherever it is built.
pub(crate) fn compile() -> Result<ExitCode> {
    let mut given = env::args_os().skip(1);
    let compiler = given.next().context("no compiler is named")?;
    let error =
        Command::new(&compiler).args(without_folders(given.collect())).env_remove(STAND_IN_VARIABLE).exec();
    Err(error).with_context(|| format!("cannot run {}", compiler.display()))
}

fn without_folders(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.windows(2).find_map(|pair| match pair {
        [option, name] if option == "--crate-name" => name.to_str().map(str::to_owned),
        _ => None,
    });
    if let Some(name) = name.filter(|name| OWN_CRATES.contains(&name.as_str())) {
        let told =
            |argument: &&mut OsString| argument.to_str().is_some_and(|text| text.starts_with("metadata="));
        for argument in arguments.iter_mut().filter(told) {
            *argument = format!("metadata={name}").into();
        }
    }
    arguments
}

/// Builds the object of two copies of the sources, in folders whose names have other lengths, and compares them with each
/// other and with the one that is embedded. Returns its SHA-256.
pub(crate) fn check_reproducible() -> Result<String> {
    let root = paths::root()?;
    let embedded = build_object()?;
    let here = fs::read(&embedded)?;
    for folder in ["a", "another/place"] {
        let copy = tempfile::tempdir()?;
        let place = copy.path().join(folder);
        fs::create_dir_all(&place)?;
        // The workspace's own file, from which the crate that both share takes its version and lints.
        for part in ["Cargo.toml", "sensor-common", "sensor-ebpf"] {
            cmd::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(root.join(part)).arg(&place))?;
        }
        let built = build_object_of(&place.join("sensor-ebpf"), &place.join("target"))?;
        let is_same = stripped(&built)? == here;
        ensure!(is_same, "the object that is built in {} is another one", place.display());
    }
    let said = cmd::stdout(Command::new("sha256sum").arg(&embedded))?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
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

/// Builds the sensor, and what hunts, so that they need no library of the system, and returns their paths.
pub(crate) fn build_static() -> Result<[PathBuf; 2]> {
    musl::ensure()?;
    let object = build_object()?;
    // One after the other: together, each would have the features that the other asks for.
    for package in PROGRAMS {
        let mut cargo = cmd::cargo();
        cargo.args(["build", "--release", "--package", package, "--target", musl::TARGET]);
        embed(cargo.envs(musl::COMPILER).current_dir(paths::root()?), &object);
        cmd::run(&mut cargo)?;
    }
    static_binaries()
}

/// Where they are.
pub(crate) fn static_binaries() -> Result<[PathBuf; 2]> {
    let folder = paths::target()?.join(musl::TARGET).join("release");
    Ok(PROGRAMS.map(|name| folder.join(name)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_crates_are_told_apart_by_name() {
        let given = |name: &str| ["--crate-name", name, "-C", "metadata=0123"].map(OsString::from).to_vec();
        let last = |name: &str| without_folders(given(name)).pop().unwrap();
        assert_eq!(last("sensor_common"), "metadata=sensor_common");
        assert_eq!(last("zerocopy"), "metadata=0123");
    }
}
