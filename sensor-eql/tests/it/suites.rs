//! Elasticsearch's own EQL tests, and Elastic's rules over generated events, when the sample data is there.

use std::collections::BTreeMap;
use std::path::Path;

use sensor_ecs::{FieldId, FieldType, Scalar, Schema};
use sensor_eql::{Correlator, Language, Limits, Origin, RuleSet, RuleSource, Stream, compile, parse};

use crate::support::{JsonRecord, JsonSchema, Stored, sample_data};

/// Queries that need the `version` type, which ECS uses nowhere.
const NEED_VERSION_TYPE: [&str; 2] = ["sequenceWithVersionRangeCheck", "sequenceWithVersionRangeCheck2"];

struct Data {
    schema: JsonSchema,
    /// In order of time, tiebreaker, arrival.
    events: Vec<(JsonRecord, i64)>,
}

fn documents(path: &Path) -> Vec<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn load(
    path: &Path,
    schema: JsonSchema,
    id: &str,
    prepare: impl Fn(&JsonSchema, &serde_json::Value, &mut JsonRecord),
) -> Data {
    let mut events: Vec<(JsonRecord, i64, i64)> = Vec::new();
    for document in documents(path) {
        let mut record = schema.document(&document);
        prepare(&schema, &document, &mut record);
        let Some(Scalar::Date(time)) = record.get(&schema, "@timestamp") else { panic!("no time") };
        let Some(Scalar::Long(number)) = record.get(&schema, id) else { panic!("no id") };
        events.push((record, number, time));
    }
    events.sort_by_key(|(_, number, time)| (*time, *number));
    Data { schema, events: events.into_iter().map(|(r, n, _)| (r, n)).collect() }
}

fn endgame(dir: &Path) -> Data {
    let schema = JsonSchema::new("category", "@timestamp", Some("serial_event_id"), false);
    let category = schema.define("category", FieldType::Keyword);
    let time = schema.define("@timestamp", FieldType::Date);
    load(&dir.join("data/endgame-140.data"), schema, "serial_event_id", |_, document, record| {
        let full = document["event_type_full"].as_str().unwrap();
        let short = full.strip_suffix("_event").unwrap_or(full).to_owned();
        record.set(category, Stored::One(Scalar::Keyword(short.into_bytes().into())));
        // Counted from the first event's year, for nanoseconds must fit; only differences matter.
        let ticks = document["timestamp"].as_i64().unwrap() - 116_444_736_000_000_000;
        record.set(time, Stored::One(Scalar::Date(ticks / 10_000 * 1_000_000)));
    })
}

fn extra(dir: &Path) -> Data {
    let schema = JsonSchema::new("event_type", "@timestamp", Some("sequence"), false);
    schema.define("date_tags", FieldType::Date);
    schema.define("optional_field_mapping_only", FieldType::Keyword);
    let null_value = schema.define("optional_field_default_null", FieldType::Keyword);
    load(&dir.join("data/extra.data"), schema, "sequence", |_, document, record| {
        if document.get("optional_field_default_null").is_some() {
            record.set(null_value, Stored::One(Scalar::keyword("NULL")));
        }
    })
}

fn missing_events(dir: &Path) -> Data {
    let schema = JsonSchema::new("event_type", "@timestamp", Some("sequence"), false);
    load(&dir.join("data/missing-events.data"), schema, "sequence", |_, _, _| {})
}

fn run(data: &Data, query: &str) -> Result<Vec<i64>, String> {
    let compiled = parse(query).and_then(|q| compile(&q, &data.schema)).map_err(|e| e.to_string())?;
    let mut stream = Stream::new(&compiled, None, Limits::default());
    let mut ids = Vec::new();
    let mut out = |found: &[Option<i64>]| ids.extend(found.iter().map(|e| e.unwrap_or(-1)));
    for (record, id) in &data.events {
        stream.push(record, id, 100, &mut out);
    }
    stream.finish(&mut out);
    Ok(ids)
}

#[derive(serde::Deserialize)]
struct Suite {
    queries: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    query: String,
    expected_event_ids: Vec<i64>,
}

fn suite(dir: &Path, file: &str, data: &Data) -> Vec<String> {
    let suite: Suite = toml::from_str(&std::fs::read_to_string(dir.join(file)).unwrap()).unwrap();
    let mut failures = Vec::new();
    let mut out_of_scope = 0;
    for case in &suite.queries {
        let result = run(data, &case.query);
        if result.as_ref() == Ok(&case.expected_event_ids) {
            continue;
        }
        if NEED_VERSION_TYPE.contains(&case.name.as_str()) {
            out_of_scope += 1;
            continue;
        }
        failures.push(format!(
            "{file}: {}\n{}\nwanted {:?}\n   got {result:?}",
            case.name, case.query, case.expected_event_ids
        ));
    }
    let total = suite.queries.len();
    println!(
        "{file}: {} of {total} pass, {out_of_scope} out of scope",
        total - failures.len() - out_of_scope
    );
    failures
}

