//! One rule file: read, validated, its findings positioned. Keys that are not ours to know are tolerated, for
//! Elastic's files carry many.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{self, EventFields};
use super::offsets::map_string;
use super::table::{Findings, Table, span_of};
use crate::diag::{Diagnostic, Located, OffsetMap, Severity, SourceFile, Span};
use crate::wild::Wildcard;

/// What Kibana assumes when a rule does not say.
const INTERVAL_NS_DEFAULT: i64 = 300_000_000_000;
const LOOK_BACK_NS_DEFAULT: i64 = 360_000_000_000;
const MAX_SIGNALS_DEFAULT: u32 = 100;
/// A rule file above this is not a rule file.
const FILE_BYTES_MAX: usize = 4 << 20;

/// How bad an alert of this rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSeverity {
    /// 21
    Low,
    /// 47
    Medium,
    /// 73
    High,
    /// 99
    Critical,
}

impl RuleSeverity {
    /// The word used in rule files and alerts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The number that alerts carry in `event.severity`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Low => 21,
            Self::Medium => 47,
            Self::High => 73,
            Self::Critical => 99,
        }
    }
}

/// The language of a rule's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Language {
    /// EQL.
    Eql,
    /// KQL.
    Kuery,
    /// Anything else, by name.
    Other(String),
}

/// What a rule does with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleType {
    /// An EQL query.
    Eql,
    /// A KQL query; every match is an alert.
    Query,
    /// Alerts on combinations of values not seen before.
    NewTerms,
    /// Alerts when enough events share values.
    Threshold,
    /// Anything else, by name.
    Other(String),
}

/// `[rule.new_terms]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTerms {
    /// The fields whose combination must be new.
    pub fields: Vec<String>,
    /// How far back "seen" reaches, in nanoseconds.
    pub history_ns: i64,
}

/// `[rule.threshold]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The fields that group events; empty for one group.
    pub fields: Vec<String>,
    /// How many events make an alert.
    pub value: u64,
    /// Fields that need at least so many distinct values.
    pub cardinality: Vec<(String, u64)>,
}

/// A tactic of a framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tactic {
    /// `TA0003`
    pub id: String,
    /// `Persistence`
    pub name: String,
    /// Its page.
    pub reference: String,
}

/// A technique or sub-technique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Technique {
    /// `T1546` or `T1546.016`
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub reference: String,
    /// Sub-techniques; empty for a sub-technique.
    pub subtechniques: Vec<Technique>,
}

/// One `[[rule.threat]]`: a tactic, with or without techniques.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threat {
    /// `MITRE ATT&CK`
    pub framework: String,
    /// The tactic.
    pub tactic: Tactic,
    /// May be empty.
    pub techniques: Vec<Technique>,
}

/// A rule as its file states it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What it detects.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Under which licence.
    pub license: Option<String>,
    /// Version, if stated.
    pub version: Option<u32>,
    /// What it does with its query.
    pub kind: RuleType,
    /// The language of the query.
    pub language: Language,
    /// The query, unmodified.
    pub query: String,
    /// Index patterns that it reads.
    pub indices: Vec<String>,
    /// Severity.
    pub severity: RuleSeverity,
    /// 0 to 100.
    pub risk_score: u8,
    /// How often Kibana would run it, in nanoseconds.
    pub interval_ns: i64,
    /// How far back each run looks, in nanoseconds; bounds a sequence that has no maxspan.
    pub look_back_ns: i64,
    /// Most alerts per interval.
    pub max_signals: u32,
    /// Links.
    pub references: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Known false positives.
    pub false_positives: Vec<String>,
    /// Investigation guide.
    pub note: Option<String>,
    /// Setup guide.
    pub setup: Option<String>,
    /// The field that Kibana would take the time from.
    pub timestamp_override: Option<String>,
    /// The fields that it names in place of the schema's own.
    pub event_fields: EventFields,
    /// Whether it only feeds other rules.
    pub building_block: bool,
    /// ATT&CK mapping.
    pub threats: Vec<Threat>,
    /// For rules of that type.
    pub new_terms: Option<NewTerms>,
    /// For rules of that type.
    pub threshold: Option<Threshold>,
}

