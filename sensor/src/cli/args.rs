//! The arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::sink::Target;

/// Kernel telemetry in Elastic's common schema, and Elastic's EQL rules matched on it.
#[derive(Debug, Parser)]
#[command(name = "sensor", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record events, match rules, write alerts until stopped by SIGINT or SIGTERM.
    Run(RunArgs),
    /// Say whether the sensor can work here, and what is in its way.
    Doctor(DoctorArgs),
}

/// `sensor run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Rules beside the shipped ones: a file or a directory tree; repeatable. A rule with the id of a shipped one
    /// replaces it.
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Where events go, as NDJSON: a file, which is appended to, or - for standard output. Not written by default.
    #[arg(long, value_name = "FILE|-")]
    pub output: Option<Target>,
    /// Where alerts go: a file, as NDJSON, which is appended to, or - for standard output, readable if that is a
    /// terminal.
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub alerts: Target,
    /// Let one broken rule keep the sensor from starting.
    #[arg(long)]
    pub strict: bool,
}

/// `sensor doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {}
