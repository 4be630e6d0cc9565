//! The records that cross the ring buffer, defined once for both sides.
//!
//! A record is one fixed struct, told apart by [`RecordHeader::kind`], followed by packed bytes that [`Span`]s
//! point into. Integers are in native byte order: both sides run on one machine. Every field that the kernel
//! could not read is zero and its flag says so; user space turns that into an absent value.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a record says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordKind {
    /// A file name came to be: [`FileRecord`].
    FileCreate = 1,
    /// A file changed its name: [`FileRecord`], with the old path.
    FileRename = 2,
    /// A process runs a new image: [`ExecRecord`].
    Exec = 3,
    /// What is being executed needs an interpreter: [`ScriptRecord`], sent before its exec.
    ExecScript = 4,
    /// A process was forked: [`ForkRecord`].
    Fork = 5,
    /// The last thread of a process ended: [`ExitRecord`].
    Exit = 6,
    /// A file name was removed: [`FileRecord`].
    FileDelete = 7,
    /// A process has other user ids: [`CredentialsRecord`].
    UidChange = 8,
    /// A process has other group ids: [`CredentialsRecord`].
    GidChange = 9,
    /// A process leads a session of its own now: [`SessionRecord`].
    SessionChange = 10,
}

impl RecordKind {
    /// Every kind, in the order of its number; loss counters are indexed by `kind - 1`.
    pub const ALL: [Self; 10] = [
        Self::FileCreate,
        Self::FileRename,
        Self::Exec,
        Self::ExecScript,
        Self::Fork,
        Self::Exit,
        Self::FileDelete,
        Self::UidChange,
        Self::GidChange,
        Self::SessionChange,
    ];

    /// The kinds without which no process table can be kept: never filtered. Every other kind is made only where
    /// something wants it.
    #[must_use]
    pub const fn is_essential(self) -> bool {
        matches!(self, Self::Exec | Self::ExecScript | Self::Fork | Self::Exit)
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::FileCreate),
            2 => Some(Self::FileRename),
            3 => Some(Self::Exec),
            4 => Some(Self::ExecScript),
            5 => Some(Self::Fork),
            6 => Some(Self::Exit),
            7 => Some(Self::FileDelete),
            8 => Some(Self::UidChange),
            9 => Some(Self::GidChange),
            10 => Some(Self::SessionChange),
            _ => None,
        }
    }

    /// Position in a per-kind table.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name that totals and metrics print.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileCreate => "file_create",
            Self::FileRename => "file_rename",
            Self::Exec => "exec",
            Self::ExecScript => "exec_script",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::FileDelete => "file_delete",
            Self::UidChange => "uid_change",
            Self::GidChange => "gid_change",
            Self::SessionChange => "session_change",
        }
    }
}

/// Bytes after the fixed part of a record, as an offset from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Span {
    /// From the first byte of the record.
    pub offset: u16,
    /// Zero when there is nothing.
    pub len: u16,
}

/// A path as the walk leaves it: components from the leaf upwards, each ended by a NUL, no slashes.
///
/// The first `root_bytes` of the span lie inside the task's root directory; what follows leads from there to
/// the root of its mount namespace. A path that is the root itself has no components.
///
/// The first `mount_bytes` lie inside the mount that the file was reached through, and `above` holds the components
/// that lead from that mount's root to the root of the superblock: none, but for a bind mount of a directory. So
/// `span[..mount_bytes]` and `above` together are the path within the file system, whatever was mounted where.
///
/// See [`path_flags::BESIDE`] for the one that is not whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PathRef {
    /// The components.
    pub span: Span,
    /// How much of the span is below the task's root; see [`path_flags::REACHED_TASK_ROOT`].
    pub root_bytes: u16,
    /// [`path_flags`].
    pub flags: u16,
    /// From the root of the mount to the root of the file system; see [`path_flags::REACHED_FS_ROOT`].
    pub above: Span,
    /// How much of the span is below the root of the file's own mount.
    pub mount_bytes: u16,
    /// Zero.
    pub reserved: u16,
}

/// What is known about a [`PathRef`].
pub mod path_flags {
    /// The walk saw the task's root directory, so `root_bytes` is the path as the task sees it.
    pub const REACHED_TASK_ROOT: u16 = 1 << 0;
    /// The walk ended at the root of the mount namespace: nothing is missing above.
    pub const REACHED_NS_ROOT: u16 = 1 << 1;
    /// Cut at a limit: upper components are missing.
    pub const TRUNCATED: u16 = 1 << 2;
    /// A read failed or a parent was renamed during the walk.
    pub const TORN: u16 = 1 << 3;
    /// The mount is not known: the path starts at the root of its file system.
    pub const NO_MOUNT: u16 = 1 << 4;
    /// The file had no name left (unlinked) when it was looked at.
    pub const UNLINKED: u16 = 1 << 5;
    /// The walk saw the root of the file system, so the path within it is whole.
    pub const REACHED_FS_ROOT: u16 = 1 << 6;
    /// Of an old path: the file stayed in its directory. The span is its old name alone, all else is that of the new
    /// path.
    pub const BESIDE: u16 = 1 << 7;
}

