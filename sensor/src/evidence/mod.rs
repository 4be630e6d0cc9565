//! Evidence: the questions that a person would ask about an alert, answered at once, while the answers can be had.
//!
//! Off the hot path, on a thread that may hang without harm, bounded in time and bytes. What could not be had is
//! absent, with the reason.

mod activity;
mod advice;
mod apt;
mod content;
mod login;
mod neighbours;
mod package;
mod process;
#[cfg(test)]
mod tests;
mod text;
mod why;
mod worker;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use sensor_ecs::{Action, Event, Process, Value, field};
use sensor_eql::Rule;
use serde::{Serialize, Serializer};

use crate::config::EvidenceSettings;
use crate::enrich::Tree;
use crate::hash::Limits;
use crate::open::{self, Identity, Proof};
use activity::{Act, Related};
use content::Content;
use login::Login;
use neighbours::Neighbour;
use package::Package;
use process::{Ancestor, Socket};
use why::Exclusion;

pub(crate) use process::Known;
pub(crate) use worker::{Collector, Pending};

/// Bytes of a foreign origin: text in JSON, escaped where it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::new();
        sensor_ecs::escape::write_json_string(&self.0, &mut json);
        let text: String = serde_json::from_slice(&json).unwrap_or_default();
        to.serialize_str(&text)
    }
}

/// What there is to find out about an alert, taken from its event while it is at hand.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    rule_id: String,
    query: String,
    action: Action,
    /// As the acting process sees it.
    path: Option<Text>,
    /// The other ways to it.
    host_paths: Vec<Text>,
    original: Option<Text>,
    identity: Identity,
    /// The acting process, then its parent.
    known: Vec<Known>,
    /// The event as a document.
    document: Vec<u8>,
    tree: Tree,
    acts: Vec<Act>,
    acts_hidden: u64,
    left_out: Option<&'static str>,
    /// Whether everything is recorded that a tree does after an alert.
    followed: bool,
    related: Vec<Related>,
}

impl Question {
    fn new(rule: &Rule, event: &Event<'_>) -> Self {
        let file = event.file.as_ref();
        let inode = match event.any_value(field::FILE_INODE) {
            Value::Keyword(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            _ => None,
        };
        let view = event.process.as_ref();
        let mut document = Vec::new();
        sensor_ecs::write_json(event, &mut document);
        Self {
            rule_id: rule.id.clone(),
            query: rule.query.clone(),
            action: event.meta.action,
            path: file.map(|file| Text(file.path.path().to_vec())),
            host_paths: file.map_or_else(Vec::new, |file| {
                let ways = [file.file_system.path, file.upper.path, file.host.path];
                ways.into_iter().flatten().map(|path| Text(path.to_vec())).collect()
            }),
            original: file.and_then(|file| file.original).map(|path| Text(path.path().to_vec())),
            identity: Identity { device: file.and_then(|file| file.device), inode },
            known: [view.map(|view| view.process), view.and_then(|view| view.parent)]
                .into_iter()
                .flatten()
                .map(known)
                .collect(),
            document,
            tree: view.map(Tree::of).unwrap_or_default(),
            acts: Vec::new(),
            acts_hidden: 0,
            left_out: None,
            followed: false,
            related: Vec::new(),
        }
    }
}

fn known(process: &Process) -> Known {
    let image = &process.image;
    Known {
        pid: process.pid,
        start_ticks: start_ticks(&process.entity_id),
        executable: image.executable.as_ref().map(|executable| Text(executable.path().to_vec())),
        command_line: image.arguments.command_line.as_ref().map(|line| Text(line.to_vec())),
        sha256: image.sha256.as_deref().map(|sha256| String::from_utf8_lossy(sha256).into_owned()),
    }
}

/// The start time in an entity id: `agent-pid-ticks.boot`.
fn start_ticks(entity_id: &[u8]) -> Option<u64> {
    let plain = base64::engine::general_purpose::STANDARD.decode(entity_id).ok()?;
    let text = String::from_utf8(plain).ok()?;
    text.rsplit_once('-')?.1.split_once('.')?.0.parse().ok()
}

/// Something that was found out, or why not.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Answer<T> {
    Found(T),
    Absent { absent: String },
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self::Absent { absent: "it took too long to get here".to_owned() }
    }
}

