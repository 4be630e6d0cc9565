//! The tables as SQLite's virtual tables. The only place here that needs `unsafe`, twice: rusqlite's traits promise a
//! memory layout (the base structure comes first).
//!
//! SQLite may ask one table several times for the terms of an OR and then removes duplicates by row id, so an id is a
//! keyed hash of the row's key: the same row has the same id in each answer, and different rows have different ones.
#![expect(unsafe_code, reason = "the traits of virtual tables are unsafe to implement")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{
    Context as Output, Filters, IndexConstraintOp, IndexInfo, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Error, Result};

use super::cell::{Cell, Row};
use super::context::{Context, Trouble};
use super::glob::is_rooted;
use super::table::{Op, Query, Rows, Table};

/// What SQLite keeps with a module.
pub(super) struct Source {
    pub table: &'static Table,
    pub context: Context,
}

/// A table that a statement has opened.
#[repr(C)]
pub(super) struct Opened {
    base: sqlite3_vtab,
    source: Arc<Source>,
}

/// A position in the rows of one answer.
#[repr(C)]
pub(super) struct Cursor {
    base: sqlite3_vtab_cursor,
    source: Arc<Source>,
    rows: Option<Rows>,
    row: Option<Row>,
    id: i64,
    occurrences: HashMap<i64, u64>,
}

/// The plan says that a required column is not limited.
const UNLIMITED: c_int = 1;
const COST_OF_ONE: f64 = 10.0;
const COST_OF_SOME: f64 = 10_000.0;
const COST_OF_ALL: f64 = 1_000_000.0;
/// Of a pattern that finds nothing: whatever else can be had is better.
const COST_OF_NOTHING: f64 = 1e20;
const COST_OF_FAILURE: f64 = 1e30;

// SAFETY: `Opened` is `repr(C)` and begins with `sqlite3_vtab`.
unsafe impl VTab<'_> for Opened {
    type Aux = Arc<Source>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        source: Option<&Self::Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let source = source.ok_or_else(|| Error::ModuleError("a table without a source".into()))?;
        let declaration = CString::new(source.table.declaration())?;
        Ok((Cow::Owned(declaration), Self { base: sqlite3_vtab::default(), source: Arc::clone(source) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let table = self.source.table;
        let mut plan = String::new();
        let mut argument = 0;
        let (mut found, mut by_equal, mut later) = (table.required.is_empty(), false, false);
        let unrooted = unrooted(table, info);
        let mut nowhere = false;
        for (position, (constraint, mut usage)) in info.constraints_and_usages().enumerate() {
            let op = match constraint.operator() {
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Op::Equals,
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE => Op::Like,
                _ => continue,
            };
            let Ok(index) = usize::try_from(constraint.column()) else { continue };
            let Some(column) = table.columns.get(index) else { continue };
            let required = table.required.contains(&column.name);
            let indexed = op == Op::Equals && table.index.contains(&column.name);
            if !required && !indexed {
                continue;
            }
            if !constraint.is_usable() {
                later |= required;
                continue;
            }
            nowhere |= unrooted.contains(&position);
            found |= required && !unrooted.contains(&position);
            by_equal |= op == Op::Equals;
            argument += 1;
            usage.set_argv_index(argument);
            let mark = if op == Op::Equals { '=' } else { '~' };
            plan.push_str(&format!("{index}{mark},"));
        }
        // Another order of the joined tables will make it usable.
        if !found && later {
            return Ok(false);
        }
        let (cost, rows) = match (found, by_equal, argument) {
            (false, ..) if nowhere => (COST_OF_NOTHING, 1_000_000),
            (false, ..) => (COST_OF_FAILURE, 1_000_000),
            (true, true, _) => (COST_OF_ONE, 10),
            (true, false, 1..) => (COST_OF_SOME, 1_000),
            (true, false, _) => (COST_OF_ALL, 100_000),
        };
        info.set_estimated_cost(cost);
        info.set_estimated_rows(rows);
        info.set_idx_num(if found || nowhere { 0 } else { UNLIMITED });
        info.set_idx_str(&format!("{:x};{plan}", info.col_used()));
        Ok(true)
    }

    fn open(&mut self) -> Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            source: Arc::clone(&self.source),
            rows: None,
            row: None,
            id: 0,
            occurrences: HashMap::new(),
        })
    }
}

