//! One event, as a view over parts that live elsewhere: a file event costs no allocation.

use crate::digits::Digits;
use crate::fields::{Documents, row};
use crate::file::{Executable, PathView};
use crate::host::{Agent, Host};
use crate::id::EventId;
use crate::process::{Credentials, Image, Process};
use crate::value::{FieldId, Scalar};

/// What happened: `event.action`, and with it category, type and data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A file name came to be, in whichever way but a rename: [`Operation`] says which.
    Creation,
    /// A file or directory changed its name.
    Rename,
    /// A name was removed.
    Deletion,
    /// A process runs a new image.
    Exec,
    /// A process was forked.
    Fork,
    /// A process ended.
    End,
    /// A process was there before the sensor.
    AlreadyRunning,
    /// A process changed its user.
    UidChange,
    /// A process changed its group.
    GidChange,
    /// A process opened a session.
    SessionIdChange,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Creation,
        Self::Rename,
        Self::Deletion,
        Self::Exec,
        Self::Fork,
        Self::End,
        Self::AlreadyRunning,
        Self::UidChange,
        Self::GidChange,
        Self::SessionIdChange,
    ];

    /// `event.action`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Rename => "rename",
            Self::Deletion => "deletion",
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::End => "end",
            Self::AlreadyRunning => "already_running",
            Self::UidChange => "uid_change",
            Self::GidChange => "gid_change",
            Self::SessionIdChange => "session_id_change",
        }
    }

    /// Whether this is a file event; the others are process events.
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, Self::Creation | Self::Rename | Self::Deletion)
    }

    /// Whether any document of such an event has the field.
    #[must_use]
    pub fn has(self, id: FieldId) -> bool {
        row(id).is_some_and(|row| row.documents.meets(self.documents()))
    }

    pub(crate) const fn documents(self) -> Documents {
        if self.is_file() { Documents::FILE } else { Documents::PROCESS }
    }

    /// `event.category`.
    #[must_use]
    pub fn category(self) -> &'static [Scalar] {
        static FILE: [Scalar; 1] = [Scalar::keyword("file")];
        static PROCESS: [Scalar; 1] = [Scalar::keyword("process")];
        if self.is_file() { &FILE } else { &PROCESS }
    }

    /// `event.type`.
    #[must_use]
    pub fn event_type(self) -> &'static [Scalar] {
        static CREATION: [Scalar; 1] = [Scalar::keyword("creation")];
        static CHANGE: [Scalar; 1] = [Scalar::keyword("change")];
        static DELETION: [Scalar; 1] = [Scalar::keyword("deletion")];
        static START: [Scalar; 1] = [Scalar::keyword("start")];
        static END: [Scalar; 1] = [Scalar::keyword("end")];
        static INFO: [Scalar; 1] = [Scalar::keyword("info")];
        match self {
            Self::Creation => &CREATION,
            Self::Rename | Self::UidChange | Self::GidChange | Self::SessionIdChange => &CHANGE,
            Self::Deletion => &DELETION,
            Self::Exec | Self::Fork => &START,
            Self::End => &END,
            Self::AlreadyRunning => &INFO,
        }
    }

    /// `event.dataset`, `data_stream.dataset` of Elastic Defend's documents.
    #[must_use]
    pub const fn dataset(self) -> &'static str {
        Integration::Endpoint.dataset(self)
    }

    /// `message`.
    #[must_use]
    pub const fn message(self) -> &'static str {
        if self.is_file() { "Endpoint file event" } else { "Endpoint process event" }
    }
}

/// Whose documents an event is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integration {
    /// Elastic Defend.
    #[default]
    Endpoint,
    /// Elastic's integration for containers.
    CloudDefend,
}

impl Integration {
    /// `event.module`.
    #[must_use]
    pub const fn module(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::CloudDefend => "cloud_defend",
        }
    }

    /// `agent.type`.
    #[must_use]
    pub const fn agent_type(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::CloudDefend => "cloud-defend",
        }
    }

    /// `event.dataset`, `data_stream.dataset`.
    #[must_use]
    pub const fn dataset(self, action: Action) -> &'static str {
        match (self, action.is_file()) {
            (Self::Endpoint, true) => "endpoint.events.file",
            (Self::Endpoint, false) => "endpoint.events.process",
            (Self::CloudDefend, true) => "cloud_defend.file",
            (Self::CloudDefend, false) => "cloud_defend.process",
        }
    }
}

