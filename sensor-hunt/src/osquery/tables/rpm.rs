//! `rpm_packages` and `rpm_package_files`, from the rpm database.

use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, text};
use crate::rpm::Package;

const DATABASES: [&[u8]; 2] = [b"/var/lib/rpm/rpmdb.sqlite", b"/usr/lib/sysimage/rpm/rpmdb.sqlite"];

/// What `of` makes of each package; nothing where there is no database, and a warning if it cannot be read.
fn rows(
    context: &Context,
    table: &str,
    files: bool,
    of: &mut dyn FnMut(Package, &mut Vec<Row>),
) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let found = DATABASES.iter().find_map(|path| context.host().open_regular(path).ok());
    let Some(database) = found else {
        context.warn(format!("{table}: this host has no rpm database of SQLite, so the table is empty"));
        return all(rows);
    };
    let mut spent = None;
    let read = crate::rpm::packages(database, files, &mut |package| {
        of(package, &mut rows);
        spent = context.look().err();
        spent.is_none()
    });
    if let Err(cause) = read {
        context.warn(format!("{table}: {cause}; the rows are not all"));
    }
    spent.map_or_else(|| all(rows), Err)
}

pub(super) const RPM_PACKAGES: Table = Table::plain(
    "rpm_packages",
    &[
        text("name"),
        text("version"),
        text("release"),
        text("source"),
        bigint("size"),
        text("sha1"),
        text("arch"),
        integer("epoch"),
        integer("install_time"),
        text("vendor"),
        text("package_group"),
        hidden(integer("pid_with_namespace")),
        hidden(text("mount_namespace_id")),
    ],
    |context, _| {
        rows(context, "rpm_packages", false, &mut |it, rows| {
            rows.push(row![
                it.name,
                it.version,
                it.release,
                it.source,
                it.size,
                it.sha1,
                it.arch,
                it.epoch,
                it.install_time,
                it.vendor,
                it.group,
            ]);
        })
    },
);

pub(super) const RPM_PACKAGE_FILES: Table = Table::plain(
    "rpm_package_files",
    &[
        text("package"),
        text("path"),
        text("username"),
        text("groupname"),
        text("mode"),
        bigint("size"),
        text("sha256"),
    ],
    rpm_package_files,
);

fn rpm_package_files(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let asked: Vec<Vec<u8>> = query.equal(0).filter_map(Cell::text).map(<[u8]>::to_vec).collect();
    rows(context, "rpm_package_files", true, &mut |it, rows| {
        if asked.is_empty() || asked.iter().any(|name| *name == it.name.as_bytes()) {
            rows.extend(it.files.into_iter().map(|file| {
                let mode = format!("{:04o}", file.mode & 0o7777);
                row![it.name.clone(), file.path, file.user, file.group, mode, file.size, file.digest]
            }));
        }
    })
}
