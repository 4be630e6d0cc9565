//! `os_version`, `system_info`, `mounts`, `etc_hosts`, `uptime`.

use std::collections::BTreeSet;

use super::text::{join, number, settings, split_once, trim, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, none, text};

pub(super) const OS_VERSION: Table = Table::plain(
    "os_version",
    &[
        text("name"),
        text("version"),
        integer("major"),
        integer("minor"),
        integer("patch"),
        text("build"),
        text("platform"),
        text("platform_like"),
        text("codename"),
        text("arch"),
        hidden(text("extra")),
        hidden(bigint("install_date")),
        hidden(integer("revision")),
        hidden(integer("pid_with_namespace")),
        hidden(text("mount_namespace_id")),
    ],
    os_version,
);

fn os_version(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context
        .config(b"/etc/os-release")
        .or_else(|| context.config(b"/usr/lib/os-release"))
        .unwrap_or_default();
    let of = |key: &[u8]| {
        settings(&bytes).find_map(|line| {
            let (name, value) = split_once(line, b'=')?;
            let value = trim(value);
            let bare =
                [b'"', b'\''].iter().find_map(|quote| value.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
            (name == key).then(|| bare.unwrap_or(value).to_vec())
        })
    };
    let id = of(b"VERSION_ID").unwrap_or_default();
    let mut parts = id.split(|byte| *byte == b'.').map(|part| number::<i64>(part).unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let (major, minor, patch) = (part(), part(), part());
    let machine = rustix::system::uname().machine().to_bytes().to_vec();
    all(vec![row![
        of(b"NAME"),
        of(b"VERSION"),
        major,
        minor,
        patch,
        of(b"BUILD_ID"),
        of(b"ID"),
        of(b"ID_LIKE"),
        of(b"VERSION_CODENAME"),
        context.host().is_live().then_some(machine),
    ]])
}

pub(super) const SYSTEM_INFO: Table = Table::plain(
    "system_info",
    &[
        text("hostname"),
        text("uuid"),
        text("cpu_type"),
        text("cpu_subtype"),
        text("cpu_brand"),
        integer("cpu_physical_cores"),
        integer("cpu_logical_cores"),
        integer("cpu_sockets"),
        text("cpu_microcode"),
        bigint("physical_memory"),
        text("hardware_vendor"),
        text("hardware_model"),
        text("hardware_version"),
        text("hardware_serial"),
        text("board_vendor"),
        text("board_model"),
        text("board_version"),
        text("board_serial"),
        text("computer_name"),
        text("local_hostname"),
    ],
    system_info,
);

fn system_info(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("system_info") {
        return none();
    }
    let dmi = |name: &str| {
        let bytes = context.host().read(format!("/sys/class/dmi/id/{name}").as_bytes(), 4096).ok()?;
        Some(trim(&bytes).to_vec())
    };
    let cpu = context.config(b"/proc/cpuinfo").unwrap_or_default();
    let field = |line: &[u8], name: &[u8]| {
        let (key, value) = split_once(line, b':')?;
        (trim(key) == name).then(|| trim(value).to_vec())
    };
    let first = |name: &[u8]| lines(&cpu).find_map(|line| field(line, name));
    let logical = lines(&cpu).filter(|line| field(line, b"processor").is_some()).count();
    // A core is one of its socket; a machine that tells neither apart has one of each for every processor.
    let (mut sockets, mut cores, mut socket) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for line in lines(&cpu) {
        if let Some(of_these) = field(line, b"physical id") {
            sockets.insert(of_these.clone());
            socket = of_these;
        } else if let Some(core) = field(line, b"core id") {
            cores.insert((socket.clone(), core));
        }
    }
    let physical = if cores.is_empty() { logical } else { cores.len() };
    let memory = context.config(b"/proc/meminfo").unwrap_or_default();
    let memory = lines(&memory)
        .find_map(|line| line.strip_prefix(b"MemTotal:"))
        .and_then(|rest| number::<i64>(words(rest).next()?))
        .map(|kilobytes| kilobytes * 1024);
    let names = rustix::system::uname();
    let host = names.nodename().to_bytes();
    all(vec![row![
        host,
        dmi("product_uuid"),
        names.machine().to_bytes(),
        first(b"model"),
        first(b"model name"),
        physical as u64,
        logical as u64,
        sockets.len().max(1) as u64,
        first(b"microcode"),
        memory,
        dmi("sys_vendor"),
        dmi("product_name"),
        dmi("product_version"),
        dmi("product_serial"),
        dmi("board_vendor"),
        dmi("board_name"),
        dmi("board_version"),
        dmi("board_serial"),
        host,
        host,
    ]])
}

pub(super) const MOUNTS: Table = Table::plain(
    "mounts",
    &[
        text("device"),
        text("device_alias"),
        text("path"),
        text("type"),
        bigint("blocks_size"),
        bigint("blocks"),
        bigint("blocks_free"),
        bigint("blocks_available"),
        bigint("inodes"),
        bigint("inodes_free"),
        text("flags"),
    ],
    mounts,
);

fn mounts(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("mounts") {
        return none();
    }
    let bytes = context.config(b"/proc/self/mounts").unwrap_or_default();
    all(lines(&bytes).filter_map(mount).collect())
}

fn mount(line: &[u8]) -> Option<Row> {
    let mut parts = words(line);
    let (device, path, kind) = (octal(parts.next()?), octal(parts.next()?), octal(parts.next()?));
    let flags = parts.next()?.to_vec();
    let found = rustix::fs::statfs(path.as_slice()).ok();
    let size = found.as_ref().map(|it| it.f_bsize as u64);
    let alias = device.clone();
    let of = |pick: fn(&rustix::fs::StatFs) -> u64| found.as_ref().map(pick);
    Some(row![
        device,
        alias,
        path,
        kind,
        size,
        of(|it| it.f_blocks),
        of(|it| it.f_bfree),
        of(|it| it.f_bavail),
        of(|it| it.f_files),
        of(|it| it.f_ffree),
        flags,
    ])
}

/// The kernel writes blanks and backslashes of a path as `\040`.
fn octal(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let byte = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    out
}

pub(super) const ETC_HOSTS: Table = Table::plain(
    "etc_hosts",
    &[text("address"), text("hostnames"), hidden(integer("pid_with_namespace"))],
    etc_hosts,
);

fn etc_hosts(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context.config(b"/etc/hosts").unwrap_or_default();
    let mut rows = Vec::new();
    for line in settings(&bytes) {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut parts = words(line);
        if let Some(address) = parts.next() {
            rows.push(row![address, join(parts)]);
        }
    }
    all(rows)
}

pub(super) const UPTIME: Table = Table::plain(
    "uptime",
    &[integer("days"), integer("hours"), integer("minutes"), integer("seconds"), bigint("total_seconds")],
    uptime,
);

fn uptime(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("uptime") {
        return none();
    }
    let bytes = context.config(b"/proc/uptime").unwrap_or_default();
    let whole = bytes.split(|byte| *byte == b'.').next().and_then(number::<i64>);
    all(whole
        .map(|total| row![total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60, total])
        .into_iter()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::octal;

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(octal(b"/a\\040b\\134c"), b"/a b\\c");
        assert_eq!(octal(b"\\04"), b"\\04");
        assert_eq!(octal(b"\\999"), b"\\999");
    }
}
