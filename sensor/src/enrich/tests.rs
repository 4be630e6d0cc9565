//! Records in, events out: which process, which image, which relations.

use sensor_common::wire::TaskFacts;
use sensor_ecs::{Ecs, Record, Schema, Value};

use super::inside::tests::{container_root, process_in};
use super::seed::tests::fake_process;
use super::*;
use crate::decode::decode;
use crate::decode::synth::{self, ExecSpec};

const SECOND: u64 = 1_000_000_000;

/// Field values of one event, by name, and whether its image was lost.
pub(super) struct Seen {
    fields: std::collections::BTreeMap<String, String>,
    image_lost: bool,
}

impl Seen {
    fn of(enriched: &Enriched<'_>) -> Self {
        let show = |value: Value<'_>| -> Option<String> {
            let keyword = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            match value {
                Value::Absent => None,
                Value::Keyword(bytes) => Some(keyword(bytes)),
                Value::Long(n) => Some(n.to_string()),
                Value::Double(n) => Some(n.to_string()),
                Value::Boolean(b) => Some(b.to_string()),
                Value::Date(ns) => Some(ns.to_string()),
                Value::List([]) => None,
                Value::List(items) => Some(
                    items
                        .iter()
                        .map(|item| item.as_value().as_keyword().map_or_else(String::new, keyword))
                        .collect::<Vec<_>>()
                        .join(","),
                ),
            }
        };
        let names = Ecs.names();
        let field = |name: &str| Ecs.lookup(name).and_then(|field| show(enriched.event.value(field.id)));
        let fields: std::collections::BTreeMap<_, _> =
            names.iter().filter_map(|name| Some((name.to_string(), field(name)?))).collect();
        // Rules that ask for others are never asked themselves.
        let is_said = |name: &String| Ecs.lookup(name).is_some_and(|field| Ecs.fills(field.id));
        assert!(fields.keys().all(is_said), "{:?}", fields.keys().find(|name| !is_said(name)));
        Self { fields, image_lost: enriched.image_lost }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        assert!(Ecs.lookup(name).is_some(), "no field {name}");
        self.fields.get(name).map(String::as_str)
    }

    #[track_caller]
    pub(super) fn is(&self, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            let wanted = (!value.is_empty()).then_some(*value);
            assert_eq!(self.get(name), wanted, "{name}");
        }
    }
}

pub(super) struct Bench {
    root: tempfile::TempDir,
    pub(super) enricher: Enricher,
}

impl Bench {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nalice:x:1000:\n").unwrap();
        let sources =
            Sources { root: root.path().into(), proc_root: root.path().join("proc"), ..Sources::default() };
        let agent = Agent {
            id: b"agent".as_slice().into(),
            version: b"0".as_slice().into(),
            namespace: b"default".as_slice().into(),
        };
        let mut enricher = Enricher::new(&sources, agent.into(), 1 << 20).unwrap();
        enricher.clock = BootClock::with_offset(0);
        Self { root, enricher }
    }

    fn feed(&mut self, bytes: &[u8]) -> Option<Seen> {
        self.enricher.event(&decode(bytes).unwrap()).map(|enriched| Seen::of(&enriched))
    }

    #[track_caller]
    pub(super) fn see(&mut self, bytes: &[u8]) -> Seen {
        self.feed(bytes).unwrap()
    }

    pub(super) fn proc_root(&self) -> PathBuf {
        self.root.path().join("proc")
    }
}

fn shell() -> (TaskFacts, Vec<u8>) {
    let task = synth::after_exec(&synth::task(900, 9 * SECOND), 41);
    let spec = ExecSpec {
        exe: "/usr/bin/bash",
        argv: &["-bash"],
        cwd: "/root",
        tty: (136, 0),
        ..ExecSpec::default()
    };
    let bytes = synth::exec(&task, 10 * SECOND, &spec);
    (task, bytes)
}