impl<T> Answer<T> {
    fn from_result<E: std::fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(found) => Self::Found(found),
            Err(reason) => Self::Absent { absent: reason.to_string() },
        }
    }

    fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent { .. } => None,
        }
    }
}

/// What is known about the file itself.
#[derive(Clone, Debug, Serialize)]
struct FileEvidence {
    /// The path below which root was opened: the acting process's, or the host's.
    root: &'static str,
    identity: Proof,
    size: i64,
    mode: String,
    uid: String,
    gid: String,
    links: u64,
    modified: Text,
    changed: Text,
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256_absent: Option<&'static str>,
    /// What the file makes APT run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    apt_hooks: Vec<apt::Directive>,
    #[serde(skip_serializing_if = "is_zero")]
    apt_hooks_not_shown: u64,
}

/// The answers.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Evidence {
    file: Answer<FileEvidence>,
    package: Answer<Package>,
    ancestry: Answer<Vec<Ancestor>>,
    /// Why there may be more parents.
    #[serde(skip_serializing_if = "Option::is_none")]
    ancestry_incomplete: Option<&'static str>,
    login: Answer<Login>,
    /// Of the process and its parents; read when the alert was raised, not when it happened.
    sockets: Answer<Vec<Socket>>,
    /// Why there may be more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets_incomplete: Option<&'static str>,
    directory: Answer<Vec<Neighbour>>,
    #[serde(skip_serializing_if = "is_zero")]
    directory_not_shown: u64,
    /// There are more than that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    directory_not_counted: bool,
    exclusions: Answer<Vec<Exclusion>>,
    activity: Vec<Act>,
    #[serde(skip_serializing_if = "is_zero")]
    activity_not_shown: u64,
    /// What the tree may have done too: it was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_left_out: Option<String>,
    related_alerts: Vec<Related>,
    next_steps: Vec<String>,
    exception: Answer<String>,
    query: Answer<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where answers are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
    pub(crate) proc_root: PathBuf,
    /// The program that reads what the sensor does not.
    pub(crate) hunting: Option<PathBuf>,
}

/// How far the questions of one alert go.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    deadline: Instant,
    content_bytes: usize,
    hashed_bytes: u64,
}

impl Bounds {
    fn new(settings: &EvidenceSettings, deadline: Instant) -> Self {
        let content_bytes = usize::try_from(settings.content_bytes).unwrap_or(usize::MAX);
        Self { deadline, content_bytes, hashed_bytes: settings.hashed_bytes }
    }

    fn hashing(self) -> Limits {
        Limits { bytes: self.hashed_bytes, deadline: self.deadline }
    }
}

/// A file is known before its first byte is written. Its writer has so much time.
const WRITE_TIME_MAX: Duration = Duration::from_millis(200);

/// Makes a change to the answers.
type Setter<'s> = dyn Fn(&mut dyn FnMut(&mut Evidence)) + 's;

