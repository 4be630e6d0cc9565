//! `logged_in_users` and `last`: `/run/utmp` and `/var/log/wtmp`.

use crate::osquery::cell::row;
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, text};

pub(super) const LOGGED_IN_USERS: Table = Table::plain(
    "logged_in_users",
    &[
        text("type"),
        text("user"),
        text("tty"),
        text("host"),
        bigint("time"),
        integer("pid"),
        hidden(text("sid")),
        hidden(text("registry_hive")),
    ],
    logged_in_users,
);

fn logged_in_users(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let path: &[u8] = if context.host().exists(b"/run/utmp") { b"/run/utmp" } else { b"/var/run/utmp" };
    if !context.host().exists(path) {
        context.warn("logged_in_users: this host keeps no utmp, so the table is empty".into());
    }
    let bytes = read(context, path);
    // The entries of init itself, such as the time of boot's, are left out.
    all(bytes
        .chunks_exact(RECORD_BYTES)
        .map(Record::of)
        .filter(|it| it.pid != 1)
        .map(|it| row![type_name(it.kind), it.user, it.line, it.host, it.seconds, it.pid])
        .collect())
}

pub(super) const LAST: Table = Table::plain(
    "last",
    &[
        text("username"),
        text("tty"),
        integer("pid"),
        integer("type"),
        text("type_name"),
        integer("time"),
        text("host"),
    ],
    last,
);

fn last(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.host().exists(b"/var/log/wtmp") {
        context.warn("last: this host keeps no wtmp, so the table is empty".into());
    }
    let bytes = read(context, b"/var/log/wtmp");
    // Logins and logouts.
    all(bytes
        .chunks_exact(RECORD_BYTES)
        .map(Record::of)
        .filter(|it| it.kind == USER_PROCESS || it.kind == DEAD_PROCESS)
        .map(|it| {
            let name = if it.kind == USER_PROCESS { "user-process" } else { "dead-process" };
            row![it.user, it.line, it.pid, i64::from(it.kind), name, it.seconds, it.host]
        })
        .collect())
}

const LOG_BYTES_MAX: u64 = 256 << 20;

fn read(context: &Context, path: &[u8]) -> Vec<u8> {
    match context.host().read(path, LOG_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(cause) => {
            if cause.kind() != std::io::ErrorKind::NotFound {
                context.warn(format!("{}: {cause}", path.escape_ascii()));
            }
            Vec::new()
        }
    }
}

const USER_PROCESS: i16 = 7;
const DEAD_PROCESS: i16 = 8;

fn type_name(kind: i16) -> &'static str {
    match kind {
        0 => "empty",
        1 => "runlevel",
        2 => "boot_time",
        3 => "new_time",
        4 => "old_time",
        5 => "init",
        6 => "login",
        USER_PROCESS => "user",
        DEAD_PROCESS => "dead",
        9 => "accounting",
        _ => "unknown",
    }
}

/// `struct utmp` of glibc on every 64 bit machine but a few, where times are 32 bits wide for the sake of old readers.
const RECORD_BYTES: usize = 384;

struct Record<'a> {
    kind: i16,
    pid: i64,
    line: &'a [u8],
    user: &'a [u8],
    host: &'a [u8],
    seconds: i64,
}

impl<'a> Record<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let at = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let word = |from: usize| at(from, from + 4).try_into().map_or(0, i32::from_ne_bytes);
        let text = |from: usize, to: usize| at(from, to).split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            kind: at(0, 2).try_into().map_or(0, i16::from_ne_bytes),
            pid: i64::from(word(4)),
            line: text(8, 40),
            user: text(44, 76),
            host: text(76, 332),
            // Unsigned, so that it lasts until 2106.
            seconds: i64::from(word(340).cast_unsigned()),
        }
    }
}
