//! The arguments of every command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::alert::Format;
use crate::config::{Scope, check_ring_bytes};
use crate::kernel::Attach;
use crate::sink::Target;

/// Kernel telemetry in Elastic's common schema, and Elastic's EQL rules matched on it.
#[derive(Debug, Parser)]
#[command(name = "sensor", version, about)]
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
    /// Look at rules.
    Rules {
        /// What to do with them.
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Match rules on recorded events.
    Replay(ReplayArgs),
    /// Ask stored events (ES|QL) and this host (osquery SQL).
    #[command(disable_help_flag = true)]
    Hunt(PassedOn),
    /// Look at the event store, add to it, take from it.
    #[command(disable_help_flag = true)]
    Store(PassedOn),
    /// Say which fields recorded events have and which they lack, by kind of event.
    Coverage(CoverageArgs),
    /// Say how the running sensor fares.
    Status(AskArgs),
    /// Watch the running sensor: rates, alerts as they come, who is busiest, losses.
    Watch(WatchArgs),
    /// Have the running sensor read rules and configuration anew: all of it takes effect, or nothing does.
    Reload(AskArgs),
    /// Pack what helps to find out what is wrong: state, logs, configuration, doctor's findings, versions.
    Support(SupportArgs),
    /// Print what other systems need to take what the sensor writes.
    Export {
        /// What to print.
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// Look at the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write the manual pages and the completions of shells, for a package.
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// `sensor manual`.
#[derive(Clone, Debug, Args)]
pub struct ManualArgs {
    /// Where the pages and completions go; made if it is missing.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Arguments that the hunting program reads.
#[derive(Clone, Debug, Args)]
pub struct PassedOn {
    /// What follows the command; --help says what may.
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// The configuration of a command.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArg {
    /// Configuration file; /etc/sensor/sensor.toml if there is one. Options on the command line win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which running sensor is asked.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The running sensor's socket; that of the configuration if not given.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `sensor watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Which sensor.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `sensor support`.
#[derive(Clone, Debug, Args)]
pub struct SupportArgs {
    /// Which sensor.
    #[command(flatten)]
    pub ask: AskArgs,
    /// The archive to make; it must not be there yet.
    #[arg(value_name = "FILE.tar.gz")]
    pub file: PathBuf,
}

/// `sensor export ...`.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Print an index template for Elasticsearch or OpenSearch without Elastic's own integrations.
    Template,
}

/// `sensor config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file, its rules' ids and its exceptions.
    Check(ConfigCheckArgs),
    /// Print a configuration file that holds every key with its default, described.
    Default(ConfigDefaultArgs),
    /// Print the reference of all keys as Markdown.
    Reference,
}

/// `sensor config default`.
#[derive(Clone, Debug, Args)]
pub struct ConfigDefaultArgs {
    /// As the service has it: events to the store, alerts to a file and the journal.
    #[arg(long)]
    pub service: bool,
}

/// `sensor config check`.
#[derive(Clone, Debug, Args)]
pub struct ConfigCheckArgs {
    /// The file; /etc/sensor/sensor.toml if none is named.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `sensor run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Rules beside the shipped ones: a file or a directory tree; repeatable. A rule with the id of a shipped one
    /// replaces it.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Where events go, as NDJSON: a file, which is appended to, or - for standard output. Not written by default.
    #[arg(long, value_name = "FILE|-")]
    pub output: Option<Target>,
    /// Where alerts go: a file, which is appended to, or - for standard output, the default.
    #[arg(long, value_name = "FILE|-")]
    pub alerts: Option<Target>,
    /// How alerts are written; auto, the default, is text on a terminal and NDJSON otherwise.
    #[arg(long, value_name = "FORMAT")]
    pub alert_format: Option<Format>,
    /// Keep every event in this folder, for `sensor hunt`.
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where the agent's id, and what rules remember over a restart, is kept. One sensor at a time has it.
    #[arg(long, value_name = "DIR")]
    pub state_directory: Option<PathBuf>,
    /// Which events are recorded: what an enabled rule can match, the default, or all.
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<Scope>,
    /// Let one broken rule keep the sensor from starting.
    #[arg(long)]
    pub strict: bool,
    /// How programs are attached to the kernel. What cannot be had this way is named at the start and left out.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub attach: Attach,
    /// Start without creating a file, renaming it and running a program first, to see whether the kernel side tells of
    /// them as it should.
    #[arg(long)]
    pub no_self_test: bool,
    /// Let the kernel programs report their own troubles on standard error, at most ten a second on a CPU.
    #[arg(long)]
    pub kernel_diagnostics: bool,
    /// Size of the ring between kernel and sensor: a power of two from 4096, 8388608 if not given. What finds no room
    /// in it is lost, and counted.
    #[arg(long, value_name = "BYTES", value_parser = ring_bytes)]
    pub ring_bytes: Option<u32>,
}

fn ring_bytes(text: &str) -> Result<u32, &'static str> {
    // What is no number at all is refused as 0 is.
    check_ring_bytes(text.parse().unwrap_or(0))
}

/// `sensor doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Which ways to attach programs are tried.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub attach: Attach,
}

