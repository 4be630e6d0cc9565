//! `sensor run`.

use std::process::ExitCode;

use super::RunArgs;

/// Runs the sensor until it is stopped.
///
/// # Errors
///
/// When it cannot start.
pub fn run(_args: RunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot record yet")
}
