//! Our documents beside documents written by hand from Elastic Defend's documentation.

#![expect(clippy::unwrap_used, reason = "helpers of tests count as tests")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sensor_ecs::{
    Account, Action, Agent, Arguments, Credentials, Digits, Document, EntryMeta, EntryType, Event, EventId,
    EventMeta, Executable, FieldType, FileFields, FileType, Host, Image, Integration, OpenSchema, Outcome,
    PathView, Process, ProcessView, Record, Scalar, Text, Tty, Value, capabilities, field, fields,
    write_json,
};
use serde_json::Value as Json;

const TIME_NS: i64 = 1_767_323_045_123_456_789;

fn bytes(text: &str) -> Text {
    text.as_bytes().into()
}

fn scalar(text: &str) -> Scalar {
    Scalar::Keyword(Cow::Owned(text.as_bytes().to_vec()))
}

fn account(id: &str, name: &str) -> Account {
    Account { id: Some(bytes(id)), name: Some(bytes(name)) }
}

fn process(pid: u32, entity_id: &str, executable: &str, argv: &str) -> Process {
    Process {
        start_ns: Some(TIME_NS),
        image: Arc::new(Image {
            executable: Some(Executable::new(executable.as_bytes())),
            arguments: Arguments::from_nul_terminated(argv.as_bytes(), None, false),
            ..Image::default()
        }),
        credentials: Arc::new(Credentials {
            user: account("0", "root"),
            group: account("0", "root"),
            real_user: account("1000", "alice"),
            real_group: account("1000", "alice"),
            capabilities_effective: capabilities(1 | 1 << 21),
            capabilities_permitted: capabilities(1 | 1 << 21),
            ..Credentials::default()
        }),
        working_directory: Some(bytes("/root")),
        tty: Some(Tty { major: 136, minor: 1 }),
        interactive: Some(true),
        ..Process::new(pid, bytes(entity_id))
    }
}

/// The scene of the samples: alice's root shell copies a file.
struct Scene {
    host: Host,
    agent: Agent,
    shell: Process,
    copy: Process,
    login: Process,
    ancestry: Vec<Scalar>,
}

impl Scene {
    fn new() -> Self {
        let id = |name: &str| format!("NzgyOWYyNmQtYzJkMS00ZWFmLWExYWMtY2Q5Y2I5ZTEyZjc1{name}");
        let mut shell = process(900, &id("LTkwMC0xMDAw"), "/usr/bin/bash", "-bash\0");
        shell.entry_meta =
            Some(EntryMeta { entry_type: EntryType::Sshd, source_ip: Some(bytes("10.0.2.2")) });
        Self {
            host: Host {
                id: Some(bytes("48c1b3f1ac5da4e0057fc9f60f4d1d5d")),
                hostname: bytes("web01"),
                name: bytes("web01"),
                architecture: bytes("x86_64"),
                kernel: bytes("6.1.0-18-amd64 #1 SMP"),
                os_name: Some(bytes("Debian GNU/Linux")),
                os_id: Some(bytes("debian")),
                os_version: Some(bytes("12")),
                os_full: Some(bytes("Debian GNU/Linux 12")),
                ip: vec![scalar("10.0.2.15"), scalar("fe80::1")],
                mac: vec![scalar("02-B6-64-F1-A5-F0")],
                ..Host::default()
            },
            agent: Agent {
                id: bytes("7829f26d-c2d1-4eaf-a1ac-cd9cb9e12f75"),
                version: bytes("0.1.0"),
                namespace: bytes("default"),
            },
            copy: process(
                901,
                &id("LTkwMS0xMTAw"),
                "/usr/bin/cp",
                "cp\0/tmp/x\0/etc/apt/apt.conf.d/99evil\0",
            ),
            login: Process { start_ns: Some(TIME_NS), ..Process::new(800, bytes(&id("LTgwMC05MDA="))) },
            ancestry: ["LTkwMC0xMDAw", "LTgwMC05MDA=", "LTEtMA=="]
                .iter()
                .map(|name| scalar(&id(name)))
                .collect(),
            shell,
        }
    }

    fn event(&self, action: Action, sequence: u64) -> Event<'_> {
        let meta = EventMeta {
            id: EventId::new([0; 10], sequence),
            sequence,
            time_ns: TIME_NS,
            action,
            outcome: Some(Outcome::Success),
            integration: Integration::Endpoint,
        };
        let file = action.is_file().then(|| FileFields {
            inode: Some(Digits::decimal(256_383)),
            mode: Some(Digits::mode(0o100_644)),
            uid: Some(Digits::decimal(0)),
            gid: Some(Digits::decimal(0)),
            owner: Some(b"root"),
            group: Some(b"root"),
            size: Some(0),
            file_type: Some(FileType::File),
            ..FileFields::new(b"/etc/apt/apt.conf.d/99evil")
        });
        let process = ProcessView {
            parent: Some(&self.shell),
            group_leader: Some(&self.copy),
            session_leader: Some(&self.shell),
            entry_leader: Some(&self.shell),
            entry_leader_parent: Some(&self.login),
            ancestry: &self.ancestry,
            previous: Some(&self.shell.image),
            ..ProcessView::new(&self.copy)
        };
        Event { meta, host: &self.host, agent: &self.agent, file, process: Some(process), actor: None }
    }
}

