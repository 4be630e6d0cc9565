//! Random conditions on random records: the compiled matcher and the reference must agree.

use std::borrow::Cow;

use proptest::prelude::*;
use sensor_ecs::{FieldType, Scalar, Schema};
use sensor_eql::ast::Query;
use sensor_eql::{Origin, RuleIndex, RuleSet, RuleSource, compile, parse, reference};

use crate::support::{JsonRecord, JsonSchema, Stored};

const TEXT_FIELDS: [&str; 4] = ["process.name", "process.args", "file.path", "event.action"];
const NUMBER_FIELDS: [&str; 2] = ["process.pid", "process.args_count"];

fn schema() -> JsonSchema {
    let schema = JsonSchema::new("event.category", "@timestamp", None, false);
    for name in TEXT_FIELDS {
        schema.define(name, FieldType::Keyword);
    }
    for name in NUMBER_FIELDS {
        schema.define(name, FieldType::Long);
    }
    schema.define("process.interactive", FieldType::Boolean);
    schema.define("source.ip", FieldType::Ip);
    schema
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abAB/.]{0,4}",
        1 => "[abé*?]{1,3}",
        1 => prop::sample::select(vec!["*bin*", "*/ab*", "*xe*k", "exec", "fork", "/bin/ab", "sbin/ab", "true", "5", "10.0.0.1"]).prop_map(str::to_owned),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 1..4)
        .prop_map(|w| w.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
}

fn text_value() -> BoxedStrategy<String> {
    let field = prop::sample::select(TEXT_FIELDS.to_vec()).prop_map(str::to_owned);
    prop_oneof![
        6 => field.clone(),
        1 => Just("?no.such.field".to_owned()),
        1 => (field.clone(), -3..4_i64).prop_map(|(f, n)| format!("substring({f}, {n})")),
        1 => (field.clone(), "[ab]", "[ab]").prop_map(|(f, l, r)| format!("between({f}, \"{l}\", \"{r}\")")),
        1 => (field.clone(), field.clone()).prop_map(|(a, b)| format!("concat({a}, \"-\", {b})")),
        1 => prop::sample::select(NUMBER_FIELDS.to_vec()).prop_map(|f| format!("string({f})")),
    ]
    .boxed()
}

fn number_value() -> BoxedStrategy<String> {
    let field = prop::sample::select(NUMBER_FIELDS.to_vec()).prop_map(str::to_owned);
    prop_oneof![
        4 => field.clone(),
        1 => text_value().prop_map(|t| format!("length({t})")),
        1 => text_value().prop_map(|t| format!("indexOf~({t}, \"a\")")),
        1 => (field.clone(), field, prop::sample::select(vec!["+", "-", "*", "/", "%"]))
            .prop_map(|(a, b, op)| format!("({a} {op} {b})")),
    ]
    .boxed()
}

fn leaf() -> impl Strategy<Value = String> {
    let compare = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        3 => (text_value(), compare.clone(), word()).prop_map(|(v, op, w)| format!("{v} {op} {}", quoted(&w))),
        3 => (text_value(), prop::sample::select(vec!["in", "in~", "not in"]), texts())
            .prop_map(|(v, op, t)| format!("{v} {op} ({t})")),
        4 => (text_value(), prop::sample::select(vec![":", "like", "like~"]), texts())
            .prop_map(|(v, op, t)| format!("{v} {op} ({t})")),
        1 => (text_value(), prop::sample::select(vec!["a.*", "[ab]+", "(a|/).?"]))
            .prop_map(|(v, r)| format!("{v} regex~ {}", quoted(r))),
        2 => (number_value(), compare, -1..4_i64).prop_map(|(v, op, n)| format!("{v} {op} {n}")),
        1 => (number_value(), -1..3_i64).prop_map(|(v, n)| format!("{n} < {v}")),
        2 => (prop_oneof![text_value(), number_value()], prop::sample::select(vec!["==", "!="]))
            .prop_map(|(v, op)| format!("{v} {op} null")),
        2 => (prop::sample::select(vec!["startsWith", "endsWith~", "stringContains"]), text_value(), word())
            .prop_map(|(f, v, w)| format!("{f}({v}, {})", quoted(&w))),
        1 => Just("startsWith~(process.args, process.name)".to_owned()),
        1 => Just("process.interactive".to_owned()),
        1 => Just("null == (process.pid > 1)".to_owned()),
        1 => Just("(process.pid > 1 or process.interactive) == true".to_owned()),
        1 => Just("source.ip == \"10.0.0.0/8\" or source.ip in (\"::1\", \"11.1.1.1\")".to_owned())
            .prop_map(|s| format!("({s})")),
        1 => Just("cidrMatch(source.ip, \"10.0.0.0/8\", \"::1\")".to_owned()),
    ]
}

