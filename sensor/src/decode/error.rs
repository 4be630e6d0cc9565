//! Why a record could not be decoded: what was looked at, what it needed, what was there.

use thiserror::Error;

/// The part of a record that a [`DecodeError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// [`sensor_common::wire::RecordHeader`].
    Header,
    /// [`sensor_common::wire::FileRecord`].
    File,
    /// [`sensor_common::wire::ScriptRecord`].
    Script,
    /// [`sensor_common::wire::ExecRecord`].
    Exec,
    /// [`sensor_common::wire::ForkRecord`].
    Fork,
    /// [`sensor_common::wire::ExitRecord`].
    Exit,
    /// [`sensor_common::wire::CredentialsRecord`].
    Credentials,
    /// [`sensor_common::wire::SessionRecord`].
    Session,
    /// The path of a file or script.
    Path,
    /// The path before a rename, or that a hard link names.
    OldPath,
    /// The target of a symbolic link.
    Target,
    /// The path of the executable.
    Exe,
    /// The working directory.
    Cwd,
    /// `bprm->filename`.
    Filename,
    /// `bprm->interp`.
    Interp,
    /// The arguments.
    Argv,
    /// The environment.
    Envp,
    /// The supplementary groups.
    Groups,
    /// The cgroup path.
    Cgroup,
}

impl Part {
    /// The name that messages use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Header => "record header",
            Self::File => "file record",
            Self::Script => "script record",
            Self::Exec => "exec record",
            Self::Fork => "fork record",
            Self::Exit => "exit record",
            Self::Credentials => "record of ids",
            Self::Session => "session record",
            Self::Path => "path",
            Self::OldPath => "old path",
            Self::Target => "link target",
            Self::Exe => "executable path",
            Self::Cwd => "working directory",
            Self::Filename => "file name of exec",
            Self::Interp => "interpreter of exec",
            Self::Argv => "arguments",
            Self::Envp => "environment",
            Self::Groups => "supplementary groups",
            Self::Cgroup => "cgroup path",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A record that is not what the wire types promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DecodeError {
    /// Fewer bytes than the fixed part takes, or than the header says are in use.
    #[error("{what}: needs {needed} bytes, got {got}")]
    Short { what: Part, needed: usize, got: usize },
    /// The header's length does not cover the fixed part.
    #[error("{what}: needs a length of at least {needed}, the header says {got}")]
    Length { what: Part, needed: usize, got: usize },
    /// A span that starts inside the fixed part.
    #[error("{what}: needs an offset of at least {needed}, got {got}")]
    Overlap { what: Part, needed: usize, got: usize },
    /// A span that ends behind the record.
    #[error("{what}: needs {needed} bytes of record, got {got}")]
    Beyond { what: Part, needed: usize, got: usize },
    /// A list of NUL-ended strings whose last one is not ended.
    #[error("{what}: needs a NUL at its end, got {got:#04x}")]
    Unterminated { what: Part, got: u8 },
    /// `root_bytes` or `mount_bytes` points behind the path or into a component.
    #[error("{what}: needs a component boundary within {needed} bytes, got {got}")]
    Boundary { what: Part, needed: usize, got: usize },
    /// No such [`sensor_common::wire::RecordKind`].
    #[error("record kind: needs 1 to {needed}, got {got}")]
    Kind { needed: usize, got: u16 },
    /// No such [`sensor_common::wire::FileOp`].
    #[error("file operation: needs 1 to 10, got {got}")]
    Op { got: u16 },
}
