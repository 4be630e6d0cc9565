//! Wire bytes to typed records: every length, offset and tag is checked, nothing is trusted.

mod error;
mod path;
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), expect(dead_code, reason = "tests need more of it than benchmarks"))]
#[expect(clippy::unwrap_used, reason = "what does not fit is the caller's mistake")]
pub(crate) mod synth;
#[cfg(test)]
mod tests;

use sensor_common::wire::{
    CredentialsRecord, ExecRecord, ExitRecord, FileOp, FileRecord, ForkRecord, PathRef, RecordHeader,
    RecordKind, ScriptRecord, SessionRecord, Span, path_flags,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

pub(crate) use error::{DecodeError, Part};
#[cfg(test)]
pub(crate) use path::PathDoubt;
pub(crate) use path::{WirePath, base_name, write_absolute};

/// One record. The fixed part is copied out, which makes decoding independent of the alignment of the bytes:
/// records come straight from the ring, from a buffer, or from a file.
#[derive(Debug)]
pub(crate) enum Wire<'a> {
    /// A file name came to be, changed, or is gone.
    File(File<'a>),
    /// A process runs a new image.
    Exec(Exec<'a>),
    /// The script that the next exec of the task runs.
    Script(Script<'a>),
    /// A new process.
    Fork(ForkRecord),
    /// The end of a process.
    Exit(ExitRecord),
    /// Other user or group ids.
    Credentials(Credentials),
    /// A session of its own.
    Session(SessionRecord),
}

/// Other ids.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// The fixed part.
    pub(crate) record: CredentialsRecord,
    /// Whether the group ids changed; else it is the user ids.
    pub(crate) of_group: bool,
}

/// A creation, a rename or a deletion.
#[derive(Debug)]
pub(crate) struct File<'a> {
    /// The fixed part.
    pub(crate) record: FileRecord,
    /// What was done.
    pub(crate) op: FileOp,
    /// The path after the operation; of a deletion, the one that is gone.
    pub(crate) path: WirePath<'a>,
    /// The path before a rename, or the file that a hard link names.
    pub(crate) old_path: Option<WirePath<'a>>,
    /// Target of a symbolic link.
    pub(crate) target: Option<&'a [u8]>,
}

/// The image that a script names is about to be loaded.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    /// The fixed part.
    pub(crate) record: ScriptRecord,
    /// The script's path.
    pub(crate) path: WirePath<'a>,
}

/// A process runs a new image.
#[derive(Debug)]
pub(crate) struct Exec<'a> {
    /// The fixed part.
    pub(crate) record: ExecRecord,
    /// The image, or the interpreter of a script.
    pub(crate) exe: WirePath<'a>,
    /// Working directory.
    pub(crate) cwd: WirePath<'a>,
    /// What the caller asked to run.
    pub(crate) filename: Option<&'a [u8]>,
    /// Arguments, each ended by a NUL except perhaps a cut last one.
    pub(crate) argv: &'a [u8],
    /// The first bytes of the environment, `NAME=value` each ended by a NUL except perhaps the last.
    pub(crate) envp: &'a [u8],
    /// Supplementary groups, four bytes each.
    groups: &'a [u8],
    /// cgroup path, leaf first, NUL-ended.
    cgroup: &'a [u8],
}

impl Wire<'_> {
    /// What the record is about.
    pub(crate) const fn header(&self) -> &RecordHeader {
        match self {
            Self::File(file) => &file.record.header,
            Self::Exec(exec) => &exec.record.header,
            Self::Script(script) => &script.record.header,
            Self::Fork(fork) => &fork.header,
            Self::Exit(exit) => &exit.header,
            Self::Credentials(credentials) => &credentials.record.header,
            Self::Session(session) => &session.header,
        }
    }
}

impl<'a> Exec<'a> {
    /// Supplementary groups.
    pub(crate) fn groups(&self) -> Vec<u32> {
        self.groups.as_chunks().0.iter().map(|id| u32::from_ne_bytes(*id)).collect()
    }

    /// Appends the cgroup path from the root of its hierarchy; nothing when the kernel sent none.
    pub(crate) fn write_cgroup(&self, out: &mut Vec<u8>) {
        if !self.cgroup.is_empty() {
            write_absolute(self.cgroup, out);
        }
    }
}

/// Decodes one record. `bytes` may be longer than the record: ring slots come in size classes.
pub(crate) fn decode(bytes: &[u8]) -> Result<Wire<'_>, DecodeError> {
    let header: RecordHeader = fixed(Part::Header, bytes)?;
    let Some(kind) = RecordKind::from_raw(header.kind) else {
        return Err(DecodeError::Kind { needed: RecordKind::ALL.len(), got: header.kind });
    };
    // A length that does not fit in usize cannot be backed by bytes either.
    let len = usize::try_from(header.len).unwrap_or(usize::MAX);
    let Some(used) = bytes.get(..len) else {
        return Err(DecodeError::Short { what: Part::Header, needed: len, got: bytes.len() });
    };
    match kind {
        RecordKind::FileCreate | RecordKind::FileRename | RecordKind::FileDelete => file(used),
        RecordKind::Exec => exec(used).map(Wire::Exec),
        RecordKind::ExecScript => script(used).map(Wire::Script),
        RecordKind::Fork => within(Part::Fork, used).map(Wire::Fork),
        RecordKind::Exit => within(Part::Exit, used).map(Wire::Exit),
        RecordKind::UidChange | RecordKind::GidChange => {
            let of_group = kind == RecordKind::GidChange;
            within(Part::Credentials, used).map(|record| Wire::Credentials(Credentials { record, of_group }))
        }
        RecordKind::SessionChange => within(Part::Session, used).map(Wire::Session),
    }
}

