//! `sensor config`: the configuration with every default, and what is wrong with one.

use std::process::ExitCode;

use anyhow::Context as _;

use sensor_ecs::Ecs;

use super::rules::{Choice, Rules};
use super::say::{note, print};
use super::{ConfigCheckArgs, ConfigDefaultArgs};
use crate::config::{self, DEFAULT_FILE, PATH_DEFAULT, reference, service_file};

/// Reads a configuration as `sensor run` would, and says what is wrong with it.
///
/// # Errors
///
/// When it cannot be read, or is broken.
pub(super) fn check(args: &ConfigCheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = config::load(args.file.as_deref())?;
    let Some(path) = &loaded.path else {
        note(format_args!("there is no {PATH_DEFAULT}: every default holds"));
        return Ok(ExitCode::SUCCESS);
    };
    let settings = &loaded.config.rules;
    let mut rules = Rules::load(&settings.paths, Choice::UserAndShipped, &Ecs)?;
    rules.vet(&settings.paths, settings.strict)?;
    rules.configure(&loaded, &Ecs)?;
    note(format_args!("{}: sound; {}", path.display(), rules.summary()));
    Ok(ExitCode::SUCCESS)
}

/// Prints the file that says what holds anyway, or what the service is given.
///
/// # Errors
///
/// When it cannot be printed.
pub(super) fn print_default(args: &ConfigDefaultArgs) -> anyhow::Result<ExitCode> {
    let file = if args.service { service_file() } else { DEFAULT_FILE.to_owned() };
    print(&file).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the reference of all keys.
///
/// # Errors
///
/// When it cannot be printed.
pub(super) fn print_reference() -> anyhow::Result<ExitCode> {
    print(&reference::page()).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}
