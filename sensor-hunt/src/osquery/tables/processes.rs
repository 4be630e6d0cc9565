//! `processes`, `process_envs`, `process_open_files`: what runs, from `/proc`.
//!
//! A process can end between two reads; what is no longer known is absent, and a process that is gone has no row.

use super::text::{number, split_once, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, none, text};

const PROC_BYTES_MAX: u64 = 4 << 20;

/// The processes that a query asks for by its first column, or all.
pub(super) fn pids(context: &Context, query: &Query) -> Result<Vec<u32>, Trouble> {
    if let Some(pid) = query.integer(0) {
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| {
            // A thread's directory exists too, but is not listed: it is no process.
            status(context, *pid)
                .is_some_and(|status| field(&status, b"Tgid:").and_then(number) == Some(*pid))
        });
        return Ok(pid.into_iter().collect());
    }
    let (entries, _) =
        context.host().list(b"/proc").map_err(|cause| Trouble::failed(format_args!("/proc: {cause}")))?;
    let mut pids: Vec<u32> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    pids.sort_unstable();
    Ok(pids)
}

fn status(context: &Context, pid: u32) -> Option<Vec<u8>> {
    context.host().read(format!("/proc/{pid}/status").as_bytes(), PROC_BYTES_MAX).ok()
}

/// The value of a line of `/proc/PID/status` or `io`.
fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines(status).find_map(|line| line.strip_prefix(name)).map(super::text::trim)
}

fn read(context: &Context, pid: u32, name: &str) -> Option<Vec<u8>> {
    context.host().read(format!("/proc/{pid}/{name}").as_bytes(), PROC_BYTES_MAX).ok()
}

fn link(context: &Context, pid: u32, name: &str) -> Option<Vec<u8>> {
    context.host().read_link(format!("/proc/{pid}/{name}").as_bytes()).ok()
}

pub(super) const PROCESSES: Table = Table {
    name: "processes",
    columns: &[
        bigint("pid"),
        text("name"),
        text("path"),
        text("cmdline"),
        text("state"),
        text("cwd"),
        text("root"),
        bigint("uid"),
        bigint("gid"),
        bigint("euid"),
        bigint("egid"),
        bigint("suid"),
        bigint("sgid"),
        integer("on_disk"),
        bigint("wired_size"),
        bigint("resident_size"),
        bigint("total_size"),
        bigint("user_time"),
        bigint("system_time"),
        bigint("disk_bytes_read"),
        bigint("disk_bytes_written"),
        bigint("start_time"),
        bigint("parent"),
        bigint("pgroup"),
        integer("threads"),
        integer("nice"),
        text("cgroup_path"),
        hidden(bigint("phys_footprint")),
        hidden(integer("elevated_token")),
        hidden(integer("secure_process")),
        hidden(text("protection_type")),
        hidden(integer("virtual_process")),
        hidden(bigint("elapsed_time")),
        hidden(bigint("handle_count")),
        hidden(bigint("percent_processor_time")),
        hidden(bigint("upid")),
        hidden(bigint("uppid")),
        hidden(integer("cpu_type")),
        hidden(integer("cpu_subtype")),
        hidden(integer("translated")),
    ],
    key: &["pid", "start_time"],
    index: &["pid"],
    required: &[],
    rows: processes,
};

fn processes(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("processes") {
        return none();
    }
    let boot = boot_time(context);
    let pids = pids(context, query)?;
    let context = context.clone();
    Ok(Box::new(pids.into_iter().filter_map(move |pid| process(&context, pid, boot).map(Ok))))
}

/// When the machine started, in seconds.
fn boot_time(context: &Context) -> Option<i64> {
    let bytes = context.config(b"/proc/stat")?;
    lines(&bytes).find_map(|line| number(line.strip_prefix(b"btime ")?))
}

/// Clock ticks of `/proc/PID/stat`: the kernel shows 100 a second on every architecture that is built for.
const TICKS: i64 = 100;

/// What follows the name in `/proc/PID/stat`; the name itself may hold anything.
fn stat_fields(stat: &[u8]) -> Option<Vec<&[u8]>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(words(stat.get(end + 1..)?).collect())
}

