//! Running one statement.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::vtab::Module;
use rusqlite::{Connection, ErrorCode};

use super::cell::{Cell, Row};
use super::context::{Context, Options};
use super::vtab::{Opened, Source};
use super::{functions, tables};

/// What a statement returned.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What a reader of the rows should know.
    pub warnings: Vec<String>,
    /// Why these are not all rows.
    pub incomplete: Option<String>,
    /// How many files, processes and rows of tables were looked at.
    pub looked: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a statement has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// SQLite cannot read it, or it names a table or column that there is not.
    #[error("line {line}, column {column}: {cause}")]
    Invalid {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What SQLite says.
        cause: String,
    },
    /// It would change something, or is several.
    #[error("{0}")]
    Refused(String),
    /// It was understood but cannot be answered.
    #[error("{0}")]
    Failed(String),
}

const SQL_BYTES_MAX: i32 = 1 << 20;
const VALUE_BYTES_MAX: i32 = 32 << 20;
const MEMORY_BYTES_MAX: i64 = 512 << 20;
/// Virtual machine instructions between two looks at the clock: well under a millisecond.
const INSTRUCTIONS_PER_TICK: i32 = 10_000;

/// Runs one statement.
///
/// # Errors
///
/// If it is not valid SQL, would change something, lacks a limit that a table needs, or fails.
pub fn run(sql: &str, options: &Options) -> Result<Answer, Error> {
    let context = Context::new(options).map_err(|cause| {
        let root = options.root.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        Error::Failed(format!("{root}: {cause}"))
    })?;
    let mut connection = Connection::open_in_memory().map_err(|cause| Error::Failed(cause.to_string()))?;
    prepare(&mut connection, &context).map_err(|cause| Error::Failed(cause.to_string()))?;
    let mut answer = Answer::default();
    select(&connection, sql, &context, &mut answer)?;
    answer.warnings = context.warnings();
    answer.looked = context.looked();
    answer.elapsed = context.elapsed();
    Ok(answer)
}

fn prepare(connection: &mut Connection, context: &Context) -> rusqlite::Result<()> {
    // Sorting stays in memory: nothing is written on a host that is looked at.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "hard_heap_limit", MEMORY_BYTES_MAX)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX),
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 10_000),
    ] {
        connection.set_limit(limit, value)?;
    }
    for table in tables::ALL {
        let source = Arc::new(Source { table, context: context.clone() });
        let module: &'static Module<'static, Opened> = const { &Module::eponymous_only_module() };
        connection.create_module(table.name, module, Some(source))?;
    }
    functions::add(connection)?;
    let watched = context.clone();
    connection.progress_handler(
        INSTRUCTIONS_PER_TICK,
        Some(move || {
            let late = watched.is_late();
            if late {
                drop(watched.late());
            }
            late
        }),
    )?;
    connection.authorizer(Some(|asked: AuthContext<'_>| match asked.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Function { .. } => Authorization::Allow,
        // The tables themselves come to be with their first use.
        AuthAction::CreateVtable { .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }))
}

fn select(connection: &Connection, sql: &str, context: &Context, answer: &mut Answer) -> Result<(), Error> {
    let mut batch = rusqlite::Batch::new(connection, sql);
    let Some(mut statement) = batch.next().map_err(|cause| explain(&cause, sql, context))? else {
        return Err(Error::Refused("there is no statement".into()));
    };
    // What follows the first statement is read before anything runs.
    match batch.next() {
        Ok(None) => {}
        Ok(Some(_)) => return Err(Error::Refused("one statement at a time: this is several".into())),
        Err(cause) => return Err(explain(&cause, sql, context)),
    }
    if statement.parameter_count() > 0 {
        return Err(Error::Refused("a parameter (?) has no value here".into()));
    }
    answer.columns = statement.column_names().map(str::to_owned).collect();
    let width = answer.columns.len();
    let mut bytes = 0_u64;
    let mut rows = statement.raw_query();
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(cause) => match context.spent() {
                Some(spent) => {
                    answer.incomplete = Some(spent);
                    break;
                }
                None => return Err(explain(&cause, sql, context)),
            },
        };
        let mut cells = Vec::with_capacity(width);
        for index in 0..width {
            let cell = match row.get_ref(index).map_err(|cause| explain(&cause, sql, context))? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Int(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(text) | ValueRef::Blob(text) => Cell::Text(text.to_vec()),
            };
            bytes += cell.text().map_or(8, <[u8]>::len) as u64;
            cells.push(cell);
        }
        answer.rows.push(cells);
        let options = context.options();
        if answer.rows.len() >= options.rows_max || bytes > options.bytes_max.min(ANSWER_BYTES_MAX) {
            // Only what is left out is worth a word.
            if !matches!(rows.next(), Ok(None)) {
                drop(context.spend(format!("{} rows, {bytes} bytes", answer.rows.len())));
                answer.incomplete = context.spent();
            }
            break;
        }
    }
    Ok(())
}

/// What one answer may hold in memory.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

fn explain(cause: &rusqlite::Error, sql: &str, context: &Context) -> Error {
    match cause {
        rusqlite::Error::SqlInputError { msg, offset, sql: part, .. } => {
            // The offset counts from the statement that failed, which is what is left of the text.
            let start = sql.len().saturating_sub(part.len());
            let at = usize::try_from(*offset).map_or(start, |offset| start + offset);
            invalid(sql, at, msg)
        }
        rusqlite::Error::SqliteFailure(code, message) => {
            let message = message.clone().unwrap_or_else(|| code.to_string());
            match code.code {
                ErrorCode::AuthorizationForStatementDenied => {
                    Error::Refused(format!("only SELECT is run: a hunt changes nothing ({message})"))
                }
                ErrorCode::OperationInterrupted => {
                    Error::Failed(context.spent().unwrap_or_else(|| "interrupted".into()))
                }
                _ => match message.strip_prefix("no such table: ") {
                    Some(name) => Error::Failed(no_such_table(name)),
                    None => Error::Failed(message),
                },
            }
        }
        other => Error::Failed(other.to_string()),
    }
}

/// A query that needs one of osquery's other tables is right, and cannot be answered.
fn no_such_table(name: &str) -> String {
    if tables::EVENTS.contains(&name) {
        return format!(
            "the table {name} is not supported: it holds what osquery itself recorded; what this sensor recorded \
             is asked with ES|QL (from logs-endpoint.events.*)"
        );
    }
    if tables::MISSING.contains(&name) {
        return format!("the table {name} of osquery is not supported here");
    }
    let known = tables::ALL.iter().map(|table| table.name);
    let near =
        sensor_eql::diag::nearest(name, known).map(|near| format!("; there is {near}")).unwrap_or_default();
    format!("there is no table {name} here{near}")
}

fn invalid(sql: &str, at: usize, cause: &str) -> Error {
    let before = sql.get(..at).unwrap_or(sql);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::Invalid { line, column, cause: cause.to_owned() }
}
