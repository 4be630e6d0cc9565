//! What is known about a process, prepared once so that its events only borrow.

use std::borrow::Cow;
use std::sync::Arc;

use crate::file::Executable;
use crate::value::Scalar;

/// Shared bytes: names recur over processes, and a fork copies everything of its parent.
pub type Text = Arc<[u8]>;

/// A program as it was started; shared by the children that a process forks.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// `process.executable`, `process.name`. Absent for kernel threads and where nothing could be read.
    pub executable: Option<Executable>,
    /// The same by other ways than the process's own, where one differs.
    pub elsewhere: Option<Box<Elsewhere>>,
    /// `process.args` with `process.command_line`.
    pub arguments: Arguments,
    /// `process.env_vars`: allow-listed variables only.
    pub env_vars: Vec<Scalar>,
    /// `process.hash.md5`.
    pub md5: Option<Text>,
    /// `process.hash.sha1`.
    pub sha1: Option<Text>,
    /// `process.hash.sha256`.
    pub sha256: Option<Text>,
}

/// Names of an executable: a root or a mount of its own makes any file `/usr/bin/dpkg`.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// As the mount namespace has it, whatever the process's root is.
    pub host: Executable,
    /// By way of its file system's first mount.
    pub file_system: Executable,
}

/// An argument vector.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// `process.args`; empty when unknown.
    pub args: Vec<Scalar>,
    /// `process.args_count`: of the vector before any cut.
    pub count: Option<u64>,
    /// `process.command_line`: the arguments joined by one blank each, no quoting.
    pub command_line: Option<Text>,
    /// Arguments were cut off: `process.Ext.command_line_truncated`.
    pub truncated: bool,
}

impl Arguments {
    /// Splits what the kernel keeps: arguments that each end in a NUL. A last one without its NUL was cut.
    ///
    /// `count` is the number before any cut, when it is known. No bytes at all mean that nothing is known.
    #[must_use]
    pub fn from_nul_terminated(bytes: &[u8], count: Option<u64>, truncated: bool) -> Self {
        if bytes.is_empty() {
            return Self { args: Vec::new(), count, command_line: None, truncated };
        }
        let body = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        let args: Vec<Scalar> = body
            .split(|byte| *byte == 0)
            .map(|argument| Scalar::Keyword(Cow::Owned(argument.to_vec())))
            .collect();
        let command_line: Vec<u8> = body.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
        let count = count.or(if truncated { None } else { u64::try_from(args.len()).ok() });
        let command_line = (!command_line.is_empty()).then(|| command_line.into());
        Self { args, count, command_line, truncated }
    }
}

/// A user or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The number, as text.
    pub id: Option<Text>,
    /// The name, if one is known.
    pub name: Option<Text>,
}

/// Whose rights a process has.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Effective user.
    pub user: Account,
    /// Effective group.
    pub group: Account,
    /// Real user.
    pub real_user: Account,
    /// Real group.
    pub real_group: Account,
    /// Saved user.
    pub saved_user: Account,
    /// Saved group.
    pub saved_group: Account,
    /// `supplemental_groups.id`.
    pub supplemental_group_ids: Vec<Scalar>,
    /// `supplemental_groups.name`.
    pub supplemental_group_names: Vec<Scalar>,
    /// `thread.capabilities.effective`.
    pub capabilities_effective: Vec<Scalar>,
    /// `thread.capabilities.permitted`.
    pub capabilities_permitted: Vec<Scalar>,
}

/// The controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tty {
    /// Major device number.
    pub major: u32,
    /// Minor device number.
    pub minor: u32,
}

/// The container that a process runs in.
#[derive(Clone, Debug)]
pub struct Container {
    /// `container.id`.
    pub id: Text,
    /// `container.runtime`: what made it.
    pub runtime: Option<&'static str>,
    /// `container.name`.
    pub name: Option<Text>,
    /// `container.image.name`.
    pub image_name: Option<Text>,
    /// `container.image.tag`.
    pub image_tags: Vec<Scalar>,
    /// `container.image.hash.all`.
    pub image_hashes: Vec<Scalar>,
    /// The pod around it, in Kubernetes.
    pub pod: Option<Pod>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// The pod's uid. No document has it; it finds the rest.
    pub uid: Text,
    /// `orchestrator.namespace`.
    pub namespace: Option<Text>,
    /// `orchestrator.resource.name`.
    pub name: Option<Text>,
}

/// How a session came onto the host: `entry_meta.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// pid 1.
    Init,
    /// A kernel thread.
    Kthread,
    /// An ssh login.
    Sshd,
    /// An AWS session-manager login.
    Ssm,
    /// A container's entry point.
    Container,
    /// A login on a terminal.
    Terminal,
}

impl EntryType {
    /// The text in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Kthread => "kthread",
            Self::Sshd => "sshd",
            Self::Ssm => "ssm",
            Self::Container => "container",
            Self::Terminal => "terminal",
        }
    }
}

/// `entry_meta` of a process that leads an entry.
#[derive(Clone, Debug)]
pub struct EntryMeta {
    /// How it came.
    pub entry_type: EntryType,
    /// From which address.
    pub source_ip: Option<Text>,
}

