//! Why a rule's exclusions did not apply: each one, with the values that kept it from applying.

use sensor_ecs::{Document, OpenSchema};
use sensor_eql::ast::{EventFilter, Expr, ExprKind, Query};
use sensor_eql::reference::{Explanation, by_name, explain};
use serde::Serialize;

/// More are not listed.
const EXCLUSIONS_MAX: usize = 32;
const TEXT_CHARS_MAX: usize = 160;

/// An exclusion of the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Exclusion {
    /// As the rule has it, cut when it is long.
    pub(super) condition: String,
    /// What the event has instead.
    #[serde(rename = "event_has")]
    values: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Value {
    field: String,
    value: String,
}

/// The exclusions of a rule on single events, for an event as its document has it.
pub(super) fn exclusions(query: &str, document: &[u8]) -> Result<Vec<Exclusion>, &'static str> {
    let Ok(Query::Event(parsed)) = sensor_eql::parse(query) else {
        return Err("the rule is not on single events");
    };
    let mut found = Vec::new();
    let schema = OpenSchema::new();
    let mut record = Document::new();
    if record.parse(document, &schema).is_err() {
        return Err("the event cannot be read again");
    }
    let EventFilter { condition, .. } = &parsed.filter;
    let record = by_name(&schema, &record);
    for excluded in negated(condition) {
        let explanation = explain(excluded, &schema, &record);
        parts(&explanation, query, &mut found);
    }
    found.truncate(EXCLUSIONS_MAX);
    Ok(found)
}

/// What stands behind a `not` that the condition as a whole depends on.
fn negated(condition: &Expr) -> Vec<&Expr> {
    match &condition.kind {
        ExprKind::And(items) => items.iter().flat_map(negated).collect(),
        ExprKind::Not(inner) => match &inner.kind {
            ExprKind::Or(items) => items.iter().collect(),
            _ => vec![inner],
        },
        _ => Vec::new(),
    }
}

fn parts(explanation: &Explanation, query: &str, found: &mut Vec<Exclusion>) {
    let mut values = Vec::new();
    leaves(explanation, &mut values);
    values.dedup();
    found.push(Exclusion { condition: text_of(explanation, query), values });
}

/// The fields of the leaves that do not hold: those are why.
fn leaves(explanation: &Explanation, values: &mut Vec<Value>) {
    if explanation.parts.is_empty() && !explanation.holds {
        for (field, value) in &explanation.values {
            let value = Value { field: field.clone(), value: cut(value) };
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    explanation.parts.iter().for_each(|part| leaves(part, values));
}

fn text_of(explanation: &Explanation, query: &str) -> String {
    let range = explanation.span.start as usize..explanation.span.end as usize;
    let words: Vec<_> = query.get(range).unwrap_or_default().split_whitespace().collect();
    cut(&words.join(" "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{} ..", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] = br#"{"event":{"category":["file"],"action":"creation"},"process":{"name":"cp"},
        "file":{"path":"/etc/apt/apt.conf.d/99x","name":"99x"}}"#;

    fn shown(query: &str) -> Vec<(String, Vec<(String, String)>)> {
        let found = exclusions(query, DOCUMENT).unwrap();
        let values =
            |values: Vec<Value>| values.into_iter().map(|value| (value.field, value.value)).collect();
        found.into_iter().map(|exclusion| (exclusion.condition, values(exclusion.values))).collect()
    }

    fn pair(field: &str, value: &str) -> (String, String) {
        (field.to_owned(), value.to_owned())
    }

    #[test]
    fn each_exclusion_is_shown_with_what_the_event_has() {
        let query = "file where event.action == \"creation\" and not (process.name in (\"dpkg\", \"apt\") or \
                     file.extension == \"swp\" or (process.name == \"sed\" and file.name : \"9*\"))";
        assert_eq!(
            shown(query),
            [
                ("process.name in (\"dpkg\", \"apt\")".to_owned(), vec![pair("process.name", "\"cp\"")]),
                ("file.extension == \"swp\"".to_owned(), vec![pair("file.extension", "null")]),
                // The part that does hold is not why.
                (
                    "(process.name == \"sed\" and file.name : \"9*\")".to_owned(),
                    vec![pair("process.name", "\"cp\"")]
                ),
            ]
        );
    }

    #[test]
    fn a_rule_without_exclusions_has_none() {
        assert_eq!(shown("file where process.name == \"cp\""), []);
        assert!(exclusions("sequence [file where true] [file where true]", DOCUMENT).is_err());
    }
}
