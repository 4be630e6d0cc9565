//! Alerts as documents and as text.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sensor_ecs::{
    Account, Action, Agent, Arguments, Container, Credentials, Digits, Document, Ecs, Event, EventId,
    EventMeta, Executable, FileFields, FileType, Host, Image, Integration, Names, OpenSchema, Outcome,
    PathView, Process, ProcessView, Record as _, Text, Value, field, write_json,
};
use sensor_eql::{Origin, Rule, RuleSet, RuleSource, parse_rule_file};
use serde_json::Value as Json;

use super::document::{AlertId, write_alert, write_alert_of_several, write_held_back};
use super::text::{Colour, alert, alert_of_several, held_back, part};
use crate::enrich::View;
use crate::pipeline::{Kept, SeveralHit};

const TIME_NS: i64 = 1_767_323_045_123_456_789;
const RULE: &str = include_str!("../../../rules/linux/persistence_apt_package_manager_file_creation.toml");

fn bytes(text: &str) -> Text {
    text.as_bytes().into()
}

fn rule() -> Rule {
    parse_rule_file("rule.toml", RULE).unwrap().rule.unwrap()
}

fn account(id: &str, name: &str) -> Account {
    Account { id: Some(bytes(id)), name: Some(bytes(name)) }
}

fn process(pid: u32, executable: &str, argv: &[u8]) -> Process {
    Process {
        image: Arc::new(Image {
            executable: Some(Executable::new(executable.as_bytes())),
            arguments: Arguments::from_nul_terminated(argv, None, false),
            ..Image::default()
        }),
        credentials: Arc::new(Credentials {
            user: account("0", "root"),
            group: account("0", "root"),
            real_user: account("1000", "alice"),
            real_group: account("1000", "alice"),
            ..Credentials::default()
        }),
        working_directory: Some(bytes("/root")),
        ..Process::new(pid, bytes(&format!("entity-{pid}")))
    }
}

struct Scene {
    host: Host,
    agent: Agent,
    shell: Process,
    copy: Process,
}

impl Scene {
    fn new() -> Self {
        let mut copy = process(901, "/usr/bin/cp", b"cp\0/tmp/x\0/etc/apt/apt.conf.d/99evil\0");
        copy.container = Some(Arc::new(Container {
            id: bytes("8d38b2f1"),
            runtime: None,
            name: None,
            image_name: None,
            image_tags: vec![],
            image_hashes: vec![],
            pod: None,
        }));
        Self {
            host: Host { name: bytes("web01"), hostname: bytes("web01"), ..Host::default() },
            agent: Agent { id: bytes("agent"), version: bytes("0.1.0"), namespace: bytes("default") },
            shell: process(900, "/usr/bin/bash", b"-bash\0"),
            copy,
        }
    }

    fn event(&self, action: Action) -> Event<'_> {
        Event {
            meta: EventMeta {
                id: EventId::new([1; 10], 2),
                sequence: 2,
                time_ns: TIME_NS,
                action,
                outcome: Some(Outcome::Success),
                integration: Integration::Endpoint,
            },
            host: &self.host,
            agent: &self.agent,
            file: action.is_file().then(|| FileFields {
                host: Names { path: Some(b"/var/lib/box/etc/apt/apt.conf.d/99evil"), original: None },
                original: (action == Action::Rename).then(|| PathView::new(b"/tmp/x")),
                mode: Some(Digits::mode(0o100_644)),
                owner: Some(b"root"),
                group: Some(b"root"),
                size: Some(12),
                file_type: Some(FileType::File),
                ..FileFields::new(b"/etc/apt/apt.conf.d/99evil")
            }),
            process: Some(ProcessView {
                parent: Some(&self.shell),
                session_leader: Some(&self.shell),
                group_leader: Some(&self.copy),
                ..ProcessView::new(&self.copy)
            }),
            actor: None,
        }
    }
}

fn own() -> AlertId {
    AlertId { id: EventId::new([9; 10], 1), sequence: 1 }
}

fn document(event: &Event<'_>) -> (Vec<u8>, Json) {
    let mut line = Vec::new();
    write_alert(&rule(), event, View::Task, own(), &mut line);
    let json = serde_json::from_slice(&line).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&line));
    });
    (line, json)
}

