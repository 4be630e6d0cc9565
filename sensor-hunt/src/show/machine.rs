//! For programs: JSON in the shape of Elasticsearch's ES|QL answers, NDJSON with a row a line, CSV.

use serde_json::{Map, Value, json};

use crate::answer::{Answer, Done, Outcome};
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
                let hunt = Value::from(hunt.as_str());
                let row = row_text(answer, row);
                out.push_str(&format!("{{\"hunt\":{hunt},\"query\":{},\"row\":{row}}}\n", index + 1));
            }
        }
        let mut last = status(index, query, outcome);
        last.insert("hunt".into(), hunt.clone().into());
        out.push_str(&format!("{}\n", Value::Object(last)));
    }
    out
}

/// A row as JSON, its columns in their order. Of two of one name, which SQL may have, the last counts.
fn row_text(answer: &Answer, row: &[Cell]) -> String {
    let names = || answer.columns.iter().map(|column| column.name.as_str());
    let mut out = String::from("{");
    for (at, (name, cell)) in names().zip(row).enumerate() {
        if names().skip(at + 1).any(|later| later == name) {
            continue;
        }
        let comma = if out.len() > 1 { "," } else { "" };
        out.push_str(&format!("{comma}{}:{}", Value::from(name), value(cell)));
    }
    out + "}"
}

/// A table with a head, as RFC 4180 says, with every value as it is: null is nothing, an empty text is `""`, several
/// values are a list of JSON. For a spreadsheet, what it would take for a formula gets a quote before it.
#[must_use]
pub fn csv(outcome: &Outcome, spreadsheet: bool) -> String {
    let Ok(answer) = outcome else { return String::new() };
    let mut out = String::new();
    let line = |fields: Vec<String>| format!("{}\r\n", fields.join(","));
    let text = |text: &str| match text {
        "" => "\"\"".to_owned(),
        text if spreadsheet && text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            field(&format!("'{text}"))
        }
        text => field(text),
    };
    out.push_str(&line(answer.columns.iter().map(|column| text(&column.name)).collect()));
    for row in &answer.rows {
        let fields = row.iter().map(|cell| match cell {
            Cell::Null => String::new(),
            Cell::Text(it) => text(it),
            Cell::List(_) => field(&value(cell).to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esql::{Column, Type};
    use crate::file::Hunt;

    fn answer(columns: &[&str], row: Vec<Cell>) -> Answer {
        let columns = columns.iter().map(|name| Column { name: (*name).into(), ty: Type::Keyword });
        Answer { columns: columns.collect(), rows: vec![row], ..Answer::default() }
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn csv_holds_values_as_they_are() {
        let row = vec![
            text("-c"),
            text("=1+1"),
            text(""),
            Cell::Null,
            Cell::List(vec![text("a, b"), text("c\"")]),
            text("a\r\nb"),
        ];
        let outcome = Ok(answer(&["a", "b", "c", "d", "e", "f"], row));
        let rest = "\"\",,\"[\"\"a, b\"\",\"\"c\\\"\"\"\"]\",\"a\r\nb\"\r\n";
        assert_eq!(csv(&outcome, false), format!("a,b,c,d,e,f\r\n-c,=1+1,{rest}"));
        assert_eq!(csv(&outcome, true), format!("a,b,c,d,e,f\r\n'-c,'=1+1,{rest}"));
    }

    #[test]
    fn a_line_has_its_columns_in_their_order() {
        let outcome = Ok(answer(&["z", "a", "z"], vec![Cell::Long(1), text("\""), Cell::Null]));
        let hunt = Hunt::parse("[hunt]\nname = 'h\"'\nquery = ['select 1']").unwrap();
        let lines = lines(&Done { hunt, outcomes: vec![outcome] });
        let line = lines.lines().next().unwrap();
        assert_eq!(line, r#"{"hunt":"h\"","query":1,"row":{"a":"\"","z":null}}"#);
        let outcome = Ok(answer(&["z", "a"], vec![Cell::Long(1), text("b")]));
        let hunt = Hunt::parse("[hunt]\nname = 'h'\nquery = ['select 1']").unwrap();
        let lines = super::lines(&Done { hunt, outcomes: vec![outcome] });
        assert!(lines.starts_with(r#"{"hunt":"h","query":1,"row":{"z":1,"a":"b"}}"#), "{lines}");
    }
}
