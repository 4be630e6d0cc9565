//! The table of hooks: which programs go where, in which ways that can be, and what the sensor loses without them.

use super::offsets::{Parameters, Signature};

/// A way to attach, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At the entry or return of a function, through its BTF: the fastest.
    Fentry,
    /// There too, by a breakpoint.
    Kprobe,
    /// At a tracepoint, through its BTF.
    TpBtf,
    /// There too, without types.
    RawTp,
}

impl Mode {
    /// As users read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
        }
    }
}

/// Which ways may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Attach {
    /// For each hook the best way that the kernel accepts.
    #[default]
    Auto,
    /// fentry and fexit, and BTF tracepoints.
    Fentry,
    /// kprobes and kretprobes, and raw tracepoints.
    Kprobe,
    /// Raw tracepoints alone: no file events.
    RawTp,
}

impl Attach {
    /// Whether `mode` is among them.
    pub(crate) fn allows(self, mode: Mode) -> bool {
        match self {
            Self::Auto => true,
            Self::Fentry => matches!(mode, Mode::Fentry | Mode::TpBtf),
            Self::Kprobe => matches!(mode, Mode::Kprobe | Mode::RawTp),
            Self::RawTp => mode == Mode::RawTp,
        }
    }
}

/// One program and the point it attaches to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Name of the program in the object.
    pub(crate) program: &'static str,
    /// Kernel function or tracepoint.
    pub(crate) target: &'static str,
    /// Whether it runs when the function returns.
    pub(crate) returns: bool,
    /// What must hold for the program to find its arguments.
    pub(crate) signature: Signature,
}

/// One way to have a hook: all of its parts, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alternative {
    /// How they attach.
    pub(crate) mode: Mode,
    /// In the order of attaching.
    pub(crate) parts: &'static [Part],
}

/// A point in the kernel that the sensor wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// Its name, which is that of the function or tracepoint that is tried first.
    pub(crate) name: &'static str,
    /// The ways to have it, best first.
    pub(crate) alternatives: &'static [Alternative],
}

/// A program at the entry of a function.
const fn entry(program: &'static str, function: &'static str, parameters: Parameters) -> Part {
    let signature = Signature { function, parameters, arity: None };
    Part { program, target: function, returns: false, signature }
}

/// A program at a tracepoint; `iterator` is the function that calls it, which has one more argument in front.
const fn at(
    program: &'static str,
    target: &'static str,
    iterator: &'static str,
    parameters: Parameters,
) -> Part {
    Part {
        program,
        target,
        returns: false,
        signature: Signature { function: iterator, parameters, arity: None },
    }
}

/// A hook at the entry of a function, with both of its programs.
macro_rules! function {
    ($function:literal, $program:literal, $parameters:expr) => {
        Hook {
            name: $function,
            alternatives: &[
                Alternative { mode: Mode::Fentry, parts: &[entry($program, $function, $parameters)] },
                Alternative {
                    mode: Mode::Kprobe,
                    parts: &[entry(concat!($program, "_kprobe"), $function, $parameters)],
                },
            ],
        }
    };
}

/// A hook at a tracepoint, with both of its programs.
macro_rules! tracepoint {
    ($tracepoint:literal, $program:literal, $parameters:expr) => {
        Hook {
            name: $tracepoint,
            alternatives: &[
                Alternative {
                    mode: Mode::TpBtf,
                    parts: &[at($program, $tracepoint, concat!("__traceiter_", $tracepoint), $parameters)],
                },
                Alternative {
                    mode: Mode::RawTp,
                    parts: &[at(
                        concat!($program, "_raw"),
                        $tracepoint,
                        concat!("__traceiter_", $tracepoint),
                        $parameters,
                    )],
                },
            ],
        }
    };
}

/// Says with its second argument whether the whole process ends, on kernels where it has one.
pub(crate) const EXIT_ITERATOR: &str = "__traceiter_sched_process_exit";
/// Name of that argument.
pub(crate) const EXIT_GROUP_DEAD: (usize, &str) = (2, "group_dead");