/// The places of the constraints that are a LIKE with which no path can be found. One that is not known yet is not among
/// them.
fn unrooted(table: &Table, info: &IndexInfo) -> Vec<usize> {
    let like = |constraint: &rusqlite::vtab::IndexConstraint<'_>| {
        constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE
            && usize::try_from(constraint.column()).is_ok_and(|index| table.is_path(index))
    };
    let places = info.constraints().enumerate().filter(|(_, constraint)| like(constraint));
    let text_of = |place| match info.rhs_value(place) {
        Ok(Some(ValueRef::Text(text))) => Some(text),
        _ => None,
    };
    places.map(|(place, _)| place).filter(|place| text_of(*place).is_some_and(|it| !is_rooted(it))).collect()
}

fn query(table: &Table, plan: Option<&str>, values: &Filters<'_>) -> Query {
    let (wanted, plan) = plan.and_then(|plan| plan.split_once(';')).unwrap_or_default();
    let mut query = Query { wanted: u64::from_str_radix(wanted, 16).unwrap_or(u64::MAX), ..Query::default() };
    for (part, value) in plan.split_terminator(',').zip(values.iter()) {
        let op = if part.ends_with('=') { Op::Equals } else { Op::Like };
        let cell = match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Int(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cell::Text(bytes.to_vec()),
        };
        if let Ok(index) = part.trim_end_matches(['=', '~']).parse() {
            query.constraints.push((index, op, cell));
        }
    }
    query.drop_unrooted(table);
    query
}

fn error(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Spent(text) | Trouble::Failed(text) => Error::ModuleError(text),
    }
}

impl Cursor {
    fn advance(&mut self) -> Result<()> {
        self.row = self.rows.as_mut().and_then(Iterator::next).transpose().map_err(error)?;
        let Some(row) = &self.row else { return Ok(()) };
        let Source { table, context } = &*self.source;
        context.look().map_err(error)?;
        if table.key.is_empty() {
            let cells: Vec<Option<&Cell>> = row.iter().map(Some).collect();
            let first = context.row_id(&cells, 0);
            // Rows without a key may be the same in every value and yet be two.
            let before = self.occurrences.entry(first).or_insert(0);
            self.id = if *before == 0 { first } else { context.row_id(&cells, *before) };
            *before += 1;
        } else {
            let cells: Vec<Option<&Cell>> =
                table.key.iter().map(|name| row.get(table.column(name)?)).collect();
            self.id = context.row_id(&cells, 0);
        }
        Ok(())
    }
}

// SAFETY: `Cursor` is `repr(C)` and begins with `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, plan: c_int, columns: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let Source { table, context } = &*self.source;
        if plan == UNLIMITED {
            return Err(Error::ModuleError(format!(
                "table {} needs a limit on {}: add WHERE {} = '...', IN (...) or LIKE '...'",
                table.name,
                table.required.join(" or "),
                table.required.first().unwrap_or(&""),
            )));
        }
        self.occurrences.clear();
        self.rows = Some((table.rows)(context, &query(table, columns, values)).map_err(error)?);
        self.advance()
    }

    fn next(&mut self) -> Result<()> {
        self.advance()
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, output: &mut Output, index: c_int) -> Result<()> {
        let cell = usize::try_from(index).ok().and_then(|index| self.row.as_ref()?.get(index));
        output.set_result(match cell {
            None | Some(Cell::Null) => ToSqlOutput::Owned(Value::Null),
            Some(Cell::Int(number)) => ToSqlOutput::Owned(Value::Integer(*number)),
            Some(Cell::Real(number)) => ToSqlOutput::Owned(Value::Real(*number)),
            Some(Cell::Text(bytes)) => ToSqlOutput::Borrowed(ValueRef::Text(bytes)),
        })
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.id)
    }
}
