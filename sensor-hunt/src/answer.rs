//! What became of a query, in one shape for both languages.

use std::time::Duration;

use sensor_eql::diag::SourceFile;
use sensor_store::Store;

use crate::esql::{self, Cell, Column, Progress, RunError, Settings, Type};
use crate::file::{Hunt, HuntQuery, Language};
use crate::osquery;

/// The rows of a query and what is to be known of them.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Names and types.
    pub columns: Vec<Column>,
    /// As many cells as columns, each.
    pub rows: Vec<Vec<Cell>>,
    /// Values that could not be evaluated, places that could not be read.
    pub warnings: Vec<String>,
    /// Where the question reaches further than what is known.
    pub notes: Vec<String>,
    /// Why these are not all rows.
    pub incomplete: Option<String>,
    /// Events, or files, processes and rows of tables, that were looked at.
    pub scanned: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It is wrong as it was written; the text says where.
    Invalid(String),
    /// It asks for something that is not there: a command, a function, a field; the text names it.
    Unsupported(String),
    /// It was understood but cannot be answered here.
    Failed(String),
}

impl Unanswered {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Unsupported(_) => "unsupported",
            Self::Failed(_) => "failed",
        }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Invalid(text) | Self::Unsupported(text) | Self::Failed(text) => text,
        }
    }
}

/// What became of a query.
pub type Outcome = Result<Answer, Unanswered>;

/// A hunt with what became of each of its queries.
#[derive(Debug)]
pub struct Done {
    /// The hunt.
    pub hunt: Hunt,
    /// An outcome for each query.
    pub outcomes: Vec<Outcome>,
}

/// What queries are run on.
#[derive(Debug)]
pub struct Sources {
    /// Event stores, or why there is none.
    pub stores: Result<Vec<Store>, String>,
    /// When ES|QL runs and over which period.
    pub settings: Settings,
    /// How SQL is run.
    pub osquery: osquery::Options,
}

/// Runs a query.
///
/// # Errors
///
/// When it is invalid or cannot be answered.
pub fn answer(query: &HuntQuery, sources: &Sources, progress: &Progress) -> Outcome {
    match query.language {
        Language::Esql => of_esql(&query.text, sources, progress),
        Language::Sql => of_sql(&query.text, &sources.osquery),
        Language::Unknown => Err(Unanswered::Invalid(
            "this is neither ES|QL, which begins with FROM, nor SQL, which begins with SELECT or WITH".into(),
        )),
    }
}

fn of_esql(text: &str, sources: &Sources, progress: &Progress) -> Outcome {
    let refused = |found: &sensor_eql::Diagnostics| {
        let shown = found.render(&SourceFile::new("query", text)).trim_end().to_owned();
        if esql::is_unsupported(found) { Unanswered::Unsupported(shown) } else { Unanswered::Invalid(shown) }
    };
    let query = esql::Query::parse(text).map_err(|found| refused(&found))?;
    let stores = match &sources.stores {
        Ok(stores) => stores.as_slice(),
        Err(_) if !query.reads_events() => &[],
        Err(cause) => return Err(Unanswered::Failed(cause.clone())),
    };
    let started = std::time::Instant::now();
    let outcome = query.run(stores, &sources.settings, progress).map_err(|cause| match cause {
        RunError::Query(found) => refused(&found),
        other => Unanswered::Failed(other.to_string()),
    })?;
    Ok(Answer {
        columns: outcome.columns,
        rows: outcome.rows,
        warnings: outcome.warnings,
        notes: outcome.notes,
        incomplete: (outcome.scanned.rows_unread > 0)
            .then(|| format!("{} events are in damaged files", outcome.scanned.rows_unread)),
        scanned: outcome.scanned.rows,
        elapsed: started.elapsed(),
    })
}

fn of_sql(text: &str, options: &osquery::Options) -> Outcome {
    let answer = osquery::run(text, options).map_err(|cause| match cause {
        osquery::Error::Invalid { .. } | osquery::Error::Refused(_) => Unanswered::Invalid(cause.to_string()),
        osquery::Error::Failed(text) if text.contains(" is not supported") => Unanswered::Unsupported(text),
        osquery::Error::Failed(text) => Unanswered::Failed(text),
    })?;
    let rows: Vec<Vec<Cell>> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let columns = answer.columns.iter().enumerate().map(|(index, name)| Column {
        name: name.clone(),
        ty: type_of(rows.iter().filter_map(|row| row.get(index))),
    });
    Ok(Answer {
        columns: columns.collect(),
        rows,
        warnings: answer.warnings,
        notes: Vec::new(),
        incomplete: answer.incomplete,
        scanned: answer.looked,
        elapsed: answer.elapsed,
    })
}

fn cell(cell: &osquery::Cell) -> Cell {
    match cell {
        osquery::Cell::Null => Cell::Null,
        osquery::Cell::Int(number) => Cell::Long(*number),
        osquery::Cell::Real(number) => Cell::Double(*number),
        osquery::Cell::Text(bytes) => Cell::Text(text_of(bytes)),
    }
}

/// Bytes as text, escaped where they are none as `sensor_ecs::escape` says.
fn text_of(bytes: &[u8]) -> String {
    let mut quoted = Vec::new();
    sensor_ecs::escape::write_json_string(bytes, &mut quoted);
    serde_json::from_slice(&quoted).unwrap_or_default()
}

/// SQLite's columns have no type but that of their values.
fn type_of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Type {
    cells.fold(Type::Null, |so_far, cell| match (so_far, cell) {
        (so_far, Cell::Null) => so_far,
        (Type::Null | Type::Long, Cell::Long(_)) => Type::Long,
        (Type::Null | Type::Long | Type::Double, Cell::Double(_)) | (Type::Double, Cell::Long(_)) => {
            Type::Double
        }
        _ => Type::Keyword,
    })
}

#[cfg(test)]
mod tests {
    use super::{Cell, Type, text_of, type_of};

    #[test]
    fn a_column_is_of_the_type_that_holds_its_values() {
        let of = |cells: &[Cell]| type_of(cells.iter());
        assert_eq!(of(&[Cell::Null]), Type::Null);
        assert_eq!(of(&[Cell::Long(1), Cell::Null]), Type::Long);
        assert_eq!(of(&[Cell::Long(1), Cell::Double(0.5)]), Type::Double);
        assert_eq!(of(&[Cell::Long(1), Cell::Text("x".into())]), Type::Keyword);
    }

    #[test]
    fn bytes_become_text_that_can_be_turned_back() {
        let bytes = b"a\xff\n\x1b".as_slice();
        assert_eq!(sensor_ecs::escape::unescape(&text_of(bytes)).as_ref(), bytes);
    }
}