fn tree(event: &Event<'_>) -> Json {
    let mut json = Vec::new();
    write_json(event, &mut json);
    serde_json::from_slice(&json).unwrap()
}

fn flatten(path: &str, json: &Json, into: &mut BTreeMap<String, Json>) {
    match json {
        Json::Object(members) => {
            for (key, value) in members {
                flatten(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, into);
            }
        }
        leaf => {
            into.insert(path.to_owned(), leaf.clone());
        }
    }
}

fn flat(json: &Json) -> BTreeMap<String, Json> {
    let mut into = BTreeMap::new();
    flatten("", json, &mut into);
    into
}

fn data_directory() -> Option<PathBuf> {
    let directory = std::env::var_os("SENSOR_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    directory.is_dir().then_some(directory)
}

#[test]
fn documents_have_the_values_and_the_nesting_of_the_samples() {
    let Some(directory) = data_directory() else {
        println!("skipped: no sample data; set SENSOR_TEST_DATA");
        return;
    };
    let scene = Scene::new();
    for (sample, action, sequence) in
        [("exec", Action::Exec, 1), ("creation", Action::Creation, 2), ("rename", Action::Rename, 3)]
    {
        let text = std::fs::read_to_string(directory.join(format!("ecs-samples/{sample}.json"))).unwrap();
        let expected = flat(&serde_json::from_str(&text).unwrap());
        let mut event = scene.event(action, sequence);
        if let (Action::Rename, Some(file)) = (action, &mut event.file) {
            file.original = Some(PathView::new(b"/etc/apt/apt.conf.d/99evil"));
            file.path = PathView::new(b"/etc/apt/apt.conf.d/99evil.conf");
        }
        let ours = flat(&tree(&event));
        for (name, value) in &expected {
            if name == "event.id" {
                assert_eq!(ours[name].as_str().unwrap().len(), 24);
                continue;
            }
            assert_eq!(ours.get(name), Some(value), "{sample}: {name}");
        }
        let more: Vec<_> = ours.keys().filter(|name| !expected.contains_key(*name)).collect();
        let expected_more = |name: &str| {
            name.starts_with("host.")
                || name.ends_with(".command_line")
                || (action.is_file()
                    && ["args", "args_count", "parent.name", "parent.executable", "working_directory"]
                        .iter()
                        .any(|known| name == format!("process.{known}")))
                || (!action.is_file() && name == "process.ppid")
        };
        assert!(more.iter().all(|name| expected_more(name)), "{sample}: unexpected {more:?}");
    }
}

#[test]
fn a_sample_reads_as_a_record() {
    let Some(directory) = data_directory() else {
        println!("skipped: no sample data; set SENSOR_TEST_DATA");
        return;
    };
    let schema = OpenSchema::new();
    let mut document = Document::new();
    for sample in ["exec", "creation", "rename", "alert"] {
        let text = std::fs::read(directory.join(format!("ecs-samples/{sample}.json"))).unwrap();
        document.parse(&text, &schema).unwrap();
        assert_eq!(document.malformed(), 0, "{sample}");
        assert_eq!(document.value(field::PROCESS_PID), Value::Long(901), "{sample}");
        assert_eq!(document.value(field::TIMESTAMP), Value::Date(TIME_NS), "{sample}");
    }
}

/// The type that JSON must have for the field to be mapped as the table says.
fn json_type_fits(ty: FieldType, json: &Json) -> bool {
    match json {
        Json::Array(items) => !items.is_empty() && items.iter().all(|item| json_type_fits(ty, item)),
        Json::Object(members) => !members.is_empty(),
        _ => match ty {
            FieldType::Keyword | FieldType::Ip => json.is_string(),
            FieldType::Long => json.is_i64(),
            FieldType::Double => json.is_number(),
            FieldType::Boolean => json.is_boolean(),
            FieldType::Date => json.as_str().is_some_and(|text| text.len() == 30 && text.ends_with('Z')),
        },
    }
}

#[test]
fn every_value_has_its_fields_type() {
    let scene = Scene::new();
    for action in Action::ALL {
        for (name, value) in flat(&tree(&scene.event(action, 7))) {
            if name == "process.previous" {
                assert_eq!(value[0]["executable"], "/usr/bin/bash");
                continue;
            }
            let ty = fields::find(&name).unwrap_or_else(|| panic!("{name} is not in the table")).ty;
            assert!(json_type_fits(ty, &value), "{name}: {value}");
        }
        let json = tree(&scene.event(action, 7));
        assert!(json["event"]["category"].is_array() && json["event"]["type"].is_array());
        assert_eq!(json["data_stream"]["dataset"], json["event"]["dataset"]);
        assert_eq!(json["event"]["action"], action.name());
    }
}

#[test]
fn what_is_not_known_is_not_in_the_document() {
    let scene = Scene::new();
    let unknown = Process::new(7, bytes("id"));
    let mut event = scene.event(Action::Creation, 1);
    event.process = Some(ProcessView::new(&unknown));
    event.file = Some(FileFields::new(b"/x"));
    event.meta.outcome = None;
    let json = tree(&event);
    assert_eq!(json["process"], serde_json::json!({"entity_id": "id", "pid": 7}));
    assert_eq!(json["file"], serde_json::json!({"name": "x", "path": "/x"}));
    assert!(
        json["event"].get("outcome").is_none() && json.get("user").is_none() && json.get("sensor").is_none()
    );
    event.process = None;
    assert!(tree(&event).get("process").is_none());
}

#[test]
fn escaped_text_flags_its_document() {
    let scene = Scene::new();
    let mut event = scene.event(Action::Creation, 1);
    event.file = Some(FileFields::new(b"/tmp/\xff\x1b[2J"));
    let json = tree(&event);
    assert_eq!(json["file"]["path"], "/tmp/\u{f7ff}\u{1b}[2J");
    assert_eq!(json["sensor"], serde_json::json!({"escaped": true}));
    let mut line = Vec::new();
    write_json(&event, &mut line);
    let mut document = Document::new();
    document.parse(&line, &OpenSchema::new()).unwrap();
    assert_eq!(document.value(field::FILE_PATH), Value::Keyword(b"/tmp/\xff\x1b[2J"));
}

#[test]
fn foreign_documents_are_read_by_the_types_of_their_fields() {
    let schema = OpenSchema::new();
    let port = sensor_ecs::Schema::lookup(&schema, "destination.port").unwrap().id;
    let mut document = Document::new();
    document
        .parse(
            r#"{"@timestamp": 1700000000001, "process.pid": "12", "process": {"args": ["a", 7, null], "exit_code": 3.9,
                "interactive": "true", "start": "2026-01-02T03:04:05Z", "parent": {"pid": "x"}},
                "user": {"id": 0, "name": null}, "event": {"category": "network"}, "destination": {"port": "443"},
                "file": {"path": "\uf7ff"}}"#
                .as_bytes(),
            &schema,
        )
        .unwrap();
    assert_eq!(document.value(field::TIMESTAMP), Value::Date(1_700_000_000_001_000_000));
    assert_eq!(document.value(field::PROCESS_PID), Value::Long(12));
    assert_eq!(
        document.value(field::PROCESS_ARGS),
        Value::List(&[Scalar::keyword("a"), Scalar::keyword("7")])
    );
    assert_eq!(document.value(field::PROCESS_EXIT_CODE), Value::Long(3));
    assert_eq!(document.value(field::PROCESS_INTERACTIVE), Value::Boolean(true));
    assert_eq!(document.value(field::PROCESS_START), Value::Date(1_767_323_045_000_000_000));
    assert_eq!(document.value(field::USER_ID), Value::Keyword(b"0"));
    assert_eq!(document.value(field::USER_NAME), Value::Absent);
    assert_eq!(document.value(field::EVENT_CATEGORY), Value::Keyword(b"network"));
    assert_eq!(document.value(port), Value::Long(443));
    // Without the flag the character is genuine.
    assert_eq!(document.value(field::FILE_PATH), Value::Keyword("\u{f7ff}".as_bytes()));
    assert_eq!(document.value(field::PROCESS_PARENT_PID), Value::Keyword(b"x"));
    assert_eq!(document.malformed(), 1);
}

