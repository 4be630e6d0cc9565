//! Alerts for the journal, by its native protocol: fields, so that `journalctl SENSOR_RULE_ID=...` finds them.

use std::io::{self, Write};
use std::path::PathBuf;

use super::datagram::Datagrams;
use super::rotate::Output;
use super::summary::Summary;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

type Make = fn(&[u8]) -> Vec<u8>;

/// The journal.
pub(crate) struct Journald(Datagrams<Make>);

impl Journald {
    /// That of this machine.
    pub(crate) fn new() -> Self {
        Self::at(SOCKET.into())
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(Datagrams::new(path, entry))
    }
}

/// The alert as an entry. Its document is in the alerts' file: a datagram has bounds that evidence does not.
fn entry(document: &[u8]) -> Vec<u8> {
    let summary = Summary::of(document);
    let mut entry = Vec::new();
    for (name, value) in [
        ("MESSAGE", summary.line()),
        ("PRIORITY", summary.priority().to_string()),
        ("SYSLOG_IDENTIFIER", "sensor".to_owned()),
        ("SENSOR_ALERT_ID", summary.event_id),
        ("SENSOR_ALERT_TIME", summary.time),
        ("SENSOR_RULE_ID", summary.rule_id),
        ("SENSOR_RULE_NAME", summary.rule_name),
        ("SENSOR_SEVERITY", summary.severity.to_string()),
    ] {
        // A value on a line of its own is given by its length, so that nothing in it can begin another field.
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

impl Write for Journald {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Journald {}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::summary::tests::ALERT;
    use super::super::{PENDING_BYTES_MAX, Role, Sink};
    use super::*;

    #[test]
    fn each_alert_is_an_entry_and_a_journal_that_comes_back_gets_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::start(
            Journald::at(path.clone()),
            "the journal".to_owned(),
            Role::Tell,
            PENDING_BYTES_MAX,
            Box::new(|_| {}),
        )
        .unwrap();
        let mut buffer = vec![0; 65536];
        let mut received = |journal: &UnixDatagram| {
            let size = journal.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..size]).into_owned()
        };
        assert!(sink.line(|out| out.extend_from_slice(ALERT.as_bytes())));
        let entry = received(&journal);
        for field in ["MESSAGE\n", "MEDIUM APT file: creation /etc/apt/a\\nb", "SENSOR_RULE_ID\n", "7c2e\n"] {
            assert!(entry.contains(field), "{entry}");
        }
        drop(journal);
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            assert!(sink.line(|out| out.extend_from_slice(ALERT.as_bytes())));
        }
        let journal = UnixDatagram::bind(&path).unwrap();
        for _ in 0..3 {
            assert!(received(&journal).contains("SENSOR_ALERT_ID"));
        }
        assert_eq!(sink.close().written, 4);
    }
}
