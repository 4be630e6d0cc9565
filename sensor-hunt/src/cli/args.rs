//! The arguments of every command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::file;

/// Hunts, and the event store that they look at.
#[derive(Debug, Parser)]
#[command(name = "sensor", version, about, bin_name = "sensor")]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask stored events (ES|QL) and this host (osquery SQL).
    ///
    /// Exit status: 0 if every query ran, 1 if nothing could be done, 3 if some queries could not be run, 4 if all ran
    /// but a bound kept an answer from having all rows.
    Hunt(Box<HuntArgs>),
    /// Look at the event store, add to it, take from it.
    Store {
        /// What to do with it.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// What packages brought into a directory, by the rpm database on standard input. For the sensor's evidence.
    #[command(hide = true)]
    RpmFiles {
        /// Without a slash at its end.
        directory: OsString,
    },
}

/// `sensor hunt`.
#[derive(Clone, Debug, Args)]
pub(super) struct HuntArgs {
    /// Hunt files (.toml, or a query alone in .esql or .sql), or folders of them.
    #[arg(value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// A query, instead of or beside files.
    #[arg(long, short, value_name = "QUERY")]
    pub query: Option<String>,
    /// What --query is written in; by default its first word tells.
    #[arg(long, value_name = "LANGUAGE", requires = "query")]
    pub language: Option<LanguageArg>,
    /// Run only the query of this number, from 1, of each hunt.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub only: Option<u32>,
    /// Event stores, of one host or of several; /var/lib/sensor/store if none is named.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub store: Vec<PathBuf>,
    /// Stored events from this time on: RFC 3339, a day, or how long ago, as 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Stored events before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// What now() is in ES|QL, for events of another time.
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// How the rows are written.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// In CSV, put a quote before a text that a spreadsheet would take for a formula.
    #[arg(long)]
    pub spreadsheet: bool,
    /// `agent.id` of the documents that --format events writes.
    #[arg(long, value_name = "ID")]
    pub agent_id: Option<String>,
    /// The last part of their data stream's name.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// Write a page to look at in a browser, too.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// SQL looks below this folder, an image for example, instead of at this host.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Where the container engine listens that the docker_* tables ask.
    #[arg(long, value_name = "SOCKET", default_value = "/var/run/docker.sock")]
    pub docker_socket: PathBuf,
    /// Let % in SQL match names that begin with a dot, which osquery does not.
    #[arg(long)]
    pub hidden: bool,
    /// Give files' time of birth in SQL, which is 0 in osquery on Linux.
    #[arg(long)]
    pub birth_time: bool,
    /// At most so many seconds for each SQL query.
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    pub time_max: u64,
    /// At most so many rows of each SQL query.
    #[arg(long, value_name = "ROWS", default_value = "100000")]
    pub rows_max: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LanguageArg {
    /// ES|QL, over stored events.
    Esql,
    /// osquery SQL, over this host.
    Sql,
}

impl From<LanguageArg> for file::Language {
    fn from(language: LanguageArg) -> Self {
        match language {
            LanguageArg::Esql => Self::Esql,
            LanguageArg::Sql => Self::Sql,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// A row a line, and a line for each query with what became of it.
    Ndjson,
    /// One query's rows; what is said of them goes to standard error.
    Csv,
    /// A line for each query: how many rows, or why it was not run.
    Summary,
    /// Each row as an ECS document, as a sensor that hunts by itself writes it.
    Events,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Add events, one JSON document a line. What is imported twice is there twice.
    Import(ImportArgs),
    /// Say what a store holds.
    Stat(StatArgs),
    /// Write the events of stores as one JSON document a line, in the order of time.
    Export(ExportArgs),
    /// Seal the log, merge small files, remove what is too old or too much. The sensor starts it by itself.
    Keep(KeepArgs),
}

/// `sensor store keep`.
#[derive(Clone, Debug, Args)]
pub(super) struct KeepArgs {
    /// The store.
    #[arg(value_name = "PATH", default_value = super::hunt::STORE)]
    pub store: PathBuf,
    /// Days that events stay; imported ones stay.
    #[arg(long, value_name = "DAYS", default_value = "31", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: u32,
    /// Bytes of sealed files above which the oldest events are removed.
    #[arg(long, value_name = "BYTES", default_value = "10737418240")]
    pub bytes: u64,
}

/// `sensor store import`.
#[derive(Clone, Debug, Args)]
pub(super) struct ImportArgs {
    /// Events; - for standard input.
    #[arg(value_name = "EVENTS.ndjson", required = true)]
    pub events: Vec<PathBuf>,
    /// The store; it is made if it is not there.
    #[arg(long, value_name = "PATH", default_value = super::hunt::STORE)]
    pub store: PathBuf,
}

/// `sensor store stat`.
#[derive(Clone, Debug, Args)]
pub(super) struct StatArgs {
    /// Stores.
    #[arg(value_name = "PATH", default_value = super::hunt::STORE)]
    pub stores: Vec<PathBuf>,
    #[arg(long = "store", value_name = "PATH", num_args = 1.., hide = true, conflicts_with = "stores")]
    pub named: Vec<PathBuf>,
    /// One JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `sensor store export`.
#[derive(Clone, Debug, Args)]
pub(super) struct ExportArgs {
    /// Stores.
    #[arg(value_name = "PATH", default_value = super::hunt::STORE)]
    pub stores: Vec<PathBuf>,
    #[arg(long = "store", value_name = "PATH", num_args = 1.., hide = true, conflicts_with = "stores")]
    pub named: Vec<PathBuf>,
    /// Events from this time on: RFC 3339, a day, or how long ago, as 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Events before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}
