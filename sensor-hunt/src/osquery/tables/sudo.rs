//! `sudoers` and `suid_bin`.

use rustix::fs::FileType;

use super::text::{base_name, below, join, trim, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::host::kind_of;
use crate::osquery::table::{Query, Rows, Table, all, hidden, integer, text};

pub(super) const SUDOERS: Table =
    Table::plain("sudoers", &[text("source"), text("header"), text("rule_details")], sudoers);

/// As sudoers(5).
const NESTING_MAX: usize = 128;
const INCLUDED_MAX: usize = 4096;

fn sudoers(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let mut read = 0;
    file(context, b"/etc/sudoers", 1, &mut read, &mut rows);
    all(rows)
}

fn file(context: &Context, path: &[u8], level: usize, read: &mut usize, rows: &mut Vec<Row>) {
    *read += 1;
    if level > NESTING_MAX || *read > INCLUDED_MAX {
        context.warn(format!("sudoers: includes nest too deep at {}", path.escape_ascii()));
        return;
    }
    let Some(bytes) = context.config(path) else { return };
    for line in lines(&bytes).map(trim).filter(|line| !line.is_empty()) {
        let mut parts = words(line);
        let first = parts.next().unwrap_or_default();
        let include = match first {
            b"#includedir" | b"@includedir" => "includedir",
            b"#include" | b"@include" => "include",
            [b'#', ..] => continue,
            _ => {
                rows.push(row![path.to_vec(), first.to_vec(), join(parts)]);
                continue;
            }
        };
        let named = join(parts);
        if named.is_empty() {
            continue;
        }
        // A relative path is relative to the file that names it.
        let target = if named.starts_with(b"/") {
            named
        } else {
            let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            below(path.get(..slash).unwrap_or_default(), &named)
        };
        rows.push(row![path.to_vec(), include, target.clone()]);
        if include == "include" {
            file(context, &target, level + 1, read, rows);
            continue;
        }
        for included in context.files_in(&target) {
            let name = base_name(&included);
            // sudo ignores these, and so is a rule in one without effect.
            if !name.contains(&b'.') && !name.ends_with(b"~") {
                file(context, &included, level + 1, read, rows);
            }
        }
    }
}

pub(super) const SUID_BIN: Table = Table::plain(
    "suid_bin",
    &[
        text("path"),
        text("username"),
        text("groupname"),
        text("permissions"),
        hidden(integer("pid_with_namespace")),
    ],
    suid_bin,
);

const SEARCHED: &[&[u8]] =
    &[b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin", b"/usr/local/bin", b"/usr/local/sbin", b"/tmp"];

fn suid_bin(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let mut work: Vec<Vec<u8>> = SEARCHED.iter().rev().map(|path| path.to_vec()).collect();
    while let Some(directory) = work.pop() {
        let Ok((entries, _)) = context.host().list(&directory) else { continue };
        let mut deeper = Vec::new();
        for entry in entries {
            context.look()?;
            let path = below(&directory, &entry.name);
            let Ok(found) = context.host().stat(&path) else { continue };
            match kind_of(&found) {
                // A linked directory is not entered.
                FileType::Directory if entry.kind != FileType::Symlink => deeper.push(path),
                FileType::RegularFile if found.st_mode & 0o6000 != 0 => {
                    let accounts = context.accounts();
                    let user = accounts.user_by_id(found.st_uid).map(|it| it.name.clone());
                    let group = accounts.group_by_id(found.st_gid).map(|it| it.name.clone());
                    let mut permissions = String::new();
                    permissions.push_str(if found.st_mode & 0o4000 != 0 { "S" } else { "" });
                    permissions.push_str(if found.st_mode & 0o2000 != 0 { "G" } else { "" });
                    rows.push(row![
                        path,
                        user.unwrap_or_else(|| found.st_uid.to_string().into_bytes()),
                        group.unwrap_or_else(|| found.st_gid.to_string().into_bytes()),
                        permissions,
                    ]);
                }
                _ => {}
            }
        }
        work.extend(deeper.into_iter().rev());
    }
    all(rows)
}
