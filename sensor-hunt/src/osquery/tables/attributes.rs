//! `extended_attributes`: what a file has beside its contents. Capabilities are told in words.

use super::text::below;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::glob::Walk;
use crate::osquery::table::{Op, Query, Rows, Table, all, integer, text};

const PATH: usize = 0;
const DIRECTORY: usize = 1;
const CAPABILITIES: &str = "security.capability";

pub(super) const EXTENDED_ATTRIBUTES: Table = Table {
    name: "extended_attributes",
    columns: &[text("path"), text("directory"), text("key"), text("value"), integer("base64")],
    key: &["path", "directory", "key"],
    index: &[],
    required: &["path", "directory"],
    rows,
};

fn rows(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let texts = |index, op| query.of(index, op).filter_map(Cell::text);
    let mut paths: Vec<Vec<u8>> = texts(PATH, Op::Equals).map(<[u8]>::to_vec).collect();
    for pattern in texts(PATH, Op::Like) {
        for path in Walk::new(context, pattern)? {
            paths.push(path?);
        }
    }
    let mut directories: Vec<Vec<u8>> = texts(DIRECTORY, Op::Equals).map(<[u8]>::to_vec).collect();
    for pattern in texts(DIRECTORY, Op::Like) {
        for path in Walk::new(context, pattern)? {
            directories.extend(Some(path?).filter(|path| path.ends_with(b"/")));
        }
    }
    let (mut found, mut once) = (Vec::new(), query.once(DIRECTORY));
    for path in paths {
        let parent = path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(..at.max(1)));
        let parent = parent.unwrap_or_default().to_vec();
        if !directories.contains(&parent) && once(&path, &parent) {
            of_path(context, &path, &parent, &mut found)?;
        }
    }
    for directory in directories {
        for entry in context.host().list(&directory).map(|(entries, _)| entries).unwrap_or_default() {
            let path = below(&directory, &entry.name);
            if once(&path, &directory) {
                of_path(context, &path, &directory, &mut found)?;
            }
        }
    }
    all(found)
}

fn of_path(context: &Context, path: &[u8], directory: &[u8], found: &mut Vec<Row>) -> Result<(), Trouble> {
    context.look()?;
    for (key, value) in context.host().attributes(path) {
        let plain = match value.split_last() {
            _ if key == CAPABILITIES.as_bytes() => capabilities(&value),
            // As osquery: text is what ends in its only NUL and can be printed.
            Some((0, text)) if text.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        };
        let encoded = plain.is_none();
        let value = plain.unwrap_or_else(|| crate::base64::encode(&value));
        found.push(row![path, directory, key, value, encoded]);
    }
    Ok(())
}

const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// `cap_net_admin,cap_net_raw=ep`, as getcap(8) has it; `None` if it is of no known form (`struct vfs_cap_data`).
fn capabilities(value: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let head = word(0)?;
    let wide = match (head >> 24, value.len()) {
        (1, 12) => false,
        (2, 20) | (3, 24) => true,
        _ => return None,
    };
    let set = |at: usize| {
        let high = if wide { word(at + 8)? } else { 0 };
        Some(u64::from(word(at)?) | u64::from(high) << 32)
    };
    let (permitted, inheritable) = (set(4)?, set(8)?);
    let effective = head & 1 == 1;
    let mut clauses = Vec::new();
    for (mask, flags) in [
        (permitted & inheritable, if effective { "eip" } else { "ip" }),
        (permitted & !inheritable, if effective { "ep" } else { "p" }),
        (inheritable & !permitted, if effective { "ei" } else { "i" }),
    ] {
        let name = |bit: usize| NAMES.get(bit).map_or_else(|| bit.to_string(), |name| format!("cap_{name}"));
        let names: Vec<String> = (0..64).filter(|bit| mask >> bit & 1 == 1).map(name).collect();
        if !names.is_empty() {
            clauses.push(format!("{}={flags}", names.join(",")));
        }
    }
    Some(clauses.join(" "))
}

#[cfg(test)]
mod tests {
    use super::capabilities;

    #[test]
    fn capabilities_are_told_as_getcap_tells_them() {
        let value = |words: [u32; 5]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let of = |words| capabilities(&value(words));
        assert_eq!(of([0x0200_0001, 1 << 13, 0, 0, 0]).as_deref(), Some("cap_net_raw=ep"));
        assert_eq!(
            of([0x0200_0000, 0b11, 0b110, 1 << 7, 0]).as_deref(),
            Some("cap_dac_override=ip cap_chown,cap_bpf=p cap_dac_read_search=i")
        );
        assert_eq!(of([0x0700_0001, 1, 0, 0, 0]), None);
        for length in 0..20 {
            assert_eq!(capabilities(&value([0x0200_0001, 1, 0, 0, 0])[..length]), None);
        }
    }
}