/// The acting process, on every record.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskFacts {
    /// `group_leader->start_boottime`: with `tgid`, the key of a process.
    pub start_boottime_ns: u64,
    /// The same of the parent.
    pub parent_start_boottime_ns: u64,
    /// cgroup v2 id of the task.
    pub cgroup_id: u64,
    /// Inode of the running executable (`mm->exe_file`), 0 when there is none.
    pub exe_inode: u64,
    /// Device of the running executable, in the kernel's encoding (major << 20 | minor).
    pub exe_dev: u32,
    /// Process id in the initial namespace.
    pub tgid: u32,
    /// Thread id in the initial namespace.
    pub tid: u32,
    /// `real_parent->tgid`.
    pub ppid: u32,
    /// Process group leader's tgid.
    pub pgid: u32,
    /// Session leader's tgid.
    pub sid: u32,
    /// Real, effective and saved ids in the initial user namespace.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved user.
    pub suid: u32,
    /// Saved group.
    pub sgid: u32,
    /// `loginuid`, `u32::MAX` when unset.
    pub loginuid: u32,
    /// Counts the execs of this process.
    pub self_exec_id: u32,
    /// Inode number of the mount namespace.
    pub mnt_ns: u32,
    /// Inode number of the pid namespace.
    pub pid_ns: u32,
    /// `task->comm`, NUL padded.
    pub comm: [u8; 16],
}

/// Every record begins with this.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// [`RecordKind`], as its number.
    pub kind: u16,
    /// [`record_flags`].
    pub flags: u16,
    /// Bytes in use, header included; the slot may be longer.
    pub len: u32,
    /// `bpf_ktime_get_boot_ns` when it happened.
    pub boot_ns: u64,
    /// Counts the records of this kind on this CPU, lost ones included: a hole is a loss.
    pub seq: u64,
    /// The CPU that `seq` counts on.
    pub cpu: u32,
    /// Zero.
    pub reserved: u32,
    /// Who did it. For a fork this is the parent.
    pub task: TaskFacts,
}

/// Set in [`RecordHeader::flags`].
pub mod record_flags {
    /// argv did not fit.
    pub const ARGV_TRUNCATED: u16 = 1 << 0;
    /// argv could not be read from the new image's memory.
    pub const ARGV_UNREADABLE: u16 = 1 << 1;
    /// `bprm->filename` differs from `bprm->interp`: a script or binfmt_misc image.
    pub const SCRIPT: u16 = 1 << 2;
    /// The executable is in memory only or has no link left.
    pub const EXE_UNLINKED: u16 = 1 << 3;
    /// The upper levels of the cgroup did not fit; those that name the container may be among them.
    pub const CGROUP_TRUNCATED: u16 = 1 << 4;
    /// The environment did not fit, or could not be read.
    pub const ENVP_TRUNCATED: u16 = 1 << 5;
    /// There are more supplementary groups.
    pub const GROUPS_TRUNCATED: u16 = 1 << 7;
    /// `bprm->filename` did not fit.
    pub const FILENAME_TRUNCATED: u16 = 1 << 6;
}

/// What was done to a file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FileOp {
    /// `open` with `O_CREAT`, `creat`.
    Open = 1,
    /// `rename`, plain or with `RENAME_NOREPLACE`.
    Rename = 2,
    /// One side of `RENAME_EXCHANGE`.
    Exchange = 3,
    /// `mknod`, of any type.
    Mknod = 4,
    /// Hard link of a file that has a name.
    Link = 5,
    /// Symbolic link.
    Symlink = 6,
    /// `mkdir`.
    Mkdir = 7,
    /// `linkat` of an `O_TMPFILE`: its first name.
    Tmpfile = 8,
    /// `unlink`.
    Unlink = 9,
    /// `rmdir`.
    Rmdir = 10,
}

impl FileOp {
    /// The operation with this number.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::Open),
            2 => Some(Self::Rename),
            3 => Some(Self::Exchange),
            4 => Some(Self::Mknod),
            5 => Some(Self::Link),
            6 => Some(Self::Symlink),
            7 => Some(Self::Mkdir),
            8 => Some(Self::Tmpfile),
            9 => Some(Self::Unlink),
            10 => Some(Self::Rmdir),
            _ => None,
        }
    }
}

/// A creation, a rename or a deletion.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FileRecord {
    /// Common part.
    pub header: RecordHeader,
    /// Inode number.
    pub inode: u64,
    /// `i_size`.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch; 0 when unread.
    pub mtime_ns: i64,
    /// Change time.
    pub ctime_ns: i64,
    /// Device of the superblock, kernel encoding.
    pub dev: u32,
    /// `i_mode`: type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Link count.
    pub nlink: u32,
    /// [`FileOp`], as its number.
    pub op: u16,
    /// Zero.
    pub reserved: u16,
    /// The path after the operation; of a deletion, the one that is gone.
    pub path: PathRef,
    /// The path before a rename, or the file that a hard link names; empty otherwise.
    pub old_path: PathRef,
    /// Target text of a symbolic link; empty otherwise.
    pub target: Span,
    /// Zero.
    pub reserved2: u32,
}

