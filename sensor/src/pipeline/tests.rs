//! Recorded bytes to alerts, with the rule that ships, on no kernel at all.

mod containers;
mod exceptions;
mod memory;
mod several;
mod swap;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use sensor_common::wire::{RecordKind, TaskFacts};
use sensor_ecs::{Action, Agent, Ecs, Event, Record, Schema, Value};
use sensor_eql::{LoadedRule, Origin, ProcessVersion, RuleSet, RuleSource};

use super::*;
use crate::decode::synth::{self, ExecSpec};
use crate::enrich::{Enricher, Sources, View};

const SECOND: u64 = 1_000_000_000;
const APT_DIR: &str = "/etc/apt/apt.conf.d";

/// Keeps what it is given, as text.
#[derive(Debug, Default)]
struct Kept {
    events: Vec<String>,
    alerts: Vec<String>,
    /// Whose documents the alerts are about.
    datasets: Vec<String>,
    held_back: Vec<u64>,
    gaps: Vec<u64>,
    /// Alerts of several events: what was kept of each.
    several: Vec<String>,
    /// Events that something was kept of.
    keeps: Cell<usize>,
}

fn field(event: &Event<'_>, name: &str) -> String {
    let id = Ecs.lookup(name).unwrap().id;
    match event.value(id) {
        Value::Keyword(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Absent => "-".to_owned(),
        Value::List(items) => {
            let texts = items.iter().filter_map(|item| item.as_value().as_keyword());
            texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>().join(",")
        }
        other => format!("{other:?}"),
    }
}

impl Output for Kept {
    fn event(&mut self, event: &Event<'_>, _: Option<ProcessVersion>) {
        self.events.push(field(event, "event.action"));
    }

    fn alert(&mut self, hit: &Hit<'_>) {
        let names = [
            "event.action",
            "file.path",
            "file.Ext.original.path",
            "process.executable",
            "process.parent.executable",
            "user.name",
            "process.Ext.degraded",
        ];
        let said: Vec<_> = names.iter().map(|name| field(hit.event, name)).collect();
        self.alerts.push(format!("{:?} {}", hit.view, said.join(" ")));
        self.datasets.push(field(hit.event, "event.dataset"));
    }

    fn keep(&self, event: &Event<'_>, view: View) -> (Box<[u8]>, Box<[u8]>) {
        self.keeps.set(self.keeps.get() + 1);
        let said = ["event.action", "file.path", "process.executable"].map(|name| field(event, name));
        (format!("{view:?} {}", said.join(" ")).into_bytes().into(), Box::default())
    }

    fn alert_of_several(&mut self, hit: &SeveralHit<'_>) {
        let text = |kept: &output::Kept| String::from_utf8_lossy(&kept.bytes).into_owned();
        let said = hit.events.iter().map(|kept| kept.as_deref().map_or_else(|| "nothing".to_owned(), text));
        let end = if hit.current.is_some() { "" } else { ", by time" };
        let lost = if hit.lost_meanwhile > 0 { ", in doubt" } else { "" };
        self.several.push(format!("{}{end}{lost}", said.collect::<Vec<_>>().join(", ")));
    }

    fn leaves_out(&mut self, _left_out: Option<&'static str>) {}

    fn gap(&mut self, gap: &Gap) {
        assert!(gap.start_ns < gap.end_ns);
        self.gaps.push(gap.total());
    }

    fn held_back(&mut self, _rule: &LoadedRule, count: u64, _last_ns: i64) {
        self.held_back.push(count);
    }
}

fn shipped_rules() -> RuleSet {
    fn collect(dir: &Path, out: &mut Vec<RuleSource>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push(RuleSource { origin: Origin::Shipped, path: path.display().to_string(), text });
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules"), &mut files);
    let rules = RuleSet::load(files, &Ecs);
    assert!(!rules.rules().is_empty() && rules.errors().is_empty());
    rules
}

/// Elastic's rule of those that ship: what these tests are about.
fn apt_rule() -> RuleSet {
    let mut rules = shipped_rules();
    rules.retain(|loaded| loaded.rule.id == "7c2e1297-7664-42bc-af11-6d5d35220b6b", &Ecs);
    assert_eq!(rules.rules().len(), 1);
    rules
}

fn engine(root: &Path) -> Engine<Kept> {
    engine_with(root, apt_rule())
}

fn engine_with(root: &Path, rules: RuleSet) -> Engine<Kept> {
    engine_with_exceptions(root, rules, Exceptions::default())
}

fn engine_with_exceptions(root: &Path, rules: RuleSet, exceptions: Exceptions) -> Engine<Kept> {
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    let sources = Sources { root: root.into(), proc_root: root.join("proc"), ..Sources::default() };
    let agent = Agent {
        id: b"agent".as_slice().into(),
        version: b"0".as_slice().into(),
        namespace: b"default".as_slice().into(),
    };
    let enricher = Enricher::new(&sources, agent.into(), 1 << 20).unwrap();
    Engine::new(enricher, rules, exceptions, Kept::default(), 0, Streams::default())
}

/// Runs records through an engine that finds no process in `/proc`.
fn replay(records: &[Vec<u8>]) -> (Totals, Kept) {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine(root.path());
    engine.scanned(Vec::new());
    for bytes in records {
        engine.record(bytes);
    }
    engine.finish(Some(Counted::default()))
}

/// A login shell, and a program that it has started: their records and the program's facts.
fn started(exe: &str) -> (Vec<Vec<u8>>, TaskFacts) {
    let shell = synth::after_exec(&synth::task(900, 9 * SECOND), 41);
    let bash = ExecSpec { exe: "/usr/bin/bash", argv: &["-bash"], ..ExecSpec::default() };
    let child = synth::child_of(&shell, 901, 11 * SECOND);
    let program = synth::after_exec(&child, 42);
    let spec = ExecSpec { exe, argv: &[exe], ..ExecSpec::default() };
    let records = vec![
        synth::exec(&shell, 10 * SECOND, &bash),
        synth::fork(&shell, &child, 11 * SECOND),
        synth::exec(&program, 12 * SECOND, &spec),
    ];
    (records, program)
}

fn alerts_of(exe: &str, act: impl FnOnce(&TaskFacts) -> Vec<u8>) -> Vec<String> {
    let (mut records, task) = started(exe);
    records.push(act(&task));
    replay(&records).1.alerts
}

#[test]
fn a_shell_that_writes_an_apt_hook_raises_one_alert() {
    let (mut records, task) = started("/usr/bin/dash");
    records.push(synth::create(&task, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/"));
    let (totals, kept) = replay(&records);
    assert_eq!(kept.alerts, [format!("Task creation {APT_DIR}/99evil - /usr/bin/dash /usr/bin/bash root ")]);
    assert_eq!(kept.events, ["exec", "fork", "exec", "creation"]);
    assert_eq!((totals.matches, totals.alerts, totals.degraded), (1, 1, 0));
    assert_eq!(totals.events(Action::Creation), 1);
}

#[test]
fn a_rename_into_the_directory_raises_one() {
    let alerts = alerts_of("/usr/bin/mv", |task| {
        synth::rename(task, 13 * SECOND, "/tmp/x", &format!("{APT_DIR}/99evil"))
    });
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].contains(" rename /etc/apt/apt.conf.d/99evil /tmp/x /usr/bin/mv "), "{alerts:?}");
}

#[test]
fn package_managers_and_editors_stay_silent() {
    let create = |name: &'static str| {
        move |task: &TaskFacts| synth::create(task, 13 * SECOND, &format!("{APT_DIR}/{name}"), "/")
    };
    assert_eq!(alerts_of("/usr/bin/dpkg", create("99evil")), [""; 0]);
    assert_eq!(alerts_of("/usr/bin/apt-get", create("99evil")), [""; 0]);
    assert_eq!(alerts_of("/usr/bin/vim", create("99x.swp")), [""; 0]);
    assert_eq!(
        alerts_of("/usr/bin/dash", |task| synth::create(task, 13 * SECOND, "/etc/apt/x", "/")),
        [""; 0]
    );
}

#[test]
fn a_chroot_does_not_blind_the_rule() {
    let alerts =
        alerts_of("/usr/bin/dash", |task| synth::create(task, 13 * SECOND, "/apt.conf.d/99evil", "/etc/apt"));
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].starts_with("Host creation /etc/apt/apt.conf.d/99evil "), "{alerts:?}");
}

