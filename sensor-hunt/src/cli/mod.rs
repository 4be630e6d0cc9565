//! The command line: `hunt` and `store`.

mod args;
mod hunt;
mod progress;
mod store;
mod when;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

/// Some queries could not be run.
pub const NOT_ALL_RAN: u8 = 3;
/// All ran, and an answer does not hold all rows.
pub const INCOMPLETE: u8 = 4;

/// Parses the command line and runs the command. Every failure ends here: one message, and a status other than zero.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Hunt(args) => hunt::hunt(&args),
        Command::Store { command } => store::store(&command),
    };
    done.unwrap_or_else(|text| {
        note(format_args!("sensor: {text}"));
        ExitCode::FAILURE
    })
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
