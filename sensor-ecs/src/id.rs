//! Identifiers: `event.id` and `process.entity_id`.

use std::sync::Arc;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn sextets([first, second, third]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, first, second, third]);
    [18, 12, 6, 0].map(|shift| ALPHABET.get((bits >> shift & 63) as usize).copied().unwrap_or(b'A'))
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().unwrap_or(0);
        let text = sextets([byte(0), byte(1), byte(2)]);
        out.extend(text.iter().take(group.len() + 1));
        out.extend(std::iter::repeat_n(b'=', 3 - group.len()));
    }
    out
}

/// A unique event id: 24 characters of base64 over a nonce drawn at start and the sequence number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventId([u8; 24]);

impl EventId {
    /// The id of one event of one run. `nonce` is random per run of the sensor.
    #[must_use]
    pub fn new(nonce: [u8; 10], sequence: u64) -> Self {
        let mut bytes = [0; 18];
        if let Some(first) = bytes.first_chunk_mut() {
            *first = nonce;
        }
        if let Some(last) = bytes.last_chunk_mut() {
            *last = sequence.to_be_bytes();
        }
        let mut id = [0; 24];
        for (place, group) in id.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
            *place = sextets(*group);
        }
        Self(id)
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// `process.entity_id`: one per life of a process, the same over exec and over a restart of the sensor.
///
/// `start_ticks` is the start time in units of 10 ms since boot, as field 22 of `/proc/PID/stat` has it; `boot` tells
/// boots apart (a hash of the kernel's boot id), since pid and ticks recur after a reboot.
#[must_use]
pub fn entity_id(agent_id: &[u8], pid: u32, start_ticks: u64, boot: u32) -> Arc<[u8]> {
    let mut plain = agent_id.to_vec();
    plain.extend(format!("-{pid}-{start_ticks}.{boot}").bytes());
    base64(&plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_standard_vectors() {
        for (plain, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn event_ids_differ_by_run_and_by_sequence() {
        let first = EventId::new([7; 10], 1);
        assert_eq!(first.as_bytes().len(), 24);
        assert_ne!(first, EventId::new([7; 10], 2));
        assert_ne!(first, EventId::new([8; 10], 1));
        assert_eq!(first, EventId::new([7; 10], 1));
    }

    #[test]
    fn entity_id_names_agent_pid_start_and_boot() {
        let id = entity_id(b"agent", 901, 1100, 5);
        assert_eq!(&*id, base64(b"agent-901-1100.5"));
        assert_ne!(id, entity_id(b"agent", 901, 1100, 6));
    }
}
