//! `authorized_keys`, `user_ssh_keys`, `ssh_configs`, `known_hosts`, `shell_history`: what users keep at home.
//!
//! osquery reads the home of the user it runs as, root, unless a query names others by `uid`. A hunt asks for everyone,
//! so here every account's home is read unless a query limits `uid`; the rows of root are among them.

use super::private_key::PrivateKey;
use super::text::{below, number, settings, split_once, trim, words};
use crate::osquery::accounts::{User, lines};
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{CONFIG_BYTES_MAX, Context};
use crate::osquery::table::{Query, Table, all, bigint, hidden, integer, text};

/// The accounts that a query asks for, each home with an id once.
fn users<'a>(context: &'a Context, query: &Query, table: &str) -> Vec<&'a User> {
    let mut users: Vec<&User> = match query.integer(0) {
        Some(uid) => uid
            .and_then(|uid| u32::try_from(uid).ok())
            .into_iter()
            .flat_map(|uid| context.accounts().users_with(uid))
            .collect(),
        None => {
            context.warn(format!(
                "{table}: every account's home was read; osquery reads only root's without a uid"
            ));
            context.accounts().users.iter().collect()
        }
    };
    let mut seen = std::collections::HashSet::new();
    users.retain(|user| user.home.starts_with(b"/") && seen.insert((user.uid, &user.home)));
    users
}

macro_rules! user_table {
    ($table:ident, $name:literal, $rows:ident, [$($column:expr),* $(,)?]) => {
        pub(super) const $table: Table = Table {
            name: $name,
            columns: &[bigint("uid"), $($column),*],
            key: &[],
            index: &["uid"],
            required: &[],
            rows: |context, query| {
                let mut rows = Vec::new();
                for user in users(context, query, $name) {
                    context.look()?;
                    $rows(context, user, &mut rows);
                }
                all(rows)
            },
        };
    };
}

user_table!(
    AUTHORIZED_KEYS,
    "authorized_keys",
    authorized_keys,
    [
        text("algorithm"),
        text("key"),
        text("options"),
        text("comment"),
        text("key_file"),
        hidden(integer("pid_with_namespace")),
    ]
);

fn authorized_keys(context: &Context, user: &User, rows: &mut Vec<Row>) {
    for name in [b".ssh/authorized_keys".as_slice(), b".ssh/authorized_keys2"] {
        let path = below(&user.home, name);
        let bytes = context.config(&path).unwrap_or_default();
        for line in settings(&bytes) {
            let (options, rest) = options(line);
            let mut parts = words(rest);
            let (algorithm, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let comment = super::text::join(parts);
            rows.push(row![user.uid, algorithm, key, options, comment, path.clone()]);
        }
    }
}

/// The options before the type of a key: up to the first blank outside quotes, if what stands there is no type.
fn options(line: &[u8]) -> (&[u8], &[u8]) {
    let first = words(line).next().unwrap_or_default();
    let is_type = [b"ssh-".as_slice(), b"ecdsa-", b"sk-"].iter().any(|start| first.starts_with(start));
    if is_type {
        return (b"", line);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'\\' if quoted && !escaped => {
                escaped = true;
                continue;
            }
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => {
                return (line.get(..at).unwrap_or_default(), line.get(at..).unwrap_or_default());
            }
            _ => {}
        }
        escaped = false;
    }
    (line, b"")
}

user_table!(
    USER_SSH_KEYS,
    "user_ssh_keys",
    user_ssh_keys,
    [
        text("path"),
        integer("encrypted"),
        text("key_type"),
        text("key_group_name"),
        integer("key_length"),
        integer("key_security_bits"),
        hidden(integer("pid_with_namespace")),
    ]
);

