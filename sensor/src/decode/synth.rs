//! Synthetic records for tests: the same bytes that the kernel would send, from readable calls.

use sensor_common::wire::{
    ExecRecord, ExitRecord, FileOp, FileRecord, ForkRecord, PathRef, RecordHeader, RecordKind, ScriptRecord,
    Span, TaskFacts, path_flags, record_flags,
};
use zerocopy::{Immutable, IntoBytes};

const WHOLE: u16 = path_flags::REACHED_TASK_ROOT | path_flags::REACHED_NS_ROOT | path_flags::REACHED_FS_ROOT;

/// A process of root's, started at `start_ns`, child of pid 1.
pub(crate) fn task(tgid: u32, start_ns: u64) -> TaskFacts {
    let mut comm = [0; 16];
    comm[..4].copy_from_slice(b"task");
    TaskFacts {
        start_boottime_ns: start_ns,
        tgid,
        tid: tgid,
        ppid: 1,
        parent_start_boottime_ns: 10_000_000,
        pgid: tgid,
        sid: tgid,
        exe_inode: u64::from(tgid) + 1000,
        exe_dev: 0x80_0001,
        loginuid: u32::MAX,
        mnt_ns: 1,
        pid_ns: 2,
        comm,
        ..TaskFacts::default()
    }
}

/// The task as a child of `parent`, in its group and session, running its image.
pub(crate) fn child_of(parent: &TaskFacts, tgid: u32, start_ns: u64) -> TaskFacts {
    TaskFacts {
        ppid: parent.tgid,
        parent_start_boottime_ns: parent.start_boottime_ns,
        tgid,
        tid: tgid,
        start_boottime_ns: start_ns,
        ..*parent
    }
}

/// The task after an exec of the image with this inode.
pub(crate) fn after_exec(task: &TaskFacts, exe_inode: u64) -> TaskFacts {
    TaskFacts { exe_inode, self_exec_id: task.self_exec_id + 1, ..*task }
}

/// A fixed part followed by packed bytes.
struct Packer {
    fixed_bytes: usize,
    tail: Vec<u8>,
}

impl Packer {
    fn span(&mut self, bytes: &[u8]) -> Span {
        if bytes.is_empty() {
            return Span::default();
        }
        let offset = u16::try_from(self.fixed_bytes + self.tail.len()).unwrap();
        self.tail.extend_from_slice(bytes);
        Span { offset, len: u16::try_from(bytes.len()).unwrap() }
    }

    /// `root` is where the task's root lies in the namespace, `/` for most.
    fn path(&mut self, path: &str, root: &str) -> PathRef {
        let mut components = leaf_first(path);
        let root_bytes = u16::try_from(components.len()).unwrap();
        components.extend(leaf_first(root));
        let mount_bytes = u16::try_from(components.len()).unwrap();
        PathRef { span: self.span(&components), root_bytes, mount_bytes, flags: WHOLE, ..PathRef::default() }
    }

    fn finish(self, mut header: RecordHeader, fixed: impl FnOnce(RecordHeader) -> Vec<u8>) -> Vec<u8> {
        header.len = u32::try_from(self.fixed_bytes + self.tail.len()).unwrap();
        let mut bytes = fixed(header);
        bytes.extend_from_slice(&self.tail);
        bytes
    }
}

/// `/a/b` as the walk leaves it: `b NUL a NUL`.
pub(crate) fn leaf_first(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for component in path.split('/').rev().filter(|name| !name.is_empty()) {
        out.extend_from_slice(component.as_bytes());
        out.push(0);
    }
    out
}

fn header(kind: RecordKind, task: &TaskFacts, boot_ns: u64) -> RecordHeader {
    RecordHeader { kind: kind as u16, boot_ns, task: *task, ..RecordHeader::default() }
}

fn bytes_of<T: IntoBytes + Immutable>(record: &T) -> Vec<u8> {
    record.as_bytes().to_vec()
}

/// What an exec record is made of.
pub(crate) struct ExecSpec<'a> {
    pub(crate) exe: &'a str,
    pub(crate) argv: &'a [&'a str],
    pub(crate) cwd: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) interp: &'a str,
    pub(crate) cgroup: &'a str,
    pub(crate) root: &'a str,
    pub(crate) tty: (u32, u32),
    pub(crate) flags: u16,
}

impl Default for ExecSpec<'_> {
    fn default() -> Self {
        Self {
            exe: "/usr/bin/true",
            argv: &["true"],
            cwd: "/root",
            filename: "",
            interp: "",
            cgroup: "/user.slice/user-0.slice/session-1.scope",
            root: "/",
            tty: (0, 0),
            flags: 0,
        }
    }
}