/// Finds out one thing after the other; what is done can be seen in `evidence` all the time, since the next thing
/// may never come back.
fn gather(
    question: &Question,
    places: &Places,
    bounds: Bounds,
    packages: &mut package::Known,
    evidence: &Mutex<Evidence>,
) {
    let deadline = bounds.deadline;
    let set = |change: &mut dyn FnMut(&mut Evidence)| {
        change(&mut evidence.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    };
    set(&mut |evidence| {
        evidence.activity.clone_from(&question.acts);
        evidence.activity_not_shown = question.acts_hidden;
        evidence.activity_left_out = left_out(question);
        evidence.related_alerts.clone_from(&question.related);
        evidence.exclusions = Answer::from_result(why::exclusions(&question.query, &question.document));
        evidence.exception = Answer::from_result(advice::exception(question));
        evidence.query = Answer::from_result(advice::query(question));
        evidence.next_steps = advice::next_steps(question, None, false);
    });
    let proc_root = &places.proc_root;
    // Processes end sooner than files change.
    let (mut chain, chain_incomplete) = process::ancestry(proc_root, &question.known, deadline);
    let ancestry = |chain: &[Ancestor]| match chain.is_empty() {
        true => Answer::from_result(Err("the acting process is not known")),
        false => Answer::Found(chain.to_vec()),
    };
    set(&mut |evidence| {
        evidence.ancestry = ancestry(&chain);
        evidence.ancestry_incomplete = chain_incomplete;
    });
    let (sockets, sockets_incomplete) = process::sockets(proc_root, &chain, deadline);
    set(&mut |evidence| {
        evidence.sockets = Answer::Found(sockets.clone());
        evidence.sockets_incomplete = sockets_incomplete;
    });
    let login = match open::root(&places.root) {
        Ok(root) => login::of(&root, proc_root, &chain, &sockets),
        Err(_) => Err("the host's root cannot be opened"),
    };
    let login =
        login.map_err(|reason| chain_incomplete.map_or(reason, |_| "not all of its parents were looked at"));
    set(&mut |evidence| evidence.login = Answer::from_result(login.clone()));
    about_file(question, places, bounds, packages, &set);
    // Large programs take their time.
    process::hash(proc_root, &mut chain, bounds);
    set(&mut |evidence| evidence.ancestry = ancestry(&chain));
}

/// What is missing from the acts of the tree. After an alert of its own it is followed.
fn left_out(question: &Question) -> Option<String> {
    let left_out = question.left_out?;
    Some(match question.related.first().filter(|_| question.followed) {
        Some(first) => format!("{left_out}, before {}", String::from_utf8_lossy(&first.time.0)),
        None => left_out.to_owned(),
    })
}

fn about_file(
    question: &Question,
    places: &Places,
    bounds: Bounds,
    packages: &mut package::Known,
    set: &Setter<'_>,
) {
    let deadline = bounds.deadline;
    let Some(path) = &question.path else {
        let absent = || "the event is not about a file".to_owned();
        set(&mut |evidence| {
            evidence.file = Answer::Absent { absent: absent() };
            evidence.package = Answer::Absent { absent: absent() };
            evidence.directory = Answer::Absent { absent: absent() };
        });
        return;
    };
    let (rooted, opened) = find(question, places, path);
    let Some(Rooted { fd: root, path, name: root_name }) = rooted else {
        let absent = opened.map_or_else(|refusal| refusal.to_string(), |_| String::new());
        set(&mut |evidence| {
            evidence.file = Answer::Absent { absent: absent.clone() };
            evidence.package = Answer::Absent { absent: absent.clone() };
            evidence.directory = Answer::Absent { absent: absent.clone() };
        });
        return;
    };
    let directory = path.get(..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)).unwrap_or_default();
    let mut opened = opened;
    let file = match &mut opened {
        Ok(opened) => {
            if question.action == Action::Creation {
                content::settle(opened, deadline.min(Instant::now() + WRITE_TIME_MAX));
            }
            file_evidence(opened, &path, root_name, bounds).map_err(|error| error.to_string())
        }
        Err(refusal) => Err(refusal.to_string()),
    };
    let runs_commands = file.as_ref().is_ok_and(|file| !file.apt_hooks.is_empty());
    set(&mut |evidence| evidence.file = Answer::from_result(file.clone()));

    let owners = package::owners(&root, directory, places.hunting.as_deref(), packages, deadline);
    let package = owners.as_ref().map(|owners| package::of(&root, &path, owners, opened.as_mut().ok()));
    set(&mut |evidence| {
        evidence.package = Answer::from_result(package.clone());
        evidence.next_steps = advice::next_steps(question, package.as_ref().ok(), runs_commands);
    });
    let neighbours = neighbours::of(&root, directory, owners.as_ref().ok(), deadline);
    set(&mut |evidence| {
        evidence.directory_not_shown = neighbours.as_ref().map_or(0, |all| all.not_shown);
        evidence.directory_not_counted = neighbours.as_ref().is_ok_and(|all| all.not_counted);
        evidence.directory = Answer::from_result(neighbours.as_ref().map(|all| all.files.clone()));
    });
}

