//! The compiler for `bpfel-unknown-none`: a rustup nightly with rust-src, else Debian's rustc with a prebuilt core.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::cmd;

/// The target triple of the eBPF object.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RustupNightly,
    Debian,
}

/// A compiler that can build the eBPF object.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    kind: Kind,
    release: String,
    /// bpf-linker must be built against the same major version.
    pub(crate) llvm_major: u32,
}

impl Compiler {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let what = match self.kind {
            Kind::RustupNightly => "rustup nightly with rust-src",
            Kind::Debian => "Debian's rustc with a prebuilt core",
        };
        format!("{what}, rustc {}, LLVM {}", self.release, self.llvm_major)
    }

    /// Cargo, set up to run `subcommand` for the eBPF target with this compiler.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = match self.kind {
            Kind::RustupNightly => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", "nightly", "cargo", subcommand, "-Z", "build-std=core"]);
                // Set by the outer cargo for its own toolchain.
                cargo.env_remove("RUSTC").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
            Kind::Debian => {
                let mut cargo = cmd::cargo();
                // aya-ebpf uses a feature gate; the variable lets a stable compiler accept it.
                cargo.arg(subcommand).env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        cargo.args(["--target", TARGET]);
        cargo
    }
}

/// Finds a compiler, or installs Debian's.
pub(crate) fn ensure() -> Result<Compiler> {
    if let Some(found) = rustup_nightly().map_or_else(debian, Some) {
        return Ok(found);
    }
    apt::ensure("BPF compiler", &DEBIAN_PACKAGES)?;
    match debian() {
        Some(found) => Ok(found),
        None => bail!(
            "{} are installed, but {DEBIAN_RUSTC} has no core for {TARGET}",
            DEBIAN_PACKAGES.join(" and ")
        ),
    }
}

fn rustup_nightly() -> Option<Compiler> {
    cmd::which("rustup")?;
    let run = || {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "rustc"]);
        command
    };
    let sysroot = cmd::stdout(run().args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    core.is_file().then(|| describe(Kind::RustupNightly, run()).ok()).flatten()
}

fn debian() -> Option<Compiler> {
    let sysroot = cmd::stdout(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"])).ok()?;
    let libs = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    let has_core = libs.read_dir().ok()?.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("libcore-")
    });
    has_core.then(|| describe(Kind::Debian, Command::new(DEBIAN_RUSTC)).ok()).flatten()
}

fn describe(kind: Kind, mut rustc: Command) -> Result<Compiler> {
    let text = cmd::stdout(rustc.arg("-vV"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .with_context(|| format!("`rustc -vV` does not tell {name}"))
    };
    let llvm = field("LLVM version:")?;
    let major = llvm.split('.').next().unwrap_or(llvm);
    let llvm_major = major.parse().with_context(|| format!("LLVM version {llvm:?} is not a number"))?;
    Ok(Compiler { kind, release: field("release:")?.to_owned(), llvm_major })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_compiler_tells_its_llvm_major() {
        let found = describe(Kind::Debian, Command::new("rustc")).unwrap();
        assert!(found.llvm_major >= 15, "{found:?}");
    }
}