fn condition() -> BoxedStrategy<String> {
    leaf()
        .prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(|v| format!("({})", v.join(" and "))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(|v| format!("({})", v.join(" or "))),
                inner.prop_map(|c| format!("not ({c})")),
            ]
        })
        .boxed()
}

fn query() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["any", "file", "process"]), condition())
        .prop_map(|(c, e)| format!("{c} where {e}"))
}

fn bytes() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        6 => word().prop_map(String::into_bytes),
        1 => Just(b"a\xFFb".to_vec()),
    ]
    .prop_map(|b| Scalar::Keyword(Cow::Owned(b)))
}

fn stored(one: impl Strategy<Value = Scalar> + Clone + 'static) -> BoxedStrategy<Option<Stored>> {
    prop_oneof![
        1 => Just(None),
        4 => one.clone().prop_map(|s| Some(Stored::One(s))),
        2 => prop::collection::vec(one, 0..4).prop_map(|v| Some(Stored::Many(v))),
    ]
    .boxed()
}

fn record() -> impl Strategy<Value = JsonRecord> {
    let keyword =
        |options: Vec<&'static str>| prop::sample::select(options).prop_map(Scalar::keyword).boxed();
    let texts: Vec<_> = TEXT_FIELDS
        .iter()
        .map(|name| {
            if *name == "event.action" {
                stored(keyword(vec!["exec", "fork", "a"]))
            } else {
                stored(bytes().boxed())
            }
        })
        .collect();
    let numbers: Vec<_> =
        NUMBER_FIELDS.iter().map(|_| stored((-2..6_i64).prop_map(Scalar::Long).boxed())).collect();
    (
        stored(keyword(vec!["file", "process", "other"])),
        texts,
        numbers,
        stored(any::<bool>().prop_map(Scalar::Boolean).boxed()),
        stored(keyword(vec!["10.0.0.1", "::1", "11.1.1.1", "x"])),
    )
        .prop_map(|(category, texts, numbers, interactive, ip)| {
            let schema = schema();
            let mut record = JsonRecord::default();
            let mut put = |name: &str, value: Option<Stored>| {
                if let Some(value) = value {
                    record.set(schema.lookup(name).unwrap().id, value);
                }
            };
            put("event.category", category);
            TEXT_FIELDS.iter().zip(texts).for_each(|(n, v)| put(n, v));
            NUMBER_FIELDS.iter().zip(numbers).for_each(|(n, v)| put(n, v));
            put("process.interactive", interactive);
            put("source.ip", ip);
            record
        })
}

fn by_reference(source: &str, schema: &JsonSchema, record: &JsonRecord) -> bool {
    let Query::Event(query) = parse(source).unwrap() else { panic!() };
    reference::matches(&query.filter, schema, &reference::by_name(schema, record))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_agrees_with_the_reference(source in query(), record in record()) {
        let schema = schema();
        let compiled = match compile(&parse(&source).unwrap(), &schema) {
            Ok(compiled) => compiled,
            // Text that is no number compared with a number, and the like: refused, so nothing to compare.
            Err(_) => return Ok(()),
        };
        prop_assert_eq!(compiled.matches(&record), by_reference(&source, &schema, &record), "{}", source);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_of_rules_misses_none_and_invents_none(
        sources in prop::collection::vec(query(), 1..90),
        records in prop::collection::vec(record(), 1..6),
    ) {
        let schema = schema();
        let files = sources.iter().enumerate().map(|(i, source)| RuleSource {
            origin: Origin::User,
            path: i.to_string(),
            text: format!(
                "[rule]\nname = \"n\"\nrule_id = \"{i}\"\ntype = \"eql\"\nseverity = \"low\"\nquery = '''{source}'''\n"
            ),
        });
        let set = RuleSet::load(files, &schema);
        for record in &records {
            let mut have = Vec::new();
            set.matches(record, &mut |rule| have.push(rule));
            let want: Vec<RuleIndex> = (0_u32..).map(RuleIndex).zip(set.rules())
                .filter(|(_, rule)| by_reference(&rule.rule.query, &schema, record))
                .map(|(index, _)| index)
                .collect();
            prop_assert_eq!(have, want);
        }
    }
}
