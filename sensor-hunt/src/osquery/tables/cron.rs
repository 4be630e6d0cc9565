//! `crontab`: the jobs of the system's and the users' crontabs.

use super::text::{join, settings, words};
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, hidden, integer, text};

pub(super) const CRONTAB: Table = Table::plain(
    "crontab",
    &[
        text("event"),
        text("minute"),
        text("hour"),
        text("day_of_month"),
        text("month"),
        text("day_of_week"),
        text("command"),
        text("path"),
        hidden(integer("pid_with_namespace")),
    ],
    rows,
);

const DIRECTORIES: &[&[u8]] =
    &[b"/etc/cron.d/", b"/var/at/tabs/", b"/var/spool/cron/", b"/var/spool/cron/crontabs/"];

fn rows(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut files = vec![b"/etc/crontab".to_vec()];
    files.extend(DIRECTORIES.iter().flat_map(|directory| context.files_in(directory)));
    let mut rows = Vec::new();
    for file in files {
        let bytes = context.config(&file).unwrap_or_default();
        rows.extend(settings(&bytes).filter_map(|line| job(line, &file)));
    }
    all(rows)
}

/// As in osquery the user's name, which a system crontab has, stays part of the command; a line of fewer fields, such
/// as `PATH=...`, is no job.
fn job(line: &[u8], path: &[u8]) -> Option<Row> {
    let mut fields = words(line);
    if line.starts_with(b"@") {
        let event = fields.next()?.to_vec();
        let command = join(fields);
        let none = || None::<&str>;
        return (!command.is_empty())
            .then(|| row![event, none(), none(), none(), none(), none(), command, path.to_vec()]);
    }
    let mut next = || fields.next().map(<[u8]>::to_vec);
    let (minute, hour, day, month, week) = (next()?, next()?, next()?, next()?, next()?);
    let command = join(fields);
    (!command.is_empty()).then(|| row![None::<&str>, minute, hour, day, month, week, command, path.to_vec()])
}
