//! Whatever the reference evaluator matches, in any view of a file, the filter lets through.

mod corpus;

use proptest::prelude::*;
use sensor_common::wire::FileOp;
use sensor_ecs::{Ecs, FieldId, PathView, Record, Value, field};
use sensor_eql::ast::Query;
use sensor_eql::{Origin, RuleSet, RuleSource, parse, reference};

use super::*;
use crate::enrich::operation;

/// A file as the kernel has it: names from the leaf upwards.
#[derive(Clone, Debug)]
struct Place {
    leaf: Vec<u8>,
    /// Up to the root of the file system, nearest first.
    inside: Vec<Vec<u8>>,
    /// How many of them are above the root of the mount.
    hidden: usize,
    /// From the mount point up to the root of the namespace.
    above: Vec<Vec<u8>>,
    /// How many names of the whole path are above the task's root.
    chroot: usize,
    /// Where the file system is mounted whole, from the root down.
    primary: Vec<Vec<u8>>,
}

impl Place {
    fn mounted(&self) -> Vec<&Vec<u8>> {
        let visible = self.inside.len() - self.hidden.min(self.inside.len());
        [&self.leaf].into_iter().chain(self.inside.iter().take(visible)).chain(&self.above).collect()
    }

    /// The path in each view.
    fn views(&self) -> [Vec<u8>; 3] {
        let join = |upwards: &[&Vec<u8>]| {
            let mut path = Vec::new();
            for name in upwards.iter().rev() {
                path.push(b'/');
                path.extend_from_slice(name);
            }
            path
        };
        let host = self.mounted();
        let task = &host[..(host.len() - self.chroot.min(host.len() - 1))];
        let whole: Vec<&Vec<u8>> =
            [&self.leaf].into_iter().chain(&self.inside).chain(self.primary.iter().rev()).collect();
        [join(task), join(&host), join(&whole)]
    }
}

/// What the kernel program decides, on the names that it walks over.
fn passes(tables: &FilterTables, op: FileOp, places: &[&Place]) -> bool {
    let ops = op_bit(op);
    if tables.everything & ops != 0 {
        return true;
    }
    tables.some & ops != 0
        && places.iter().any(|place| {
            tables.wants_name(&place.leaf, ops)
                || tables.device(DEV) & ops != 0
                || place.inside.iter().chain(&place.above).any(|name| tables.wants_directory(name, ops))
        })
}

const DEV: u32 = 0x0080_0001;

struct FileEvent<'p> {
    op: FileOp,
    path: PathView<'p>,
    original: Option<PathView<'p>>,
    file_type: Option<&'static str>,
}

impl Record for FileEvent<'_> {
    fn value(&self, id: FieldId) -> Value<'_> {
        let text = |text: Option<&'static str>| text.map_or(Value::Absent, |t| Value::Keyword(t.as_bytes()));
        let bytes = |bytes| Option::map_or(bytes, Value::Absent, Value::Keyword);
        let original = self.original;
        match id {
            field::EVENT_ACTION => text(Some(operation(self.op).action().name())),
            field::EVENT_CATEGORY => Value::List(operation(self.op).action().category()),
            field::EVENT_TYPE => Value::List(operation(self.op).action().event_type()),
            field::HOST_OS_TYPE => text(Some("linux")),
            field::FILE_TYPE => text(self.file_type),
            field::FILE_EXT_OPERATION => text(Some(operation(self.op).name())),
            field::FILE_PATH => Value::Keyword(self.path.path()),
            field::FILE_NAME => bytes(self.path.name()),
            field::FILE_EXTENSION => bytes(self.path.extension()),
            field::FILE_EXT_ORIGINAL_PATH => bytes(original.map(|view| view.path())),
            field::FILE_EXT_ORIGINAL_NAME => bytes(original.and_then(|view| view.name())),
            field::FILE_EXT_ORIGINAL_EXTENSION => bytes(original.and_then(|view| view.extension())),
            field::PROCESS_NAME => text(Some("bash")),
            _ => Value::Absent,
        }
    }
}

const NAMES: [&str; 16] = [
    "a",
    "B",
    "etc",
    "apt.conf.d",
    "APT.CONF.D",
    "é",
    "x.sh",
    "x.",
    ".so",
    "tmp",
    "cron.d",
    "a-name-longer-than-eight",
    "a-name-longer-by.service",
    "x.automount",
    "01\u{e}",
    "lib.so.6",
];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => prop::sample::select(NAMES.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        2 => "[aB.é]{1,4}".prop_filter("a path has no such name", |n| n != "." && n != "..").prop_map(String::into_bytes),
        1 => prop::collection::vec(
            prop_oneof![Just(b'.'), Just(0x0e), Just(0xff), Just(b'a'), Just(b'\n')], 3..12),
        1 => Just(vec![b'n'; 255]),
    ]
}

fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(name(), 0..4)
}

fn place() -> impl Strategy<Value = Place> {
    (name(), names(), 0..3_usize, names(), 0..4_usize, names()).prop_map(
        |(leaf, inside, hidden, above, chroot, primary)| Place {
            leaf,
            inside,
            hidden,
            above,
            chroot,
            primary,
        },
    )
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
        2 => Just("*".to_owned()),
        1 => "[a?*.B]{0,3}",
        1 => Just("?".to_owned()),
        1 => prop::sample::select(vec!["a*", "*.sh", "*.SO", "x.*", "*.conf.d", "*-eight", "*.service", "*mount"])
            .prop_map(str::to_owned),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::collection::vec(piece(), 1..4).prop_map(|pieces| format!("/{}", pieces.join("/"))),
        2 => prop::collection::vec(piece(), 1..3).prop_map(|pieces| pieces.join("/")),
        2 => piece(),
        1 => prop::sample::select(vec!["sh", "so", "service", "automount", "d", "6", "SH", ""]).prop_map(str::to_owned),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('\u{e}', "\\u{0e}"))
}

/// A test of a name that a filter can look for, if its patterns allow it.
fn named() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "file.path",
        "file.path",
        "file.path",
        "file.name",
        "file.extension",
        "file.Ext.original.path",
        "file.Ext.original.name",
        "file.Ext.original.extension",
    ]);
    let patterns = prop::collection::vec(pattern(), 1..3)
        .prop_map(|list| list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "));
    prop_oneof![
        6 => (field.clone(), prop::sample::select(vec![":", "like", "like~", "in", "in~"]), patterns)
            .prop_map(|(field, op, list)| format!("{field} {op} ({list})")),
        2 => (field.clone(), pattern()).prop_map(|(field, text)| format!("{field} == {}", quoted(&text))),
        2 => (prop::sample::select(vec!["startsWith", "endsWith~", "stringContains", "startsWith~"]), field, pattern())
            .prop_map(|(function, field, text)| format!("{function}({field}, {})", quoted(&text))),
    ]
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => named(),
        2 => prop::sample::select(vec![
            "event.action == \"creation\"", "event.action in (\"rename\", \"creation\")", "event.type != \"deletion\"",
            "event.type : \"change\"", "file.type == \"file\"", "file.type != \"dir\"", "process.name == \"bash\"",
            "process.name != null", "file.extension == null", "file.Ext.original.path != null",
            "host.os.type == \"linux\"", "file.path regex \".*a.*\"", "length(file.name) > 1", "file.path != \"/a\"",
        ]).prop_map(str::to_owned),
    ]
}

fn condition() -> BoxedStrategy<String> {
    let any = leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" and "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" or "))),
            1 => inner.prop_map(|one| format!("not ({one})")),
        ]
    });
    prop_oneof![
        2 => named(),
        1 => (named(), leaf()).prop_map(|(one, other)| format!("{one} and {other}")),
        1 => (named(), any.clone()).prop_map(|(one, other)| format!("{one} and not ({other})")),
        3 => any,
    ]
    .boxed()
}

/// The texts of a condition.
fn literals(condition: &str) -> Vec<String> {
    condition.split('"').skip(1).step_by(2).map(|text| text.replace("\\u{0e}", "\u{e}")).collect()
}

/// A place whose path, name or extension is the literal, with something for each wildcard and perhaps in other letters.
fn fit(literal: &str, fillers: &[&str], upper: bool, mut place: Place, at: usize) -> Place {
    let mut fillers = fillers.iter().cycle();
    let text: String = literal
        .chars()
        .map(|c| match c {
            '*' => (*fillers.next().unwrap_or(&"")).to_owned(),
            '?' => "z".to_owned(),
            c if upper => c.to_ascii_uppercase().to_string(),
            c => c.to_string(),
        })
        .collect();
    let mut names: Vec<Vec<u8>> =
        text.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect();
    let Some(leaf) = names.pop() else { return place };
    let is_path = text.starts_with('/');
    place.leaf = if is_path || at.is_multiple_of(2) { leaf } else { [&b"n."[..], &leaf].concat() };
    if is_path {
        names.reverse();
        let above = names.split_off(at.min(names.len()));
        (place.inside, place.above, place.hidden, place.chroot) = (names, above, 0, 0);
        match at % 4 {
            // As the process in a container sees it.
            1 => {
                place.above.extend([b"merged".to_vec(), b"srv".to_vec()]);
                place.chroot = 2;
            }
            // Reached through a mount of one of the directories elsewhere.
            2 => {
                place.inside.append(&mut place.above);
                place.hidden = place.inside.len();
                place.above = vec![b"mnt".to_vec()];
                place.primary.clear();
            }
            // On a file system that has its place in the path, reached elsewhere.
            3 => {
                place.primary = place.above.split_off(0);
                place.primary.reverse();
                place.above = vec![b"mnt".to_vec()];
            }
            _ => {}
        }
    }
    place
}