/// Why a process's record is less than complete: an element of `process.Ext.degraded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// Found in `/proc` after the fact, so parts may be newer than the event.
    FromProc,
    /// Its start was not seen and `/proc` had nothing left.
    StartUnseen,
    /// argv did not fit the record.
    ArgumentsTruncated,
    /// argv could not be read.
    ArgumentsUnreadable,
    /// The environment did not fit the record: a variable that is not there may have been set.
    EnvironmentTruncated,
    /// The path of the working directory misses upper components, may be wrong, or the directory is removed.
    DirectoryIncomplete,
    /// The path of the executable misses upper components or may be wrong.
    ExecutableIncomplete,
    /// The executable had no link left when it was started.
    ExecutableUnlinked,
    /// Kernel records of this process were lost.
    RecordsLost,
}

impl Degradation {
    /// The element.
    #[must_use]
    pub const fn scalar(self) -> Scalar {
        Scalar::keyword(match self {
            Self::FromProc => "from_proc",
            Self::StartUnseen => "start_unseen",
            Self::ArgumentsTruncated => "arguments_truncated",
            Self::ArgumentsUnreadable => "arguments_unreadable",
            Self::EnvironmentTruncated => "environment_truncated",
            Self::DirectoryIncomplete => "directory_incomplete",
            Self::ExecutableIncomplete => "executable_incomplete",
            Self::ExecutableUnlinked => "executable_unlinked",
            Self::RecordsLost => "records_lost",
        })
    }
}

/// One process, for its whole life.
#[derive(Clone, Debug)]
pub struct Process {
    /// `process.pid`: thread group id in the initial pid namespace.
    pub pid: u32,
    /// `process.entity_id`: see [`entity_id`](crate::entity_id).
    pub entity_id: Text,
    /// `process.start`, nanoseconds since the Unix epoch.
    pub start_ns: Option<i64>,
    /// `process.end`, nanoseconds since the Unix epoch.
    pub end_ns: Option<i64>,
    /// `process.exit_code`.
    pub exit_code: Option<i64>,
    /// What it runs.
    pub image: Arc<Image>,
    /// With whose rights.
    pub credentials: Arc<Credentials>,
    /// `process.working_directory`.
    pub working_directory: Option<Text>,
    /// `process.tty`.
    pub tty: Option<Tty>,
    /// `process.interactive`.
    pub interactive: Option<bool>,
    /// `container.*`.
    pub container: Option<Arc<Container>>,
    /// `entry_meta`, when it leads an entry.
    pub entry_meta: Option<EntryMeta>,
    /// `process.Ext.degraded`: [`Degradation`]s; empty for a complete record.
    pub degraded: Vec<Scalar>,
}

impl Process {
    /// A process of which only the identity is known.
    #[must_use]
    pub fn new(pid: u32, entity_id: Text) -> Self {
        Self {
            pid,
            entity_id,
            start_ns: None,
            end_ns: None,
            exit_code: None,
            image: Arc::default(),
            credentials: Arc::default(),
            working_directory: None,
            tty: None,
            interactive: None,
            container: None,
            entry_meta: None,
            degraded: Vec::new(),
        }
    }

    /// Notes a reason why the record is less than complete, once.
    pub fn degrade(&mut self, why: Degradation) {
        let why = why.scalar();
        if !self.degraded.contains(&why) {
            self.degraded.push(why);
        }
    }
}

/// The names of a capability set, lowest bit first. Bits without a name are numbered: `CAP_41`.
#[must_use]
pub fn capabilities(mask: u64) -> Vec<Scalar> {
    (0..u64::BITS)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| match CAPABILITIES.get(bit as usize) {
            Some(name) => Scalar::keyword(name),
            None => Scalar::Keyword(Cow::Owned(format!("CAP_{bit}").into_bytes())),
        })
        .collect()
}

/// By bit, as `linux/capability.h` numbers them.
static CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_on_nul_and_joined_by_blanks() {
        let arguments = Arguments::from_nul_terminated(b"ls\0--color=auto\0\0", None, false);
        assert_eq!(
            arguments.args,
            [Scalar::keyword("ls"), Scalar::keyword("--color=auto"), Scalar::keyword("")]
        );
        assert_eq!(arguments.count, Some(3));
        assert_eq!(arguments.command_line.as_deref(), Some(&b"ls --color=auto "[..]));
    }

    #[test]
    fn a_cut_vector_keeps_its_real_count() {
        let arguments = Arguments::from_nul_terminated(b"cp\0/tm", Some(9), true);
        assert_eq!(arguments.args, [Scalar::keyword("cp"), Scalar::keyword("/tm")]);
        assert_eq!((arguments.count, arguments.truncated), (Some(9), true));
        assert_eq!(Arguments::from_nul_terminated(b"cp\0/tm", None, true).count, None);
    }

    #[test]
    fn nothing_known_is_absent() {
        let arguments = Arguments::from_nul_terminated(b"", None, false);
        assert!(arguments.args.is_empty() && arguments.command_line.is_none() && arguments.count.is_none());
    }

    #[test]
    fn capabilities_have_their_names() {
        assert_eq!(capabilities(0), []);
        assert_eq!(
            capabilities(1 | 1 << 21 | 1 << 41),
            [
                Scalar::keyword("CAP_CHOWN"),
                Scalar::keyword("CAP_SYS_ADMIN"),
                Scalar::Keyword(Cow::Borrowed(b"CAP_41"))
            ]
        );
        assert_eq!(capabilities(1 << 40), [Scalar::keyword("CAP_CHECKPOINT_RESTORE")]);
    }

    #[test]
    fn a_reason_is_noted_once() {
        let mut process = Process::new(1, Text::default());
        process.degrade(Degradation::FromProc);
        process.degrade(Degradation::FromProc);
        assert_eq!(process.degraded, [Scalar::keyword("from_proc")]);
    }
}