#[test]
fn a_creation_names_its_process_and_parent() {
    let mut bench = Bench::new();
    let (parent, bytes) = shell();
    bench.see(&bytes).is(&[
        ("event.action", "exec"),
        ("process.executable", "/usr/bin/bash"),
        ("process.name", "bash"),
        ("process.command_line", "-bash"),
        ("process.args_count", "1"),
        ("process.working_directory", "/root"),
        ("process.interactive", "true"),
        ("process.Ext.degraded", ""),
    ]);
    let child = synth::child_of(&parent, 901, 11 * SECOND);
    bench.see(&synth::fork(&parent, &child, 11 * SECOND)).is(&[
        ("event.action", "fork"),
        ("process.pid", "901"),
        ("process.executable", "/usr/bin/bash"),
        ("process.parent.pid", "900"),
    ]);
    let child = synth::after_exec(&child, 42);
    let spec = ExecSpec { exe: "/usr/bin/cp", argv: &["cp", "/tmp/x", "/etc/y"], ..ExecSpec::default() };
    bench.see(&synth::exec(&child, 12 * SECOND, &spec)).is(&[
        ("process.previous.executable", "/usr/bin/bash"),
        ("process.previous.args", "-bash"),
        ("process.parent.name", "bash"),
    ]);
    let seen = bench.see(&synth::create(&child, 13 * SECOND, "/etc/apt/apt.conf.d/99evil", "/"));
    seen.is(&[
        ("@timestamp", "13000000000"),
        ("event.action", "creation"),
        ("event.type", "creation"),
        ("event.outcome", "success"),
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.name", "99evil"),
        ("file.extension", ""),
        ("file.mode", "0644"),
        ("file.owner", "root"),
        ("file.type", "file"),
        ("process.executable", "/usr/bin/cp"),
        ("process.command_line", "cp /tmp/x /etc/y"),
        ("user.id", "0"),
        ("user.name", "root"),
        ("process.Ext.degraded", ""),
    ]);
    assert!(!seen.image_lost);
}

#[test]
fn entity_ids_survive_exec_and_make_the_ancestry() {
    let mut bench = Bench::new();
    let (parent, bytes) = shell();
    let parent_id = bench.see(&bytes).get("process.entity_id").unwrap().to_owned();
    let child = synth::child_of(&parent, 901, 11 * SECOND);
    let forked = bench.see(&synth::fork(&parent, &child, 11 * SECOND));
    let child = synth::after_exec(&child, 42);
    let run = bench.see(&synth::exec(&child, 12 * SECOND, &ExecSpec::default()));
    assert_eq!(forked.get("process.entity_id"), run.get("process.entity_id"));
    assert_ne!(forked.get("process.entity_id"), Some(parent_id.as_str()));
    assert_eq!(run.get("process.parent.entity_id"), Some(parent_id.as_str()));
    assert!(run.get("process.Ext.ancestry").unwrap().starts_with(&parent_id));
}

#[test]
fn a_rename_has_both_paths() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    bench.see(&synth::rename(&task, 11 * SECOND, "/tmp/x.dpkg-new", "/etc/apt/apt.conf.d/99evil")).is(&[
        ("event.action", "rename"),
        ("event.type", "change"),
        ("file.path", "/etc/apt/apt.conf.d/99evil"),
        ("file.Ext.original.path", "/tmp/x.dpkg-new"),
        ("file.Ext.original.name", "x.dpkg-new"),
        ("file.Ext.original.extension", "dpkg-new"),
    ]);
}

#[test]
fn a_chrooted_process_has_two_names_for_its_file() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    let bytes = synth::create(&task, 11 * SECOND, "/apt.conf.d/99evil", "/etc/apt");
    let wire = decode(&bytes).unwrap();
    let enriched = bench.enricher.event(&wire).unwrap();
    Seen::of(&enriched)
        .is(&[("file.path", "/apt.conf.d/99evil"), ("file.Ext.host_path", "/etc/apt/apt.conf.d/99evil")]);
    let host = Enriched { event: enriched.seen_by(View::Host).unwrap(), ..enriched };
    Seen::of(&host).is(&[("file.path", "/etc/apt/apt.conf.d/99evil")]);
}