/// A condition, and two places that may well satisfy it.
fn case() -> impl Strategy<Value = (String, Place, Place)> {
    condition().prop_flat_map(|condition| {
        let mut texts = literals(&condition);
        texts.push(String::new());
        let first = texts.first().cloned().unwrap_or_default();
        let text = prop_oneof![2 => Just(first), 1 => prop::sample::select(texts)];
        let fillers = prop::collection::vec(prop::sample::select(vec!["", "a", "b/c", ".x", "é"]), 1..4);
        let fitting = (text, fillers, prop::bool::weighted(0.2), place(), 0..4_usize)
            .prop_map(|(text, fillers, upper, place, at)| fit(&text, &fillers, upper, place, at))
            .boxed();
        (Just(condition), fitting.clone(), fitting)
    })
}

fn rule_file(query: &str) -> RuleSource {
    let text = format!(
        "[rule]\nname = \"n\"\nrule_id = \"1\"\ntype = \"eql\"\nseverity = \"low\"\nquery = '''\n{query}\n'''\n"
    );
    RuleSource { origin: Origin::User, path: "rule".to_owned(), text }
}

/// The filter of one rule, and the rule for the reference.
fn filter_of(query: &str) -> Option<(Filter, sensor_eql::ast::EventFilter)> {
    let rules = RuleSet::load([rule_file(query)], &Ecs);
    if rules.rules().is_empty() {
        return None;
    }
    let Ok(Query::Event(parsed)) = parse(query) else { panic!("{query}") };
    Some((Filter::new(Scope::Rules, &rules, |_, _| true), parsed.filter))
}

fn matches_somewhere(
    filter: &sensor_eql::ast::EventFilter,
    op: FileOp,
    place: &Place,
    original: Option<&Place>,
) -> bool {
    let types = Kind::of_file(op).file_types();
    let (views, originals) = (place.views(), original.map(Place::views));
    types.iter().any(|file_type| {
        (0..views.len()).any(|view| {
            let event = FileEvent {
                op,
                path: PathView::new(&views[view]),
                original: originals.as_ref().map(|views| PathView::new(&views[view])),
                file_type: *file_type,
            };
            reference::matches(filter, &Ecs, &reference::by_name(&Ecs, &event))
        })
    })
}

/// Whether the operation has a second name.
fn has_original(op: FileOp) -> bool {
    matches!(op, FileOp::Rename | FileOp::Exchange)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_rule_matches_passes(
        (condition, place, original) in case(),
        op in prop::sample::select(ops().collect::<Vec<_>>()),
    ) {
        let query = format!("file where {condition}");
        let Some((mut filter, parsed)) = filter_of(&query) else { return Ok(()) };
        let mountpoint = [&b"/"[..], &place.primary.join(&b'/')].concat();
        let original_mountpoint = [&b"/"[..], &original.primary.join(&b'/')].concat();
        let mounted = |at| Mounted { dev: DEV, at, is_overlay: false, upper: None };
        filter.set_mounts([mounted(mountpoint.as_slice()), mounted(&original_mountpoint)].into_iter());
        let original = has_original(op).then_some(&original);
        let places: Vec<&Place> = [&place].into_iter().chain(original).collect();
        if matches_somewhere(&parsed, op, &place, original) {
            prop_assert!(passes(filter.tables(), op, &places), "{} lost {:?}", query, places);
        }
    }
}

/// A property that holds because nothing is ever filtered, or nothing ever matches, shows nothing.
#[test]
fn the_property_is_not_empty() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut dropped, mut selected) = (0, 0);
    for _ in 0..3000 {
        let (condition, place, original) = case().new_tree(&mut runner).unwrap().current();
        let Some((mut filter, parsed)) = filter_of(&format!("file where {condition}")) else { continue };
        let mounted = Mounted { dev: DEV, at: b"/", is_overlay: false, upper: None };
        filter.set_mounts([mounted].into_iter());
        let op = FileOp::Rename;
        let passed = passes(filter.tables(), op, &[&place, &original]);
        let by_table = filter.tables().everything & op_bit(op) == 0;
        dropped += usize::from(!passed);
        selected +=
            usize::from(passed && by_table && matches_somewhere(&parsed, op, &place, Some(&original)));
    }
    assert!(dropped > 300, "{dropped} of 3000 were dropped");
    assert!(selected > 150, "{selected} of 3000 were matched and passed by the tables");
}