/// An image that needs an interpreter is about to be executed; the exec record of the same thread follows, or never
/// comes. One for each attempt, for the image that the caller named.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ScriptRecord {
    /// Common part.
    pub header: RecordHeader,
    /// Inode of the script.
    pub inode: u64,
    /// Its device.
    pub dev: u32,
    /// Its mode.
    pub mode: u32,
    /// Its path.
    pub path: PathRef,
}

/// A process runs a new image.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecRecord {
    /// Common part.
    pub header: RecordHeader,
    /// `cap_effective`.
    pub cap_effective: u64,
    /// `cap_permitted`.
    pub cap_permitted: u64,
    /// Bytes of argv before any cut.
    pub argv_bytes: u64,
    /// `i_size` of the executable.
    pub exe_size: u64,
    /// Its modification time, nanoseconds since the Unix epoch; 0 when unread.
    pub exe_mtime_ns: i64,
    /// Its change time.
    pub exe_ctime_ns: i64,
    /// `bprm->argc`.
    pub argc: u32,
    /// Thread id that called exec, when it was not the leader; else equal to the tgid.
    pub old_tid: u32,
    /// Zero.
    pub reserved: u32,
    /// Controlling terminal: major, 0 when there is none.
    pub tty_major: u32,
    /// Controlling terminal: minor.
    pub tty_minor: u32,
    /// `task_pid_vnr` of the leader: its pid in its own namespace.
    pub pid_in_ns: u32,
    /// Resolved path of `bprm->file`: the image, or the interpreter of a script.
    pub exe: PathRef,
    /// Working directory.
    pub cwd: PathRef,
    /// `bprm->filename`, as the caller wrote it.
    pub filename: Span,
    /// `bprm->interp`; empty when it equals `filename`.
    pub interp: Span,
    /// Arguments, each ended by a NUL.
    pub argv: Span,
    /// cgroup path as components from the leaf upwards, each ended by a NUL.
    pub cgroup: Span,
    /// The first bytes of the environment, `NAME=value` each ended by a NUL.
    pub envp: Span,
    /// Supplementary groups, four bytes each.
    pub groups: Span,
}

/// A new process (not a thread). `header.task` is the parent's.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ForkRecord {
    /// Common part: the task that called fork.
    pub header: RecordHeader,
    /// The child; its `ppid` is the real parent (differs from the caller with `CLONE_PARENT`).
    pub child: TaskFacts,
    /// Child's pid in its own namespace.
    pub child_pid_in_ns: u32,
    /// Zero.
    pub reserved: u32,
}

/// The last thread of a process has ended.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExitRecord {
    /// Common part.
    pub header: RecordHeader,
    /// `signal->group_exit_code` or the task's own: the wait status, code << 8 | signal.
    pub exit_code: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process has other ids. `header.task` holds those that it has from now on.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CredentialsRecord {
    /// Common part.
    pub header: RecordHeader,
    /// `cap_effective` from now on.
    pub cap_effective: u64,
    /// `cap_permitted` from now on.
    pub cap_permitted: u64,
}

/// A process has become the leader of a new session: `header.task` says so.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SessionRecord {
    /// Common part.
    pub header: RecordHeader,
}

const _: () = assert!(size_of::<Span>() == 4);
const _: () = assert!(size_of::<PathRef>() == 16);
const _: () = assert!(size_of::<TaskFacts>() == 112);
const _: () = assert!(size_of::<RecordHeader>() == 144);
const _: () = assert!(size_of::<FileRecord>() == 240);
const _: () = assert!(size_of::<ScriptRecord>() == 176);
const _: () = assert!(size_of::<ExecRecord>() == 272);
const _: () = assert!(size_of::<ForkRecord>() == 264);
const _: () = assert!(size_of::<ExitRecord>() == 152);
const _: () = assert!(size_of::<CredentialsRecord>() == 160);
const _: () = assert!(size_of::<SessionRecord>() == 144);

/// One entry per [`RecordKind`] of the per-CPU counter map.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KindCounters {
    /// Records attempted: the next `seq`.
    pub seq: u64,
    /// Records that found no room in the ring.
    pub lost_ring_full: u64,
    /// Operations whose intent found no room in its map, so that no record could be made.
    pub lost_no_intent: u64,
    /// Operations that began and whose return no program saw.
    pub lost_no_return: u64,
    /// Operations that were allowed, of those whose end a program sees that runs for much else too.
    pub begun: u64,
    /// Those of which nothing more was seen: they failed, or that program did not run.
    pub unfinished: u64,
}
