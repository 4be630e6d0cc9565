//! A record and the process table make an event. Nothing is allocated for a file event of a known process.

use std::sync::Arc;

use sensor_common::wire::{FileOp, FileRecord};
use sensor_ecs::{
    Action, Digits, Event, EventMeta, Executable, FileFields, FileType, Image, Integration, Names, Operation,
    Outcome, PathView, ProcessView, rfind,
};
use sensor_eql::ProcessVersion;

use crate::decode::{File, Wire, WirePath};

use super::Enricher;
use super::hashes::Told;
use super::mounts::{Asked, Mounts};
use super::table::{Entry, Key, Relations};

/// By which way a file is named. A rule is asked once for each, with all names by the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// As the acting process sees it: from its root directory.
    Task,
    /// From the root of its mount namespace, which differs for a process with another root.
    Host,
    /// By way of the first mount of the file system: differs for bind mounts, other namespaces, detached trees.
    FileSystem,
    /// In the directory that holds the upper layer of an overlay.
    Upper,
}

impl View {
    /// Every way but the task's, in the order in which they are tried.
    pub(crate) const OTHERS: [Self; 3] = [Self::Host, Self::FileSystem, Self::Upper];

    /// `sensor.view` of alerts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Host => "host",
            Self::FileSystem => "file_system",
            Self::Upper => "overlay_upper",
        }
    }
}

/// An event, and what the matcher must know beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enriched<'a> {
    /// As documents show it: paths as the acting task sees them.
    pub(crate) event: Event<'a>,
    /// The acting process's image is absent because we lost it: its absence proves nothing.
    pub(crate) image_lost: bool,
    /// The acting process as it is now, if further events may come of it like that.
    pub(crate) process: Option<ProcessVersion>,
}

impl<'a> Enriched<'a> {
    /// The same event with the file's names by another way, where those differ.
    pub(crate) fn seen_by(&self, view: View) -> Option<Event<'a>> {
        let file = self.event.file.as_ref()?;
        let names = match view {
            View::Task => return Some(self.event),
            View::Host => file.host,
            View::FileSystem => file.file_system,
            View::Upper => file.upper,
        };
        if !names.is_some() {
            return None;
        }
        let mut named = file.named(names);
        // What the mounter called the directory need not be what it is called now.
        named.path_incomplete |= view == View::Upper;
        let executable = self.executable_by(view);
        let process = self.event.process.map(|process| ProcessView { executable, ..process });
        Some(Event { file: Some(named), process, ..self.event })
    }

    /// The acting program's name by the same way as the file's: with a root or a mount of its own it has any name.
    fn executable_by(&self, view: View) -> Option<&'a Executable> {
        let elsewhere = self.event.process?.process.image.elsewhere.as_deref()?;
        match view {
            View::Task => None,
            View::Host => Some(&elsewhere.host),
            View::FileSystem | View::Upper => Some(&elsewhere.file_system),
        }
    }
}

/// Paths of the event in hand; reused from event to event.
#[derive(Debug, Default)]
pub(super) struct PathBuffers {
    path: Views,
    original: Views,
    target: Vec<u8>,
    within: Vec<u8>,
}

/// The names of one path; empty where there is none or it is no other than one before it.
#[derive(Debug, Default)]
struct Views {
    task: Vec<u8>,
    namespace: Vec<u8>,
    file_system: Vec<u8>,
    upper: Vec<u8>,
}

impl Views {
    fn clear(&mut self) {
        for name in [&mut self.task, &mut self.namespace, &mut self.file_system, &mut self.upper] {
            name.clear();
        }
    }

