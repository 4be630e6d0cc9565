//! What the fuzzers call, and what an ordinary test of `sensor-eql` calls with the seeds.

use sensor_ecs::{Document, Ecs, OpenSchema, Schema};
use sensor_eql::ast::Query;
use sensor_eql::diag::SourceFile;
use sensor_eql::{Known, Origin, RuleSet, RuleSource, compile, compile_condition, parse, parse_condition};
use sensor_eql::{parse_kql, parse_rule_file, reference};

/// Longer inputs find nothing that shorter ones do not, and cost time.
const BYTES_MAX: usize = 16 << 10;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|text| text.len() <= BYTES_MAX)
}

/// Lexer, parser, type check and diagnostics of EQL.
pub(crate) fn query(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match parse(text).and_then(|query| compile(&query, &Ecs).map(drop)) {
        Ok(()) => {}
        Err(found) => drop(found.render(&SourceFile::new("q", text))),
    }
    if let Ok(condition) = parse_condition(text) {
        let _ = compile_condition(&condition, &Ecs);
    }
}

/// The same of KQL.
pub(crate) fn kql(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match parse_kql(text).and_then(|query| compile(&query, &Ecs).map(drop)) {
        Ok(()) => {}
        Err(found) => drop(found.render(&SourceFile::new("q", text))),
    }
}

/// Rule files.
pub(crate) fn rule(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = parse_rule_file("r", text);
    let source = RuleSource { origin: Origin::User, path: "r".to_owned(), text: text.to_owned() };
    let set = RuleSet::load([source], &Ecs);
    set.errors().iter().chain(set.warnings()).for_each(|found| drop(found.to_string()));
}

/// A query on an event: compiled, in a set of rules, and by the reference evaluator. The input is a query, a line feed
/// and a JSON document; one that begins with a byte above 127 is a recipe for both.
pub(crate) fn evaluate(data: &[u8]) {
    let made = match data.split_first() {
        Some((128.., recipe)) => Some(Recipe(recipe).cook()),
        _ => text(data).and_then(|t| t.split_once('\n')).map(|(q, e)| (q.to_owned(), e.to_owned())),
    };
    let Some((source, event)) = made else { return };
    let schema = OpenSchema::new();
    let Ok(Query::Event(query)) = parse(&source) else { return };
    let Ok(compiled) = compile(&Query::Event(query.clone()), &schema) else { return };
    let mut document = Document::new();
    if document.parse(event.as_bytes(), &schema).is_err() {
        return;
    }
    let want = reference::matches(&query.filter, &schema, &reference::by_name(&schema, &document));
    assert_eq!(compiled.matches(&document), want, "{source}\n{event}");
    let quoted = source.contains("'''");
    if quoted {
        return;
    }
    let rule = format!(
        "[rule]\nname = 'n'\nrule_id = 'r'\ntype = 'eql'\nlanguage = 'eql'\nquery = '''\n{source}\n'''\n"
    );
    let set = RuleSet::load([RuleSource { origin: Origin::User, path: "r".to_owned(), text: rule }], &schema);
    if set.rules().is_empty() {
        return;
    }
    let (mut memory, none) = (set.memory(2), set.select(|_| false));
    let found = !set.look(&document, Known::default(), &none, &mut memory).matched().is_empty();
    assert_eq!(found, want, "{source}\n{event}");
    assert!(schema.lookup("event.category").is_some());
}

/// Bytes as decisions: each picks one of a few things.
struct Recipe<'d>(&'d [u8]);

const FIELDS: [&str; 8] = [
    "process.name",
    "process.args",
    "file.path",
    "process.pid",
    "process.interactive",
    "?x.y",
    "source.ip",
    "event.action",
];
const TEXTS: [&str; 12] = ["", "a", "A", "ab", "/a", "*", "a*", "*b", "*a?b*", "?", "10.0.0.1", "\u{e9}"];

impl Recipe<'_> {
    fn pick(&mut self, among: usize) -> usize {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                usize::from(*byte) % among
            }
            None => 0,
        }
    }

    fn cook(mut self) -> (String, String) {
        let category = ["any", "process", "file"][self.pick(3)];
        let condition = self.condition(4);
        (format!("{category} where {condition}"), self.event())
    }

    fn field(&mut self) -> &'static str {
        FIELDS[self.pick(FIELDS.len())]
    }

    fn quoted(&mut self) -> String {
        format!("\"{}\"", TEXTS[self.pick(TEXTS.len())])
    }

    fn list(&mut self) -> String {
        let count = 1 + self.pick(4);
        (0..count).map(|_| self.quoted()).collect::<Vec<_>>().join(", ")
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth > 0 {
            match self.pick(6) {
                0 => return format!("({} and {})", self.condition(depth - 1), self.condition(depth - 1)),
                1 => return format!("({} or {})", self.condition(depth - 1), self.condition(depth - 1)),
                2 => return format!("not ({})", self.condition(depth - 1)),
                _ => {}
            }
        }
        let field = self.field();
        let compare = ["==", "!=", "<", "<=", ">", ">="][self.pick(6)];
        match self.pick(12) {
            0 => format!("{field} {compare} {}", self.quoted()),
            1 => format!("{field} {compare} {}", self.pick(6)),
            2 => format!("{field} in ({})", self.list()),
            3 => format!("{field} in~ ({})", self.list()),
            4 => format!("{field} : ({})", self.list()),
            5 => format!("{field} like ({})", self.list()),
            6 => format!("{field} {} null", ["==", "!="][self.pick(2)]),
            7 => format!("length({field}) {compare} {}", self.pick(4)),
            8 => format!("startsWith~({field}, {})", self.quoted()),
            9 => format!("stringContains({field}, {})", self.quoted()),
            10 => format!("{field} regex~ \"{}\"", ["a.*", "[ab]+", "<1-9>", "(a|b)?"][self.pick(4)]),
            _ => format!("concat({field}, {}) == {}", self.field().trim_start_matches('?'), self.quoted()),
        }
    }

    fn event(&mut self) -> String {
        let mut members = Vec::new();
        for name in FIELDS.iter().map(|name| name.trim_start_matches('?')).chain(["event.category"]) {
            let value = match self.pick(8) {
                0 => continue,
                1 => "null".to_owned(),
                2 => "true".to_owned(),
                3 => self.pick(6).to_string(),
                4 => format!("[{}]", self.list()),
                5 => "\"process\"".to_owned(),
                _ => self.quoted(),
            };
            members.push(format!("\"{name}\": {value}"));
        }
        format!("{{{}}}", members.join(", "))
    }
}
