//! `process_memory_map`, `process_namespaces`, `process_open_pipes`.

use std::collections::HashMap;

use super::processes::{descriptors, pids};
use super::text::number;
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, integer, none, text};

const MAPS_BYTES_MAX: u64 = 64 << 20;

pub(super) const PROCESS_MEMORY_MAP: Table = Table {
    name: "process_memory_map",
    columns: &[
        integer("pid"),
        text("start"),
        text("end"),
        text("permissions"),
        bigint("offset"),
        text("device"),
        integer("inode"),
        text("path"),
        integer("pseudo"),
    ],
    key: &[],
    index: &["pid"],
    required: &[],
    rows: process_memory_map,
};

fn process_memory_map(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_memory_map") {
        return none();
    }
    let pids = pids(context, query)?;
    let context = context.clone();
    Ok(Box::new(pids.into_iter().flat_map(move |pid| {
        let read = context.host().read(format!("/proc/{pid}/maps").as_bytes(), MAPS_BYTES_MAX);
        if read.as_ref().is_err_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied) {
            context.warn_of_processes("process_memory_map");
        }
        let bytes = read.unwrap_or_default();
        lines(&bytes).filter_map(|line| mapping(pid, line)).map(Ok).collect::<Vec<_>>()
    })))
}

/// `start-end permissions offset device inode   path`; the path is the rest of the line, and may be missing.
fn mapping(pid: u32, line: &[u8]) -> Option<Row> {
    let mut rest = line;
    let mut next = || {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at_checked(end)?;
        rest = tail.strip_prefix(b" ").unwrap_or(tail);
        Some(field)
    };
    let (range, permissions, offset, device, inode) = (next()?, next()?, next()?, next()?, next()?);
    let path = rest.trim_ascii_start();
    let (start, end) = super::text::split_once(range, b'-')?;
    let hex = |digits: &[u8]| [b"0x", digits].concat();
    let offset = i64::from_str_radix(std::str::from_utf8(offset).ok()?, 16).unwrap_or(-1);
    let inode: i64 = number(inode)?;
    let pseudo = inode == 0 && !path.is_empty();
    Some(row![pid, hex(start), hex(end), permissions, offset, device, inode, path, pseudo])
}

const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

pub(super) const PROCESS_NAMESPACES: Table = Table {
    name: "process_namespaces",
    columns: &[
        integer("pid"),
        text("cgroup_namespace"),
        text("ipc_namespace"),
        text("mnt_namespace"),
        text("net_namespace"),
        text("pid_namespace"),
        text("user_namespace"),
        text("uts_namespace"),
    ],
    key: &["pid"],
    index: &["pid"],
    required: &[],
    rows: process_namespaces,
};

fn process_namespaces(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_namespaces") {
        return none();
    }
    let pids = pids(context, query)?;
    let context = context.clone();
    Ok(Box::new(pids.into_iter().map(move |pid| {
        let mut row = row![pid];
        row.extend(NAMESPACES.iter().map(|name| {
            let link = context.host().read_link(format!("/proc/{pid}/ns/{name}").as_bytes()).ok();
            link.and_then(|link| inode_of(&link).map(<[u8]>::to_vec)).into()
        }));
        Ok(row)
    })))
}

/// `net:[4026531840]`
fn inode_of(link: &[u8]) -> Option<&[u8]> {
    let start = link.iter().position(|byte| *byte == b'[')?;
    link.get(start + 1..)?.strip_suffix(b"]")
}

pub(super) const PROCESS_OPEN_PIPES: Table = Table {
    name: "process_open_pipes",
    columns: &[
        bigint("pid"),
        bigint("fd"),
        text("mode"),
        bigint("inode"),
        text("type"),
        bigint("partner_pid"),
        bigint("partner_fd"),
        text("partner_mode"),
    ],
    key: &[],
    index: &[],
    required: &[],
    rows: process_open_pipes,
};

/// An end of a pipe that a process holds.
#[derive(Clone, Copy)]
struct End {
    pid: u32,
    fd: i64,
    mode: &'static str,
}

/// Each end beside each end of the other kind that another process holds.
fn process_open_pipes(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_open_pipes") {
        return none();
    }
    let mut pipes: HashMap<(i64, &str), Vec<End>> = HashMap::new();
    for pid in pids(context, &Query::default())? {
        for (fd, target) in descriptors(context, pid)? {
            let Some((inode, kind)) = pipe(context, pid, fd, &target) else { continue };
            let mode = mode_of(context, pid, fd).unwrap_or("");
            pipes.entry((inode, kind)).or_default().push(End { pid, fd, mode });
        }
    }
    let mut rows = Vec::new();
    for ((inode, kind), ends) in pipes {
        for end in &ends {
            for other in ends.iter().filter(|other| other.pid != end.pid && other.mode != end.mode) {
                context.look()?;
                rows.push(row![end.pid, end.fd, end.mode, inode, kind, other.pid, other.fd, other.mode]);
            }
        }
    }
    all(rows)
}

fn pipe(context: &Context, pid: u32, fd: i64, target: &[u8]) -> Option<(i64, &'static str)> {
    if target.starts_with(b"pipe:[") {
        return Some((number(inode_of(target)?)?, "anonymous"));
    }
    if !target.starts_with(b"/") {
        return None;
    }
    let found = context.host().stat(format!("/proc/{pid}/fd/{fd}").as_bytes()).ok()?;
    let fifo = crate::osquery::host::kind_of(&found) == rustix::fs::FileType::Fifo;
    fifo.then(|| (found.st_ino.cast_signed(), "named"))
}

/// The access that the descriptor was opened for, from the octal flags.
fn mode_of(context: &Context, pid: u32, fd: i64) -> Option<&'static str> {
    let bytes = context.host().read(format!("/proc/{pid}/fdinfo/{fd}").as_bytes(), 1 << 16).ok()?;
    let flags = lines(&bytes).find_map(|line| line.strip_prefix(b"flags:"))?;
    match flags.trim_ascii().last()? & 3 {
        0 => Some("r"),
        1 => Some("w"),
        _ => Some("rw"),
    }
}

#[cfg(test)]
mod tests {
    use super::mapping;
    use crate::osquery::cell::row;

    #[test]
    fn a_mapped_path_may_hold_blanks() {
        let line = b"7f00-7f10 r-xp 0000a000 08:01 42                         /usr/lib/a b (deleted)";
        let path = "/usr/lib/a b (deleted)";
        let expected = row![5_i64, "0x7f00", "0x7f10", "r-xp", 40_960_i64, "08:01", 42_i64, path, false];
        assert_eq!(mapping(5, line), Some(expected));
        let line = b"7ffc-7ffd rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(mapping(5, line).unwrap()[6..], row![0_i64, "[stack]", true]);
        assert_eq!(mapping(5, b"7ffc-7ffd rw-p 00000000 00:00 0 ").unwrap()[6..], row![0_i64, "", false]);
        assert_eq!(mapping(5, b"7ffc rw-p"), None);
    }
}