    /// `beside` are those of a path in the same directory.
    fn set(
        &mut self,
        path: &WirePath<'_>,
        beside: Option<&Self>,
        asked: Asked,
        mounts: &mut Mounts,
        within: &mut Vec<u8>,
    ) {
        self.clear();
        if !path.is_known() {
            return;
        }
        if let (Some(name), Some(beside)) = (path.beside_name(), beside) {
            write_beside(&beside.task, name, &mut self.task);
            write_beside(&beside.namespace, name, &mut self.namespace);
        } else {
            path.write_task_view(&mut self.task);
            if path.views_differ() {
                path.write_namespace_view(&mut self.namespace);
            }
        }
        within.clear();
        // Nearly every file: on the file system that is the host's root, and no mount on the way.
        if path.is_within_one_mount() && mounts.is_root(asked.dev) || !path.write_within_file_system(within) {
            return;
        }
        mounts.names(asked, within, &mut self.file_system, &mut self.upper);
        if [&self.task, &self.namespace].into_iter().any(|known| is_same(&self.file_system, known)) {
            self.file_system.clear();
        }
        let before = [&self.task, &self.namespace, &self.file_system];
        if before.into_iter().any(|known| is_same(&self.upper, known)) {
            self.upper.clear();
        }
    }

    /// Has the name by way of the file system also where it is no other than one before it.
    fn complete(&mut self, path: &WirePath<'_>, dev: u32, mounts: &mut Mounts, within: &mut Vec<u8>) {
        if !self.file_system.is_empty() || !path.is_known() {
            return;
        }
        if path.is_within_one_mount() && mounts.is_root(dev) {
            let known = if self.namespace.is_empty() { &self.task } else { &self.namespace };
            self.file_system.extend_from_slice(known);
            return;
        }
        within.clear();
        if path.write_within_file_system(within) {
            self.file_system = mounts.name(dev, within).unwrap_or_default();
        }
    }
}

/// Appends a name in the directory of another path; the root has none.
fn write_beside(path: &[u8], name: &[u8], out: &mut Vec<u8>) {
    let directory = rfind(b'/', path).and_then(|slash| path.get(..=slash));
    out.extend_from_slice(directory.unwrap_or_default());
    if path.len() > 1 {
        out.extend_from_slice(name);
    }
}

/// Whether both are the same name. Nothing is never compared: a vector that has never held anything points nowhere, and
/// comparing no bytes there costs some 200 ns where `memcmp` does it with masked loads.
fn is_same(name: &[u8], other: &[u8]) -> bool {
    !name.is_empty() && name == other
}

impl PathBuffers {
    fn set(&mut self, file: &File<'_>, mounts: &mut Mounts) {
        let record = &file.record;
        let task = &record.header.task;
        let asked = Asked { pid: task.tgid, mnt_ns: task.mnt_ns, dev: record.dev };
        self.path.set(&file.path, None, asked, mounts, &mut self.within);
        match &file.old_path {
            Some(old_path) => {
                self.original.set(old_path, Some(&self.path), asked, mounts, &mut self.within);
            }
            None => self.original.clear(),
        }
        self.target.clear();
        self.target.extend_from_slice(file.target.unwrap_or_default());
    }

    /// For a program that has other names by other ways: what it does is looked at by each, whatever the file is called.
    #[cold]
    fn complete(&mut self, file: &File<'_>, mounts: &mut Mounts) {
        let dev = file.record.dev;
        self.path.complete(&file.path, dev, mounts, &mut self.within);
        if let Some(old_path) = &file.old_path {
            self.original.complete(old_path, dev, mounts, &mut self.within);
        }
    }

    fn names<'a>(&'a self, renamed: bool, of: impl Fn(&'a Views) -> &'a Vec<u8>) -> Names<'a> {
        let original = if renamed { of(&self.original).as_slice() } else { &[] };
        Names { path: known(of(&self.path).as_slice()), original: known(original) }
    }
}

/// The mode and the owners of the file before, as text: they are mostly those of the next one.
#[derive(Debug)]
pub(super) struct FileNumbers {
    mode: (u32, Digits),
    uid: (u32, Digits),
    gid: (u32, Digits),
}

impl Default for FileNumbers {
    fn default() -> Self {
        Self { mode: (0, Digits::mode(0)), uid: (0, Digits::decimal(0)), gid: (0, Digits::decimal(0)) }
    }
}

