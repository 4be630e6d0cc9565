//! `systemd_units`: what the running systemd has loaded, asked over D-Bus.

use crate::osquery::cell::row;
use crate::osquery::context::{Context, Trouble};
use crate::osquery::dbus::{Connection, Unit};
use crate::osquery::table::{Query, Rows, Table, all, bigint, none, text};

pub(super) const SYSTEMD_UNITS: Table = Table::plain(
    "systemd_units",
    &[
        text("id"),
        text("description"),
        text("load_state"),
        text("active_state"),
        text("sub_state"),
        text("unit_file_state"),
        text("following"),
        text("object_path"),
        bigint("job_id"),
        text("job_type"),
        text("job_path"),
        text("fragment_path"),
        text("user"),
        text("source_path"),
    ],
    systemd_units,
);

const STATE: usize = 5;
const FRAGMENT: usize = 11;
const USER: usize = 12;
const SOURCE: usize = 13;

/// The units of this machine's systemd and the way to ask for more, or nothing and a warning.
pub(super) fn units(context: &Context, table: &str) -> Option<(Connection, Vec<Unit>)> {
    if !context.host().is_live() {
        context
            .warn(format!("{table}: the units of systemd are known only where it runs, so they are missing"));
        return None;
    }
    let listed = Connection::system().and_then(|mut connection| {
        let units = connection.units()?;
        Ok((connection, units))
    });
    listed
        .map_err(|cause| {
            context.warn(format!("{table}: systemd does not answer ({cause}), so its units are missing"))
        })
        .ok()
}

/// A property that each unit is asked for. The first that systemd does not answer ends the asking.
pub(super) struct Asker<'a> {
    pub context: &'a Context,
    pub connection: Option<Connection>,
}

impl Asker<'_> {
    pub(super) fn ask(&mut self, unit: &Unit, interface: &str, name: &str) -> Option<Vec<u8>> {
        let connection = self.connection.as_mut()?;
        match connection.text_property(&unit.path, interface, name) {
            Ok(value) => Some(value),
            Err(cause) => {
                self.context.warn(format!("systemd stopped answering: {cause}"));
                self.connection = None;
                None
            }
        }
    }
}

fn systemd_units(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let Some((connection, units)) = units(context, "systemd_units") else { return none() };
    let mut asker = Asker { context, connection: Some(connection) };
    let mut rows = Vec::new();
    for unit in units {
        context.look()?;
        let mut ask = |index: usize, interface: &str, name: &str| {
            query.wants(index).then(|| asker.ask(&unit, interface, name)).flatten()
        };
        let state = ask(STATE, "Unit", "UnitFileState");
        let fragment = ask(FRAGMENT, "Unit", "FragmentPath");
        let user = ask(USER, "Service", "User");
        let source = ask(SOURCE, "Unit", "SourcePath");
        rows.push(row![
            unit.id,
            unit.description,
            unit.load_state,
            unit.active_state,
            unit.sub_state,
            state,
            unit.following,
            unit.path,
            unit.job_id,
            unit.job_type,
            unit.job_path,
            fragment,
            user,
            source,
        ]);
    }
    all(rows)
}
