//! The table of hooks: which program goes where, and what the sensor loses without it.

use sensor_common::wire::RecordKind;

use super::offsets::Signature;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At the entry of a function, through its BTF.
    Fentry,
    /// At its return.
    Fexit,
    /// At a tracepoint, through its BTF.
    TpBtf,
}

impl Mode {
    /// As users read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::TpBtf => "tp_btf",
        }
    }
}

/// One program and the point it attaches to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// Name of the program in the object.
    pub(crate) program: &'static str,
    /// Kernel function or tracepoint.
    pub(crate) target: &'static str,
    /// How.
    pub(crate) mode: Mode,
    /// What comes of it.
    pub(crate) feeds: RecordKind,
    /// Arguments that the program reads.
    pub(crate) parameters: &'static [(usize, &'static str)],
}

/// Every hook. The order is that of attaching: exec before fork, so that no process is known whose exec was not
/// seen; what consumes an intent before what makes one, so that no program finds half of the work done.
pub(crate) const HOOKS: &[Hook] = &[
    Hook {
        program: "process_exit",
        target: "taskstats_exit",
        mode: Mode::Fentry,
        feeds: RecordKind::Exit,
        parameters: &[(0, "tsk"), (1, "group_dead")],
    },
    Hook {
        program: "process_exec",
        target: "sched_process_exec",
        mode: Mode::TpBtf,
        feeds: RecordKind::Exec,
        parameters: &[],
    },
    Hook {
        program: "bprm_check",
        target: "security_bprm_check",
        mode: Mode::Fentry,
        feeds: RecordKind::ExecScript,
        parameters: &[(0, "bprm")],
    },
    Hook {
        program: "process_fork",
        target: "sched_process_fork",
        mode: Mode::TpBtf,
        feeds: RecordKind::Fork,
        parameters: &[],
    },
    Hook {
        program: "rename_exit",
        target: "vfs_rename",
        mode: Mode::Fexit,
        feeds: RecordKind::FileRename,
        parameters: &[(0, "rd")],
    },
    Hook {
        program: "rename_entry",
        target: "vfs_rename",
        mode: Mode::Fentry,
        feeds: RecordKind::FileRename,
        parameters: &[(0, "rd")],
    },
    Hook {
        program: "path_rename",
        target: "security_path_rename",
        mode: Mode::Fentry,
        feeds: RecordKind::FileRename,
        parameters: &[(0, "old_dir"), (1, "old_dentry")],
    },
    Hook {
        program: "d_instantiate",
        target: "security_d_instantiate",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(0, "dentry"), (1, "inode")],
    },
    Hook {
        program: "inode_create",
        target: "security_inode_create",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(1, "dentry")],
    },
    Hook {
        program: "inode_mknod",
        target: "security_inode_mknod",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(1, "dentry")],
    },
    Hook {
        program: "inode_mkdir",
        target: "security_inode_mkdir",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(1, "dentry")],
    },
    Hook {
        program: "inode_symlink",
        target: "security_inode_symlink",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(1, "dentry"), (2, "old_name")],
    },
    Hook {
        program: "inode_link",
        target: "security_inode_link",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(0, "old_dentry"), (2, "new_dentry")],
    },
    Hook {
        program: "path_mknod",
        target: "security_path_mknod",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(0, "dir"), (1, "dentry")],
    },
    Hook {
        program: "path_mkdir",
        target: "security_path_mkdir",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(0, "dir"), (1, "dentry")],
    },
    Hook {
        program: "path_symlink",
        target: "security_path_symlink",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(0, "dir"), (1, "dentry")],
    },
    Hook {
        program: "path_link",
        target: "security_path_link",
        mode: Mode::Fentry,
        feeds: RecordKind::FileCreate,
        parameters: &[(1, "new_dir"), (2, "new_dentry")],
    },
];

/// The signatures to check before attaching; tracepoints have their types checked by the verifier.
pub(crate) fn signatures() -> Vec<Signature> {
    HOOKS
        .iter()
        .filter(|hook| hook.mode != Mode::TpBtf)
        .map(|hook| Signature {
            function: hook.target,
            parameters: hook.parameters,
            arity: (hook.mode == Mode::Fexit).then_some(hook.parameters.len()),
        })
        .collect()
}