/// Every hook. The order is that of attaching: exec before fork, so that no process is known whose exec was not
/// seen; what consumes an intent before what makes one, so that no program finds half of the work done.
pub(crate) const HOOKS: &[Hook] = &[
    Hook {
        name: "taskstats_exit",
        alternatives: &[
            Alternative {
                mode: Mode::Fentry,
                parts: &[entry("process_exit", "taskstats_exit", &[(0, "tsk"), (1, "group_dead")])],
            },
            Alternative {
                mode: Mode::Kprobe,
                parts: &[entry("process_exit_kprobe", "taskstats_exit", &[(0, "tsk"), (1, "group_dead")])],
            },
            Alternative {
                mode: Mode::TpBtf,
                parts: &[at("process_exit_tp", "sched_process_exit", EXIT_ITERATOR, &[])],
            },
            Alternative {
                mode: Mode::RawTp,
                parts: &[at("process_exit_raw", "sched_process_exit", EXIT_ITERATOR, &[])],
            },
        ],
    },
    tracepoint!("sched_process_exec", "process_exec", &[(1, "p"), (2, "old_pid"), (3, "bprm")]),
    function!("security_bprm_check", "bprm_check", &[(0, "bprm")]),
    tracepoint!("sched_process_fork", "process_fork", &[(1, "parent"), (2, "child")]),
    Hook {
        name: "vfs_rename",
        alternatives: &[
            Alternative {
                mode: Mode::Fentry,
                parts: &[RENAME_EXIT, entry("rename_entry", "vfs_rename", RENAME)],
            },
            Alternative {
                mode: Mode::Kprobe,
                parts: &[
                    Part { program: "rename_exit_kprobe", ..RENAME_EXIT },
                    entry("rename_entry_kprobe", "vfs_rename", RENAME),
                ],
            },
        ],
    },
    function!("security_path_rename", "path_rename", &[(0, "old_dir"), (1, "old_dentry")]),
    function!("security_d_instantiate", "d_instantiate", &[(0, "dentry"), (1, "inode")]),
    function!("security_inode_create", "inode_create", &[(1, "dentry")]),
    function!("security_inode_mknod", "inode_mknod", &[(1, "dentry")]),
    function!("security_inode_mkdir", "inode_mkdir", &[(1, "dentry")]),
    function!("security_inode_symlink", "inode_symlink", &[(1, "dentry"), (2, "old_name")]),
    function!("security_inode_link", "inode_link", &[(0, "old_dentry"), (2, "new_dentry")]),
    function!("d_delete", "d_delete", &[(0, "dentry")]),
    function!("security_path_unlink", "path_unlink", &[(0, "dir"), (1, "dentry")]),
    function!("security_path_rmdir", "path_rmdir", &[(0, "dir"), (1, "dentry")]),
    function!("commit_creds", "commit_creds", &[(0, "new")]),
    Hook {
        name: "ksys_setsid",
        alternatives: &[
            Alternative { mode: Mode::Fentry, parts: &[SETSID_EXIT] },
            Alternative {
                mode: Mode::Kprobe,
                parts: &[Part { program: "setsid_exit_kprobe", ..SETSID_EXIT }],
            },
        ],
    },
    function!("vfs_create", "vfs_create", &[(2, "dentry")]),
    function!("security_path_mknod", "path_mknod", &[(0, "dir"), (1, "dentry")]),
    function!("security_path_mkdir", "path_mkdir", &[(0, "dir"), (1, "dentry")]),
    function!("security_path_symlink", "path_symlink", &[(0, "dir"), (1, "dentry")]),
    function!("security_path_link", "path_link", &[(1, "new_dir"), (2, "new_dentry")]),
];

const RENAME: Parameters = &[(0, "rd")];
/// The return value is what follows the arguments: their number matters.
const RENAME_EXIT: Part = Part {
    program: "rename_exit",
    target: "vfs_rename",
    returns: true,
    signature: Signature { function: "vfs_rename", parameters: RENAME, arity: Some(1) },
};

const SETSID_EXIT: Part = Part {
    program: "setsid_exit",
    target: "ksys_setsid",
    returns: true,
    signature: Signature { function: "ksys_setsid", parameters: &[], arity: Some(0) },
};

/// Everything whose arguments are to be looked up.
pub(crate) fn signatures() -> impl Iterator<Item = Signature> {
    HOOKS
        .iter()
        .flat_map(|hook| hook.alternatives)
        .flat_map(|alternative| alternative.parts)
        .map(|part| part.signature)
}
