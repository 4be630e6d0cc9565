//! What a query returns, and what it was asked with.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sensor_eql::Diagnostics;

/// What a result's column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Nothing but null.
    Null,
    /// true, false
    Boolean,
    /// 32 bits: what is written in a query, lengths, counts of values.
    Integer,
    /// 64 bits
    Long,
    /// 64 bits, floating
    Double,
    /// Text.
    Keyword,
    /// An address, as text in its shortest form.
    Ip,
    /// Milliseconds since 1970.
    Date,
    /// A span of time, as in `now() - 7 days`; never in a result.
    Period,
}

impl Type {
    /// Whether its values are numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Long | Self::Double)
    }

    /// As Elasticsearch calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Double => "double",
            Self::Keyword => "keyword",
            Self::Ip => "ip",
            Self::Date => "date",
            Self::Period => "date_period",
        }
    }
}

/// One value of the result. Text is escaped as `sensor_ecs::escape` says where it was in the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Unknown, absent.
    Null,
    /// true, false
    Boolean(bool),
    /// 64 bits
    Long(i64),
    /// 64 bits, floating
    Double(f64),
    /// A keyword or an address.
    Text(String),
    /// Milliseconds since 1970.
    Date(i64),
    /// Two or more values.
    List(Vec<Cell>),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Long(value) => write!(f, "{value}"),
            // As Elasticsearch: a whole number keeps its point.
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => f.write_str(text),
            Self::Date(ms) => f.write_str(&date_text(*ms)),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// `2026-01-02T03:04:05.678Z`
#[must_use]
pub fn date_text(ms: i64) -> String {
    let Some(text) = sensor_ecs::time::rfc3339_of_millis(ms) else { return format!("{ms} ms") };
    let text = String::from_utf8_lossy(&text);
    format!("{}Z", text.get(..23).unwrap_or_default())
}

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// What was read to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Events in the files that could hold an answer.
    pub rows: u64,
    /// Events that were not read because a file's statistics ruled them out.
    pub rows_skipped: u64,
    /// Events that are lost to the answer because their file is damaged.
    pub rows_unread: u64,
    /// Files, and the part not yet sealed.
    pub files: u64,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Names and types.
    pub columns: Vec<Column>,
    /// As many cells as there are columns, each.
    pub rows: Vec<Vec<Cell>>,
    /// What Elasticsearch would send as warnings: values that could not be evaluated.
    pub warnings: Vec<String>,
    /// Where the stored events do not fully cover the question; shown above the table.
    pub notes: Vec<String>,
    /// What was read.
    pub scanned: Scanned,
}

/// What a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups of `stats`.
    pub groups_max: usize,
    /// Bytes of rows and groups that are held at one time, roughly.
    pub held_bytes_max: usize,
    /// Threads that scan.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { groups_max: 1_000_000, held_bytes_max: 512 << 20, threads: 2 }
    }
}

/// When a query runs, over which period, with what.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `now()`, in milliseconds since 1970.
    pub now_ms: i64,
    /// Events before it are not seen.
    pub since_ms: Option<i64>,
    /// Events at it and after are not seen.
    pub until_ms: Option<i64>,
    /// Bounds.
    pub limits: Limits,
}

impl Settings {
    /// The defaults at a time.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms, since_ms: None, until_ms: None, limits: Limits::default() }
    }
}

/// Seen by another thread while a query runs: how far it is; and a way to stop it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events in all.
    pub rows_total: AtomicU64,
    /// Events done.
    pub rows_done: AtomicU64,
    /// Set it and the run ends soon with [`RunError::Interrupted`].
    pub stop: AtomicBool,
}

impl Progress {
    /// Whether the run is to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Why a run has no answer.
#[derive(Debug)]
pub enum RunError {
    /// The store cannot be read.
    Store(sensor_store::StoreError),
    /// A bound of [`Limits`] was met; says which and what would help.
    Limit(String),
    /// [`Progress::stop`] was set.
    Interrupted,
    /// Found out while running: a value of another type than the text needs.
    Query(Diagnostics),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(cause) => write!(f, "{cause}"),
            Self::Limit(text) => f.write_str(text),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Query(findings) => write!(f, "{findings}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<sensor_store::StoreError> for RunError {
    fn from(cause: sensor_store::StoreError) -> Self {
        Self::Store(cause)
    }
}
