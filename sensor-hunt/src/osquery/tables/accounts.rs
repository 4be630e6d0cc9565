//! `users`, `groups`, `user_groups`, `shadow`.

use super::text::number;
use crate::osquery::accounts::{Group, User, lines};
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, text};

pub(super) const USERS: Table = Table {
    name: "users",
    columns: &[
        bigint("uid"),
        bigint("gid"),
        bigint("uid_signed"),
        bigint("gid_signed"),
        text("username"),
        text("description"),
        text("directory"),
        text("shell"),
        text("uuid"),
        hidden(text("type")),
        hidden(integer("is_hidden")),
        hidden(integer("pid_with_namespace")),
        hidden(integer("include_remote")),
    ],
    key: &[],
    index: &["uid"],
    required: &[],
    rows: users,
};

/// The sign that an id has as a 32 bit integer.
fn signed(id: u32) -> i64 {
    i64::from(id.cast_signed())
}

fn users(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let of = |user: &User| {
        row![
            user.uid,
            user.gid,
            signed(user.uid),
            signed(user.gid),
            user.name.clone(),
            user.gecos.clone(),
            user.home.clone(),
            user.shell.clone(),
            "",
        ]
    };
    let accounts = context.accounts();
    all(match query.integer(0) {
        None => accounts.users.iter().map(of).collect(),
        Some(uid) => uid
            .and_then(|uid| u32::try_from(uid).ok())
            .map(|uid| accounts.users_with(uid).map(of).collect())
            .unwrap_or_default(),
    })
}

pub(super) const GROUPS: Table = Table {
    name: "groups",
    columns: &[
        bigint("gid"),
        bigint("gid_signed"),
        text("groupname"),
        hidden(text("group_sid")),
        hidden(text("comment")),
        hidden(integer("is_hidden")),
        hidden(integer("pid_with_namespace")),
    ],
    key: &[],
    index: &["gid"],
    required: &[],
    rows: groups,
};

fn groups(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let of = |group: &Group| row![group.gid, signed(group.gid), group.name.clone()];
    let accounts = context.accounts();
    all(match query.integer(0) {
        None => accounts.groups.iter().map(of).collect(),
        Some(gid) => gid
            .and_then(|gid| u32::try_from(gid).ok())
            .map(|gid| accounts.groups_with(gid).map(of).collect())
            .unwrap_or_default(),
    })
}

pub(super) const USER_GROUPS: Table =
    Table::plain("user_groups", &[bigint("uid"), bigint("gid")], user_groups);

fn user_groups(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let accounts = context.accounts();
    let mut rows: Vec<Row> = Vec::new();
    for user in &accounts.users {
        rows.push(row![user.uid, user.gid]);
        for group in &accounts.groups {
            if group.gid != user.gid && group.members.contains(&user.name) {
                rows.push(row![user.uid, group.gid]);
            }
        }
    }
    all(rows)
}

pub(super) const SHADOW: Table = Table::plain(
    "shadow",
    &[
        text("password_status"),
        text("hash_alg"),
        bigint("last_change"),
        bigint("min"),
        bigint("max"),
        bigint("warning"),
        bigint("inactive"),
        bigint("expire"),
        bigint("flag"),
        text("username"),
    ],
    shadow,
);

fn shadow(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context.config(b"/etc/shadow").unwrap_or_default();
    all(lines(&bytes).filter_map(shadow_row).collect())
}

fn shadow_row(line: &[u8]) -> Option<Row> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, password, rest @ ..] = fields.as_slice() else { return None };
    if name.is_empty() || name.starts_with(b"#") {
        return None;
    }
    let status = match *password {
        b"!!" => "not_set",
        [b'!' | b'*' | b'x', ..] => "locked",
        [] => "empty",
        _ => "active",
    };
    // "$6$salt$hash"; that of an account locked by "!" is not given, as in osquery.
    let algorithm = password.strip_prefix(b"$").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'$')?;
        let name = rest.get(..end)?;
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        (!name.is_empty() && name.iter().all(word)).then(|| name.to_vec())
    });
    // An empty field is -1, as in shadow(3).
    let day = |index: usize| Cell::Int(rest.get(index).and_then(|it| number(it)).unwrap_or(-1));
    Some(row![status, algorithm, day(0), day(1), day(2), day(3), day(4), day(5), day(6), name.to_vec()])
}
