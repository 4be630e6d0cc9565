//! Every table's columns beside those that osquery documents.

use std::collections::{BTreeMap, BTreeSet};

use crate::osquery::tables::ALL;
use crate::osquery::{Column, Type, tables};

const DOCUMENTED: &str = include_str!("columns.txt");

fn word(column: &Column, required: bool) -> String {
    let kind = match column.kind {
        Type::Text => 't',
        Type::Integer => 'i',
        Type::BigInt => 'b',
        Type::Double => 'd',
    };
    format!("{}:{kind}{}", column.name, if required { "!" } else { "" })
}

#[test]
fn every_table_has_the_columns_that_osquery_documents() {
    let lines = DOCUMENTED.lines().filter(|line| !line.starts_with('#'));
    let documented: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    let ours: BTreeSet<&str> = tables().map(|(name, _)| name).collect();
    assert_eq!(ours, documented.keys().copied().collect(), "the tables");
    for table in ALL {
        let (visible, hidden) =
            documented[table.name].split_once('|').unwrap_or((documented[table.name], ""));
        let expected: Vec<String> = visible.split_whitespace().map(str::to_owned).collect();
        let shown = table.columns.iter().filter(|column| !column.hidden);
        let found: Vec<String> =
            shown.map(|column| word(column, table.required.contains(&column.name))).collect();
        assert_eq!(found, expected, "{}", table.name);
        let expected: BTreeSet<String> = hidden.split_whitespace().map(str::to_owned).collect();
        let kept = table.columns.iter().filter(|column| column.hidden);
        let found: BTreeSet<String> = kept.map(|column| word(column, false)).collect();
        assert_eq!(found, expected, "{}, hidden", table.name);
    }
}
