//! Which login the process came from: the session manager's file, utmp, the ssh server's connection.

use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Serialize;

use super::package::read_system_file;
use super::process::{Ancestor, Socket};

/// A login session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Login {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u32>,
    /// Where this was found.
    pub(super) source: &'static str,
}

/// `AUDIT_SID_UNSET`
const NO_SESSION: u32 = u32::MAX;
/// `struct utmp` of Linux on 64 bits.
const UTMP_BYTES: usize = 384;
const USER_PROCESS: u16 = 7;

/// The login of the first of the processes that has one.
pub(super) fn of(
    root: &OwnedFd,
    proc_root: &Path,
    chain: &[Ancestor],
    sockets: &[Socket],
) -> Result<Login, &'static str> {
    let audit_session = |pid: u32| {
        let text = std::fs::read_to_string(proc_root.join(pid.to_string()).join("sessionid")).ok()?;
        text.trim().parse::<u32>().ok().filter(|session| *session != NO_SESSION)
    };
    let session = chain.iter().find_map(|ancestor| audit_session(ancestor.process.pid));
    if let Some(session) = session
        && let Some(file) = read_system_file(root, format!("/run/systemd/sessions/{session}").as_bytes())
    {
        return Ok(Login { session: Some(session), ..parse_session(&String::from_utf8_lossy(&file)) });
    }
    let utmp = read_system_file(root, b"/run/utmp").or_else(|| read_system_file(root, b"/var/run/utmp"));
    let records = utmp.unwrap_or_default();
    let found = chain.iter().find_map(|ancestor| find_utmp(&records, ancestor.process.pid));
    if let Some(login) = found {
        return Ok(Login { session, ..login });
    }
    let server = chain.iter().find(|ancestor| {
        let executable = ancestor.process.executable.as_ref().map_or(&b""[..], |path| &path.0);
        is_ssh_server(executable)
    });
    let connection = server.and_then(|server| {
        sockets.iter().find(|socket| socket.pid == server.process.pid && socket.state == "established")
    });
    match connection {
        Some(connection) => Ok(Login {
            remote: connection.remote.clone(),
            service: Some("sshd".to_owned()),
            session,
            source: "connection of the ssh server above the process",
            ..Login::default()
        }),
        None => Err("the process does not come from a login that is known"),
    }
}

/// Where only root puts programs: anybody can call one so elsewhere.
fn is_ssh_server(executable: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"/sshd", b"/sshd-session"];
    executable.starts_with(b"/usr/") && names.iter().any(|name| executable.ends_with(name))
}

/// What systemd-logind writes about a session.
fn parse_session(text: &str) -> Login {
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    Login {
        user: value("USER"),
        remote: value("REMOTE_HOST"),
        service: value("SERVICE"),
        tty: value("TTY"),
        session: None,
        source: "/run/systemd/sessions",
    }
}

/// The record of a login whose process this is.
fn find_utmp(records: &[u8], pid: u32) -> Option<Login> {
    records.chunks_exact(UTMP_BYTES).find_map(|record| {
        let kind = u16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
        let logged = u32::from_ne_bytes(record.get(4..8)?.try_into().ok()?);
        if kind != USER_PROCESS || logged != pid {
            return None;
        }
        let text = |from: usize, len: usize| {
            let bytes = record.get(from..from + len)?.split(|byte| *byte == 0).next()?;
            (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
        };
        Some(Login {
            tty: text(8, 32),
            user: text(44, 32),
            remote: text(76, 256),
            service: None,
            session: None,
            source: "utmp",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::super::process::Known;
    use super::*;

    fn record(pid: u32, user: &str, host: &str) -> Vec<u8> {
        let mut record = vec![0; UTMP_BYTES];
        record[..2].copy_from_slice(&USER_PROCESS.to_ne_bytes());
        record[4..8].copy_from_slice(&pid.to_ne_bytes());
        record[8..13].copy_from_slice(b"pts/0");
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record[76..76 + host.len()].copy_from_slice(host.as_bytes());
        record
    }

    #[test]
    fn utmp_tells_user_and_host() {
        let records = [record(7, "other", "x"), record(42, "alice", "192.0.2.1")].concat();
        let login = find_utmp(&records, 42).unwrap();
        assert_eq!(login.user.as_deref(), Some("alice"));
        assert_eq!(login.remote.as_deref(), Some("192.0.2.1"));
        assert_eq!(login.tty.as_deref(), Some("pts/0"));
        assert_eq!(find_utmp(&records, 43), None);
        assert_eq!(find_utmp(&records[..100], 42), None);
    }

    #[test]
    fn the_session_manager_tells_user_and_host() {
        let login = parse_session("UID=1000\nUSER=alice\nREMOTE_HOST=192.0.2.1\nSERVICE=sshd\nTTY=\n");
        assert_eq!(login.user.as_deref(), Some("alice"));
        assert_eq!(login.remote.as_deref(), Some("192.0.2.1"));
        assert_eq!(login.service.as_deref(), Some("sshd"));
        assert_eq!(login.tty, None);
    }

    #[test]
    fn the_ssh_servers_peer_is_the_last_resort() {
        let directory = tempfile::tempdir().unwrap();
        let root = open::root(directory.path()).unwrap();
        let chain = [Ancestor::known(Known {
            pid: 9,
            executable: Some(super::super::Text(b"/usr/sbin/sshd".to_vec())),
            ..Known::default()
        })];
        let socket = Socket {
            pid: 9,
            protocol: "tcp",
            local: "192.0.2.9:22".to_owned(),
            remote: Some("192.0.2.1:5000".to_owned()),
            state: "established",
        };
        let login = of(&root, Path::new("/nowhere"), &chain, &[socket]).unwrap();
        assert_eq!(login.remote.as_deref(), Some("192.0.2.1:5000"));
        assert!(of(&root, Path::new("/nowhere"), &chain, &[]).is_err());
        assert!(!is_ssh_server(b"/tmp/sshd") && !is_ssh_server(b"/home/alice/usr/sbin/sshd"));
    }
}
