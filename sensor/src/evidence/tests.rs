//! A question and its answers, on a host made for the purpose.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::*;

const RULE: &str = include_str!("../../../rules/linux/persistence_apt_package_manager_file_creation.toml");
const HOOK: &str = "/etc/apt/apt.conf.d/99hook";

fn rule() -> Rule {
    sensor_eql::parse_rule_file("rule.toml", RULE).unwrap().rule.unwrap()
}

/// A process wrote a hook and has ended.
pub(super) fn question(pid: u32) -> Question {
    let rule = rule();
    Question {
        rule_id: rule.id,
        query: rule.query,
        action: Action::Creation,
        path: Some(Text(HOOK.as_bytes().to_vec())),
        host_paths: Vec::new(),
        original: None,
        identity: Identity::default(),
        known: vec![Known {
            pid,
            executable: Some(Text(b"/usr/bin/cp".to_vec())),
            command_line: Some(Text(b"cp x y".to_vec())),
            ..Known::default()
        }],
        document: format!(
            r#"{{"event":{{"category":["file"],"action":"creation"}},"host":{{"os":{{"type":"linux"}}}},
               "file":{{"path":"{HOOK}","name":"99hook"}},
               "process":{{"name":"cp","executable":"/usr/bin/cp"}}}}"#
        )
        .into_bytes(),
        tree: Tree::default(),
        acts: Vec::new(),
        acts_hidden: 0,
        left_out: None,
        followed: true,
        related: Vec::new(),
    }
}

fn host(content: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["etc/apt/apt.conf.d", "var/lib/dpkg/info", "proc"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join("var/lib/dpkg/info/apt.list"), "/etc/apt/apt.conf.d/01autoremove\n").unwrap();
    fs::write(root.path().join("etc/apt/apt.conf.d/01autoremove"), "").unwrap();
    fs::write(root.path().join(HOOK.trim_start_matches('/')), content).unwrap();
    root
}

fn identity(path: &Path) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::symlink_metadata(path).unwrap();
    Identity { device: Some(metadata.dev()), inode: Some(metadata.ino()) }
}

fn answers(question: &Question, root: &Path) -> (Json, String) {
    let places = Places { root: root.into(), proc_root: root.join("proc"), hunting: None };
    let evidence = Mutex::new(Evidence::default());
    let bounds = Bounds::new(&EvidenceSettings::default(), Instant::now() + Duration::from_secs(60));
    gather(question, &places, bounds, &mut package::Known::default(), &evidence);
    let evidence = evidence.into_inner().unwrap();
    let mut json = Vec::new();
    assert!(!write(&evidence, &mut json));
    (serde_json::from_slice(&json).unwrap(), text::lines(&evidence, false))
}

#[test]
fn the_questions_about_a_hook_are_answered() {
    let root = host("APT::Update::Pre-Invoke {\"id\";};\n");
    let file = root.path().join(HOOK.trim_start_matches('/'));
    let (json, text) = answers(&Question { identity: identity(&file), ..question(9) }, root.path());
    assert_eq!(json["file"]["content"]["data"], "APT::Update::Pre-Invoke {\"id\";};\n");
    assert_eq!(json["file"]["identity"], "device_and_inode");
    assert_eq!(json["file"]["apt_hooks"][0]["name"], "APT::Update::Pre-Invoke");
    assert_eq!(json["file"]["apt_hooks"][0]["value"], "id");
    assert_eq!(json["package"]["shipped"], "never");
    assert_eq!(json["ancestry"][0]["reason"], "it has ended");
    assert_eq!(json["ancestry"][0]["executable"], "/usr/bin/cp");
    let names: Vec<_> = json["directory"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert!(
        names.contains(&&Json::from("01autoremove")) && names.contains(&&Json::from("99hook")),
        "{names:?}"
    );
    let owner = json["directory"].as_array().unwrap().iter().find(|entry| entry["name"] == "01autoremove");
    assert_eq!(owner.unwrap()["package"], "apt");
    // One for each alternative behind the rule's `not`.
    assert_eq!(json["exclusions"].as_array().unwrap().len(), 9);
    assert!(json["exception"].as_str().unwrap().contains("file.path == \"/etc/apt/apt.conf.d/99hook\""));
    assert!(json["query"].as_str().unwrap().starts_with("from logs-endpoint.events.file-*"));
    assert!(json["next_steps"].as_array().unwrap().len() >= 4);
    assert!(json["login"]["absent"].is_string());
    assert!(text.contains("APT runs   id   (APT::Update::Pre-Invoke, line 1)"), "{text}");
    assert!(text.contains("package    none has this file"), "{text}");
}

/// The event comes before the first byte.
#[test]
fn a_file_that_is_not_written_yet_is_waited_for() {
    let root = host("");
    let file = root.path().join(HOOK.trim_start_matches('/'));
    let mut opened =
        open::regular(&open::root(Path::new("/")).unwrap(), file.as_os_str().as_bytes(), identity(&file))
            .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            fs::write(&file, "x\n").unwrap();
        });
        content::settle(&mut opened, Instant::now() + Duration::from_secs(60));
    });
    assert_eq!(opened.stat.st_size, 2);
    // Nobody writes: the end of the time is the end.
    fs::write(&file, "").unwrap();
    content::settle(&mut opened, Instant::now() + Duration::from_millis(50));
    assert_eq!(opened.stat.st_size, 0);
}

