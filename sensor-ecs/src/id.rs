//! Identifiers: `event.id` and `process.entity_id`.

use std::sync::Arc;

use crate::digits::Digits;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn sextets([first, second, third]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, first, second, third]);
    [18, 12, 6, 0].map(|shift| ALPHABET.get((bits >> shift & 63) as usize).copied().unwrap_or(b'A'))
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let (groups, rest) = bytes.as_chunks();
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in groups {
        out.extend_from_slice(&sextets(*group));
    }
    if !rest.is_empty() {
        let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
        let [first, second, third, _] = sextets([byte(0), byte(1), 0]);
        out.extend_from_slice(&[first, second, if rest.len() == 2 { third } else { b'=' }, b'=']);
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

    /// The id of the event with this sequence number when this is that of the one before: nearly always, only the end
    /// is another.
    #[must_use]
    pub fn next(self, nonce: [u8; 10], sequence: u64) -> Self {
        let [.., high, middle, low] = sequence.to_be_bytes();
        if [high, middle, low] == [0; 3] {
            return Self::new(nonce, sequence);
        }
        let mut id = self.0;
        if let Some(last) = id.last_chunk_mut() {
            *last = sextets([high, middle, low]);
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
    // Three separators, and numbers of at most 20 digits.
    let mut plain = Vec::with_capacity(agent_id.len() + 63);
    plain.extend_from_slice(agent_id);
    for (before, number) in [(b'-', u64::from(pid)), (b'-', start_ticks), (b'.', u64::from(boot))] {
        plain.push(before);
        plain.extend_from_slice(Digits::decimal(number).as_bytes());
    }
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
        for start in [1, 0xff_fffe, 0x1234_ffff_fffe, u64::MAX - 3] {
            let mut id = EventId::new([7; 10], start);
            for sequence in start + 1..=start + 3 {
                id = id.next([7; 10], sequence);
                assert_eq!(id, EventId::new([7; 10], sequence));
            }
        }
    }

    #[test]
    fn entity_id_names_agent_pid_start_and_boot() {
        let id = entity_id(b"agent", 901, 1100, 5);
        assert_eq!(&*id, base64(b"agent-901-1100.5"));
        assert_ne!(id, entity_id(b"agent", 901, 1100, 6));
    }
}