fn user_ssh_keys(context: &Context, user: &User, rows: &mut Vec<Row>) {
    for path in context.files_in(&below(&user.home, b".ssh/")) {
        let Ok(bytes) = context.host().read(&path, CONFIG_BYTES_MAX) else { continue };
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|it| it == what);
        if holds(b"PRIVATE KEY") {
            let key = PrivateKey::of(&bytes);
            let encrypted = key.encrypted || holds(b"ENCRYPTED");
            let (bits, strength) = (key.bits.unwrap_or(-1), key.strength().unwrap_or(-1));
            rows.push(row![user.uid, path, encrypted, key.kind, key.group(), bits, strength]);
        }
    }
}

user_table!(
    SSH_CONFIGS,
    "ssh_configs",
    ssh_configs,
    [text("block"), text("option"), text("ssh_config_file")]
);

/// The system's own file belongs to root.
fn ssh_configs(context: &Context, user: &User, rows: &mut Vec<Row>) {
    ssh_config(context, user, &below(&user.home, b".ssh/config"), rows);
    if user.uid == 0 && rows.iter().all(|row| row.get(3).and_then(|it| it.text()) != Some(SYSTEM_CONFIG)) {
        ssh_config(context, user, SYSTEM_CONFIG, rows);
    }
}

const SYSTEM_CONFIG: &[u8] = b"/etc/ssh/ssh_config";

fn ssh_config(context: &Context, user: &User, path: &[u8], rows: &mut Vec<Row>) {
    let bytes = context.config(path).unwrap_or_default();
    let mut block = Vec::new();
    for line in settings(&bytes) {
        // Lower case throughout, as osquery gives it.
        let line = line.to_ascii_lowercase();
        if line.starts_with(b"host ") || line.starts_with(b"match ") {
            block = line;
        } else {
            rows.push(row![user.uid, block.clone(), line, path]);
        }
    }
}

user_table!(KNOWN_HOSTS, "known_hosts", known_hosts, [text("key"), text("key_file")]);

fn known_hosts(context: &Context, user: &User, rows: &mut Vec<Row>) {
    let path = below(&user.home, b".ssh/known_hosts");
    let bytes = context.config(&path).unwrap_or_default();
    rows.extend(settings(&bytes).map(|line| row![user.uid, line, path.clone()]));
}

user_table!(
    SHELL_HISTORY,
    "shell_history",
    shell_history,
    [integer("time"), text("command"), text("history_file")]
);

const HISTORIES: &[&[u8]] = &[b".bash_history", b".zsh_history", b".zhistory", b".history", b".sh_history"];

fn shell_history(context: &Context, user: &User, rows: &mut Vec<Row>) {
    for name in HISTORIES {
        let path = below(&user.home, name);
        let bytes = context.config(&path).unwrap_or_default();
        let mut time = 0_i64;
        for line in lines(&bytes).filter(|line| !trim(line).is_empty()) {
            // bash writes "#seconds" before a command, zsh ": seconds:elapsed;command".
            if let Some(seconds) = line.strip_prefix(b"#").and_then(number) {
                time = seconds;
                continue;
            }
            let zsh = line.strip_prefix(b": ").and_then(|rest| {
                let (times, command) = split_once(rest, b';')?;
                let (seconds, _) = split_once(times, b':')?;
                Some((number::<i64>(seconds)?, command))
            });
            let (at, command) = zsh.unwrap_or((time, line));
            rows.push(row![user.uid, at, command, path.clone()]);
            time = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_end_at_the_first_blank_outside_quotes() {
        let line = br#"command="echo \"a b\"",no-pty ssh-ed25519 AAAA me@host"#;
        assert_eq!(
            options(line),
            (br#"command="echo \"a b\"",no-pty"#.as_slice(), b" ssh-ed25519 AAAA me@host".as_slice())
        );
        assert_eq!(options(b"ssh-rsa AAAA"), (b"".as_slice(), b"ssh-rsa AAAA".as_slice()));
        assert_eq!(options(b"no-pty"), (b"no-pty".as_slice(), b"".as_slice()));
    }
}