#[test]
fn another_file_of_the_name_gives_no_content() {
    let root = host("innocent\n");
    let other = Identity { device: Some(1), inode: Some(1) };
    let (json, text) = answers(&Question { identity: other, ..question(9) }, root.path());
    assert_eq!(json["file"]["absent"], "another file has the name now");
    assert!(!text.contains("innocent"));
    // The rest does not depend on it.
    assert!(json["directory"].is_array());
}

/// A container's path is another file's on the host: neither it nor its directory is looked at there.
#[test]
fn a_path_that_differs_on_the_host_is_not_tried_there() {
    let root = host("the host's\n");
    fs::create_dir_all(root.path().join("layers/etc/apt/apt.conf.d")).unwrap();
    fs::write(root.path().join("layers/etc/apt/apt.conf.d/98beside"), "").unwrap();
    let elsewhere = vec![Text(b"/layers/etc/apt/apt.conf.d/99hook".to_vec())];
    let file = root.path().join(HOOK.trim_start_matches('/'));
    // Even the identity of the host's file does not help.
    let asked = Question { host_paths: elsewhere, identity: identity(&file), ..question(9) };
    let (json, text) = answers(&asked, root.path());
    assert_eq!(json["file"]["absent"], "it is not there any more");
    assert_eq!(json["directory"][0]["name"], "98beside");
    assert!(!text.contains("the host's") && !text.contains("01autoremove"), "{text}");
}

#[test]
fn names_cannot_command_the_terminal() {
    let root = host("\x1b]0;owned\x07\n");
    let file = root.path().join(HOOK.trim_start_matches('/'));
    fs::write(root.path().join("etc/apt/apt.conf.d/\x1b[2J"), "").unwrap();
    let (_, text) = answers(&Question { identity: identity(&file), ..question(9) }, root.path());
    assert!(text.contains("\\x1b[2J") && !text.contains('\x1b'), "{text}");
}

/// What is shown of a file is not all that is looked at for hooks.
#[test]
fn a_hook_behind_the_beginning_is_found() {
    let hidden = "DPkg::Pre-In/**/voke {\"/tmp/late\";};";
    for before in [vec![b'#'; 5000], b"//".repeat(100_000), b"# \xff\0".repeat(2000)] {
        let root = host("");
        let file = root.path().join(HOOK.trim_start_matches('/'));
        fs::write(&file, [&before, &b"\n"[..], hidden.as_bytes()].concat()).unwrap();
        let (json, text) = answers(&Question { identity: identity(&file), ..question(9) }, root.path());
        assert_eq!(json["file"]["apt_hooks"][0]["value"], "/tmp/late");
        assert_eq!(json["file"]["content"]["truncated"], true);
        assert!(text.contains("APT runs   /tmp/late   (DPkg::Pre-Invoke, line 2)"), "{text}");
    }
}

