//! The command line: `hunt` and `store`.

mod args;
mod hunt;
mod progress;
mod store;
mod when;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

use crate::rpm;

/// Some queries could not be run.
pub const NOT_ALL_RAN: u8 = 3;
/// All ran, and an answer does not hold all rows.
pub const INCOMPLETE: u8 = 4;

/// Parses the command line and runs the command. Every failure ends here: one message, and a status other than zero.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Hunt(args) => hunt::hunt(*args),
        Command::Store { command } => store::store(&command),
        Command::RpmFiles { directory } => rpm_files(directory.as_bytes()),
    };
    done.unwrap_or_else(|text| {
        note(format_args!("sensor: {text}"));
        ExitCode::FAILURE
    })
}

/// A line for each file: its name in hexadecimal, the package, the algorithm and the digest.
fn rpm_files(directory: &[u8]) -> Result<ExitCode, String> {
    let database =
        io::stdin().as_fd().try_clone_to_owned().map_err(|cause| format!("standard input: {cause}"))?;
    let mut text = String::new();
    for file in rpm::files_in(database.into(), directory)? {
        let name: String = file.name.iter().map(|byte| format!("{byte:02x}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}\t{}\t{}\t{}",
            file.package,
            file.algorithm.unwrap_or_default(),
            file.digest
        );
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a line to stderr. Nobody can be told when that fails.
fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes to stdout. A reader that has gone away has seen enough.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {cause}")),
        _ => Ok(()),
    }
}