#[test]
fn a_process_that_we_lost_is_not_excused() {
    let task = synth::task(900, 9 * SECOND);
    let (totals, kept) = replay(&[synth::create(&task, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/")]);
    assert_eq!(kept.alerts.len(), 1);
    assert!(kept.alerts[0].ends_with(" start_unseen"), "{:?}", kept.alerts);
    assert_eq!((totals.degraded, totals.alerts), (1, 1));
    // A kernel thread has no executable at all, and the rule wants it silent.
    let thread = TaskFacts { exe_inode: 0, ..task };
    assert_eq!(
        replay(&[synth::create(&thread, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/")]).1.alerts,
        [""; 0]
    );
}

#[test]
fn a_lost_exec_is_not_excused_by_the_image_before_it() {
    let (mut records, dpkg) = started("/usr/bin/dpkg");
    let unseen = synth::after_exec(&dpkg, 99);
    records.push(synth::create(&unseen, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/"));
    assert_eq!(replay(&records).1.alerts.len(), 1);
}

#[test]
fn a_flood_is_capped_and_the_rest_is_told() {
    let (mut records, task) = started("/usr/bin/dash");
    for at in 0..150_u64 {
        records.push(synth::create(&task, 13 * SECOND + at, &format!("{APT_DIR}/{at}"), "/"));
    }
    let (totals, kept) = replay(&records);
    assert_eq!((kept.alerts.len(), kept.held_back.as_slice()), (100, [50].as_slice()));
    assert_eq!((totals.matches, totals.held_back, totals.alerts), (150, 50, 100));
    // The next interval has its own hundred.
    for at in 0..150_u64 {
        records.push(synth::create(&task, 613 * SECOND + at, &format!("{APT_DIR}/{at}"), "/"));
    }
    let (_, kept) = replay(&records);
    assert_eq!((kept.alerts.len(), kept.held_back.as_slice()), (200, [50, 50].as_slice()));
}

/// The first is of a clock that was ahead by a day.
#[test]
fn a_clock_that_is_set_back_silences_no_rule() {
    let (mut records, task) = started("/usr/bin/dash");
    records.push(synth::create(&task, 86_413 * SECOND, &format!("{APT_DIR}/ahead"), "/"));
    for begin in [13, 613] {
        for at in 0..150_u64 {
            records.push(synth::create(&task, begin * SECOND + at, &format!("{APT_DIR}/{at}"), "/"));
        }
    }
    let (_, kept) = replay(&records);
    assert_eq!((kept.alerts.len(), kept.held_back.as_slice()), (201, [50, 50].as_slice()));
}

#[test]
fn records_wait_for_the_scan() {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine(root.path());
    let (mut records, task) = started("/usr/bin/dash");
    records.push(synth::create(&task, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/"));
    for bytes in &records {
        engine.record(bytes);
    }
    assert!(engine.is_scanning());
    engine.scanned(Vec::new());
    let (totals, kept) = engine.finish(None);
    assert_eq!((totals.alerts, kept.events.len()), (1, 4));
}

#[test]
fn what_came_before_all_hooks_were_in_place_is_left_to_the_scan() {
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine(root.path());
    engine.since_ns = 12 * SECOND;
    engine.scanned(Vec::new());
    let (records, _) = started("/usr/bin/dash");
    for bytes in &records {
        engine.record(bytes);
    }
    let (totals, kept) = engine.finish(None);
    assert_eq!((totals.early, kept.events.as_slice()), (2, ["exec".to_owned()].as_slice()));
}

#[test]
fn our_own_files_and_broken_records_are_counted() {
    let own = TaskFacts { tgid: std::process::id(), ..synth::task(1, SECOND) };
    let (totals, kept) = replay(&[synth::create(&own, SECOND, "/var/log/x", "/"), vec![1, 2, 3]]);
    assert_eq!((totals.own, totals.undecodable, kept.events.len()), (1, 1, 0));
}

/// Records behind a pipe, which becomes readable as the ring does.
struct Recorded {
    records: VecDeque<Vec<u8>>,
    readable: OwnedFd,
    /// Come in only when the source is detached, as what was under way at the end.
    last: Vec<Vec<u8>>,
    refiltered: usize,
}

impl RecordSource for Recorded {
    fn fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn next_record(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.records.pop_front().map(|bytes| take(&bytes)).is_some()
    }

    fn counted(&mut self) -> io::Result<Counted> {
        let mut counted = Counted::default();
        counted.lost[RecordKind::Exec.index()].ring_full = 2;
        Ok(counted)
    }

    type Filter = ();

    fn refilter(&mut self, (): ()) -> io::Result<()> {
        self.refiltered += 1;
        Ok(())
    }

    fn detach(&mut self) {
        self.records.extend(self.last.drain(..));
    }
}

#[test]
fn the_loop_is_ready_after_the_scan_and_drains_at_the_end() {
    let root = tempfile::tempdir().unwrap();
    let (records, task) = started("/usr/bin/dash");
    let (readable, writable) = io::pipe().unwrap();
    let mut source = Recorded {
        records: records.into(),
        readable: readable.into(),
        last: vec![synth::create(&task, 13 * SECOND, &format!("{APT_DIR}/99evil"), "/")],
        refiltered: 0,
    };
    let board = Board::default();
    let (swap, swaps) = mpsc::channel(1);
    let lines = Lines { board: &board, swaps };
    let engine = engine(root.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (say_ready, is_ready) = tokio::sync::oneshot::channel();
    let stop = async {
        is_ready.await.unwrap();
    };
    let ready = |engine: &Engine<Kept>| {
        assert!(!engine.is_scanning() && engine.processes() > 0);
        say_ready.send(()).unwrap();
    };
    let (totals, kept) =
        runtime.block_on(run(&mut source, engine, "/proc".into(), lines, stop, ready, || {})).unwrap();
    drop((writable, swap));
    assert_eq!(kept.alerts.len(), 1);
    assert!(kept.events.iter().filter(|action| *action == "already_running").count() > 1);
    assert_eq!(totals.lost.unwrap()[RecordKind::Exec.index()].total(), 2);
    assert_eq!((totals.gaps, totals.lost_in_gaps, kept.gaps), (1, 2, vec![2]));
    assert_eq!(totals.events(Action::Exec), 2);
}