impl FileNumbers {
    /// Mode, user, group.
    fn of(&mut self, record: &FileRecord) -> [Digits; 3] {
        let decimal = |number: u32| Digits::decimal(u64::from(number));
        let text = |known: &mut (u32, Digits), number: u32, write: fn(u32) -> Digits| {
            if known.0 != number {
                *known = (number, write(number));
            }
            known.1
        };
        [
            text(&mut self.mode, record.mode, Digits::mode),
            text(&mut self.uid, record.uid, decimal),
            text(&mut self.gid, record.gid, decimal),
        ]
    }
}

/// What was done, as documents say it.
pub(crate) const fn operation(op: FileOp) -> Operation {
    match op {
        FileOp::Open => Operation::Open,
        FileOp::Rename => Operation::Rename,
        FileOp::Exchange => Operation::Exchange,
        FileOp::Mknod => Operation::Mknod,
        FileOp::Link => Operation::Link,
        FileOp::Symlink => Operation::Symlink,
        FileOp::Mkdir => Operation::Mkdir,
        FileOp::Tmpfile => Operation::Tmpfile,
        FileOp::Unlink => Operation::Unlink,
        FileOp::Rmdir => Operation::Rmdir,
    }
}

/// The kernel's number of a device as system calls give it.
fn device(dev: u32) -> u64 {
    rustix::fs::makedev(dev >> 20, dev & 0xf_ffff)
}

/// The kernel leaves what it could not read at zero.
fn known<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

impl Enricher {
    /// The event that a record tells of; a script on its way into an exec is none of its own.
    pub(crate) fn event(&mut self, wire: &Wire<'_>) -> Option<Enriched<'_>> {
        let boot_ns = wire.header().boot_ns;
        match wire {
            Wire::File(file) => self.file(file),
            Wire::Exec(exec) => {
                let (key, previous) = self.exec(exec);
                self.previous = previous;
                Some(self.process_event(Action::Exec, key, boot_ns))
            }
            Wire::Script(script) => {
                self.scripts.note(script, &mut self.mounts);
                None
            }
            Wire::Fork(fork) => {
                let key = self.fork(fork);
                self.previous = None;
                Some(self.process_event(Action::Fork, key, boot_ns))
            }
            Wire::Exit(exit) => {
                let key = self.exit(exit)?;
                self.previous = None;
                Some(self.process_event(Action::End, key, boot_ns))
            }
            Wire::Credentials(change) => {
                let key = self.change_credentials(&change.record);
                self.previous = None;
                let action = if change.of_group { Action::GidChange } else { Action::UidChange };
                Some(self.process_event(action, key, boot_ns))
            }
            Wire::Session(session) => {
                let key = self.locate(&session.header.task, boot_ns);
                self.previous = None;
                Some(self.process_event(Action::SessionIdChange, key, boot_ns))
            }
        }
    }

    /// The event for a process that was there before us.
    pub(crate) fn already_running(&mut self, key: Key, boot_ns: u64) -> Enriched<'_> {
        self.previous = None;
        self.process_event(Action::AlreadyRunning, key, boot_ns)
    }

