//! Stored events as documents again, one JSON object a line.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sensor_ecs::{time, write_json_string};

use crate::error::StoreError;
use crate::schema;
use crate::store::{OpenPart, Part};

/// Writes the events of a part whose time is in `[since, until)`. Returns how many.
///
/// # Errors
///
/// When the part or the output fails.
pub fn export(part: &Part, since_ns: i64, until_ns: i64, out: &mut dyn Write) -> Result<u64, StoreError> {
    let open = part.open()?;
    let mut count = 0;
    for group in 0..open.groups() {
        let (first, last) = open.times(group);
        if last >= since_ns && first < until_ns {
            count += group_of(&open, group, since_ns, until_ns, out)?;
        }
    }
    Ok(count)
}

fn group_of(
    part: &OpenPart,
    group: usize,
    since_ns: i64,
    until_ns: i64,
    out: &mut dyn Write,
) -> Result<u64, StoreError> {
    let mut columns: Vec<(Vec<&str>, ArrayRef)> = Vec::new();
    let mut times = None;
    for (at, column) in schema::columns().iter().enumerate() {
        if let Some(array) = part.read(group, at)? {
            if column.name == "@timestamp" {
                times = Some(array.clone());
            }
            columns.push((column.name.split('.').collect(), array));
        }
    }
    let (mut line, mut count) = (Vec::new(), 0);
    for row in 0..part.rows(group) {
        let time = times.as_ref().and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
        let time = time.map_or(i64::MIN, |times| times.value(row));
        if !(since_ns..until_ns).contains(&time) {
            continue;
        }
        line.clear();
        document(&columns, row, &mut line);
        line.push(b'\n');
        out.write_all(&line)
            .map_err(|cause| StoreError { path: "the output".into(), cause: cause.to_string() })?;
        count += 1;
    }
    Ok(count)
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
