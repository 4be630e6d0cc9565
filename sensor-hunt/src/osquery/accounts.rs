//! Users and groups, from `/etc/passwd` and `/etc/group`, read once for a statement.

use std::collections::HashMap;

use super::context::Context;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub name: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    pub gecos: Vec<u8>,
    pub home: Vec<u8>,
    pub shell: Vec<u8>,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub name: Vec<u8>,
    pub gid: u32,
    pub members: Vec<Vec<u8>>,
}

/// The accounts of a host, in the order of the files.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
    users_by_id: HashMap<u32, Vec<usize>>,
    groups_by_id: HashMap<u32, Vec<usize>>,
}

impl Accounts {
    pub(crate) fn read(context: &Context) -> Self {
        note_other_sources(context);
        let passwd = context.config(b"/etc/passwd").unwrap_or_default();
        let group = context.config(b"/etc/group").unwrap_or_default();
        let mut accounts = Self {
            users: lines(&passwd).filter_map(user).collect(),
            groups: lines(&group).filter_map(self::group).collect(),
            ..Self::default()
        };
        for (index, user) in accounts.users.iter().enumerate() {
            accounts.users_by_id.entry(user.uid).or_default().push(index);
        }
        for (index, group) in accounts.groups.iter().enumerate() {
            accounts.groups_by_id.entry(group.gid).or_default().push(index);
        }
        accounts
    }

    /// Every account with this id: there may be several, and a second root is what a hunt looks for.
    pub(crate) fn users_with(&self, uid: u32) -> impl Iterator<Item = &User> {
        self.users_by_id.get(&uid).into_iter().flatten().filter_map(|index| self.users.get(*index))
    }

    pub(crate) fn groups_with(&self, gid: u32) -> impl Iterator<Item = &Group> {
        self.groups_by_id.get(&gid).into_iter().flatten().filter_map(|index| self.groups.get(*index))
    }

    /// The name that the system gives an id: the first.
    pub(crate) fn user_by_id(&self, uid: u32) -> Option<&User> {
        self.users_with(uid).next()
    }

    pub(crate) fn group_by_id(&self, gid: u32) -> Option<&Group> {
        self.groups_with(gid).next()
    }
}

/// Lines without their ends.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn number(field: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(field?).ok()?.trim().parse().ok()
}

fn user(line: &[u8]) -> Option<User> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?.to_vec();
    let _password = fields.next()?;
    let (uid, gid) = (number(fields.next())?, number(fields.next())?);
    let mut next = || fields.next().unwrap_or_default().to_vec();
    Some(User { name, uid, gid, gecos: next(), home: next(), shell: next() })
}

fn group(line: &[u8]) -> Option<Group> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?.to_vec();
    let _password = fields.next()?;
    let gid = number(fields.next())?;
    let members = fields.next().unwrap_or_default().split(|byte| *byte == b',');
    Some(Group { name, gid, members: members.filter(|it| !it.is_empty()).map(<[u8]>::to_vec).collect() })
}

/// Accounts can live elsewhere (LDAP, sssd); those are not seen, and that is said.
fn note_other_sources(context: &Context) {
    let Ok(bytes) = context.host().read(b"/etc/nsswitch.conf", super::context::CONFIG_BYTES_MAX) else {
        return;
    };
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines() {
        let Some((database, sources)) = line.split_once(':') else { continue };
        if !matches!(database.trim(), "passwd" | "group") {
            continue;
        }
        for source in sources.split_whitespace() {
            if source.chars().all(|it| it.is_ascii_alphanumeric())
                && !matches!(source, "files" | "compat" | "systemd")
            {
                context.warn(format!(
                    "accounts of {source} (nsswitch.conf, {}) are not listed",
                    database.trim()
                ));
            }
        }
    }
}
