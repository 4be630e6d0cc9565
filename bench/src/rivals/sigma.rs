//! EQL said in Sigma, as far as it goes: each leaf a selection, the rest in the condition.

use sensor_eql::ast::{CompareOp, EventFilter, Expr, ExprKind, PatternSyntax, Query};
use sensor_eql::{RuleSet, parse};
use serde_json::{Map, Value, json};
use sigma_rust::{Event, Rule, event_from_json, rule_from_yaml};

use super::{Outcome, best_of};
use crate::workload::Case;

/// The rules that can be said, by the path of their file.
pub(super) fn translate(set: &RuleSet) -> Vec<(String, Rule)> {
    let mut rules = Vec::new();
    for loaded in set.rules() {
        let Ok(Query::Event(query)) = parse(&loaded.rule.query) else { continue };
        let Some(text) = rule(&query.filter) else { continue };
        // JSON is YAML.
        if let Ok(rule) = rule_from_yaml(&text) {
            rules.push((loaded.path.clone(), rule));
        }
    }
    rules
}

pub(super) fn run(rules: &[(String, Rule)], events: &[Case<'_>]) -> Outcome {
    let mut documents: Vec<Event> = Vec::new();
    for case in events {
        let mut json = Vec::new();
        sensor_ecs::write_json(&case.event, &mut json);
        if let Ok(document) = event_from_json(&String::from_utf8_lossy(&json)) {
            documents.push(document);
        }
    }
    assert_eq!(documents.len(), events.len(), "every event is a document");
    let (ns, matches) = best_of(5, events.len(), || {
        documents
            .iter()
            .map(|event| rules.iter().filter(|(_, rule)| rule.is_match(event)).count() as u64)
            .sum()
    });
    Outcome { rules: rules.len(), ns, matches }
}

fn rule(filter: &EventFilter) -> Option<String> {
    let mut selections = Map::new();
    let mut condition = said(&filter.condition, &mut selections)?;
    if let Some(category) = &filter.category {
        condition =
            format!("{} and ({condition})", select("event.category", json!(category), true, &mut selections));
    }
    let mut detection = selections;
    detection.insert("condition".to_owned(), json!(condition));
    Some(json!({"title": "t", "logsource": {"product": "linux"}, "detection": detection}).to_string())
}

fn select(field: &str, values: Value, cased: bool, selections: &mut Map<String, Value>) -> String {
    let name = format!("s{}", selections.len());
    let key = if cased { format!("{field}|cased") } else { field.to_owned() };
    selections.insert(name.clone(), json!({key: values}));
    name
}

fn said(e: &Expr, selections: &mut Map<String, Value>) -> Option<String> {
    let mut joined = |items: &[Expr], with: &str| {
        let parts: Option<Vec<String>> = items.iter().map(|item| said(item, selections)).collect();
        parts.map(|parts| format!("({})", parts.join(with)))
    };
    let field = |e: &Expr| match &e.kind {
        ExprKind::Field { name, .. } => Some(name.clone()),
        _ => None,
    };
    // No escape in EQL: what Sigma would take for one cannot be said.
    let plain = |text: &str| (!text.contains('\\')).then(|| json!(text));
    let literal = |e: &Expr| match &e.kind {
        ExprKind::Text(text) if !text.contains(['*', '?']) => plain(text),
        ExprKind::Integer(number) => Some(json!(number)),
        ExprKind::Bool(value) => Some(json!(value)),
        _ => None,
    };
    match &e.kind {
        ExprKind::And(items) => joined(items, " and "),
        ExprKind::Or(items) => joined(items, " or "),
        ExprKind::Not(inner) => Some(format!("not ({})", said(inner, selections)?)),
        ExprKind::Compare(CompareOp::Eq, l, r) => Some(select(&field(l)?, literal(r)?, true, selections)),
        ExprKind::Compare(CompareOp::Ne, l, r) => {
            Some(format!("not {}", select(&field(l)?, literal(r)?, true, selections)))
        }
        ExprKind::In { value, list, insensitive } => {
            let values: Option<Vec<Value>> = list.iter().map(literal).collect();
            Some(select(&field(value)?, Value::Array(values?), !insensitive, selections))
        }
        ExprKind::Match { value, patterns, syntax: PatternSyntax::Wildcard, insensitive } => {
            let values: Option<Vec<Value>> = patterns.iter().map(|(pattern, _)| plain(pattern)).collect();
            Some(select(&field(value)?, Value::Array(values?), !insensitive, selections))
        }
        _ => None,
    }
}
