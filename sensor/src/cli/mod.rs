//! The command line: what can be said, and who answers it.

mod args;
mod config;
mod coverage;
pub mod doctor;
mod events;
mod hunting;
mod replay;
pub mod rules;
pub mod run;
pub(crate) mod say;
mod seed;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

pub use args::{
    Cli, Command, ConfigArg, ConfigCheckArgs, ConfigCommand, CoverageArgs, DoctorArgs, ListFormat, PassedOn,
    ReplayArgs, ReplayFormat, RulesCheckArgs, RulesCommand, RulesExplainArgs, RulesListArgs, RulesTestArgs,
    RunArgs,
};

/// Parses the command line and runs the command.
///
/// Every failure ends here: one message on stderr with its causes, and a status other than zero.
#[must_use]
pub fn main() -> ExitCode {
    if crate::selftest::is_canary(std::env::args_os().nth(1).as_deref()) {
        return ExitCode::SUCCESS;
    }
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Rules { command } => match command {
            RulesCommand::Check(args) => rules::check(&args),
            RulesCommand::List(args) => rules::list(&args),
            RulesCommand::Test(args) => rules::test(&args),
            RulesCommand::Explain(args) => rules::explain(&args),
        },
        Command::Replay(args) => replay::replay(&args),
        Command::Hunt(PassedOn { args }) => hunting::hand_over("hunt", &args),
        Command::Store(PassedOn { args }) => hunting::hand_over("store", &args),
        Command::Coverage(args) => coverage::coverage(&args),
        Command::Config { command: ConfigCommand::Check(args) } => config::check(&args),
        Command::Config { command: ConfigCommand::Default } => config::print_default(),
    };
    done.unwrap_or_else(|error| {
        say::note(format_args!("sensor: {error:#}"));
        ExitCode::FAILURE
    })
}
