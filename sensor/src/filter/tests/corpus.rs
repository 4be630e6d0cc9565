//! Real rules, with events made from their own texts: what the reference evaluator matches passes.

use std::collections::HashMap;
use std::path::PathBuf;

use sensor_eql::ast::{CompareOp, EventFilter, Expr, ExprKind};
use sensor_eql::{Language, parse_kql};

use super::*;

/// The texts that fields are compared with, apart from those under a `not`.
type Texts = HashMap<String, Vec<String>>;

fn collect(condition: &Expr, texts: &mut Texts) {
    let text = |e: &Expr| match &e.kind {
        ExprKind::Text(text) => Some(text.clone()),
        _ => None,
    };
    let mut add = |subject: &Expr, found: Vec<String>| {
        if let ExprKind::Field { name, .. } = &subject.kind {
            texts.entry(name.clone()).or_default().extend(found);
        }
    };
    match &condition.kind {
        ExprKind::And(items) | ExprKind::Or(items) => items.iter().for_each(|item| collect(item, texts)),
        ExprKind::Compare(CompareOp::Eq, left, right) => add(left, text(right).into_iter().collect()),
        ExprKind::In { value, list, .. } => add(value, list.iter().filter_map(text).collect()),
        ExprKind::Match { value, patterns, .. } => {
            add(value, patterns.iter().map(|(pattern, _)| pattern.clone()).collect());
        }
        ExprKind::Call { name, args, .. } if args.len() == 2 => {
            let part = text(&args[1]);
            let whole = match name.to_ascii_lowercase().as_str() {
                "startswith" => part.map(|part| format!("{part}*")),
                "endswith" => part.map(|part| format!("*{part}")),
                _ => part.map(|part| format!("*{part}*")),
            };
            add(&args[0], whole.into_iter().collect());
        }
        _ => {}
    }
}

/// The texts of a field, with something in the place of wildcards that differs from round to round.
fn choices(texts: &Texts, field: &str, round: usize) -> Vec<String> {
    let filler = ["x", "", "y/z", "0.q"][round % 4];
    let all = texts.get(field).into_iter().flatten();
    all.map(|text| text.replace('*', filler).replace('?', "q")).collect()
}

/// Paths that the condition may be after.
fn paths(texts: &Texts, round: usize) -> Vec<String> {
    let mut paths = choices(texts, "file.path", round);
    paths.extend(choices(texts, "file.Ext.original.path", round));
    paths.retain(|path| path.starts_with('/') && !path.ends_with('/'));
    paths.push("/srv/some".to_owned());
    let names = choices(texts, "file.name", round).into_iter().chain(
        choices(texts, "file.extension", round).into_iter().map(|extension| format!("some.{extension}")),
    );
    let dirs: Vec<String> =
        paths.iter().filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())).take(8).collect();
    let more: Vec<String> = names
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .flat_map(|name| dirs.iter().map(move |dir| format!("{dir}/{name}")).collect::<Vec<_>>())
        .collect();
    paths.extend(more);
    paths
}

struct Synthetic<'s> {
    file: FileEvent<'s>,
    others: &'s HashMap<FieldId, Vec<u8>>,
}

impl Record for Synthetic<'_> {
    fn value(&self, id: FieldId) -> Value<'_> {
        match self.file.value(id) {
            known @ (Value::Keyword(_) | Value::List(_)) if id != field::PROCESS_NAME => known,
            _ if id == field::PROCESS_EXECUTABLE && !self.others.contains_key(&id) => {
                Value::Keyword(b"/opt/some/program")
            }
            other => self.others.get(&id).map_or(other, |text| Value::Keyword(text)),
        }
    }
}

fn at(path: &str) -> Place {
    let mut names: Vec<Vec<u8>> =
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect();
    let leaf = names.pop().unwrap_or_default();
    names.reverse();
    Place { leaf, inside: names, hidden: 0, above: Vec::new(), chroot: 0, primary: Vec::new() }
}

/// How many events of the filter's kind were matched; each must pass.
fn confirmed(name: &str, filter: &EventFilter, tables: &FilterTables) -> usize {
    let mut texts = Texts::new();
    collect(&filter.condition, &mut texts);
    let mut matched = 0;
    for round in 0..12 {
        let others: HashMap<FieldId, Vec<u8>> = texts
            .keys()
            // What a path says, it says itself.
            .filter(|name| !name.starts_with("file."))
            .filter_map(|name| {
                let id = sensor_ecs::fields::find(name)?.id;
                let all = choices(&texts, name, round);
                Some((id, all.get(round % all.len().max(1))?.clone().into_bytes()))
            })
            .collect();
        let paths = paths(&texts, round);
        for (i, path) in paths.iter().enumerate() {
            let original = &paths[(i + round) % paths.len()];
            for op in ops() {
                let is_renamed = has_original(op);
                let file = FileEvent {
                    op,
                    path: PathView::new(path.as_bytes()),
                    original: is_renamed.then(|| PathView::new(original.as_bytes())),
                    file_type: Kind::of_file(op).file_types().first().copied().flatten(),
                };
                let event = Synthetic { file, others: &others };
                if !reference::matches(filter, &Ecs, &reference::by_name(&Ecs, &event)) {
                    continue;
                }
                matched += 1;
                let (place, before) = (at(path), at(original));
                let places: Vec<&Place> = [&place].into_iter().chain(is_renamed.then_some(&before)).collect();
                assert!(passes(tables, op, &places), "{name}: {op:?} of {path} (from {original}) is lost");
            }
        }
    }
    matched
}

#[test]
fn what_the_rules_of_the_corpus_match_passes() {
    let data = std::env::var_os("SENSOR_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(data.join("corpus/rules")) else {
        println!("skipped: no rules at {}; set SENSOR_TEST_DATA", data.display());
        return;
    };
    let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let (mut looking, mut shown) = (0, 0);
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "toml")) {
        let text = std::fs::read_to_string(file).unwrap();
        let source = RuleSource { origin: Origin::User, path: file.display().to_string(), text };
        let rules = RuleSet::load([source], &Ecs);
        let Some(loaded) = rules.rules().first() else { continue };
        let needs = RuleNeeds::of(&loaded.compiled);
        if needs.witnesses().is_empty() {
            continue;
        }
        looking += 1;
        let filter = Filter::new(Scope::Rules, &rules, |_, _| true);
        let parsed = if loaded.rule.language == Language::Kuery { parse_kql } else { parse };
        let filters: Vec<EventFilter> = match parsed(&loaded.rule.query).unwrap() {
            Query::Event(event) => vec![event.filter],
            Query::Sequence(sequence) => sequence.terms.into_iter().map(|term| term.filter).collect(),
            Query::Sample(sample) => sample.terms.into_iter().map(|term| term.filter).collect(),
        };
        let matched: usize =
            filters.iter().map(|one| confirmed(&loaded.rule.name, one, filter.tables())).sum();
        if matched == 0 {
            println!("nothing made matches {}", loaded.rule.name);
        }
        shown += usize::from(matched > 0);
    }
    println!("{shown} of {looking} rules that the filter narrows were matched");
    assert!(shown * 4 >= looking * 3, "only {shown} of {looking} rules were matched");
}
