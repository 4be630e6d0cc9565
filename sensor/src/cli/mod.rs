//! The command line: what can be said, and who answers it.

mod args;
mod ask;
mod config;
mod coverage;
pub mod doctor;
mod edits;
mod events;
mod export;
mod hunting;
mod manual;
mod outputs;
mod reload;
mod replay;
pub mod rules;
pub mod run;
pub(crate) mod say;
mod seed;
mod store;
mod support;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

pub use args::{
    AskArgs, Cli, Command, ConfigArg, ConfigCheckArgs, ConfigCommand, ConfigDefaultArgs, CoverageArgs,
    DoctorArgs, ExportCommand, ListFormat, ManualArgs, PassedOn, ReplayArgs, ReplayFormat, RulesCheckArgs,
    RulesCommand, RulesExplainArgs, RulesListArgs, RulesTestArgs, RunArgs, SupportArgs, WatchArgs,
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
        Command::Status(args) => ask::status(&args),
        Command::Watch(args) => watch::watch(&args),
        Command::Reload(args) => ask::reload(&args),
        Command::Support(args) => support::support(&args),
        Command::Export { command: ExportCommand::Template } => export::template(),
        Command::Config { command: ConfigCommand::Check(args) } => config::check(&args),
        Command::Config { command: ConfigCommand::Default(args) } => config::print_default(&args),
        Command::Config { command: ConfigCommand::Reference } => config::print_reference(),
        Command::Manual(args) => manual::write(&args),
    };
    done.unwrap_or_else(|error| {
        say::note(format_args!("sensor: {error:#}"));
        ExitCode::FAILURE
    })
}