impl Rule {
    /// Whether the rule reads the data stream of this name, such as `logs-endpoint.events.file-default`. A rule
    /// without index patterns reads everything; a pattern with a leading `-` excludes.
    #[must_use]
    pub fn reads(&self, data_stream: &str) -> bool {
        let is = |pattern: &str| Wildcard::star(pattern, false).matches(data_stream.as_bytes());
        // `cluster:pattern` names another cluster's stream of the same kind.
        let local = |pattern: &str| pattern.rsplit(':').next().is_some_and(is);
        let (excluded, included): (Vec<&str>, Vec<&str>) =
            self.indices.iter().map(String::as_str).partition(|p| p.starts_with('-'));
        (included.is_empty() || included.into_iter().any(local))
            && !excluded.into_iter().filter_map(|p| p.strip_prefix('-')).any(local)
    }
}

/// Why a sound file is not a rule that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its query is in a language that is not run.
    Language(String),
    /// Its type is not run.
    Type(String),
    /// It has filters in Elasticsearch's own query language beside its query.
    Filters,
    /// It is a hunt, to be run on stored events.
    Hunt,
    /// It is TOML of some other kind.
    NotARule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Language(name) => write!(f, "language {name} is not run by the rule engine"),
            Self::Type(name) => write!(f, "rule type {name} is not run by the rule engine"),
            Self::Filters => write!(f, "its `filters`, in Elasticsearch's query DSL, are not run"),
            Self::Hunt => write!(f, "a hunt, not a rule: it runs on stored events"),
            Self::NotARule => write!(f, "no [rule] table"),
        }
    }
}

/// A file that was read without error.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    /// The rule; `None` for other files, which then have a reason.
    pub rule: Option<Rule>,
    /// Why it cannot run, if so.
    pub reason: Option<Reason>,
    /// Findings that do not stop it.
    pub warnings: Vec<Located>,
    /// Where the query stands in the file.
    pub(crate) query_map: OffsetMap,
    /// Where the id stands in the file.
    pub(crate) id_span: Span,
    pub(super) event_field_spans: fields::Spans,
}

/// Reads one rule file. `name` is what findings call it.
///
/// # Errors
/// Everything wrong with the file, positioned.
pub fn parse_rule_file(name: &str, text: &str) -> Result<RuleFile, Vec<Located>> {
    let source = SourceFile::new(name, text);
    let fail = |d: Diagnostic| vec![source.locate(&d)];
    if text.len() > FILE_BYTES_MAX {
        return Err(fail(Diagnostic::error(Span::default(), "file is larger than 4 MiB")));
    }
    let document = DeTable::parse(text).map_err(|e| {
        let span = e.span().map_or(Span::default(), |r| Span::new(r.start, r.end));
        fail(Diagnostic::error(span, "not valid TOML").because(e.message().to_owned()))
    })?;
    let root = Table { table: document.get_ref(), span: Span::default() };
    let mut findings = Vec::new();
    let file = match root.get("rule") {
        None => {
            let reason = if root.get("hunt").is_some() { Reason::Hunt } else { Reason::NotARule };
            let (query_map, id_span) = (OffsetMap::Identity, Span::default());
            let event_field_spans = fields::Spans::default();
            let warnings = Vec::new();
            RuleFile { rule: None, reason: Some(reason), warnings, query_map, id_span, event_field_spans }
        }
        Some(value) => read_rule(value, text, &mut findings),
    };
    let located: Vec<Located> = findings.iter().map(|d| source.locate(d)).collect();
    if findings.iter().any(|d| d.severity == Severity::Error) {
        return Err(located);
    }
    Ok(RuleFile { warnings: located, ..file })
}