#[test]
fn the_document_says_rule_threat_and_whole_event() {
    let scene = Scene::new();
    let (_, json) = document(&scene.event(Action::Rename));
    assert_eq!(json["event"]["kind"], "alert");
    assert_eq!(json["event"]["category"], serde_json::json!(["malware", "intrusion_detection", "file"]));
    assert_eq!((&json["event"]["severity"], &json["event"]["risk_score"]), (&47.into(), &47.into()));
    assert_eq!(json["rule"]["id"], "7c2e1297-7664-42bc-af11-6d5d35220b6b");
    assert_eq!(json["rule"]["version"], "5");
    assert_eq!(json["data_stream"]["dataset"], "endpoint.alerts");
    let message = "Malicious Behavior Detection Alert: APT Package Manager Configuration File Creation";
    assert_eq!(json["message"], message);
    assert_eq!(json["file"]["Ext"]["original"]["path"], "/tmp/x");
    assert_eq!(json["process"]["parent"]["command_line"], "-bash");
    assert_eq!(json["process"]["user"]["name"], "root");
    let event = &json["Events"][0];
    assert_eq!((&event["_label"], &event["_state"]), (&"file".into(), &0.into()));
    assert_eq!(event["event"]["action"], "rename");
    assert_ne!(event["event"]["id"], json["event"]["id"]);
    let threat = json["threat"].as_array().unwrap();
    assert_eq!(threat.len(), 2);
    assert_eq!(threat[0]["technique"][1]["subtechnique"][0]["id"], "T1546.016");
    assert_eq!(threat[1]["tactic"]["id"], "TA0005");
    assert!(threat[1].get("technique").is_none());
}

fn types(path: &str, json: &Json, into: &mut BTreeMap<String, &'static str>) {
    let kind = match json {
        Json::Object(members) => {
            for (key, value) in members {
                types(&format!("{path}.{key}"), value, into);
            }
            "object"
        }
        Json::Array(items) => {
            for item in items {
                types(&format!("{path}[]"), item, into);
            }
            "array"
        }
        Json::String(_) => "string",
        Json::Number(_) => "number",
        Json::Bool(_) => "boolean",
        Json::Null => "null",
    };
    into.insert(path.to_owned(), kind);
}

#[test]
fn the_document_has_the_shape_of_the_sample() {
    let data = std::env::var_os("SENSOR_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let Ok(sample) = std::fs::read(data.join("ecs-samples/alert.json")) else {
        println!("skipped: no sample data; set SENSOR_TEST_DATA");
        return;
    };
    let (mut expected, mut ours) = (BTreeMap::new(), BTreeMap::new());
    types("", &serde_json::from_slice(&sample).unwrap(), &mut expected);
    let scene = Scene::new();
    types("", &document(&scene.event(Action::Creation)).1, &mut ours);
    let own_parts = [".event", ".rule", ".threat", ".data_stream", ".message", ".Events", ".@timestamp"];
    for (path, kind) in &expected {
        if own_parts.iter().any(|part| path.starts_with(part)) && !path.starts_with(".Events[].") {
            assert_eq!(ours.get(path), Some(kind), "{path}");
        } else if let Some(ours) = ours.get(path) {
            assert_eq!(ours, kind, "{path}");
        }
    }
}

#[test]
fn an_escaped_name_flags_alert_and_event_and_reads_back() {
    let scene = Scene::new();
    let mut event = scene.event(Action::Creation);
    event.file = Some(FileFields::new(b"/etc/\xff"));
    let (line, json) = document(&event);
    assert_eq!(json["sensor"]["escaped"], true);
    assert_eq!(json["Events"][0]["sensor"]["escaped"], true);
    let mut read = Document::new();
    read.parse(&line, &OpenSchema::new()).unwrap();
    assert_eq!(read.value(field::FILE_PATH), Value::Keyword(b"/etc/\xff"));
}

fn kept(event: &Event<'_>) -> Option<Arc<Kept>> {
    let mut line = Vec::new();
    write_json(event, &mut line);
    let (action, time_ns, sequence) = (event.meta.action, event.meta.time_ns, event.meta.sequence);
    Some(Arc::new(Kept {
        bytes: line.into(),
        text: Box::default(),
        action,
        time_ns,
        sequence,
        view: View::Task,
        satisfied: Box::default(),
    }))
}