/// Decodes any bytes and reads all that the result offers: what fuzz targets run.
pub fn exhaust(bytes: &[u8]) {
    let Ok(wire) = decode(bytes) else { return };
    let mut out = Vec::new();
    let mut walk = |path: &WirePath<'_>| {
        path.write_task_view(&mut out);
        path.write_namespace_view(&mut out);
        path.write_within_file_system(&mut out);
        std::hint::black_box((path.views_differ(), path.is_known(), path.doubts().count()));
    };
    match wire {
        Wire::File(file) => {
            walk(&file.path);
            file.old_path.iter().for_each(walk);
        }
        Wire::Exec(exec) => {
            walk(&exec.exe);
            walk(&exec.cwd);
            exec.write_cgroup(&mut out);
        }
        Wire::Script(script) => walk(&script.path),
        Wire::Fork(_) | Wire::Exit(_) | Wire::Credentials(_) | Wire::Session(_) => {}
    }
    std::hint::black_box(out);
}

fn file(used: &[u8]) -> Result<Wire<'_>, DecodeError> {
    let record: FileRecord = within(Part::File, used)?;
    let reader = Reader { used, fixed_bytes: size_of::<FileRecord>() };
    let op = FileOp::from_raw(record.op).ok_or(DecodeError::Op { got: record.op })?;
    let path = reader.path(Part::Path, record.path)?;
    let old_path = if record.old_path.flags & path_flags::BESIDE != 0 {
        path.beside(Part::OldPath, reader.span(Part::OldPath, record.old_path.span)?)?
    } else {
        reader.path(Part::OldPath, record.old_path)?
    };
    let target = reader.text(Part::Target, record.target)?;
    Ok(Wire::File(File { op, path, old_path: old_path.is_known().then_some(old_path), target, record }))
}

fn script(used: &[u8]) -> Result<Script<'_>, DecodeError> {
    let record: ScriptRecord = within(Part::Script, used)?;
    let reader = Reader { used, fixed_bytes: size_of::<ScriptRecord>() };
    Ok(Script { path: reader.path(Part::Path, record.path)?, record })
}

fn exec(used: &[u8]) -> Result<Exec<'_>, DecodeError> {
    let record: ExecRecord = within(Part::Exec, used)?;
    let reader = Reader { used, fixed_bytes: size_of::<ExecRecord>() };
    // Checked like the rest, though only the flag that goes with it is used.
    reader.text(Part::Interp, record.interp)?;
    Ok(Exec {
        exe: reader.path(Part::Exe, record.exe)?,
        cwd: reader.path(Part::Cwd, record.cwd)?,
        filename: reader.text(Part::Filename, record.filename)?,
        argv: reader.span(Part::Argv, record.argv)?,
        envp: reader.span(Part::Envp, record.envp)?,
        groups: reader.span(Part::Groups, record.groups)?,
        cgroup: reader.terminated(Part::Cgroup, record.cgroup)?,
        record,
    })
}

/// The fixed part of a record whose header says how many bytes are in use.
fn within<T: FromBytes + KnownLayout + Immutable>(what: Part, used: &[u8]) -> Result<T, DecodeError> {
    fixed(what, used).map_err(|_| DecodeError::Length { what, needed: size_of::<T>(), got: used.len() })
}

fn fixed<T: FromBytes + KnownLayout + Immutable>(what: Part, bytes: &[u8]) -> Result<T, DecodeError> {
    match T::read_from_prefix(bytes) {
        Ok((value, _rest)) => Ok(value),
        Err(_) => Err(DecodeError::Short { what, needed: size_of::<T>(), got: bytes.len() }),
    }
}

struct Reader<'a> {
    used: &'a [u8],
    fixed_bytes: usize,
}

impl<'a> Reader<'a> {
    fn span(&self, what: Part, span: Span) -> Result<&'a [u8], DecodeError> {
        let (offset, len) = (usize::from(span.offset), usize::from(span.len));
        if len == 0 {
            return Ok(&[]);
        }
        if offset < self.fixed_bytes {
            return Err(DecodeError::Overlap { what, needed: self.fixed_bytes, got: offset });
        }
        let end = offset + len;
        self.used.get(offset..end).ok_or(DecodeError::Beyond { what, needed: end, got: self.used.len() })
    }

    /// Text that the kernel may or may not have ended with a NUL; what follows a NUL is not part of it.
    fn text(&self, what: Part, span: Span) -> Result<Option<&'a [u8]>, DecodeError> {
        let bytes = self.span(what, span)?;
        Ok(bytes.split(|&byte| byte == 0).next().filter(|text| !text.is_empty()))
    }

    fn terminated(&self, what: Part, span: Span) -> Result<&'a [u8], DecodeError> {
        let bytes = self.span(what, span)?;
        match bytes.last() {
            Some(&last) if last != 0 => Err(DecodeError::Unterminated { what, got: last }),
            _ => Ok(bytes),
        }
    }

    fn path(&self, what: Part, path: PathRef) -> Result<WirePath<'a>, DecodeError> {
        WirePath::new(what, path, self.span(what, path.span)?, self.span(what, path.above)?)
    }
}
