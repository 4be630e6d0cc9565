//! `kernel_info`, `kernel_modules`, `kernel_keys`.

use super::text::{number, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, text};

pub(super) const KERNEL_INFO: Table = Table::plain(
    "kernel_info",
    &[text("version"), text("arguments"), text("path"), text("device")],
    kernel_info,
);

fn kernel_info(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let line = context.config(b"/proc/cmdline");
    let (mut path, mut device, mut others) = (None, None, Vec::new());
    for argument in words(line.as_deref().unwrap_or_default()) {
        if let Some(image) = argument.strip_prefix(b"BOOT_IMAGE=") {
            path = Some(image.to_vec());
        } else if let Some(root) = argument.strip_prefix(b"root=") {
            device = Some(root.to_vec());
        } else {
            others.push(argument);
        }
    }
    let signature = context.config(b"/proc/version").unwrap_or_default();
    let mut parts = words(&signature).skip(1);
    let version = (parts.next() == Some(b"version")).then(|| parts.next().map(<[u8]>::to_vec)).flatten();
    all(vec![row![version, line.is_some().then(|| others.join(&b' ')), path, device]])
}

pub(super) const KERNEL_MODULES: Table = Table::plain(
    "kernel_modules",
    &[text("name"), bigint("size"), text("used_by"), text("status"), text("address")],
    kernel_modules,
);

fn kernel_modules(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context.config(b"/proc/modules").unwrap_or_default();
    all(lines(&bytes).filter_map(module).collect())
}

fn module(line: &[u8]) -> Option<Row> {
    let mut parts = words(line).map(|word| word.strip_suffix(b",").unwrap_or(word));
    let (name, size, _uses) = (parts.next()?, parts.next()?, parts.next()?);
    let (by, status, address) = (parts.next()?, parts.next()?, parts.next()?);
    Some(row![name, number::<i64>(size), by, status, address])
}

pub(super) const KERNEL_KEYS: Table = Table::plain(
    "kernel_keys",
    &[
        text("serial_number"),
        text("flags"),
        bigint("usage"),
        text("timeout"),
        text("permissions"),
        bigint("uid"),
        bigint("gid"),
        text("type"),
        text("description"),
    ],
    kernel_keys,
);

fn kernel_keys(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context.config(b"/proc/keys").unwrap_or_default();
    all(lines(&bytes).filter_map(key).collect())
}

/// The parts of the description are put together without the blank between them, as osquery gives them.
fn key(line: &[u8]) -> Option<Row> {
    let mut parts = words(line);
    let mut next = || parts.next().map(<[u8]>::to_vec);
    let (serial, flags, usage) = (next()?, next()?, next()?);
    let (timeout, permissions, uid, gid, kind) = (next()?, next()?, next()?, next()?, next()?);
    let integer = |bytes: &[u8]| Cell::from(number::<i64>(bytes));
    let description: Vec<u8> = parts.flatten().copied().collect();
    Some(row![
        serial,
        flags,
        integer(&usage),
        timeout,
        permissions,
        integer(&uid),
        integer(&gid),
        kind,
        description
    ])
}