/// A root directory, and the path of the file below it.
struct Rooted {
    fd: OwnedFd,
    path: Vec<u8>,
    name: &'static str,
}

/// Looks for the event's file: below the acting process's root while the process is there, below the host's
/// otherwise. The file's identity decides whether it is the one. Where none is, the directory is looked at all the
/// same, so that a root counts only where the path may be meant: the process must be the one that acted, and a path
/// that is another one on the host is not tried there.
fn find(
    question: &Question,
    places: &Places,
    path: &Text,
) -> (Option<Rooted>, Result<open::Opened, open::Refusal>) {
    let acting = question.known.first().filter(|process| process::is_alive(&places.proc_root, process));
    let process_root = acting.map(|process| {
        (places.proc_root.join(process.pid.to_string()).join("root"), path, "the acting process's root")
    });
    let same = question.host_paths.is_empty().then_some(path);
    let host_paths = question.host_paths.iter().chain(same);
    let on_host = host_paths.map(|path| (places.root.clone(), path, "the host's root"));
    let candidates = process_root.into_iter().chain(on_host);
    let mut best: Option<(Rooted, Result<open::Opened, open::Refusal>)> = None;
    for (root, path, name) in candidates {
        let Ok(fd) = open::root(&root) else { continue };
        let opened = open::regular(&fd, &path.0, question.identity);
        let rooted = Rooted { fd, path: path.0.clone(), name };
        if opened.is_ok() {
            return (Some(rooted), opened);
        }
        // The first refusal is the telling one.
        best.get_or_insert((rooted, opened));
    }
    match best {
        Some((rooted, opened)) => (Some(rooted), opened),
        None => (None, Err(open::Refusal::Gone)),
    }
}

fn file_evidence(
    opened: &mut open::Opened,
    path: &[u8],
    root: &'static str,
    bounds: Bounds,
) -> std::io::Result<FileEvidence> {
    let is_configuration = apt::is_configuration(path);
    let read = content::read(opened, bounds, if is_configuration { apt::BYTES_MAX } else { 0 })?;
    let stat = &opened.stat;
    let apt::Found { directives, not_listed } =
        if is_configuration { apt::directives(&read.beginning) } else { apt::Found::default() };
    Ok(FileEvidence {
        root,
        identity: opened.proof,
        size: stat.st_size,
        mode: format!("{:04o}", stat.st_mode & 0o7777),
        uid: stat.st_uid.to_string(),
        gid: stat.st_gid.to_string(),
        links: stat.st_nlink,
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        apt_hooks: directives,
        apt_hooks_not_shown: not_listed,
        content: read.content,
        sha256_absent: read.sha256.as_ref().err().copied(),
        sha256: read.sha256.ok(),
    })
}

/// The type of the nanoseconds is not the same on every target.
fn time(seconds: i64, nanos: impl TryInto<i64>) -> Text {
    let nanos = nanos.try_into().unwrap_or(0);
    Text(sensor_ecs::time::rfc3339(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)).to_vec())
}

/// The part of an alert document that the evidence is; whether any text in it is escaped.
pub(crate) fn write(evidence: &Evidence, out: &mut Vec<u8>) -> bool {
    let from = out.len();
    if serde_json::to_writer(&mut *out, evidence).is_err() {
        out.truncate(from);
        out.extend_from_slice(b"{}");
    }
    let text = std::str::from_utf8(out.get(from..).unwrap_or_default()).unwrap_or_default();
    text.chars().any(|character| ('\u{f780}'..='\u{f7ff}').contains(&character))
}