#[test]
fn a_bad_line_says_where_and_why() {
    let mut document = Document::new();
    for (line, column, cause) in [
        (&b"{\"a\": 1"[..], 7, "EOF while parsing an object"),
        (b"[1]", 0, "invalid type: sequence, expected a JSON object"),
        (b"{} {}", 4, "trailing characters"),
        (b"{\"a\": \"\xff\"}", 9, "invalid unicode code point"),
    ] {
        let error = document.parse(line, &OpenSchema::new()).unwrap_err();
        assert!(error.to_string().starts_with(cause), "{error}");
        assert!(error.column().abs_diff(column) <= 1, "{error}: column {}", error.column());
    }
}

#[test]
fn elements_of_an_array_of_objects_are_brought_together() {
    let mut document = Document::new();
    let schema = OpenSchema::new();
    for _ in 0..2 {
        document
            .parse(
                br#"{"process":{"previous":[{"args":["a","b"],"args_count":2},{"args":["c"],"args_count":1}]},
                     "process.previous.args":"d"}"#,
                &schema,
            )
            .unwrap();
        let args = ["a", "b", "c", "d"].map(scalar);
        assert_eq!(document.value(field::PROCESS_PREVIOUS_ARGS), Value::List(&args));
        let counts = [Scalar::Long(2), Scalar::Long(1)];
        assert_eq!(document.value(field::PROCESS_PREVIOUS_ARGS_COUNT), Value::List(&counts));
    }
    document.parse(b"{}", &schema).unwrap();
    assert!(document.value(field::PROCESS_PREVIOUS_ARGS).is_absent());
}
