//! Build, set-up and test tasks: `cargo xtask --help` lists them.

mod bench;
mod cmd;
mod compare;
mod demo;
mod deny;
mod ebpf;
mod package;
mod paths;
mod setup;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, set-up and test tasks of the sensor")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install everything that building, testing and the demo need; what is there already is reused
    Setup(setup::Args),
    /// Build the sensor with its eBPF programs, and what hunts, and print where they are
    Build,
    /// Build the eBPF object
    BuildEbpf,
    /// Run a command in a throw-away virtual machine without network
    Vm(vm::Args),
    /// Show the sensor at work: real file operations, real alerts
    Demo(demo::Args),
    /// Run every check and every test there is
    Test(test::Args),
    /// Make packages: .deb, .rpm and an archive with a script
    Package(package::Args),
    /// Compare with others: which ways to bring a file into a folder each tells of
    Compare(compare::Args),
    /// Check licences, bans and sources of every dependency
    Deny,
    /// Measure, and compare with the goals in xtask/goals.toml
    Bench(bench::Args),
    /// Check the house rules: file lengths, dependency direction, links, unsafe code
    Tidy,
}

fn main() -> ExitCode {
    let outcome = if ebpf::is_compiler() { ebpf::compile() } else { run(Cli::parse().task) };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup(args) => setup::run(&args),
        Task::Build => ebpf::run_build(),
        Task::BuildEbpf => ebpf::run(),
        Task::Vm(args) => vm::run(args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Package(args) => package::run(&args),
        Task::Compare(args) => compare::run(&args),
        Task::Deny => deny::run(),
        Task::Bench(args) => bench::run(&args),
        Task::Tidy => tidy::run(),
    }
}
