//! For programs: JSON in the shape of Elasticsearch's ES|QL answers, NDJSON with a row a line, CSV.

use serde_json::{Map, Value, json};

use crate::answer::{Done, Outcome};
use crate::esql::{Cell, date_text};
use crate::file::HuntQuery;

/// One document for all hunts.
#[must_use]
pub fn document(hunts: &[Done]) -> Value {
    let hunts: Vec<Value> = hunts
        .iter()
        .map(|done| {
            let queries: Vec<Value> = done
                .hunt
                .queries
                .iter()
                .zip(&done.outcomes)
                .enumerate()
                .map(|(index, (query, outcome))| of_query(index, query, outcome))
                .collect();
            json!({
                "name": done.hunt.name,
                "uuid": done.hunt.uuid,
                "file": done.hunt.path.as_ref().map(|path| path.display().to_string()),
                "queries": queries,
            })
        })
        .collect();
    json!({ "hunts": hunts })
}

fn of_query(index: usize, query: &HuntQuery, outcome: &Outcome) -> Value {
    let mut object = status(index, query, outcome);
    if let Ok(answer) = outcome {
        let columns: Vec<Value> = answer
            .columns
            .iter()
            .map(|column| json!({ "name": column.name, "type": column.ty.name() }))
            .collect();
        let values: Vec<Value> =
            answer.rows.iter().map(|row| Value::Array(row.iter().map(value).collect())).collect();
        object.insert("columns".into(), columns.into());
        object.insert("values".into(), values.into());
    }
    Value::Object(object)
}

pub(super) fn status(index: usize, query: &HuntQuery, outcome: &Outcome) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.into(), value));
    put("query", (index + 1).into());
    put("language", query.language.to_string().into());
    match outcome {
        Ok(answer) => {
            put("status", if answer.incomplete.is_some() { "incomplete" } else { "ran" }.into());
            put("rows", answer.rows.len().into());
            put("scanned", answer.scanned.into());
            put("took_ms", u64::try_from(answer.elapsed.as_millis()).unwrap_or(u64::MAX).into());
            put("notes", answer.notes.clone().into());
            put("warnings", answer.warnings.clone().into());
            if let Some(why) = &answer.incomplete {
                put("reason", why.clone().into());
            }
        }
        Err(why) => {
            put("status", why.word().into());
            put("reason", why.reason().into());
        }
    }
    object
}

pub(super) fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(value) => (*value).into(),
        Cell::Long(value) => (*value).into(),
        Cell::Double(value) => serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Cell::Text(text) => text.clone().into(),
        Cell::Date(ms) => date_text(*ms).into(),
        Cell::List(cells) => Value::Array(cells.iter().map(value).collect()),
    }
}

/// A line for each row, and one for each query with what became of it.
#[must_use]
pub fn lines(done: &Done) -> String {
    let mut out = String::new();
    let hunt = done.hunt.uuid.as_ref().unwrap_or(&done.hunt.name);
    for (index, (query, outcome)) in done.hunt.queries.iter().zip(&done.outcomes).enumerate() {
        if let Ok(answer) = outcome {
            for row in &answer.rows {
                let mut object = Map::new();
                for (column, cell) in answer.columns.iter().zip(row) {
                    object.insert(column.name.clone(), value(cell));
                }
                let line = json!({ "hunt": hunt, "query": index + 1, "row": object });
                out.push_str(&format!("{line}\n"));
            }
        }
        let mut last = status(index, query, outcome);
        last.insert("hunt".into(), hunt.clone().into());
        out.push_str(&format!("{}\n", Value::Object(last)));
    }
    out
}

/// A table with a head, as RFC 4180 says. A text that a spreadsheet would take for a formula gets a quote before it.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    let Ok(answer) = outcome else { return String::new() };
    let mut out = String::new();
    let line = |fields: Vec<String>| format!("{}\r\n", fields.join(","));
    out.push_str(&line(answer.columns.iter().map(|column| field(&column.name)).collect()));
    for row in &answer.rows {
        let fields = row.iter().map(|cell| match cell {
            Cell::Null => String::new(),
            Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                field(&format!("'{text}"))
            }
            other => field(&other.to_string()),
        });
        out.push_str(&line(fields.collect()));
    }
    out
}

fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