#[test]
fn a_large_directory_is_counted() {
    let root = host("x\n");
    for number in 0..10_000 {
        fs::write(root.path().join(format!("etc/apt/apt.conf.d/many-{number}")), "").unwrap();
    }
    let file = root.path().join(HOOK.trim_start_matches('/'));
    let (json, text) = answers(&Question { identity: identity(&file), ..question(9) }, root.path());
    assert_eq!(json["directory"].as_array().unwrap().len(), 32);
    assert_eq!(json["directory_not_shown"], 10_002 - 32);
    assert!(text.contains("(and 9996 more, older)"), "{text}");
}

/// Whoever writes a file says when it was modified, and nobody says when it was changed.
#[test]
fn a_new_file_does_not_look_old() {
    let root = host("x\n");
    let directory = root.path().join("etc/apt/apt.conf.d");
    for number in 0..300 {
        fs::write(directory.join(format!("old-{number}")), "").unwrap();
    }
    let changed = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let last = (0..300).map(|number| changed(&directory.join(format!("old-{number}")))).max();
    let hook = directory.join("99second");
    // The clock of a file system goes in steps.
    while !hook.exists() || Some(changed(&hook)) <= last {
        fs::write(&hook, "").unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1);
        fs::File::open(&hook).unwrap().set_modified(old).unwrap();
    }
    let (json, _) = answers(&question(9), root.path());
    assert_eq!(json["directory"][0]["name"], "99second");
    assert_eq!(json["directory"][0]["modified"], "1970-01-01T00:00:01.000000000Z");
}

/// Without end, as somebody can make it who adds names while they are read.
#[test]
fn a_directory_is_not_read_beyond_the_time() {
    let root = host("x\n");
    let root = open::root(root.path()).unwrap();
    let all = neighbours::of(&root, b"/etc/apt/apt.conf.d", None, Instant::now()).unwrap();
    assert!(all.not_counted && all.files.is_empty());
}

#[test]
fn what_is_no_text_is_shown_by_its_first_bytes() {
    let root = host("");
    let file = root.path().join(HOOK.trim_start_matches('/'));
    fs::write(&file, b"\xff\xfeD\0P\0\x1b\0").unwrap();
    let (json, text) = answers(&Question { identity: identity(&file), ..question(9) }, root.path());
    assert_eq!(json["file"]["content"]["data"], "fffe440050001b00");
    assert!(text.contains("content    no text: \\xff\\xfeD\\x00P\\x00\\x1b\\x00"), "{text}");
}

/// Word by word, as the configuration and the store take them.
#[test]
fn the_query_and_the_exception_are_there_to_be_copied() {
    let root = host("x\n");
    let (json, text) = answers(&question(9), root.path());
    for member in ["query", "exception"] {
        for line in json[member].as_str().unwrap().lines() {
            assert!(text.lines().any(|shown| shown.ends_with(line)), "{line}\n{text}");
        }
    }
    // Of a program that was started, the command is what happened.
    let program = Question { path: None, action: Action::Exec, ..question(9) };
    let (json, _) = answers(&program, root.path());
    let condition =
        "process where process.executable == \"/usr/bin/cp\" and process.command_line == \"cp x y\"";
    assert!(json["exception"].as_str().unwrap().contains(condition), "{json}");
    let odd = Question { path: Some(Text(b"/etc/\xff".to_vec())), ..question(9) };
    let (json, text) = answers(&odd, root.path());
    assert_eq!(json["exception"]["absent"], "the name has bytes that are no text");
    assert!(text.contains("exception  not known: the name has bytes that are no text"), "{text}");
    // What a terminal would show otherwise than it is.
    let turned = Question { path: Some(Text("/etc/\u{202e}x".as_bytes().to_vec())), ..question(9) };
    let (_, text) = answers(&turned, root.path());
    assert!(text.contains("query      has characters that a terminal does not show"), "{text}");
}

#[test]
fn an_entity_id_tells_when_its_process_began() {
    let id = sensor_ecs::entity_id(b"0a-1b-2c", 901, 1100, 5);
    assert_eq!(start_ticks(&id), Some(1100));
    assert_eq!(start_ticks(b"no base64!"), None);
}
