//! What the sensor can see with the hooks that it has.

use sensor_common::wire::RecordKind;

use super::hooks::Mode;
use super::programs::HookStatus;

/// Something that can happen, and the hooks that all are needed to see it.
#[derive(Debug)]
pub(crate) struct Operation {
    /// As users read it.
    pub(crate) name: &'static str,
    /// The record that comes of it.
    pub(crate) kind: RecordKind,
    /// What it means to be without.
    pub(crate) without: &'static str,
    /// Names of hooks.
    hooks: &'static [&'static str],
}

const UNSEEN: &str = "it happens unseen, and no rule can match it";

/// Every operation.
const OPERATIONS: &[Operation] = &[
    Operation {
        name: "open(O_CREAT)",
        kind: RecordKind::FileCreate,
        without: UNSEEN,
        hooks: &["security_path_mknod", "security_inode_create", "security_d_instantiate"],
    },
    Operation {
        name: "mknod",
        kind: RecordKind::FileCreate,
        without: UNSEEN,
        hooks: &["security_path_mknod", "security_inode_mknod", "security_d_instantiate"],
    },
    Operation {
        name: "mknod of a regular file",
        kind: RecordKind::FileCreate,
        without: "it is reported as an open",
        hooks: &["security_path_mknod", "vfs_create", "security_inode_create", "security_d_instantiate"],
    },
    Operation {
        name: "mkdir",
        kind: RecordKind::FileCreate,
        without: UNSEEN,
        hooks: &["security_path_mkdir", "security_inode_mkdir", "security_d_instantiate"],
    },
    Operation {
        name: "symlink",
        kind: RecordKind::FileCreate,
        without: UNSEEN,
        hooks: &["security_path_symlink", "security_inode_symlink", "security_d_instantiate"],
    },
    Operation {
        name: "link",
        kind: RecordKind::FileCreate,
        without: UNSEEN,
        hooks: &["security_path_link", "security_inode_link", "security_d_instantiate"],
    },
    Operation {
        name: "rename",
        kind: RecordKind::FileRename,
        without: UNSEEN,
        hooks: &["security_path_rename", "vfs_rename"],
    },
    Operation {
        name: "unlink",
        kind: RecordKind::FileDelete,
        without: UNSEEN,
        hooks: &["security_path_unlink", "d_delete"],
    },
    Operation {
        name: "rmdir",
        kind: RecordKind::FileDelete,
        without: UNSEEN,
        hooks: &["security_path_rmdir", "d_delete"],
    },
    Operation {
        name: "change of user",
        kind: RecordKind::UidChange,
        without: "it shows at the process's next event",
        hooks: &["commit_creds"],
    },
    Operation {
        name: "change of group",
        kind: RecordKind::GidChange,
        without: "it shows at the process's next event",
        hooks: &["commit_creds"],
    },
    Operation {
        name: "setsid",
        kind: RecordKind::SessionChange,
        without: "it shows at the process's next event",
        hooks: &["ksys_setsid"],
    },
    Operation {
        name: "exec",
        kind: RecordKind::Exec,
        without: "what a process runs is read from /proc, late, and no rule on exec can match",
        hooks: &["sched_process_exec"],
    },
    Operation {
        name: "script path",
        kind: RecordKind::ExecScript,
        without: "a script's path is put together from the name that was executed and the working directory, and \
                  marked as doubtful",
        hooks: &["security_bprm_check", "sched_process_exec"],
    },
    Operation {
        name: "fork",
        kind: RecordKind::Fork,
        without: "a process is known from its first exec or file event on",
        hooks: &["sched_process_fork"],
    },
    Operation {
        name: "exit",
        kind: RecordKind::Exit,
        without: "the end of a process goes unseen",
        hooks: &["taskstats_exit"],
    },
];

/// The record that comes of what a hook sees.
pub(super) fn kind_of(hook: &str) -> Option<RecordKind> {
    OPERATIONS.iter().find(|operation| operation.hooks.contains(&hook)).map(|operation| operation.kind)
}

/// An operation that cannot be seen.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Which.
    pub(crate) operation: &'static Operation,
    /// The first hook that it lacks, and why.
    pub(crate) reason: String,
}

/// What can be seen and what cannot.
#[derive(Debug, Default)]
pub(crate) struct Capabilities {
    /// Can.
    pub(crate) available: Vec<&'static Operation>,
    /// Cannot.
    pub(crate) missing: Vec<Missing>,
}

