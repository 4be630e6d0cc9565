//! What a table is: its columns, what a query must say, and how its rows are made.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use super::cell::{Cell, Row};
use super::context::{Context, Trouble};
use super::glob;

/// A column's type, as osquery documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// TEXT
    Text,
    /// INTEGER
    Integer,
    /// BIGINT
    BigInt,
    /// DOUBLE
    Double,
}

impl Type {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Integer => "INTEGER",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Not part of `SELECT *`.
    pub hidden: bool,
}

pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: Type::Text, hidden: false }
}

pub(crate) const fn integer(name: &'static str) -> Column {
    Column { name, kind: Type::Integer, hidden: false }
}

pub(crate) const fn bigint(name: &'static str) -> Column {
    Column { name, kind: Type::BigInt, hidden: false }
}

pub(crate) const fn double(name: &'static str) -> Column {
    Column { name, kind: Type::Double, hidden: false }
}

pub(crate) const fn hidden(column: Column) -> Column {
    Column { name: column.name, kind: column.kind, hidden: true }
}

/// What a query says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Equals,
    Like,
}

/// What a query says of a table.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub constraints: Vec<(usize, Op, Cell)>,
    /// A bit for each column whose value is wanted; the last stands for all that follow.
    pub wanted: u64,
}

impl Query {
    /// The values that the column at `index` may have, if the query limits it to such.
    pub(crate) fn equal(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.of(index, Op::Equals)
    }

    pub(crate) fn of(&self, index: usize, op: Op) -> impl Iterator<Item = &Cell> {
        self.constraints
            .iter()
            .filter(move |(column, with, _)| *column == index && *with == op)
            .map(|found| &found.2)
    }

    /// The one integer that the column at `index` may have, if the query says so.
    pub(crate) fn integer(&self, index: usize) -> Option<Option<i64>> {
        self.equal(index).next().map(Cell::int)
    }

    /// Whether a path in a directory is met for the first time, where it may be found in several ways.
    pub(crate) fn once(&self, directory: usize) -> impl FnMut(&[u8], &[u8]) -> bool + use<> {
        // A directory that its own pattern finds ends in a slash, and matches that pattern without it, too.
        let slash = self.of(directory, Op::Like).count() == 1
            && self.of(directory, Op::Like).filter_map(Cell::text).all(|pattern| pattern.ends_with(b"%"));
        // Keyed hashes: as many as files are looked at, which is bounded.
        let mut seen = (self.constraints.len() > 1).then(|| (RandomState::new(), HashSet::new()));
        move |path, directory| match &mut seen {
            Some((keys, seen)) => {
                let plain = directory.strip_suffix(b"/").filter(|_| slash).unwrap_or(directory);
                seen.insert(keys.hash_one((path, plain)))
            }
            None => true,
        }
    }

    /// Leaves out the patterns that can find nothing, if anything else says where to look: SQLite checks LIKE again.
    pub(crate) fn drop_unrooted(&mut self, table: &Table) {
        let unrooted = |(index, op, cell): &(usize, Op, Cell)| {
            *op == Op::Like && table.is_path(*index) && cell.text().is_some_and(|text| !glob::is_rooted(text))
        };
        if !self.constraints.iter().all(unrooted) {
            self.constraints.retain(|constraint| !unrooted(constraint));
        }
    }

    pub(crate) fn wants(&self, index: usize) -> bool {
        self.wanted >> index.min(63) & 1 == 1
    }
}

/// The rows of a table, made as they are asked for.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, Trouble>>>;

/// A table.
pub(crate) struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// The columns whose values identify a row; all if none.
    pub key: &'static [&'static str],
    /// Columns whose `=` the rows are found by.
    pub index: &'static [&'static str],
    /// A query must limit one of these, by `=`, IN or LIKE.
    pub required: &'static [&'static str],
    pub rows: fn(&Context, &Query) -> Result<Rows, Trouble>,
}

impl Table {
    /// A table that needs no help from the query.
    pub(crate) const fn plain(
        name: &'static str,
        columns: &'static [Column],
        rows: fn(&Context, &Query) -> Result<Rows, Trouble>,
    ) -> Self {
        Self { name, columns, key: &[], index: &[], required: &[], rows }
    }

    /// One whose first column is an id that may be asked for by its beginning.
    pub(crate) const fn by_id(
        name: &'static str,
        columns: &'static [Column],
        rows: fn(&Context, &Query) -> Result<Rows, Trouble>,
    ) -> Self {
        Self { name, columns, key: &[], index: &["id"], required: &[], rows }
    }

    /// Whether rows are found by walking what the column is given.
    pub(crate) fn is_path(&self, index: usize) -> bool {
        let name = self.columns.get(index).map_or("", |column| column.name);
        matches!(name, "path" | "directory") && self.required.contains(&name)
    }

    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The statement that tells SQLite the shape.
    pub(crate) fn declaration(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let hidden = if column.hidden { " HIDDEN" } else { "" };
                format!("\"{}\" {}{hidden}", column.name, column.kind.sql())
            })
            .collect();
        format!("CREATE TABLE x({})", columns.join(", "))
    }
}

/// Rows that were all made at once.
pub(crate) fn all(rows: Vec<Row>) -> Result<Rows, Trouble> {
    Ok(Box::new(rows.into_iter().map(Ok)))
}

/// No rows.
pub(crate) fn none() -> Result<Rows, Trouble> {
    all(Vec::new())
}