fn process(context: &Context, pid: u32, boot: Option<i64>) -> Option<Row> {
    let status = status(context, pid)?;
    let stat = read(context, pid, "stat")?;
    let fields = stat_fields(&stat)?;
    // proc(5) counts from 1, and the third is the first of these.
    let stat = |index: usize| fields.get(index - 3).copied().and_then(number::<i64>);
    let text = |name: &[u8]| field(&status, name);
    let ids = |name: &[u8]| {
        let mut ids = words(text(name).unwrap_or_default()).map(number::<i64>);
        let mut next = move || ids.next().flatten();
        (next(), next(), next())
    };
    let (uid, euid, suid) = ids(b"Uid:");
    let (gid, egid, sgid) = ids(b"Gid:");
    let kilobytes = |name: &[u8]| {
        words(text(name).unwrap_or_default()).next().and_then(number::<i64>).map(|size| size * 1024)
    };
    let mut command = read(context, pid, "cmdline").unwrap_or_default();
    while command.last() == Some(&0) {
        command.pop();
    }
    command.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    let (path, on_disk) = executable(context, pid);
    let io = read(context, pid, "io");
    let bytes = |name: &[u8]| io.as_deref().and_then(|io| field(io, name)).and_then(number::<i64>);
    let milliseconds = |ticks: Option<i64>| ticks.map(|ticks| ticks * 1000 / TICKS);
    let cgroup = read(context, pid, "cgroup")
        .and_then(|bytes| lines(&bytes).find_map(|line| line.strip_prefix(b"0::").map(<[u8]>::to_vec)));
    let name = fields_name(&status).unwrap_or_default();
    let total = kilobytes(b"VmSize:");
    Some(row![
        pid,
        name,
        path,
        command,
        fields.first().copied(),
        link(context, pid, "cwd"),
        link(context, pid, "root"),
        uid,
        gid,
        euid,
        egid,
        suid,
        sgid,
        on_disk,
        0_i64,
        kilobytes(b"VmRSS:").unwrap_or(0),
        total.unwrap_or(0),
        milliseconds(stat(14)),
        milliseconds(stat(15)),
        bytes(b"read_bytes:"),
        bytes(b"write_bytes:"),
        boot.zip(stat(22)).map(|(boot, ticks)| boot + ticks / TICKS),
        stat(4),
        stat(5),
        stat(20),
        stat(19),
        cgroup,
        total.unwrap_or(0),
    ])
}

/// The name as `/proc/PID/status` has it, without the kernel's escapes of a newline and a backslash.
fn fields_name(status: &[u8]) -> Option<Vec<u8>> {
    let line = lines(status).find_map(|line| line.strip_prefix(b"Name:\t"))?;
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let (byte, used) = match (first, tail.first()) {
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'\\')) => (b'\\', 2),
            _ => (*first, 1),
        };
        out.push(byte);
        rest = rest.get(used..).unwrap_or_default();
    }
    Some(out)
}

/// The executable's path and whether there still is such a file: 1, 0, or -1 if that is not known, as for a thread of
/// the kernel.
fn executable(context: &Context, pid: u32) -> (Vec<u8>, i64) {
    let Some(path) = link(context, pid, "exe") else { return (Vec::new(), -1) };
    if context.host().exists(&path) {
        return (path, 1);
    }
    let path = path.strip_suffix(b" (deleted)").map(<[u8]>::to_vec).unwrap_or(path);
    (path, 0)
}

pub(super) const PROCESS_ENVS: Table = Table {
    name: "process_envs",
    columns: &[integer("pid"), text("key"), text("value")],
    key: &[],
    index: &["pid"],
    required: &[],
    rows: process_envs,
};

fn process_envs(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_envs") {
        return none();
    }
    let pids = pids(context, query)?;
    let context = context.clone();
    Ok(Box::new(pids.into_iter().flat_map(move |pid| environment(&context, pid).into_iter().map(Ok))))
}

/// A variable that is set twice has the value of the last, and is one row.
fn environment(context: &Context, pid: u32) -> Vec<Row> {
    let bytes = match context.host().read(format!("/proc/{pid}/environ").as_bytes(), PROC_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            context.warn_of_processes("process_envs");
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    let mut values = std::collections::BTreeMap::new();
    for part in bytes.split(|byte| *byte == 0) {
        if let Some((key, value)) = split_once(part, b'=') {
            values.insert(key.to_vec(), value.to_vec());
        }
    }
    values.into_iter().map(|(key, value)| row![pid, key, value]).collect()
}

pub(super) const PROCESS_OPEN_FILES: Table = Table {
    name: "process_open_files",
    columns: &[bigint("pid"), bigint("fd"), text("path")],
    key: &[],
    index: &["pid"],
    required: &[],
    rows: process_open_files,
};

fn process_open_files(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_open_files") {
        return none();
    }
    let mut rows = Vec::new();
    for pid in pids(context, query)? {
        for (fd, target) in descriptors(context, pid)? {
            // Sockets, pipes and the like have no path.
            if target.starts_with(b"/") {
                rows.push(row![pid, fd, target]);
            }
        }
    }
    all(rows)
}

/// The open descriptors of a process, and what each is.
pub(super) fn descriptors(context: &Context, pid: u32) -> Result<Vec<(i64, Vec<u8>)>, Trouble> {
    let entries = match context.host().list(format!("/proc/{pid}/fd").as_bytes()) {
        Ok((entries, _)) => entries,
        Err(cause) => {
            if cause.kind() == std::io::ErrorKind::PermissionDenied {
                context.warn("descriptors of other users' processes are not known; run as root".into());
            }
            return Ok(Vec::new());
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        context.look()?;
        let Some(fd) = number::<i64>(&entry.name) else { continue };
        if let Ok(target) = context.host().read_link(format!("/proc/{pid}/fd/{fd}").as_bytes()) {
            found.push((fd, target));
        }
    }
    found.sort_unstable_by_key(|(fd, _)| *fd);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{fields_name, stat_fields};

    #[test]
    fn a_name_may_look_like_the_fields_that_follow() {
        let fields = stat_fields(b"7 (a) R 1 (b)) S 1 2 3").unwrap();
        assert_eq!(fields, [b"S".as_slice(), b"1", b"2", b"3"]);
        assert_eq!(fields_name(b"Name:\ta\\nb\\\\c \nUmask:\t0022\n"), Some(b"a\nb\\c ".to_vec()));
    }
}
