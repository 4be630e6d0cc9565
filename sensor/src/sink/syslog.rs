//! Alerts for syslog, as RFC 5424 has them, by the socket of this machine.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::datagram::Datagrams;
use super::rotate::Output;
use super::summary::Summary;

/// Facility "security/authorization messages, private", as `authpriv`.
const FACILITY: u8 = 10;
/// What every receiver takes, says the RFC, and more than most lines have.
const BYTES_MAX: usize = 2048;

type Make = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// The system's log.
pub(crate) struct Syslog(Datagrams<Make>);

impl Syslog {
    /// The one at this socket.
    pub(crate) fn at(path: PathBuf) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        let host = if host.is_empty() { "-".to_owned() } else { host.to_owned() };
        let make: Make = Box::new(move |document| message(document, &host));
        Self(Datagrams::new(path, make))
    }
}

fn message(document: &[u8], host: &str) -> Vec<u8> {
    let summary = Summary::of(document);
    let priority = FACILITY * 8 + summary.priority();
    let time = if summary.time.is_empty() { "-" } else { &micros(&summary.time) };
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
    let mut text = format!(
        "<{priority}>1 {time} {host} sensor {pid} alert [origin software=\"sensor\" swVersion=\"{version}\"] \
         {} (rule {}, event {})",
        summary.line(),
        summary.rule_id,
        summary.event_id
    );
    let mut end = BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.into_bytes()
}

/// The RFC has six digits at most.
fn micros(time: &str) -> String {
    match time.strip_suffix('Z').and_then(|time| time.split_once('.')) {
        Some((seconds, fraction)) => format!("{seconds}.{}Z", fraction.get(..6).unwrap_or(fraction)),
        None => time.to_owned(),
    }
}

impl Write for Syslog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Syslog {}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::summary::tests::ALERT;
    use super::super::{PENDING_BYTES_MAX, Role, Sink};
    use super::*;

    #[test]
    fn an_alert_is_a_message_as_the_rfc_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let sink = Sink::start(
            Syslog::at(path),
            "syslog".to_owned(),
            Role::Tell,
            PENDING_BYTES_MAX,
            Box::new(|_| {}),
        )
        .unwrap();
        assert!(sink.line(|out| out.extend_from_slice(ALERT.as_bytes())));
        let mut buffer = vec![0; 4096];
        let size = log.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..size].to_vec()).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words[..2], ["<84>1", "2026-01-02T03:04:05Z"]);
        assert_eq!(words[3..6], ["sensor", std::process::id().to_string().as_str(), "alert"]);
        assert!(text.ends_with(
            "MEDIUM APT file: creation /etc/apt/a\\nb by /usr/bin/cp [7] as root (rule 7c2e, event e1)"
        ));
        assert_eq!(micros("2026-01-02T03:04:05.123456789Z"), "2026-01-02T03:04:05.123456Z");
        let long = ALERT.replace("APT file", &"ä".repeat(3000));
        assert!(message(long.as_bytes(), "h").len() <= BYTES_MAX);
    }
}