/// `sensor rules ...`.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Read rules and say which run, which cannot and why, and what is wrong with the rest. Fails if a rule is broken.
    Check(RulesCheckArgs),
    /// List every rule, whether it runs, and why not.
    List(RulesListArgs),
    /// Run the tests beside each rule (NAME.tests.toml).
    Test(RulesTestArgs),
    /// Show a rule's query as a tree, with what each part read in an event and whether it holds.
    Explain(RulesExplainArgs),
}

/// `sensor rules list`.
#[derive(Clone, Debug, Args)]
pub struct RulesListArgs {
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Rules beside the shipped ones: a file or a directory tree; repeatable.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
}

/// How `sensor rules list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// In columns.
    Table,
    /// One array of objects.
    Json,
}

/// `sensor rules test`.
#[derive(Clone, Debug, Args)]
pub struct RulesTestArgs {
    /// Rule files or directory trees; those of the configuration if there is none, and else the shipped ones.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Fail for a rule without tests too.
    #[arg(long)]
    pub strict: bool,
}

/// `sensor rules explain`.
#[derive(Clone, Debug, Args)]
pub struct RulesExplainArgs {
    /// A rule file, or the id of a rule.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// Events as NDJSON; - for standard input.
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
    /// Where to look for the id beside the shipped rules: a file or a directory tree; repeatable.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// `sensor rules check`.
#[derive(Clone, Debug, Args)]
pub struct RulesCheckArgs {
    /// Rule files or directory trees; those of the configuration if there is none, and else the shipped ones.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Fail on warnings too.
    #[arg(long)]
    pub strict: bool,
}

/// `sensor replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Events as NDJSON; - for standard input.
    #[arg(value_name = "EVENTS", conflicts_with = "store")]
    pub events: Option<PathBuf>,
    /// Event stores instead of a file: their events in the order of time.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub store: Vec<PathBuf>,
    /// Stored events from this time on: RFC 3339, a day, or how long ago, as 7d.
    #[arg(long, value_name = "TIME", requires = "store")]
    pub since: Option<String>,
    /// Stored events before this time.
    #[arg(long, value_name = "TIME", requires = "store")]
    pub until: Option<String>,
    /// Rules to match: a file or a directory tree; repeatable. The shipped ones if there is none.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Where the rest is said.
    #[command(flatten)]
    pub config: ConfigArg,
    /// What to print for each match.
    #[arg(long, value_name = "FORMAT", default_value = "pairs")]
    pub format: ReplayFormat,
    /// Match only rules in this language.
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Option<RuleLanguage>,
    /// Let a broken rule be an error.
    #[arg(long)]
    pub strict: bool,
}

/// What `sensor replay` prints for each match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// The rule's id, a tab, and the ids of the events in the order of its stages: every rule, whatever the
    /// configuration enables, excepts or caps.
    Pairs,
    /// The alert as a document: only enabled rules, without what exceptions suppress and max_signals holds back.
    Alerts,
}

/// The language of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuleLanguage {
    /// EQL.
    Eql,
    /// KQL.
    Kuery,
}

/// `sensor coverage`.
#[derive(Clone, Debug, Args)]
pub struct CoverageArgs {
    /// Events as NDJSON; - for standard input.
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
}