impl Capabilities {
    /// Looks at what became of the hooks.
    pub(super) fn of(hooks: &[HookStatus]) -> Self {
        let mut found = Self::default();
        for operation in OPERATIONS {
            let lacks = |name: &&&'static str| {
                hooks.iter().all(|status| status.hook.name != **name || status.mode.is_none())
            };
            match operation.hooks.iter().find(lacks) {
                None => found.available.push(operation),
                Some(name) => {
                    let status = hooks.iter().find(|status| status.hook.name == *name);
                    let reasons = status.map(|status| reasons(&status.refused)).unwrap_or_default();
                    found.missing.push(Missing { operation, reason: format!("{name}: {reasons}") });
                }
            }
        }
        found
    }

    /// Whether the hook of this name serves anything.
    pub(super) fn uses(&self, hook: &str) -> bool {
        self.available.iter().any(|operation| operation.hooks.contains(&hook))
    }

    /// Whether renames are seen.
    pub(crate) fn sees_renames(&self) -> bool {
        self.available.iter().any(|operation| operation.name == "rename")
    }

    /// Whether any file event can come.
    pub(crate) fn sees_files(&self) -> bool {
        self.available.iter().any(|operation| is_file(operation))
    }

    /// Whether any process event can come.
    pub(crate) fn sees_processes(&self) -> bool {
        self.available.iter().any(|operation| !is_file(operation))
    }

    /// What is missing, in a few words; empty if nothing is.
    pub(crate) fn missing_names(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        if !self.sees_files() {
            names.push("file events");
        }
        let single = self.missing.iter().filter(|missing| self.sees_files() || !is_file(missing.operation));
        names.extend(single.map(|missing| missing.operation.name));
        names.join(", ")
    }

    /// What is missing and what that means, one line each.
    pub(crate) fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut files = self.missing.iter().filter(|missing| is_file(missing.operation)).peekable();
        if !self.sees_files()
            && let Some(first) = files.peek()
        {
            lines.push(format!(
                "file events: NOT available: files are created and renamed unseen, and no rule on files can match \
                 ({})",
                first.reason
            ));
        }
        for missing in &self.missing {
            let Missing { operation, reason } = missing;
            if self.sees_files() || !is_file(operation) {
                lines.push(format!("{}: NOT available: {} ({reason})", operation.name, operation.without));
            }
        }
        lines
    }
}

fn is_file(operation: &Operation) -> bool {
    matches!(operation.kind, RecordKind::FileCreate | RecordKind::FileRename | RecordKind::FileDelete)
}

/// `fentry: why; kprobe: why`.
pub(super) fn reasons(refused: &[(Mode, String)]) -> String {
    if refused.is_empty() {
        return "the chosen way to attach does not offer it".to_owned();
    }
    let each: Vec<String> =
        refused.iter().map(|(mode, reason)| format!("{}: {reason}", mode.name())).collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::hooks::HOOKS;

    fn status(refused: &[&str]) -> Vec<HookStatus> {
        let each = |hook: &'static super::super::hooks::Hook| {
            let is_refused = refused.contains(&hook.name);
            HookStatus {
                hook,
                mode: (!is_refused).then_some(Mode::Fentry),
                refused: is_refused.then(|| (Mode::Fentry, "EPERM".to_owned())).into_iter().collect(),
                is_used: true,
            }
        };
        HOOKS.iter().map(each).collect()
    }

    #[test]
    fn every_hook_serves_an_operation_and_every_operation_names_hooks_that_exist() {
        let all = Capabilities::of(&status(&[]));
        assert!(all.missing.is_empty());
        assert!(HOOKS.iter().all(|hook| all.uses(hook.name)));
        let known = |name: &str| HOOKS.iter().any(|hook| hook.name == name);
        assert!(OPERATIONS.iter().all(|operation| operation.hooks.iter().all(|name| known(name))));
        let is_seen = |kind: &RecordKind| all.available.iter().any(|operation| operation.kind == *kind);
        assert!(RecordKind::ALL.iter().all(is_seen));
    }

    #[test]
    fn one_refused_hook_costs_what_needs_it_and_nothing_else() {
        let found = Capabilities::of(&status(&["security_inode_link"]));
        assert_eq!(found.missing_names(), "link");
        assert_eq!(
            found.explain(),
            [format!("link: NOT available: {UNSEEN} (security_inode_link: fentry: EPERM)")]
        );
        assert!(!found.uses("security_path_link") && found.uses("security_d_instantiate"));
    }

    #[test]
    fn without_any_file_hook_one_line_says_so() {
        let found = Capabilities::of(&status(&[
            "security_d_instantiate",
            "vfs_rename",
            "d_delete",
            "security_bprm_check",
        ]));
        assert_eq!(found.missing_names(), "file events, script path");
        assert_eq!(found.explain().len(), 2);
        assert!(found.explain()[0].starts_with("file events: NOT available: "));
        assert!(!found.uses("security_path_rename") && !found.sees_files());
        assert!(found.uses("sched_process_exec") && found.sees_processes());
    }
}
