//! Documents from elsewhere: straight into sealed files, without the log.

use std::collections::BTreeMap;
use std::io::BufRead;

use sensor_ecs::{Document, FieldId, OpenSchema, Record as _, Schema as _, Unknown, Value, field};

use crate::error::StoreError;
use crate::row::{Encoder, Refused, dataset_of_category, named_dataset};
use crate::schema;
use crate::segment::GROUP_ROWS;
use crate::writer::Writer;

/// Bytes of rows that are held before they are sealed.
const HELD_BYTES_MAX: usize = 128 << 20;
/// A line that is longer is refused.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 20;

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// From 1.
    pub line: u64,
    /// From 1; 0 if it is about the whole line.
    pub column: usize,
    /// What is wrong.
    pub cause: String,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Lines with something on them.
    pub lines: u64,
    /// Events stored.
    pub stored: u64,
    /// Lines refused.
    pub refused: u64,
    /// Values left out: of another type than their field, or further ones of a field that has one.
    pub misfits: u64,
    /// Of which fields, and how many: those after the first, where the store keeps one.
    pub cut: BTreeMap<&'static str, u64>,
    /// Events stored that name no dataset and were given that of their category.
    pub derived: u64,
    /// The first lines that were refused.
    pub problems: Vec<LineProblem>,
    /// Values left out because the store has no column of their name.
    pub unknown: Unknown,
}

/// Rows that wait to be sealed together.
#[derive(Debug, Default)]
struct Held {
    rows: Vec<u8>,
    count: usize,
}

impl Writer {
    /// Imports documents, one JSON object a line. `progress` is told the lines so far, now and then; when it returns
    /// false the import ends there.
    ///
    /// # Errors
    ///
    /// When the input cannot be read or the store cannot be written. What was sealed before stays.
    pub fn import(
        &mut self,
        input: &mut dyn BufRead,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<ImportReport, StoreError> {
        let records = OpenSchema::new();
        let encoder = Encoder::new(&records);
        let single = schema::columns().iter().filter(|column| !column.list);
        let single: Vec<(FieldId, &'static str)> =
            single.filter_map(|column| Some((records.lookup(column.name)?.id, column.name))).collect();
        let mut document = Document::noting_unknown();
        let mut report = ImportReport::default();
        let mut held = Held::default();
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            let mut limited = std::io::Read::take(&mut *input, LINE_BYTES_MAX);
            number += 1;
            let wrong =
                |cause| StoreError { path: "the input".into(), cause: format!("line {number}: {cause}") };
            let read = limited.read_until(b'\n', &mut line).map_err(wrong)?;
            if read == 0 {
                break;
            }
            if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                skip_line(input).map_err(wrong)?;
                report.lines += 1;
                report.refuse(number, 0, "the line is longer than 16 MiB");
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            report.lines += 1;
            if let Err(problem) = document.parse(&line, &records) {
                report.refuse(number, problem.column(), &problem.to_string());
                continue;
            }
            match encoder.append(&document, &mut held.rows) {
                Ok(misfits) => {
                    report.misfits += u64::from(misfits);
                    held.count += 1;
                    report.note(&document, &single);
                }
                Err(Refused::NoTime) => report.refuse(number, 0, no_time(&document)),
                Err(Refused::TooLarge) => report.refuse(number, 0, "the event is larger than a mebibyte"),
            }
            if held.count >= GROUP_ROWS || held.rows.len() >= HELD_BYTES_MAX {
                report.stored += self.seal_held(&mut held)?;
            }
            if number % 10_000 == 0 && !progress(number) {
                break;
            }
        }
        report.stored += self.seal_held(&mut held)?;
        report.unknown = document.unknown().cloned().unwrap_or_default();
        Ok(report)
    }

    /// Stores rows that an [`Encoder`] wrote as imported ones; at most as many as fit one file are best.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub fn import_rows(&mut self, rows: Vec<u8>) -> Result<u64, StoreError> {
        let columns: Vec<Option<usize>> = (0..schema::columns().len()).map(Some).collect();
        let stored = self.seal_rows(rows, &columns, true)?;
        self.manifest.save(&self.root)?;
        Ok(stored)
    }

    fn seal_held(&mut self, held: &mut Held) -> Result<u64, StoreError> {
        let held = std::mem::take(held);
        if held.count == 0 { Ok(0) } else { self.import_rows(held.rows) }
    }
}

/// Why a document has no time.
fn no_time(document: &Document) -> &'static str {
    match document.value(field::TIMESTAMP) {
        Value::Absent => "it has no @timestamp",
        Value::List(_) => "its @timestamp is a list",
        Value::Keyword(text) => match str::from_utf8(text).ok().and_then(sensor_ecs::time::parse_strict) {
            Some(_) => OUT_OF_RANGE,
            None => "its @timestamp is no date",
        },
        Value::Long(_) | Value::Double(_) => OUT_OF_RANGE,
        Value::Boolean(_) | Value::Date(_) => "its @timestamp is no date",
    }
}

const OUT_OF_RANGE: &str = "its @timestamp is out of range: a date is from 1677-09-22 to 2262-04-11";

impl ImportReport {
    /// What the store does not have as the document had it.
    fn note(&mut self, document: &Document, single: &[(FieldId, &'static str)]) {
        for (id, name) in single {
            if let Value::List([_, more @ ..]) = document.value(*id)
                && !more.is_empty()
            {
                *self.cut.entry(name).or_default() += more.len() as u64;
            }
        }
        let derived = named_dataset(document).is_none() && dataset_of_category(document).is_some();
        self.derived += u64::from(derived);
    }

    fn refuse(&mut self, line: u64, column: usize, cause: &str) {
        self.refused += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(LineProblem { line, column, cause: cause.to_owned() });
        }
    }
}

fn skip_line(input: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (len, end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(len);
        if end {
            return Ok(());
        }
    }
}