/// `event.outcome`. Only what the kernel has confirmed; `None` in [`EventMeta`] when it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation returned without an error.
    Success,
    /// The operation failed.
    Failure,
}

impl Outcome {
    /// The text in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// What every event has of its own.
#[derive(Clone, Copy, Debug)]
pub struct EventMeta {
    /// `event.id`.
    pub id: EventId,
    /// `event.sequence`: grows by one with each event of a run, breaks ties of time.
    pub sequence: u64,
    /// `@timestamp`, nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// What happened.
    pub action: Action,
    /// Whether it succeeded, if that is known.
    pub outcome: Option<Outcome>,
    /// Whose document it is.
    pub integration: Integration,
}

impl EventMeta {
    /// `event.dataset`, `data_stream.dataset`.
    #[must_use]
    pub const fn dataset(&self) -> &'static str {
        self.integration.dataset(self.action)
    }
}

/// `file.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

impl FileType {
    /// From the type bits of an `i_mode`; `None` for none of the seven types.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        match mode & 0o170_000 {
            0o100_000 => Some(Self::File),
            0o040_000 => Some(Self::Dir),
            0o120_000 => Some(Self::Symlink),
            0o010_000 => Some(Self::Fifo),
            0o140_000 => Some(Self::Socket),
            0o020_000 => Some(Self::CharDevice),
            0o060_000 => Some(Self::BlockDevice),
            _ => None,
        }
    }

    /// The text in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "char_device",
            Self::BlockDevice => "block_device",
        }
    }
}

/// What was done to the name: `file.Ext.operation`. [`Action`] is what Elastic's rules know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `open` with `O_CREAT`, `creat`.
    Open,
    /// `mknod`.
    Mknod,
    /// `mkdir`.
    Mkdir,
    /// A further name of a file.
    Link,
    /// Symbolic link.
    Symlink,
    /// The first name of a file that was made without one (`O_TMPFILE`).
    Tmpfile,
    /// Rename.
    Rename,
    /// One side of an exchange of two names.
    Exchange,
    /// `unlink`.
    Unlink,
    /// `rmdir`.
    Rmdir,
}

impl Operation {
    /// The text in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Mknod => "mknod",
            Self::Mkdir => "mkdir",
            Self::Link => "link",
            Self::Symlink => "symlink",
            Self::Tmpfile => "tmpfile",
            Self::Rename => "rename",
            Self::Exchange => "exchange",
            Self::Unlink => "unlink",
            Self::Rmdir => "rmdir",
        }
    }

    /// `event.action`.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Open | Self::Mknod | Self::Mkdir | Self::Link | Self::Symlink | Self::Tmpfile => {
                Action::Creation
            }
            Self::Rename | Self::Exchange => Action::Rename,
            Self::Unlink | Self::Rmdir => Action::Deletion,
        }
    }
}

/// The names of a file by one way to it, where they differ from those by the ways before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// After the operation.
    pub path: Option<&'a [u8]>,
    /// Before a rename.
    pub original: Option<&'a [u8]>,
}

impl Names<'_> {
    /// Whether there is any.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.path.is_some() || self.original.is_some()
    }
}

