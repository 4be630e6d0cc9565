//! Random conditions on random records: the compiled matcher and the reference must agree.

use std::borrow::Cow;

use proptest::prelude::*;
use sensor_ecs::{FieldType, Lifetime, Scalar, Schema};
use sensor_eql::ast::Query;
use sensor_eql::{Known, Origin, ProcessVersion, RuleIndex, RuleSet, RuleSource, compile, parse, reference};

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
        let set = rule_set(&sources, &schema);
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

fn rule_set(sources: &[String], schema: &JsonSchema) -> RuleSet {
    let files = sources.iter().enumerate().map(|(i, source)| RuleSource {
        origin: Origin::User,
        path: i.to_string(),
        text: format!(
            "[rule]\nname = \"n\"\nrule_id = \"{i}\"\ntype = \"eql\"\nseverity = \"low\"\nquery = '''{source}'''\n"
        ),
    });
    RuleSet::load(files, schema)
}

/// What comes next: an event of one kind by one process, or another state of a process.
#[derive(Clone, Debug)]
enum Step {
    Event { kind: usize, process: usize, own: Box<JsonRecord>, is_process_known: bool },
    Change { process: usize, to: Box<JsonRecord> },
}

const KINDS: usize = 3;
const PROCESSES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KINDS, 0..PROCESSES, record(), prop::bool::weighted(0.9)).prop_map(
            |(kind, process, own, is_process_known)| Step::Event { kind, process, own: own.into(), is_process_known }
        ),
        1 => (0..PROCESSES, record()).prop_map(|(process, to)| Step::Change { process, to: to.into() }),
    ]
}

/// Each field from the part that has its lifetime.
fn assembled(schema: &JsonSchema, kind: &JsonRecord, process: &JsonRecord, own: &JsonRecord) -> JsonRecord {
    let mut all = JsonRecord::default();
    for name in schema.names() {
        let id = schema.lookup(&name).unwrap().id;
        let part = match schema.lifetime(id) {
            Lifetime::Constant => kind,
            Lifetime::Process | Lifetime::Program => process,
            Lifetime::Event => own,
        };
        if let Some(value) = part.stored(id) {
            all.set(id, value.clone());
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_of_processes_changes_nothing(
        sources in prop::collection::vec(query(), 1..40),
        kinds in prop::collection::vec(record(), KINDS),
        processes in prop::collection::vec(record(), PROCESSES),
        steps in prop::collection::vec(step(), 1..60),
        places in 0_usize..8,
    ) {
        let schema = schema();
        let set = rule_set(&sources, &schema);
        let mut memory = set.memory(places);
        let none = set.select(|_| false);
        let mut processes: Vec<(JsonRecord, u64)> = processes.into_iter().map(|p| (p, 0)).collect();
        for step in steps {
            match step {
                Step::Change { process, to } => processes[process] = (*to, processes[process].1 + 1),
                Step::Event { kind, process, own, is_process_known } => {
                    let (state, version) = &processes[process];
                    let record = assembled(&schema, &kinds[kind], state, &own);
                    let version = ProcessVersion { process: process as u64, version: *version };
                    let known =
                        Known { kind: u8::try_from(kind).ok(), process: is_process_known.then_some(version) };
                    let have = set.look(&record, known, &none, &mut memory).matched().to_vec();
                    let want: Vec<RuleIndex> = (0_u32..).map(RuleIndex).zip(set.rules())
                        .filter(|(_, rule)| by_reference(&rule.rule.query, &schema, &record))
                        .map(|(index, _)| index)
                        .collect();
                    prop_assert_eq!(have, want);
                }
            }
        }
    }
}
