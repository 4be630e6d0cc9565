//! Hostile input: no panic, no deep recursion, no quadratic time.

use proptest::prelude::*;
use sensor_eql::diag::SourceFile;
use sensor_eql::{compile, compile_condition, parse, parse_condition, parse_kql, parse_rule_file, reference};

use crate::support::JsonSchema;

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

/// Time that this thread has had a processor, which other programs hardly change.
fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// What `work` costs on an input of this size: the best of a few.
fn cost(size: usize, input: &dyn Fn(usize) -> String, work: &dyn Fn(&str), times: usize) -> u64 {
    let input = input(size);
    let once = || {
        let start = thread_cpu_ns();
        work(&input);
        thread_cpu_ns() - start
    };
    (0..times).map(|_| once()).min().unwrap().max(1)
}

#[test]
fn large_queries_take_linear_time() {
    const SMALL: usize = 12_500;
    const LARGE: usize = 8 * SMALL;
    let each = |n: usize, joined: &str, item: &dyn Fn(usize) -> String| -> String {
        (0..n).map(item).collect::<Vec<_>>().join(joined)
    };
    let shapes: [(&str, &dyn Fn(usize) -> String); 13] = [
        ("or", &|n| format!("any where {}", each(n, " or ", &|_| "a == 1".to_owned()))),
        ("and, not", &|n| format!("any where {}", each(n / 2, " and ", &|_| "not (a == 1)".to_owned()))),
        ("unknown fields", &|n| format!("any where {}", each(n / 2, " or ", &|i| format!("x.y{i:05} == 1")))),
        ("or of and", &|n| {
            format!("any where {}", each(n / 4, " or ", &|i| format!("(a{i} == 1 and b == 2)")))
        }),
        ("in", &|n| format!("any where event.category in ({})", each(n, ", ", &|i| format!("\"{i:05x}\"")))),
        ("in~, repeated", &|n| {
            format!("any where a in~ ({})", each(n, ", ", &|i| format!("\"{:05x}\"", i % 9)))
        }),
        ("patterns", &|n| format!("any where a : ({})", each(n / 2, ", ", &|i| format!("\"*{i:05x}*?\"")))),
        ("a long text", &|n| format!("any where a == \"{}\"", "x\\n".repeat(3 * n))),
        ("a long pattern", &|n| format!("any where a : \"{}\"", "*a?b".repeat(2 * n))),
        ("comments", &|n| format!("any where {}1 == 1", "/* ".repeat(n))),
        ("no end", &|n| format!("any where \"{}", "\\".repeat(8 * n))),
        ("functions", &|n| {
            format!("any where {}", each(n / 4, " or ", &|_| "length(string(a)) > 1".to_owned()))
        }),
        ("kql", &|n| format!("a:({})", each(n, " or ", &|i| format!("{i:05x}")))),
    ];
    for (name, shape) in shapes {
        assert!(shape(LARGE).len() <= 1 << 20, "{name} is cut short");
        let (small, large) = (cost(SMALL, shape, &swallow, 2), cost(LARGE, shape, &swallow, 1));
        let ratio = large as f64 / small as f64;
        println!("{name}: {ratio:.1} times for 8 times as much, {} ms", large / 1_000_000);
        // Quadratic work would take 64 times as long.
        assert!(ratio < 24.0 || large < 20_000_000, "{name}: {ratio:.1} times, {small} and {large} ns");
    }
}

#[test]
fn matching_long_values_takes_linear_time() {
    let schema = JsonSchema::ecs();
    for condition in [
        format!("process.command_line : \"*{}b*\"", "a".repeat(1000)),
        format!("process.command_line : \"{}\"", "*a".repeat(200)),
        format!("process.command_line : \"*{}?c\"", "a?".repeat(100)),
        "process.command_line regex \".*(a|aa)+b.*\"".to_owned(),
        "stringContains~(process.command_line, \"aaaaaaaaaaaaaaab\")".to_owned(),
        "between(process.command_line, \"aab\", \"b\") == \"x\"".to_owned(),
        "indexOf(process.command_line, \"aaaaaaaab\") > 0".to_owned(),
    ] {
        let query = parse(&format!("any where {condition}")).unwrap();
        let compiled = compile(&query, &schema).unwrap();
        let work = |text: &str| {
            let record = schema.document(&serde_json::json!({"process": {"command_line": text}}));
            assert!(!compiled.matches(&record) || condition.contains("*a\""));
        };
        let text = |n: usize| "a".repeat(n);
        let (small, large) = (cost(20_000, &text, &work, 3), cost(160_000, &text, &work, 2));
        let ratio = large as f64 / small as f64;
        println!("{condition:.60}: {ratio:.1} times for 8 times as much, {} us", large / 1000);
        assert!(
            ratio < 24.0 || large < 5_000_000,
            "{condition:.60}: {ratio:.1} times, {small} and {large} ns"
        );
    }
}