#[test]
fn a_script_is_the_executable_not_its_interpreter() {
    let mut bench = Bench::new();
    let before = synth::task(900, 9 * SECOND);
    let task = synth::after_exec(&before, 43);
    let spec = ExecSpec {
        exe: "/usr/bin/dash",
        argv: &["/bin/sh", "./x.postinst", "configure"],
        cwd: "/var/lib/dpkg/info",
        filename: "./x.postinst",
        interp: "/bin/sh",
        ..ExecSpec::default()
    };
    assert!(bench.feed(&synth::script(&before, 9 * SECOND, "/var/lib/dpkg/info/x.postinst")).is_none());
    bench.see(&synth::exec(&task, 10 * SECOND, &spec)).is(&[
        ("process.executable", "/var/lib/dpkg/info/x.postinst"),
        ("process.name", "x.postinst"),
        ("process.command_line", "/bin/sh ./x.postinst configure"),
        ("process.Ext.degraded", ""),
    ]);
    // Without its script record, the caller's words are joined with the working directory, and marked.
    bench.see(&synth::exec(&synth::after_exec(&task, 43), 11 * SECOND, &spec)).is(&[
        ("process.executable", "/var/lib/dpkg/info/x.postinst"),
        ("process.Ext.degraded", "executable_incomplete"),
    ]);
    let climbing = ExecSpec { filename: "/tmp/link/../../usr/bin/dpkg", ..spec };
    let later = synth::after_exec(&synth::after_exec(&task, 43), 43);
    bench.see(&synth::exec(&later, 12 * SECOND, &climbing)).is(&[("process.executable", "/usr/bin/dash")]);
    // A descriptor is no name.
    let by_descriptor = ExecSpec { filename: "/dev/fd/3", ..spec };
    bench
        .see(&synth::exec(&synth::after_exec(&synth::after_exec(&task, 43), 43), 12 * SECOND, &by_descriptor))
        .is(&[("process.executable", "/usr/bin/dash"), ("process.Ext.degraded", "executable_incomplete")]);
}

#[test]
fn a_file_run_by_descriptor_has_its_own_path() {
    let mut bench = Bench::new();
    let task = synth::after_exec(&synth::task(900, 9 * SECOND), 43);
    let spec = ExecSpec { exe: "/tmp/evil", filename: "/dev/fd/3", ..ExecSpec::default() };
    bench.see(&synth::exec(&task, 10 * SECOND, &spec)).is(&[("process.executable", "/tmp/evil")]);
}

#[test]
fn a_lost_exec_is_never_answered_with_the_old_image() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    let unseen = synth::after_exec(&task, 99);
    let seen = bench.see(&synth::create(&unseen, 11 * SECOND, "/etc/x", "/"));
    seen.is(&[("process.executable", ""), ("process.Ext.degraded", "records_lost,start_unseen")]);
    assert!(seen.image_lost);
    assert_eq!(bench.enricher.stats().images_lost, 1);
    // The next exec that is seen puts it right.
    let seen = bench.see(&synth::exec(&synth::after_exec(&unseen, 42), 12 * SECOND, &ExecSpec::default()));
    seen.is(&[
        ("process.executable", "/usr/bin/true"),
        ("process.Ext.degraded", ""),
        ("process.previous.executable", ""),
    ]);
    assert!(!seen.image_lost);
}

#[test]
fn a_lost_exec_is_repaired_while_the_process_lives() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    let exe = bench.root.path().join("evil");
    let inode = fake_process(&bench.proc_root(), 900, 1, 900, &exe, "evil now");
    let seen = bench.see(&synth::create(&synth::after_exec(&task, inode), 11 * SECOND, "/etc/x", "/"));
    seen.is(&[
        ("process.executable", exe.to_str().unwrap()),
        ("process.Ext.degraded", "records_lost,from_proc"),
    ]);
    assert!(!seen.image_lost);
    assert_eq!(bench.enricher.stats().repaired, 1);
    // Once agreed, it is not looked up again.
    bench.see(&synth::create(&synth::after_exec(&task, inode), 12 * SECOND, "/etc/y", "/"));
    assert_eq!(bench.enricher.stats().repaired, 1);
}

#[test]
fn a_forged_executable_does_not_change_the_image() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    let forged = TaskFacts { exe_inode: 4711, ..task };
    bench
        .see(&synth::create(&forged, 11 * SECOND, "/etc/x", "/"))
        .is(&[("process.executable", "/usr/bin/bash"), ("process.Ext.degraded", "")]);
}

