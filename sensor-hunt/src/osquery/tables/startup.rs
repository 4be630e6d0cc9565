//! `startup_items`: what a desktop session, init or systemd starts.

use super::systemd::{Asker, units};
use super::text::{base_name, below, trim};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{CONFIG_BYTES_MAX, Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, text};

pub(super) const STARTUP_ITEMS: Table = Table::plain(
    "startup_items",
    &[
        text("name"),
        text("path"),
        text("args"),
        text("type"),
        text("source"),
        text("status"),
        text("username"),
    ],
    startup_items,
);

const PATH: usize = 1;
const SOURCE: usize = 4;
const USERNAME: usize = 6;

fn startup_items(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let mut homes: Vec<&[u8]> = context.accounts().users.iter().map(|user| user.home.as_slice()).collect();
    homes.retain(|home| home.starts_with(b"/"));
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        context.look()?;
        desktop_items(context, &below(home, b".config/autostart/"), &mut rows);
        scripts(context, &below(home, b".config/autostart-scripts/"), &mut rows);
    }
    scripts(context, b"/etc/init.d/", &mut rows);
    desktop_items(context, b"/etc/xdg/autostart/", &mut rows);
    systemd_items(context, query, &mut rows)?;
    all(rows)
}

const NOTHING: Option<&str> = None;

/// The user that a directory below `/home` is named after.
fn owner(directory: &[u8]) -> Cell {
    let name = directory.strip_prefix(b"/home/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
    Cell::from(name.filter(|name| !name.is_empty()))
}

fn item(name: Cell, path: Cell, directory: &[u8]) -> Row {
    row![name, path, NOTHING, "Startup Item", directory, "enabled", owner(directory)]
}

fn desktop_items(context: &Context, directory: &[u8], rows: &mut Vec<Row>) {
    for file in context.files_in(directory) {
        let bytes = context.host().read(&file, CONFIG_BYTES_MAX).unwrap_or_default();
        // The first is that of the entry itself; those of its actions follow.
        let of = |key: &[u8]| Cell::from(lines(&bytes).find_map(|line| line.strip_prefix(key)).map(trim));
        rows.push(item(of(b"Name="), of(b"Exec="), directory));
    }
}

fn scripts(context: &Context, directory: &[u8], rows: &mut Vec<Row>) {
    for file in context.files_in(directory) {
        rows.push(item(base_name(&file).into(), file.as_slice().into(), directory));
    }
}

fn systemd_items(context: &Context, query: &Query, rows: &mut Vec<Row>) -> Result<(), Trouble> {
    let Some((connection, units)) = units(context, "startup_items") else { return Ok(()) };
    let mut asker = Asker { context, connection: Some(connection) };
    for unit in units {
        context.look()?;
        let mut ask = |index: usize, interface: &str, name: &str| {
            query.wants(index).then(|| asker.ask(&unit, interface, name)).flatten()
        };
        let path = ask(PATH, "Unit", "FragmentPath");
        let source = ask(SOURCE, "Unit", "SourcePath");
        let user = ask(USERNAME, "Service", "User");
        rows.push(row![unit.id, path, NOTHING, "systemd unit", source, unit.active_state, user]);
    }
    Ok(())
}