    fn process_event(&mut self, action: Action, key: Key, boot_ns: u64) -> Enriched<'_> {
        let meta = self.meta(action, boot_ns);
        Enriched {
            event: Event {
                meta,
                host: &self.host,
                agent: &self.agent,
                file: None,
                process: self.view(key, self.previous.as_ref()),
                actor: None,
            },
            image_lost: self.is_image_lost(key),
            process: None,
        }
    }

    /// Always an event. Written at once to where the caller wants it: it is large.
    #[inline(never)]
    fn file(&mut self, file: &File<'_>) -> Option<Enriched<'_>> {
        let record = &file.record;
        let key = self.locate(&record.header.task, record.header.boot_ns);
        self.paths.set(file, &mut self.mounts);
        if self.table.get(key).is_some_and(|entry| entry.process.image.elsewhere.is_some()) {
            self.paths.complete(file, &mut self.mounts);
        }
        let operation = operation(file.op);
        let meta = self.meta(operation.action(), record.header.boot_ns);
        let renamed = operation.action() == Action::Rename && file.old_path.is_some();
        let is_incomplete = |path: &WirePath<'_>| !path.is_known() || path.doubts().next().is_some();
        // The mode has type bits whenever the inode could be read.
        let inode_was_read = record.mode != 0;
        self.file_sha256 = match FileType::from_mode(record.mode) {
            Some(FileType::File) if renamed => {
                let views = &self.paths.path;
                let host_path =
                    [&views.namespace, &views.file_system].into_iter().find(|path| !path.is_empty());
                let told = Told { record, path: &views.task, host_path: host_path.map(Vec::as_slice) };
                self.file_hashes.of_file(&self.proc_root, &self.root, told)
            }
            _ => None,
        };
        let [mode, uid, gid] = self.numbers.of(record);
        let relations = self.table.relations(key);
        let container = relations.and_then(|relations| relations.own.process.container.as_ref());
        Some(Enriched {
            event: Event {
                meta,
                host: &self.host,
                agent: &self.agent,
                file: Some(FileFields {
                    path: PathView::new(&self.paths.path.task),
                    original: renamed.then(|| PathView::new(&self.paths.original.task)),
                    host: self.paths.names(renamed, |views| &views.namespace),
                    file_system: self.paths.names(renamed, |views| &views.file_system),
                    upper: self.paths.names(renamed, |views| &views.upper),
                    device: known(record.dev).map(device),
                    operation: Some(operation),
                    linked_path: known(self.paths.original.task.as_slice())
                        .filter(|_| operation == Operation::Link),
                    path_incomplete: is_incomplete(&file.path)
                        || file.old_path.as_ref().is_some_and(is_incomplete),
                    outside_root: file.path.is_outside_root(),
                    inode: known(record.inode).map(Digits::decimal),
                    mode: inode_was_read.then_some(mode),
                    uid: inode_was_read.then_some(uid),
                    gid: inode_was_read.then_some(gid),
                    owner: self.accounts.user(container, record.uid).filter(|_| inode_was_read),
                    group: self.accounts.group(container, record.gid).filter(|_| inode_was_read),
                    size: inode_was_read.then_some(record.size),
                    mtime_ns: known(record.mtime_ns),
                    ctime_ns: known(record.ctime_ns),
                    file_type: FileType::from_mode(record.mode),
                    target_path: known(self.paths.target.as_slice()),
                    sha256: self.file_sha256.as_deref(),
                    header_bytes: None,
                    entropy: None,
                }),
                process: relations.map(|relations| view(relations, None)),
                actor: None,
            },
            image_lost: relations.is_none_or(|relations| relations.own.image_lost),
            process: relations
                .map(|relations| ProcessVersion { process: key.number(), version: relations.version() }),
        })
    }

    fn meta(&mut self, action: Action, boot_ns: u64) -> EventMeta {
        self.sequence += 1;
        self.event_id = self.event_id.next(self.nonce, self.sequence);
        EventMeta {
            id: self.event_id,
            sequence: self.sequence,
            time_ns: self.clock.wall_ns(boot_ns),
            action,
            // Every hook reports only what has taken effect.
            outcome: Some(Outcome::Success),
            integration: Integration::Endpoint,
        }
    }

    fn is_image_lost(&self, key: Key) -> bool {
        self.table.get(key).is_none_or(|entry| entry.image_lost)
    }

    fn view<'a>(&'a self, key: Key, previous: Option<&'a Arc<Image>>) -> Option<ProcessView<'a>> {
        self.table.relations(key).map(|relations| view(relations, previous))
    }
}

pub(super) fn view<'a>(relations: Relations<'a>, previous: Option<&'a Arc<Image>>) -> ProcessView<'a> {
    let process = |entry: Option<&'a Entry>| entry.map(|entry| &entry.process);
    ProcessView {
        process: &relations.own.process,
        executable: None,
        parent: process(relations.parent),
        group_leader: process(relations.group),
        session_leader: process(relations.session),
        entry_leader: process(relations.entry),
        entry_leader_parent: process(relations.above_entry),
        ancestry: &relations.own.ancestry,
        previous: previous.map(|image| &**image),
    }
}
