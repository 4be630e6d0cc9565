//! `sensor hunt` and `sensor store` are another program, so that the resident sensor carries no query engine.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const PROGRAM: &str = "sensor-hunt";
/// From the folder of the sensor's own executable. Never a search path: the sensor runs as root.
const FOLDERS: [&str; 4] = [".", "../libexec/sensor", "../libexec", "../lib/sensor"];

/// Becomes the hunting program.
///
/// # Errors
///
/// When it is not installed, or cannot be started.
pub(super) fn hand_over(command: &str, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let program = find()?;
    let cause = Command::new(&program).arg(command).args(args).exec();
    Err(cause).with_context(|| format!("cannot start {}", program.display()))
}

/// Where it is.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where the sensor itself is")?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let places: Vec<PathBuf> = FOLDERS.iter().map(|near| folder.join(near).join(PROGRAM)).collect();
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => {
            let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            bail!(
                "hunting is a program of its own, {PROGRAM}, and it is not installed: looked for {}",
                places.join(", ")
            )
        }
    }
}
