//! `cargo xtask compare`: which ways to bring a file into a folder others tell of, beside the sensor, in one machine.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::setup::kernels::KernelId;
use crate::vm::{self, Extra, Outcome, Spec, Streams};
use crate::{paths, setup};

const SCRIPT: &str = "/root/compare.sh";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel to boot
    #[arg(long, value_name = "SERIES[-FLAVOUR]", default_value_t = KernelId::newest())]
    kernel: KernelId,
    /// Take the binaries as they are, without building them
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut extras = vm::guest_files(!args.no_build)?;
    for program in setup::ensure_peers()? {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        extras.push(Extra { guest: format!("/usr/bin/{name}"), host: program });
    }
    extras
        .push(Extra { guest: SCRIPT.to_owned(), host: paths::root()?.join("xtask/src/compare/compare.sh") });
    let command = ["/bin/sh", SCRIPT].map(OsString::from).to_vec();
    let spec = Spec { label: format!("compare-{}", args.kernel), ..Spec::new(args.kernel, extras, command) };
    match vm::boot(&spec, Streams { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) })? {
        Outcome::Exited(code) => Ok(ExitCode::from(code)),
        Outcome::Failed(why) => bail!(why),
    }
}
