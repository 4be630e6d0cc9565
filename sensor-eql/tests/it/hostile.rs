//! Hostile input: no panic, no deep recursion, no quadratic time.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sensor_eql::diag::SourceFile;
use sensor_eql::{compile, compile_condition, parse, parse_condition, parse_kql, parse_rule_file, reference};

use crate::support::JsonSchema;

/// Far above what linear work takes in a debug build on a busy machine, far below what quadratic work takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn swallow(source: &str) {
    let schema = JsonSchema::new("event.category", "@timestamp", None, false);
    for parsed in [parse(source), parse_kql(source)] {
        match parsed.and_then(|query| compile(&query, &schema).map(|c| c.warnings().to_vec())) {
            Ok(warnings) => drop(sensor_eql::Diagnostics(warnings)),
            Err(found) => drop(found.render(&SourceFile::new("q", source))),
        }
    }
    if let Ok(condition) = parse_condition(source) {
        let _ = compile_condition(&condition, &schema);
    }
    let _ = parse_rule_file("r", source);
    let _ = parse_rule_file("r", &format!("[rule]\nrule_id=\"x\"\nquery = \"\"\"\n{source}\"\"\""));
}

const FRAGMENTS: [&str; 72] = [
    "any",
    "file",
    "where",
    "and",
    "or",
    "not",
    "in",
    "in~",
    "like",
    "like~",
    "regex",
    "regex~",
    "sequence",
    "by",
    "with",
    "maxspan",
    "runs",
    "until",
    "sample",
    "[",
    "![",
    "]",
    "(",
    ")",
    "|",
    "head",
    "tail",
    "==",
    "!=",
    "<",
    ":",
    ",",
    ".",
    "?",
    "`",
    "\"",
    "\"\"\"",
    "'",
    "\\",
    "*",
    "/",
    "//",
    "/*",
    "*/",
    "+",
    "-",
    "%",
    "=",
    "5s",
    "1",
    "1.5",
    "99999999999999999999",
    "null",
    "true",
    "\"a*\"",
    "\"[a\"",
    "length",
    "cidrMatch",
    "process.name",
    "é",
    "\u{0}",
    "\n",
    "{",
    "}",
    "[rule]",
    "query = ",
    "'''",
    "<1-9>",
    "~",
    "&",
    "#",
    "@",
];

fn fragment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(FRAGMENTS.to_vec()).prop_map(str::to_owned);
    prop_oneof![8 => known, 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fragments_in_any_order_never_panic(parts in prop::collection::vec(fragment(), 0..40), glue in "[ ]?") {
        swallow(&parts.join(&glue));
        swallow(&format!("any where {}", parts.join(&glue)));
    }
}

#[test]
fn every_prefix_of_a_real_rule_is_handled() {
    let text = include_str!("../../../rules/linux/persistence_apt_package_manager_file_creation.toml");
    for end in (0..text.len()).step_by(7).filter(|i| text.is_char_boundary(*i)) {
        let _ = parse_rule_file("r", &text[..end]);
    }
    let query = parse_rule_file("r", text).unwrap().rule.unwrap().query;
    for end in 0..query.len() {
        swallow(&query[..end]);
    }
}

#[test]
fn the_deepest_query_allowed_fits_the_stack_of_every_stage() {
    let sum = format!("{}1{}", "(".repeat(95), " + 1)".repeat(95));
    for source in [
        format!("any where {}event.category == \"x\"", "not ".repeat(98)),
        format!("any where {sum} == 96"),
        format!("any where {}string(event.category){} == \"x\"", "string(".repeat(95), ")".repeat(95)),
        format!("any where null == {}event.category == \"x\"{}", "(not ".repeat(48), ")".repeat(48)),
    ] {
        swallow(&source);
        let schema = JsonSchema::ecs();
        let record = schema.document(&serde_json::json!({"event": {"category": "x"}}));
        let Ok(sensor_eql::ast::Query::Event(query)) = parse(&source) else { panic!("{source:.40}") };
        let compiled = compile(&sensor_eql::ast::Query::Event(query.clone()), &schema).unwrap();
        let seen = reference::by_name(&schema, &record);
        assert_eq!(
            compiled.matches(&record),
            reference::matches(&query.filter, &schema, &seen),
            "{source:.40}"
        );
    }
}

#[test]
fn large_queries_take_linear_time() {
    let start = Instant::now();
    let n = 20_000;
    let list = |item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(", ");
    let either = |item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(" or ");
    for source in [
        format!("any where event.category : ({})", list(&|i| format!("\"*a{i}*\""))),
        format!("any where event.category in ({})", list(&|i| format!("\"a{i}\""))),
        format!("any where {}", either(&|i| format!("no.such{i} == 1"))),
        format!("any where {}", either(&|i| format!("(a{i} == 1 and b == 2)"))),
        format!("any where {}1 == 1", "/* ".repeat(n)),
        format!("any where \"{}", "\\".repeat(n)),
        format!("a:({})", either(&|i| format!("x{i}*"))),
    ] {
        let one = Instant::now();
        swallow(&source);
        println!("{:?} for {:.40}", one.elapsed(), source);
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
