//! `sensor config`: the configuration with every default, and what is wrong with one.

use std::process::ExitCode;

use anyhow::Context as _;

use sensor_ecs::Ecs;

use super::ConfigCheckArgs;
use super::rules::{Choice, Rules};
use super::say::{note, print};
use crate::config::{self, DEFAULT_FILE, PATH_DEFAULT};

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

/// Prints the file that says what holds anyway.
///
/// # Errors
///
/// When it cannot be printed.
pub(super) fn print_default() -> anyhow::Result<ExitCode> {
    print(DEFAULT_FILE).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}
