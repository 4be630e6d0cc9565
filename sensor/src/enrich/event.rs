//! A record and the process table make an event. Nothing is allocated for a file event of a known process.

use std::sync::Arc;

use sensor_common::wire::FileOp;
use sensor_ecs::{
    Action, Digits, Event, EventId, EventMeta, FileFields, FileType, Image, Outcome, PathView, ProcessView,
};
use sensor_eql::ProcessVersion;

use crate::decode::{File, Wire, WirePath};

use super::Enricher;
use super::table::{Entry, Key, Relations};

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
    /// The same event with its paths as the host sees them, where that differs.
    pub(crate) fn host_view(&self) -> Option<Event<'a>> {
        let file = self.event.file?;
        if file.host_path.is_none() && file.original_host_path.is_none() {
            return None;
        }
        let seen_from_host = FileFields {
            path: file.host_path.map_or(file.path, PathView::new),
            original: file.original_host_path.map(PathView::new).or(file.original),
            ..file
        };
        Some(Event { file: Some(seen_from_host), ..self.event })
    }
}

/// Paths of the event in hand; reused from event to event.
#[derive(Debug, Default)]
pub(super) struct PathBuffers {
    path: Views,
    original: Views,
    target: Vec<u8>,
}

#[derive(Debug, Default)]
struct Views {
    task: Vec<u8>,
    namespace: Vec<u8>,
    differ: bool,
}

impl Views {
    fn set(&mut self, path: Option<&WirePath<'_>>) {
        self.task.clear();
        self.namespace.clear();
        self.differ = false;
        let Some(path) = path.filter(|path| path.is_known()) else { return };
        path.write_task_view(&mut self.task);
        self.differ = path.views_differ();
        if self.differ {
            path.write_namespace_view(&mut self.namespace);
        }
    }

    fn in_namespace(&self) -> Option<&[u8]> {
        self.differ.then_some(self.namespace.as_slice())
    }
}

impl PathBuffers {
    fn set(&mut self, file: &File<'_>) {
        self.path.set(Some(&file.path));
        self.original.set(file.old_path.as_ref());
        self.target.clear();
        self.target.extend_from_slice(file.target.unwrap_or_default());
    }
}

const fn action_of(op: FileOp) -> Action {
    match op {
        FileOp::Create => Action::Creation,
        FileOp::Rename | FileOp::Exchange => Action::Rename,
        FileOp::Mknod => Action::Mknod,
        FileOp::Link => Action::Link,
        FileOp::Symlink => Action::Symlink,
        FileOp::Mkdir => Action::Mkdir,
    }
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
            Wire::File(file) => Some(self.file(file)),
            Wire::Exec(exec) => {
                let (key, previous) = self.exec(exec);
                self.previous = previous;
                Some(self.process_event(Action::Exec, key, boot_ns))
            }
            Wire::Script(script) => {
                self.scripts.note(script);
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

    fn file(&mut self, file: &File<'_>) -> Enriched<'_> {
        let record = &file.record;
        let key = self.locate(&record.header.task, record.header.boot_ns);
        self.paths.set(file);
        let meta = self.meta(action_of(file.op), record.header.boot_ns);
        let is_incomplete = |path: &WirePath<'_>| !path.is_known() || path.doubts().next().is_some();
        // The mode has type bits whenever the inode could be read.
        let inode_was_read = record.mode != 0;
        let fields = FileFields {
            path: PathView::new(&self.paths.path.task),
            host_path: self.paths.path.in_namespace(),
            original: file.old_path.is_some().then(|| PathView::new(&self.paths.original.task)),
            original_host_path: self.paths.original.in_namespace(),
            path_incomplete: is_incomplete(&file.path) || file.old_path.as_ref().is_some_and(is_incomplete),
            inode: known(record.inode).map(Digits::decimal),
            mode: inode_was_read.then(|| Digits::mode(record.mode)),
            uid: inode_was_read.then(|| Digits::decimal(u64::from(record.uid))),
            gid: inode_was_read.then(|| Digits::decimal(u64::from(record.gid))),
            owner: self.accounts.user(record.uid).filter(|_| inode_was_read),
            group: self.accounts.group(record.gid).filter(|_| inode_was_read),
            size: inode_was_read.then_some(record.size),
            mtime_ns: known(record.mtime_ns),
            ctime_ns: known(record.ctime_ns),
            file_type: FileType::from_mode(record.mode),
            target_path: known(self.paths.target.as_slice()),
            sha256: None,
            header_bytes: None,
            entropy: None,
        };
        let relations = self.table.relations(key);
        Enriched {
            event: Event {
                meta,
                host: &self.host,
                agent: &self.agent,
                file: Some(fields),
                process: relations.map(|relations| view(relations, None)),
                actor: None,
            },
            image_lost: relations.is_none_or(|relations| relations.own.image_lost),
            process: relations
                .map(|relations| ProcessVersion { process: key.number(), version: relations.version() }),
        }
    }

    fn meta(&mut self, action: Action, boot_ns: u64) -> EventMeta {
        self.sequence += 1;
        EventMeta {
            id: EventId::new(self.nonce, self.sequence),
            sequence: self.sequence,
            time_ns: self.clock.wall_ns(boot_ns),
            action,
            // Every hook reports only what has taken effect.
            outcome: Some(Outcome::Success),
        }
    }

    fn is_image_lost(&self, key: Key) -> bool {
        self.table.get(key).is_none_or(|entry| entry.image_lost)
    }

    fn view<'a>(&'a self, key: Key, previous: Option<&'a Arc<Image>>) -> Option<ProcessView<'a>> {
        self.table.relations(key).map(|relations| view(relations, previous))
    }
}

fn view<'a>(relations: Relations<'a>, previous: Option<&'a Arc<Image>>) -> ProcessView<'a> {
    let process = |entry: Option<&'a Entry>| entry.map(|entry| &entry.process);
    ProcessView {
        process: &relations.own.process,
        parent: process(relations.parent),
        group_leader: process(relations.group),
        session_leader: process(relations.session),
        entry_leader: process(relations.entry),
        entry_leader_parent: process(relations.above_entry),
        ancestry: &relations.own.ancestry,
        previous: previous.map(|image| &**image),
    }
}
