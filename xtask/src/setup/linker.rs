//! bpf-linker, built once per LLVM major into the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::{cmd, paths};

const VERSION: &str = "0.13.0";

/// The linker's path; builds it if it is missing or does not run.
pub(crate) fn ensure(llvm_major: u32) -> Result<PathBuf> {
    // The folder's name is the stamp: another LLVM or version is another folder, a missing file is not installed.
    let root = paths::cache()?.join("tools").join(format!("bpf-linker-{VERSION}-llvm-{llvm_major}"));
    let linker = root.join("bin/bpf-linker");
    if works(&linker) {
        return Ok(linker);
    }
    let llvm = format!("llvm-{llvm_major}-dev");
    let polly = format!("libpolly-{llvm_major}-dev");
    apt::ensure("BPF linker", &[&llvm, &polly, "libzstd-dev", "zlib1g-dev", "g++"])?;
    let prefix = format!("/usr/lib/llvm-{llvm_major}");
    eprintln!("building bpf-linker {VERSION} against {prefix} (about a minute)");
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let with_llvm = std::iter::once(Path::new(&prefix).join("bin")).chain(env::split_paths(&path));
    let feature = format!("llvm-{llvm_major}");
    let mut install = cmd::cargo();
    install
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &feature, "--root"])
        .arg(&root)
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", env::join_paths(with_llvm).context("PATH holds a folder with a colon")?)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&root);
    cmd::run(&mut install)?;
    if !works(&linker) {
        bail!("bpf-linker was installed, but {} does not run", linker.display());
    }
    Ok(linker)
}

fn works(linker: &Path) -> bool {
    cmd::stdout(Command::new(linker).arg("--version")).is_ok_and(|text| text.contains(VERSION))
}