fn read_rule(value: &Spanned<DeValue<'_>>, text: &str, found: &mut Findings) -> RuleFile {
    let empty = DeTable::new();
    let table = Table::of(value, "rule", found).unwrap_or(Table { table: &empty, span: span_of(value) });
    let kind = match table.required("type", found).as_str() {
        // A missing type is an error already; one finding for it is enough.
        "eql" | "" => RuleType::Eql,
        "query" | "saved_query" => RuleType::Query,
        "new_terms" => RuleType::NewTerms,
        "threshold" => RuleType::Threshold,
        other => RuleType::Other(other.to_owned()),
    };
    let language = match table.text("language", found).as_deref() {
        Some("eql") => Language::Eql,
        Some("kuery") => Language::Kuery,
        Some(other) => Language::Other(other.to_owned()),
        None if kind == RuleType::Eql => Language::Eql,
        None => Language::Kuery,
    };
    let reason = match (&kind, &language) {
        (RuleType::Other(name), _) if name == "esql" => Some(Reason::Language("esql".to_owned())),
        (RuleType::Other(name), _) => Some(Reason::Type(name.clone())),
        (_, Language::Other(name)) => Some(Reason::Language(name.clone())),
        (RuleType::Eql, Language::Eql)
        | (RuleType::Query | RuleType::NewTerms | RuleType::Threshold, Language::Kuery) => None,
        (RuleType::Eql, Language::Kuery) => {
            found.push(Diagnostic::error(table.span_at("language"), "a rule of type eql has an EQL query"));
            None
        }
        (_, Language::Eql) => {
            found.push(Diagnostic::error(
                table.span_at("language"),
                "only rules of type eql have an EQL query",
            ));
            None
        }
    };
    // To leave them out would be another rule.
    let has_filters =
        matches!(table.get("filters").map(Spanned::get_ref), Some(DeValue::Array(all)) if !all.is_empty());
    let reason = reason.or(has_filters.then_some(Reason::Filters));
    // Rules of types that are not run may have no query at all.
    let query = if reason.is_none() {
        table.required("query", found)
    } else {
        table.text("query", found).unwrap_or_default()
    };
    let query_map = match table.get("query") {
        Some(raw) => map_string(text, span_of(raw), &query),
        None => OffsetMap::Identity,
    };
    let id = table.required("rule_id", found);
    if id.chars().any(char::is_control) {
        // It names the rule on lines of text that programs read.
        found.push(Diagnostic::error(table.span_at("rule_id"), "`rule_id` must not have control characters"));
    }
    let (event_fields, event_field_spans) = EventFields::read(table, found);
    let rule = Rule {
        id,
        name: table.required("name", found),
        description: table.text("description", found).unwrap_or_default(),
        authors: table.texts("author", found),
        license: table.text("license", found),
        version: number_in(table, "version", 1, i64::from(u32::MAX), found)
            .and_then(|n| u32::try_from(n).ok()),
        query,
        indices: table.texts("index", found),
        severity: severity(table, found),
        risk_score: number_in(table, "risk_score", 0, 100, found)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(0),
        interval_ns: table.span_ns("interval", "", INTERVAL_NS_DEFAULT, found),
        look_back_ns: table.span_ns("from", "now-", LOOK_BACK_NS_DEFAULT, found),
        max_signals: number_in(table, "max_signals", 1, 1_000_000, found)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(MAX_SIGNALS_DEFAULT),
        references: table.texts("references", found),
        tags: table.texts("tags", found),
        false_positives: table.texts("false_positives", found),
        note: table.text("note", found),
        setup: table.text("setup", found),
        timestamp_override: table.text("timestamp_override", found),
        event_fields,
        building_block: table.get("building_block_type").is_some(),
        threats: threats(table, found),
        new_terms: new_terms(table, &kind, found),
        threshold: threshold(table, &kind, found),
        kind,
        language,
    };
    let id_span = table.span_at("rule_id");
    RuleFile { rule: Some(rule), reason, warnings: Vec::new(), query_map, id_span, event_field_spans }
}

fn number_in(table: Table<'_, '_>, key: &str, low: i64, high: i64, found: &mut Findings) -> Option<i64> {
    let number = table.integer(key, found)?;
    if !(low..=high).contains(&number) {
        found.push(Diagnostic::error(table.span_at(key), format!("`{key}` must be from {low} to {high}")));
        return None;
    }
    Some(number)
}