#[test]
fn an_alert_of_several_events_carries_them_all_and_tells_of_the_last() {
    let scene = Scene::new();
    let mut exec = scene.event(Action::Exec);
    exec.meta.sequence = 1;
    let mut file = scene.event(Action::Creation);
    file.file = Some(FileFields::new(b"/etc/\xff"));
    let rule = RuleSet::load(
        [RuleSource { origin: Origin::User, path: "rule.toml".to_owned(), text: RULE.to_owned() }],
        &Ecs,
    );
    let rule = &rule.rules()[0];
    let events = [kept(&exec), None, kept(&file)];
    for current in [Some(&file), None] {
        let mut line = Vec::new();
        write_alert_of_several(
            &SeveralHit { rule, events: &events, lost_meanwhile: 5, current },
            &scene.agent,
            own(),
            &mut line,
        );
        let json: Json = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["event"]["category"], serde_json::json!(["malware", "intrusion_detection", "file"]));
        assert_eq!((&json["sensor"]["escaped"], &json["host"]["name"]), (&true.into(), &"web01".into()));
        assert_eq!(json["process"]["executable"], "/usr/bin/cp");
        assert_eq!(json["sensor"]["lost_meanwhile"], 5);
        let of = |at: usize, name: &str| json["Events"][at][name].clone();
        assert_eq!([of(0, "_label"), of(1, "_label")], ["process", "file"]);
        assert_eq!([of(0, "_state"), of(1, "_state")], [0, 2]);
        assert_eq!(json["Events"][0]["event"]["action"], "exec");
        assert_eq!(json["Events"][1]["event"]["action"], "creation");
        let mut read = Document::new();
        read.parse(&line, &OpenSchema::new()).unwrap();
        assert_eq!(read.value(field::FILE_PATH), Value::Keyword(b"/etc/\xff"));
    }
}

#[test]
fn the_text_of_several_events_names_each_and_fits_on_a_screen() {
    let scene = Scene::new();
    let one = part(&scene.event(Action::Exec), View::Task, Colour::No);
    let parts = [Some(one.as_bytes()), None];
    let text = alert_of_several(&rule(), &parts, 3, Colour::No);
    assert!(text.starts_with("ALERT MEDIUM 47  APT") && text.contains("  event 1 of 2\n  when "), "{text}");
    assert!(
        text.contains("  event 2 of 2: did not come\n  doubt      3 events of that time are lost"),
        "{text}"
    );
    let text = alert_of_several(&rule(), &[Some(one.as_bytes()); 500], 0, Colour::No);
    assert_eq!(text.matches("program started").count(), 8);
    assert!(text.contains("  and        492 more\n  event 500 of 500\n"), "{text}");
}

#[test]
fn what_a_cap_held_back_is_an_alert_of_its_own() {
    let scene = Scene::new();
    let mut line = Vec::new();
    write_held_back(&rule(), &scene.agent, 37, TIME_NS, own(), &mut line);
    let json: Json = serde_json::from_slice(&line).unwrap();
    assert_eq!(json["sensor"]["held_back"], 37);
    assert!(json["message"].as_str().unwrap().ends_with("37 further matches held back"));
    assert!(held_back(&rule(), 37, TIME_NS, Colour::No).contains("37 further matches"));
}

#[test]
fn the_text_tells_what_who_and_from_where() {
    let scene = Scene::new();
    let text = alert(&rule(), &scene.event(Action::Rename), View::Task, Colour::No);
    let expected = "\
ALERT MEDIUM 47  APT Package Manager Configuration File Creation
  when       2026-01-02 03:04:05.123 UTC on web01
  what       file renamed
  file       /etc/apt/apt.conf.d/99evil
  was        /tmp/x
  on host    /var/lib/box/etc/apt/apt.conf.d/99evil
  attributes file 0644 root:root 12 bytes
  process    /usr/bin/cp (pid 901)  cp /tmp/x /etc/apt/apt.conf.d/99evil
  directory  /root
  user       root (0) really alice (1000) group root (0)
  parent     /usr/bin/bash (pid 900)  -bash
  container  8d38b2f1
  ATT&CK     Persistence TA0003: Create or Modify System Process T1543; Event Triggered Execution T1546, Installer Packages T1546.016; Hijack Execution Flow T1574
  ATT&CK     Defense Evasion TA0005
  rule       7c2e1297-7664-42bc-af11-6d5d35220b6b version 5
  event      AQEBAQEBAQEBAQAAAAAAAAAC
";
    assert_eq!(text, expected);
}

#[test]
fn only_our_own_colours_reach_the_terminal() {
    let mut scene = Scene::new();
    scene.shell = process(900, "/tmp/\x1b[2J\u{202e}", b"\x1b]0;x\x07\0\n\0");
    scene.host.name = bytes("\x1b[31mhost");
    let mut event = scene.event(Action::Exec);
    event.file = Some(FileFields::new(b"/etc/\x9b\n\x1b[1;1HALERT"));
    let plain = alert(&rule(), &event, View::Host, Colour::No);
    assert!(plain.chars().all(|character| character == '\n' || !character.is_control()), "{plain:?}");
    assert!(!plain.contains('\u{202e}'));
    let lines = plain.lines().count();
    let coloured = alert(&rule(), &event, View::Host, Colour::Yes);
    assert_eq!(coloured.lines().count(), lines);
    let mut rest = coloured.clone();
    for own in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;33m"] {
        rest = rest.replace(own, "");
    }
    assert_eq!(rest, plain);
}
