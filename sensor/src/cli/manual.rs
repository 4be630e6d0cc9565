//! `sensor manual`: manual pages and completions, made of the arguments' own descriptions.

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, ManualArgs};

/// Writes `man/` and `completions/` below the folder.
///
/// # Errors
///
/// When a file cannot be written.
pub(super) fn write(args: &ManualArgs) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    command.build();
    let pages = folder(&args.dir.join("man"))?;
    // One page for each command, named as in `man sensor-run`.
    clap_mangen::generate_to(command.clone(), &pages).with_context(|| pages.display().to_string())?;
    let completions = folder(&args.dir.join("completions"))?;
    for (shell, name) in [(Shell::Bash, "sensor"), (Shell::Zsh, "_sensor"), (Shell::Fish, "sensor.fish")] {
        let path = completions.join(name);
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        clap_complete::generate(shell, &mut command.clone(), "sensor", &mut file);
    }
    Ok(ExitCode::SUCCESS)
}

fn folder(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let dir = tempfile::tempdir().unwrap();
        write(&ManualArgs { dir: dir.path().into() }).unwrap();
        for page in ["sensor.1", "sensor-run.1", "sensor-rules-check.1", "sensor-config-default.1"] {
            let text = fs::read_to_string(dir.path().join("man").join(page)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
        }
        assert!(!dir.path().join("man/sensor-manual.1").exists());
        for file in ["sensor", "_sensor", "sensor.fish"] {
            let text = fs::read_to_string(dir.path().join("completions").join(file)).unwrap();
            assert!(text.contains("doctor"), "{file}");
        }
    }
}
