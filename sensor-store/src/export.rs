//! Stored events as documents again, one JSON object a line.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::rc::Rc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sensor_ecs::{time, write_json_string};

use crate::error::StoreError;
use crate::schema;
use crate::store::{OpenPart, Part};

/// Gives the events of some parts whose time is in `[since, until)` to `take`, each as a line, in the order of their
/// times whatever part they are in; events of one time stand as they were stored. Ends early when `take` says so.
///
/// Of parts whose times overlap a group of rows each is in memory. What is damaged is left out; returned is what could
/// not be read, for a person.
pub fn export(
    parts: &[Part],
    since_ns: i64,
    until_ns: i64,
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Vec<String> {
    let mut closed = Vec::new();
    let mut damaged = Vec::new();
    let missing = |rows: u64, cause: &StoreError| format!("{rows} events could not be read: {cause}");
    for part in parts {
        let open = match part.open() {
            Ok(open) => Rc::new(open),
            Err(cause) => {
                damaged.push(missing(part.rows(), &cause));
                continue;
            }
        };
        for group in 0..open.groups() {
            let (first, last) = open.times(group);
            if last >= since_ns && first < until_ns {
                closed.push((first, Rc::clone(&open), group));
            }
        }
    }
    closed.sort_by_key(|(first, _, _)| Reverse(*first));
    let mut open: Vec<Option<Group>> = Vec::new();
    let mut next = BinaryHeap::new();
    let mut line = Vec::new();
    loop {
        // A group is opened when it may hold the next event.
        while let Some((_, part, group)) =
            closed.pop_if(|(first, _, _)| next.peek().is_none_or(|Reverse((time, _))| *first <= *time))
        {
            match Group::open(&part, group, since_ns, until_ns) {
                Ok(group) => {
                    next.extend(group.time().map(|time| Reverse((time, open.len()))));
                    open.push(Some(group));
                }
                Err(cause) => damaged.push(missing(part.rows(group) as u64, &cause)),
            }
        }
        let Some(Reverse((_, at))) = next.pop() else { return damaged };
        let Some(place) = open.get_mut(at) else { continue };
        let Some(group) = place else { continue };
        line.clear();
        group.take(&mut line);
        line.push(b'\n');
        if take(&line).is_break() {
            return damaged;
        }
        match group.time() {
            Some(time) => next.push(Reverse((time, at))),
            None => *place = None,
        }
    }
}

/// Rows that were read, and which of them are still to be written.
struct Group {
    columns: Vec<(Vec<&'static str>, ArrayRef)>,
    /// Time and row; the next one last.
    left: Vec<(i64, usize)>,
}

impl Group {
    fn open(part: &OpenPart, group: usize, since_ns: i64, until_ns: i64) -> Result<Self, StoreError> {
        let mut columns = Vec::new();
        let mut times = None;
        for (at, column) in schema::columns().iter().enumerate() {
            if let Some(array) = part.read(group, at)? {
                if column.name == "@timestamp" {
                    times = array.as_primitive_opt::<TimestampNanosecondType>().cloned();
                }
                columns.push((column.name.split('.').collect(), array));
            }
        }
        let time = |row: usize| times.as_ref().map_or(i64::MIN, |times| times.value(row));
        let all = (0..part.rows(group)).map(|row| (time(row), row));
        let mut left: Vec<(i64, usize)> =
            all.filter(|(time, _)| (since_ns..until_ns).contains(time)).collect();
        left.sort_unstable_by_key(|of| Reverse(*of));
        Ok(Self { columns, left })
    }

    fn time(&self) -> Option<i64> {
        self.left.last().map(|(time, _)| *time)
    }

    fn take(&mut self, line: &mut Vec<u8>) {
        if let Some((_, row)) = self.left.pop() {
            document(&self.columns, row, line);
        }
    }
}

/// The columns are sorted by name, so that the members of an object are neighbours.
fn document(columns: &[(Vec<&str>, ArrayRef)], row: usize, out: &mut Vec<u8>) {
    let mut open: Vec<&str> = Vec::new();
    let mut first = true;
    out.push(b'{');
    for (path, array) in columns {
        if array.is_null(row) {
            continue;
        }
        let Some((key, parents)) = path.split_last() else { continue };
        let shared = open.iter().zip(parents).take_while(|(a, b)| a == b).count();
        while open.len() > shared {
            open.pop();
            out.push(b'}');
        }
        if !first {
            out.push(b',');
        }
        first = false;
        for parent in parents.iter().skip(shared) {
            write_json_string(parent.as_bytes(), out);
            out.extend_from_slice(b":{");
            open.push(parent);
        }
        write_json_string(key.as_bytes(), out);
        out.push(b':');
        value(array, row, out);
    }
    out.extend(open.iter().map(|_| b'}'));
    out.push(b'}');
}

fn text(text: &str, out: &mut Vec<u8>) {
    // Stored text is escaped already; a JSON string of it must not be escaped again.
    match serde_json::to_vec(text) {
        Ok(json) => out.extend_from_slice(&json),
        Err(_) => out.extend_from_slice(b"null"),
    }
}

fn value(array: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Dictionary(..) => {
            let Some(all) = array.as_dictionary_opt::<Int32Type>() else { return };
            let key = all.keys().value(row);
            let values = all.values().as_string_opt::<i32>();
            let found = usize::try_from(key).ok().zip(values).map(|(key, values)| values.value(key));
            text(found.unwrap_or_default(), out);
        }
        DataType::Int64 => {
            out.extend_from_slice(array.as_primitive::<Int64Type>().value(row).to_string().as_bytes());
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            let finite = if number.is_finite() { number.to_string() } else { "null".to_owned() };
            out.extend_from_slice(finite.as_bytes());
        }
        DataType::Boolean => out.extend_from_slice(array.as_boolean().value(row).to_string().as_bytes()),
        DataType::Timestamp(..) => {
            let ns = array.as_primitive::<TimestampNanosecondType>().value(row);
            write_json_string(&time::rfc3339(ns), out);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            for item in 0..items.len() {
                out.push(if item == 0 { b'[' } else { b',' });
                value(&items, item, out);
            }
            if items.is_empty() {
                out.push(b'[');
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(b"null"),
    }
}
