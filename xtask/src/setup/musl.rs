//! What programs are built with that need no library of the system they run on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::apt;
use crate::cmd;

/// The target of such programs.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";
/// Compiles what is written in C.
pub(crate) const COMPILER: [(&str, &str); 1] = [("CC_x86_64_unknown_linux_musl", "musl-gcc")];

/// Has the C library, its compiler, and Rust's own library for it.
pub(crate) fn ensure() -> Result<()> {
    super::with_lock(|| {
        apt::ensure("programs without shared libraries", &["musl-tools"])?;
        let sysroot = cmd::stdout(Command::new("rustc").args(["--print", "sysroot"]))?;
        if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
            return Ok(());
        }
        let add = cmd::run(Command::new("rustup").args(["target", "add", TARGET]));
        add.with_context(|| format!("the Rust toolchain has no {TARGET}"))
    })
}