/// An exec by `task`, whose facts are those after the exec.
pub(crate) fn exec(task: &TaskFacts, boot_ns: u64, spec: &ExecSpec<'_>) -> Vec<u8> {
    let mut packer = Packer { fixed_bytes: size_of::<ExecRecord>(), tail: Vec::new() };
    let mut argv = Vec::new();
    for arg in spec.argv {
        argv.extend_from_slice(arg.as_bytes());
        argv.push(0);
    }
    let filename = if spec.filename.is_empty() { spec.exe } else { spec.filename };
    let script = !spec.interp.is_empty() && spec.interp != filename;
    let record = ExecRecord {
        argv_bytes: argv.len() as u64,
        argc: u32::try_from(spec.argv.len()).unwrap(),
        old_tid: task.tgid,
        reserved: 0,
        tty_major: spec.tty.0,
        tty_minor: spec.tty.1,
        pid_in_ns: task.tgid,
        exe: packer.path(spec.exe, spec.root),
        cwd: packer.path(spec.cwd, spec.root),
        filename: packer.span(filename.as_bytes()),
        interp: packer.span(spec.interp.as_bytes()),
        argv: packer.span(&argv),
        cgroup: packer.span(&leaf_first(spec.cgroup)),
        ..ExecRecord::default()
    };
    let mut header = header(RecordKind::Exec, task, boot_ns);
    header.flags = spec.flags | if script { record_flags::SCRIPT } else { 0 };
    packer.finish(header, |header| bytes_of(&ExecRecord { header, ..record }))
}

/// The script that the next exec of `task` runs.
pub(crate) fn script(task: &TaskFacts, boot_ns: u64, path: &str) -> Vec<u8> {
    let mut packer = Packer { fixed_bytes: size_of::<ScriptRecord>(), tail: Vec::new() };
    let record =
        ScriptRecord { inode: 77, mode: 0o10_0755, path: packer.path(path, "/"), ..ScriptRecord::default() };
    packer.finish(header(RecordKind::ExecScript, task, boot_ns), |header| {
        bytes_of(&ScriptRecord { header, ..record })
    })
}

/// A name that came to be at `path` below `root`.
pub(crate) fn create(task: &TaskFacts, boot_ns: u64, path: &str, root: &str) -> Vec<u8> {
    file(task, boot_ns, FileOp::Open, path, None, root)
}

/// A rename.
pub(crate) fn rename(task: &TaskFacts, boot_ns: u64, old: &str, new: &str) -> Vec<u8> {
    file(task, boot_ns, FileOp::Rename, new, Some(old), "/")
}

/// A rename within one directory, as the kernel sends it: `old` is a name.
pub(crate) fn rename_beside(task: &TaskFacts, boot_ns: u64, old: &str, new: &str, root: &str) -> Vec<u8> {
    let mut packer = Packer { fixed_bytes: size_of::<FileRecord>(), tail: Vec::new() };
    let path = packer.path(new, root);
    let span = packer.span(format!("{old}\0").as_bytes());
    let old_path = PathRef { span, flags: path_flags::BESIDE, ..PathRef::default() };
    let record = FileRecord { op: FileOp::Rename as u16, path, old_path, ..a_file() };
    packer.finish(header(RecordKind::FileRename, task, boot_ns), |header| {
        bytes_of(&FileRecord { header, ..record })
    })
}

fn a_file() -> FileRecord {
    FileRecord { inode: 256_383, mode: 0o10_0644, nlink: 1, dev: 0x80_0001, ..FileRecord::default() }
}

/// Any file operation.
pub(crate) fn file(
    task: &TaskFacts,
    boot_ns: u64,
    op: FileOp,
    path: &str,
    old: Option<&str>,
    root: &str,
) -> Vec<u8> {
    let mut packer = Packer { fixed_bytes: size_of::<FileRecord>(), tail: Vec::new() };
    let record = FileRecord {
        op: op as u16,
        path: packer.path(path, root),
        old_path: old.map_or_else(PathRef::default, |old| packer.path(old, root)),
        ..a_file()
    };
    let kind = match op {
        FileOp::Rename | FileOp::Exchange => RecordKind::FileRename,
        FileOp::Unlink | FileOp::Rmdir => RecordKind::FileDelete,
        _ => RecordKind::FileCreate,
    };
    packer.finish(header(kind, task, boot_ns), |header| bytes_of(&FileRecord { header, ..record }))
}

/// A fork: `child` as it is right after it.
pub(crate) fn fork(parent: &TaskFacts, child: &TaskFacts, boot_ns: u64) -> Vec<u8> {
    let mut header = header(RecordKind::Fork, parent, boot_ns);
    header.len = u32::try_from(size_of::<ForkRecord>()).unwrap();
    bytes_of(&ForkRecord { header, child: *child, child_pid_in_ns: child.tgid, reserved: 0 })
}

/// The end of a process.
pub(crate) fn exit(task: &TaskFacts, boot_ns: u64, wait_status: u32) -> Vec<u8> {
    let mut header = header(RecordKind::Exit, task, boot_ns);
    header.len = u32::try_from(size_of::<ExitRecord>()).unwrap();
    bytes_of(&ExitRecord { header, exit_code: wait_status, reserved: 0 })
}