#[test]
fn an_unknown_process_is_looked_up_or_marked() {
    let mut bench = Bench::new();
    let task = synth::task(900, 9 * SECOND);
    let seen = bench.see(&synth::create(&task, 10 * SECOND, "/etc/x", "/"));
    seen.is(&[("process.pid", "900"), ("process.executable", ""), ("process.Ext.degraded", "start_unseen")]);
    assert!(seen.image_lost);

    let exe = bench.root.path().join("tool");
    let inode = fake_process(&bench.proc_root(), 901, 1, 900, &exe, "tool");
    let known = TaskFacts { exe_inode: inode, ..synth::task(901, 9 * SECOND) };
    let seen = bench.see(&synth::create(&known, 10 * SECOND, "/etc/x", "/"));
    seen.is(&[("process.name", "tool"), ("process.Ext.degraded", "from_proc")]);
    assert!(!seen.image_lost);

    // Another process has the pid by now.
    let reused = TaskFacts { exe_inode: inode, ..synth::task(901, 8 * SECOND) };
    let seen = bench.see(&synth::create(&reused, 10 * SECOND, "/etc/x", "/"));
    assert!(seen.image_lost && seen.get("process.executable").is_none());
}

#[test]
fn a_kernel_thread_has_no_image_to_lose() {
    let mut bench = Bench::new();
    let thread = TaskFacts { exe_inode: 0, ppid: 2, ..synth::task(77, 2 * SECOND) };
    let seen = bench.see(&synth::create(&thread, 10 * SECOND, "/core", "/"));
    assert!(!seen.image_lost && seen.get("process.executable").is_none());
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    let first = bench.see(&bytes).get("process.entity_id").unwrap().to_owned();
    bench.see(&synth::exit(&task, 11 * SECOND, 0));
    let parent = synth::task(1, SECOND);
    let reused = synth::child_of(&parent, 900, 20 * SECOND);
    let seen = bench.see(&synth::fork(&parent, &reused, 20 * SECOND));
    assert_ne!(seen.get("process.entity_id"), Some(first.as_str()));
    assert_ne!(seen.get("process.executable"), Some("/usr/bin/bash"));
}

#[test]
fn an_end_tells_how() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    bench.see(&synth::exit(&task, 11 * SECOND, 3 << 8)).is(&[
        ("event.action", "end"),
        ("process.exit_code", "3"),
        ("process.end", "11000000000"),
    ]);
    let mut bench = Bench::new();
    bench.see(&bytes);
    bench.see(&synth::exit(&task, 11 * SECOND, 9)).is(&[("process.exit_code", "137")]);
}

#[test]
fn an_end_that_is_told_twice_is_one_event() {
    let mut bench = Bench::new();
    let (task, bytes) = shell();
    bench.see(&bytes);
    bench.see(&synth::exit(&task, 11 * SECOND, 0));
    assert!(bench.feed(&synth::exit(&task, 11 * SECOND + 1, 0)).is_none());
    let parent = synth::task(1, SECOND);
    let reused = synth::child_of(&parent, task.tgid, 20 * SECOND);
    bench.see(&synth::fork(&parent, &reused, 20 * SECOND));
    bench.see(&synth::exit(&reused, 21 * SECOND, 0)).is(&[("event.action", "end")]);
}

#[test]
fn a_parent_that_is_gone_is_replaced_by_the_next() {
    let mut bench = Bench::new();
    let init = synth::after_exec(&TaskFacts { ppid: 0, ..synth::task(1, SECOND / 100) }, 5);
    bench.see(&synth::exec(
        &init,
        SECOND,
        &ExecSpec { exe: "/usr/lib/systemd/systemd", ..ExecSpec::default() },
    ));
    let (parent, bytes) = shell();
    bench.see(&bytes);
    let child = synth::child_of(&parent, 901, 11 * SECOND);
    bench.see(&synth::fork(&parent, &child, 11 * SECOND));
    bench.see(&synth::exit(&parent, 12 * SECOND, 0));
    let adopted = TaskFacts { ppid: 1, parent_start_boottime_ns: init.start_boottime_ns, ..child };
    bench.enricher.tick(60 * SECOND);
    bench
        .see(&synth::exit(&adopted, 61 * SECOND, 0))
        .is(&[("process.parent.name", "systemd"), ("process.session_leader.name", "bash")]);
}