/// The file of a file event. Everything but the path may be unknown, and is then absent.
#[derive(Clone, Copy, Debug)]
pub struct FileFields<'a> {
    /// After the operation, as the acting task sees it: from its root directory. `file.path` and what derives from it.
    pub path: PathView<'a>,
    /// Before a rename, as the task sees it: `file.Ext.original.*`.
    pub original: Option<PathView<'a>>,
    /// From the root of the mount namespace: `file.Ext.host_path`, `file.Ext.original.host_path`.
    pub host: Names<'a>,
    /// By way of the first mount of the file system: `file.Ext.file_system_path` and its original.
    pub file_system: Names<'a>,
    /// Of a file on overlayfs, in the directory that holds its upper layer: `file.Ext.upper_path` and its original.
    pub upper: Names<'a>,
    /// The device, as `st_dev` has it; no document does.
    pub device: Option<u64>,
    /// What was done: `file.Ext.operation`.
    pub operation: Option<Operation>,
    /// The name that a hard link was made from: `file.Ext.linked_path`.
    pub linked_path: Option<&'a [u8]>,
    /// Upper components of a path are missing or may be wrong: `file.Ext.path_incomplete`.
    pub path_incomplete: bool,
    /// The file is not below the acting process's root, so that its path is that of the mount namespace:
    /// `file.Ext.outside_root`.
    pub outside_root: bool,
    /// `file.inode`.
    pub inode: Option<Digits>,
    /// `file.mode`.
    pub mode: Option<Digits>,
    /// `file.uid`.
    pub uid: Option<Digits>,
    /// `file.gid`.
    pub gid: Option<Digits>,
    /// `file.owner`.
    pub owner: Option<&'a [u8]>,
    /// `file.group`.
    pub group: Option<&'a [u8]>,
    /// `file.size`.
    pub size: Option<u64>,
    /// `file.mtime`, nanoseconds since the Unix epoch.
    pub mtime_ns: Option<i64>,
    /// `file.ctime`, nanoseconds since the Unix epoch.
    pub ctime_ns: Option<i64>,
    /// `file.type`.
    pub file_type: Option<FileType>,
    /// `file.target_path`.
    pub target_path: Option<&'a [u8]>,
    /// `file.hash.sha256`, lower-case hexadecimal.
    pub sha256: Option<&'a [u8]>,
    /// `file.Ext.header_bytes`, lower-case hexadecimal.
    pub header_bytes: Option<&'a [u8]>,
    /// `file.Ext.entropy`.
    pub entropy: Option<f64>,
}

impl<'a> FileFields<'a> {
    /// A file of which only the path is known.
    #[must_use]
    pub fn new(path: &'a [u8]) -> Self {
        Self {
            path: PathView::new(path),
            original: None,
            host: Names::default(),
            file_system: Names::default(),
            upper: Names::default(),
            device: None,
            operation: None,
            linked_path: None,
            path_incomplete: false,
            outside_root: false,
            inode: None,
            mode: None,
            uid: None,
            gid: None,
            owner: None,
            group: None,
            size: None,
            mtime_ns: None,
            ctime_ns: None,
            file_type: None,
            target_path: None,
            sha256: None,
            header_bytes: None,
            entropy: None,
        }
    }

    /// The same file under other names; a name that is not among them stays.
    #[must_use]
    pub fn named(&self, names: Names<'a>) -> Self {
        Self {
            path: names.path.map_or(self.path, PathView::new),
            original: names.original.map(PathView::new).or(self.original),
            ..*self
        }
    }
}

/// The acting process and its relations.
#[derive(Clone, Copy, Debug)]
pub struct ProcessView<'a> {
    /// The process.
    pub process: &'a Process,
    /// Its executable's name in place of its own, by the way that the event is looked at.
    pub executable: Option<&'a Executable>,
    /// Its parent.
    pub parent: Option<&'a Process>,
    /// The leader of its process group.
    pub group_leader: Option<&'a Process>,
    /// The leader of its session.
    pub session_leader: Option<&'a Process>,
    /// The process through which the session entered the host.
    pub entry_leader: Option<&'a Process>,
    /// The parent of the entry leader.
    pub entry_leader_parent: Option<&'a Process>,
    /// Entity ids of parent, grandparent and so on, nearest first: `process.Ext.ancestry`.
    pub ancestry: &'a [Scalar],
    /// The image before this exec: `process.previous`.
    pub previous: Option<&'a Image>,
}

impl<'a> ProcessView<'a> {
    /// A process of which no relation is known.
    #[must_use]
    pub fn new(process: &'a Process) -> Self {
        Self {
            process,
            executable: None,
            parent: None,
            group_leader: None,
            session_leader: None,
            entry_leader: None,
            entry_leader_parent: None,
            ancestry: &[],
            previous: None,
        }
    }
}

/// One event. [`Record`](crate::Record) answers rules from it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What every event has.
    pub meta: EventMeta,
    /// Where.
    pub host: &'a Host,
    /// By whom it was seen.
    pub agent: &'a Agent,
    /// The file, on file events.
    pub file: Option<FileFields<'a>>,
    /// The acting process; `None` only if nothing at all is known of it.
    pub process: Option<ProcessView<'a>>,
    /// The credentials at the moment of the event, where they differ from those the process table holds:
    /// `user.*`, `group.*` come from here, else from the process.
    pub actor: Option<&'a Credentials>,
}