#[test]
fn elasticsearch_suite() {
    let Some(dir) = sample_data("eql-suite") else { return };
    let (endgame, extra, missing) = (endgame(&dir), extra(&dir), missing_events(&dir));
    let mut failures = suite(&dir, "test_queries.toml", &endgame);
    failures.extend(suite(&dir, "additional_test_queries.toml", &endgame));
    failures.extend(suite(&dir, "test_extra.toml", &extra));
    failures.extend(suite(&dir, "test_missing_events.toml", &missing));
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
}

fn corpus(dir: &Path, schema: &dyn Schema) -> RuleSet {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let files = paths.iter().filter(|p| p.extension().is_some_and(|e| e == "toml")).map(|path| RuleSource {
        origin: Origin::User,
        path: path.file_name().unwrap().to_string_lossy().into_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    });
    RuleSet::load(files, schema)
}

#[test]
fn corpus_loads_or_is_listed_with_a_reason() {
    let Some(dir) = sample_data("corpus/rules") else { return };
    let set = corpus(&dir, &JsonSchema::ecs());
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    for listed in set.listed() {
        *table.entry(listed.reason.to_string()).or_default() += 1;
    }
    println!("{} rules run; listed: {table:#?}", set.rules().len());
    for error in set.errors() {
        println!("{error}");
    }
    assert!(set.errors().is_empty(), "{} errors", set.errors().len());
}

#[test]
fn corpus_type_checks_against_ecs() {
    let Some(dir) = sample_data("corpus/rules") else { return };
    let set = corpus(&dir, &sensor_ecs::Ecs);
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    for field in set.rules().iter().flat_map(|r| r.compiled.unknown_fields()) {
        *unknown.entry(field).or_default() += 1;
    }
    println!("{} rules run on ECS; fields that the sensor never fills: {unknown:#?}", set.rules().len());
    for error in set.errors() {
        println!("{error}");
    }
    assert!(set.errors().is_empty(), "{} errors", set.errors().len());
}

/// One line a match: the rule and its events in stage order.
fn pairs(set: &RuleSet, events: &[(JsonRecord, String)]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut correlator = Correlator::new(set, Limits::default());
    let mut out = |found: sensor_eql::Match<'_, String>| {
        // The expected pairs are of the EQL rules only.
        if set.get(found.rule).unwrap().rule.language != Language::Eql {
            return;
        }
        let ids: Vec<&str> = found.events.iter().map(|e| e.as_deref().unwrap_or("")).collect();
        lines.push(format!("{}\t{}", set.get(found.rule).unwrap().rule.id, ids.join(",")));
    };
    for (record, id) in events {
        correlator.push(set, record, id, 100, &mut out);
    }
    correlator.finish(&mut out);
    lines.sort();
    lines
}

#[test]
fn generated_events_give_the_expected_pairs() {
    let (Some(dir), Some(rules)) = (sample_data("eql-generated"), sample_data("corpus/rules")) else {
        return;
    };
    let schema = JsonSchema::ecs();
    let time: FieldId = schema.define("@timestamp", FieldType::Date);
    let mut events: Vec<(i64, JsonRecord, String)> = Vec::new();
    for line in std::fs::read_to_string(dir.join("events.ndjson")).unwrap().lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let record = schema.document(&document);
        let at = document["@timestamp"].as_i64().unwrap();
        events.push((at, record, document["event"]["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(schema.define("@timestamp", FieldType::Date), time);
    events.sort_by_key(|(at, ..)| *at);
    let events: Vec<(JsonRecord, String)> = events.into_iter().map(|(_, r, id)| (r, id)).collect();
    let set = corpus(&rules, &schema);
    let have = pairs(&set, &events);
    let mut want: Vec<String> =
        std::fs::read_to_string(dir.join("expected.tsv")).unwrap().lines().map(str::to_owned).collect();
    want.sort();
    let missing: Vec<&String> = want.iter().filter(|l| !have.contains(l)).collect();
    let extra: Vec<&String> = have.iter().filter(|l| !want.contains(l)).collect();
    println!("generated: {} of {} lines, {} extra", want.len() - missing.len(), want.len(), extra.len());
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
    assert_eq!(have, want);
}