#[test]
fn sessions_are_traced_to_their_entry() {
    let mut bench = Bench::new();
    let sshd = synth::after_exec(&synth::task(500, 5 * SECOND), 7);
    bench.see(&synth::exec(&sshd, 5 * SECOND, &ExecSpec { exe: "/usr/sbin/sshd", ..ExecSpec::default() }));
    let shell = TaskFacts { sid: 501, pgid: 501, ..synth::child_of(&sshd, 501, 6 * SECOND) };
    bench.see(&synth::fork(&sshd, &shell, 6 * SECOND));
    let shell = synth::after_exec(&shell, 8);
    let spec = ExecSpec { exe: "/usr/bin/bash", tty: (136, 0), ..ExecSpec::default() };
    bench
        .see(&synth::exec(&shell, 7 * SECOND, &spec))
        .is(&[("process.entry_leader.entry_meta.type", "sshd")]);
    let child = synth::child_of(&shell, 502, 8 * SECOND);
    bench.see(&synth::fork(&shell, &child, 8 * SECOND)).is(&[
        ("process.entry_leader.pid", "501"),
        ("process.entry_leader.parent.pid", "500"),
        ("process.session_leader.pid", "501"),
        ("process.group_leader.pid", "501"),
    ]);
}

#[test]
fn ids_and_containers_follow_the_record() {
    let mut bench = Bench::new();
    let root = container_root("root:x:0:0::/:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n");
    process_in(&bench.proc_root(), 900, root.path(), "");
    let id = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";
    let task = TaskFacts { cgroup_id: 7, ..synth::after_exec(&synth::task(900, 9 * SECOND), 41) };
    let state = bench.root.path().join("var/lib/docker/containers").join(id);
    std::fs::create_dir_all(&state).unwrap();
    let said = r#"{"Name":"/web","Image":"sha256:ab","Config":{"Image":"nginx:1.27","Labels":{
        "io.kubernetes.pod.name":"front-1","io.kubernetes.pod.namespace":"shop"}}}"#;
    std::fs::write(state.join("config.v2.json"), said).unwrap();
    let pod = "kubepods-besteffort-pod09a70ae9_ccc4_91e6_51e5_c773579b3490.slice";
    let cgroup = format!("/kubepods.slice/kubepods-besteffort.slice/{pod}/docker-{id}.scope");
    let spec = ExecSpec { cgroup: &cgroup, ..ExecSpec::default() };
    bench.see(&synth::exec(&task, 10 * SECOND, &spec)).is(&[
        ("container.id", id),
        ("container.runtime", "docker"),
        ("container.name", "web"),
        ("container.image.name", "nginx:1.27"),
        ("container.image.tag", "1.27"),
        ("container.image.hash.all", "sha256:ab"),
        ("orchestrator.namespace", "shop"),
        ("orchestrator.resource.name", "front-1"),
        ("orchestrator.resource.type", "pod"),
        ("user.name", "root"),
    ]);
    let dropped = TaskFacts { uid: 1000, euid: 1000, ..task };
    bench.see(&synth::exit(&dropped, 11 * SECOND, 0)).is(&[("user.id", "1000"), ("user.name", "node")]);
}

#[test]
fn processes_that_were_there_are_found() {
    let mut bench = Bench::new();
    let (proc_root, dir) = (bench.proc_root(), bench.root.path().to_owned());
    fake_process(&proc_root, 1, 0, 1, &dir.join("systemd"), "/sbin/init");
    let inode = fake_process(&proc_root, 900, 1, 900, &dir.join("bash"), "-bash");
    let found: Vec<_> =
        pids(&proc_root).unwrap().into_iter().filter_map(|pid| read_process(&proc_root, pid)).collect();
    assert_eq!(found.len(), 2);
    let keys = bench.enricher.seed(found, 10 * SECOND);
    let running = Seen::of(&bench.enricher.already_running(keys[1], 10 * SECOND));
    running.is(&[
        ("event.action", "already_running"),
        ("process.name", "bash"),
        ("process.parent.name", "systemd"),
        ("process.working_directory", "/root"),
        ("process.interactive", "true"),
        ("process.entry_leader.entry_meta.type", "init"),
        ("process.Ext.degraded", ""),
    ]);
    // The first record has the exact start time, within the same 10 ms, and is believed.
    let task = TaskFacts {
        exe_inode: inode,
        parent_start_boottime_ns: SECOND / 100,
        ..synth::task(900, 9 * SECOND + 1234)
    };
    let seen = bench.see(&synth::create(&task, 11 * SECOND, "/etc/x", "/"));
    seen.is(&[("process.name", "bash"), ("process.parent.name", "systemd"), ("process.Ext.degraded", "")]);
    assert_eq!(seen.get("process.entity_id"), running.get("process.entity_id"));
    assert_eq!(bench.enricher.stats(), EnrichStats::default());
}