fn severity(table: Table<'_, '_>, found: &mut Findings) -> RuleSeverity {
    match table.required("severity", found).as_str() {
        "medium" => RuleSeverity::Medium,
        "high" => RuleSeverity::High,
        "critical" => RuleSeverity::Critical,
        "low" | "" => RuleSeverity::Low,
        _ => {
            found.push(
                Diagnostic::error(table.span_at("severity"), "unknown severity")
                    .help("the severities are low, medium, high, critical"),
            );
            RuleSeverity::Low
        }
    }
}

fn threats(table: Table<'_, '_>, found: &mut Findings) -> Vec<Threat> {
    let mut threats = Vec::new();
    for item in table.items("threat", found) {
        let Some(entry) = Table::of(item, "threat", found) else { continue };
        let tactic = match entry.get("tactic").and_then(|t| Table::of(t, "tactic", found)) {
            Some(t) => {
                let (id, name, reference) = named(t, found);
                Tactic { id, name, reference }
            }
            None => Tactic::default(),
        };
        let framework = entry.text("framework", found).unwrap_or_default();
        threats.push(Threat { framework, tactic, techniques: techniques(entry, "technique", found) });
    }
    threats
}

fn named(table: Table<'_, '_>, found: &mut Findings) -> (String, String, String) {
    let mut part = |key| table.text(key, found).unwrap_or_default();
    (part("id"), part("name"), part("reference"))
}

fn techniques(table: Table<'_, '_>, key: &str, found: &mut Findings) -> Vec<Technique> {
    let mut techniques = Vec::new();
    for item in table.items(key, found) {
        let Some(entry) = Table::of(item, key, found) else { continue };
        let (id, name, reference) = named(entry, found);
        // The framework has two levels; a third would be a mistake in the file, so it is not followed.
        let subtechniques =
            if key == "technique" { self::techniques(entry, "subtechnique", found) } else { Vec::new() };
        techniques.push(Technique { id, name, reference, subtechniques });
    }
    techniques
}

fn new_terms(table: Table<'_, '_>, kind: &RuleType, found: &mut Findings) -> Option<NewTerms> {
    if *kind != RuleType::NewTerms {
        return None;
    }
    let Some(entry) = table.get("new_terms").and_then(|v| Table::of(v, "new_terms", found)) else {
        found.push(Diagnostic::error(
            table.span_at("type"),
            "a rule of type new_terms needs [rule.new_terms]",
        ));
        return None;
    };
    let fields = entry.texts("value", found);
    if fields.is_empty() {
        found.push(Diagnostic::error(entry.span, "`value` must name one field or more"));
    }
    let mut history_ns = 7 * 86_400_000_000_000;
    for item in entry.items("history_window_start", found) {
        if let Some(start) = Table::of(item, "history_window_start", found) {
            history_ns = start.span_ns("value", "now-", history_ns, found);
        }
    }
    Some(NewTerms { fields, history_ns })
}

fn threshold(table: Table<'_, '_>, kind: &RuleType, found: &mut Findings) -> Option<Threshold> {
    if *kind != RuleType::Threshold {
        return None;
    }
    let Some(entry) = table.get("threshold").and_then(|v| Table::of(v, "threshold", found)) else {
        found.push(Diagnostic::error(
            table.span_at("type"),
            "a rule of type threshold needs [rule.threshold]",
        ));
        return None;
    };
    let fields = match entry.get("field").map(Spanned::get_ref) {
        Some(DeValue::String(one)) => vec![one.to_string()],
        _ => entry.texts("field", found),
    };
    let value =
        number_in(entry, "value", 1, i64::MAX, found).and_then(|n| u64::try_from(n).ok()).unwrap_or(1);
    let mut cardinality = Vec::new();
    for item in entry.items("cardinality", found) {
        if let Some(one) = Table::of(item, "cardinality", found) {
            let least = number_in(one, "value", 0, i64::MAX, found).and_then(|n| u64::try_from(n).ok());
            cardinality.push((one.text("field", found).unwrap_or_default(), least.unwrap_or(0)));
        }
    }
    Some(Threshold { fields, value, cardinality })
}
