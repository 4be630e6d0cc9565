//! Exec, fork and exit on this host's own kernel: what can be seen where file events may be refused.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests count as tests"
)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const SENSOR: &str = env!("CARGO_BIN_EXE_sensor");
const LIMIT: Duration = Duration::from_secs(30);

const RULE: &str = r#"[metadata]
maturity = "production"
[rule]
author = ["sensor"]
description = "A test's program."
index = ["logs-endpoint.events.process*"]
language = "eql"
license = "MIT"
name = "Probe"
risk_score = 1
rule_id = "00000000-0000-4000-8000-000000000009"
severity = "low"
type = "eql"
query = 'process where event.action == "exec" and process.name == "native-probe.sh"'
"#;

/// Why the sensor cannot be tried here, if it cannot.
fn obstacle() -> Option<String> {
    let doctor = Command::new(SENSOR).arg("doctor").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let seen =
        |name: &str| said.lines().any(|line| line.starts_with(name) && line.trim_end().ends_with("seen"));
    if ["exec ", "fork ", "exit "].into_iter().all(seen) {
        return None;
    }
    let line = said.lines().find(|line| line.contains("none can be tried") || line.contains("NOT SEEN"));
    Some(line.unwrap_or("the sensor cannot work here").split_whitespace().collect::<Vec<_>>().join(" "))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a sensor, lets `act` happen, stops it; its events, its alerts and what it said.
fn watch(dir: &Path, attach: &str, act: impl FnOnce()) -> (Vec<Value>, Vec<Value>, String) {
    let path = |name: &str| dir.join(name);
    fs::write(path("rule.toml"), RULE).unwrap();
    let child = Command::new(SENSOR)
        .args(["run", "--attach", attach, "--output"])
        .arg(path("events"))
        .arg("--alerts")
        .arg(path("alerts"))
        .arg("--rules")
        .arg(path("rule.toml"))
        .arg("--state-directory")
        .arg(path("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(path("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let said = || fs::read_to_string(path("stderr")).unwrap_or_default();
    let start = Instant::now();
    while !said().contains("sensor: ready") {
        assert!(child.0.try_wait().unwrap().is_none(), "it ended: {}", said());
        assert!(start.elapsed() < LIMIT, "not ready: {}", said());
        thread::sleep(Duration::from_millis(5));
    }
    act();
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < LIMIT, "it does not stop: {}", said());
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}: {}", said());
    let lines = |name: &str| {
        let text = fs::read_to_string(path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    (lines("events"), lines("alerts"), said())
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn with_action<'a>(events: &'a [Value], action: &str, executable: &str) -> Vec<&'a Value> {
    let wanted = |event: &&Value| {
        text(event, "/event/action") == action && text(event, "/process/executable") == executable
    };
    events.iter().filter(wanted).collect()
}

fn programs_and_scripts_are_seen(attach: &str) {
    if let Some(reason) = obstacle() {
        println!("skipped: {reason}");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().canonicalize().unwrap();
    let script = dir.join("native-probe.sh");
    fs::write(&script, "#!/bin/sh\n[ \"$1\" = 'two words' ] && exit 3\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (events, alerts, said) = watch(&dir, attach, || {
        // Relative, so that an absolute path is the sensor's own doing.
        let status = Command::new("./native-probe.sh").arg("two words").current_dir(&dir).status().unwrap();
        assert_eq!(status.code(), Some(3));
    });
    let script = script.to_str().unwrap();
    let execs = with_action(&events, "exec", script);
    let [exec] = execs.as_slice() else { panic!("{} execs of {script}: {said}", execs.len()) };
    assert_eq!(exec["process"]["args"], serde_json::json!(["/bin/sh", "./native-probe.sh", "two words"]));
    assert_eq!(text(exec, "/process/working_directory"), dir.to_str().unwrap());
    assert_eq!(text(exec, "/process/name"), "native-probe.sh");
    assert_eq!(exec["process"]["parent"]["pid"], std::process::id());
    // Without the hook that names scripts the path is put together, and says so.
    let is_doubtful = exec["process"]["Ext"]["degraded"]
        .as_array()
        .is_some_and(|why| why.contains(&Value::from("executable_incomplete")));
    assert_eq!(is_doubtful, said.contains("script path: NOT available"), "{exec}");
    let pid = &exec["process"]["pid"];
    assert!(
        events.iter().any(|event| text(event, "/event/action") == "fork" && event["process"]["pid"] == *pid)
    );
    let ends = with_action(&events, "end", script);
    let [end] = ends.as_slice() else { panic!("{} ends of {script}", ends.len()) };
    assert_eq!((&end["process"]["pid"], &end["process"]["exit_code"]), (pid, &Value::from(3)));
    assert_eq!(alerts.len(), 1, "{said}");
}

#[test]
fn programs_and_scripts_are_seen_on_this_kernel() {
    programs_and_scripts_are_seen("auto");
}

#[test]
fn programs_and_scripts_are_seen_through_raw_tracepoints() {
    programs_and_scripts_are_seen("raw-tp");
}
