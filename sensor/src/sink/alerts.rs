//! Where finished alerts go: to every output that wants them, and to those who ask what was last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Sink, lock};

/// Alerts that are kept in memory for `sensor watch`, and their bytes.
const RECENT_MAX: usize = 200;
const RECENT_BYTES_MAX: usize = 4 << 20;

/// The last alerts, as documents, each with its number in this run.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    state: Mutex<RecentState>,
}

#[derive(Debug, Default)]
struct RecentState {
    kept: VecDeque<(u64, Arc<[u8]>)>,
    bytes: usize,
    next: u64,
}

impl Recent {
    fn push(&self, document: &[u8]) {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.bytes += document.len();
        state.kept.push_back((number, document.into()));
        while (state.kept.len() > RECENT_MAX || state.bytes > RECENT_BYTES_MAX)
            && let Some((_, oldest)) = state.kept.pop_front()
        {
            state.bytes -= oldest.len();
        }
    }

    /// Those from number `first` on, oldest first, and the number that the next one gets.
    pub(crate) fn since(&self, first: u64) -> (Vec<Arc<[u8]>>, u64) {
        let state = lock(&self.state);
        let newer = state.kept.iter().filter(|(number, _)| *number >= first);
        (newer.map(|(_, document)| Arc::clone(document)).collect(), state.next)
    }
}

/// The outputs of alerts.
#[derive(Default)]
pub(crate) struct AlertSinks {
    /// For people, if one of them is.
    pub(crate) text: Option<Arc<Sink>>,
    pub(crate) documents: Vec<Arc<Sink>>,
    pub(crate) recent: Arc<Recent>,
}

impl AlertSinks {
    /// Hands on an alert as lines for people.
    pub(crate) fn lines(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(sink) = &self.text {
            sink.line(write);
        }
    }

    /// Hands on an alert as a document.
    pub(crate) fn document(&self, document: &[u8]) {
        for sink in &self.documents {
            sink.line(|out| out.extend_from_slice(document));
        }
        self.recent.push(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_alerts_are_kept_within_bounds() {
        let recent = Recent::default();
        for number in 0..RECENT_MAX + 5 {
            recent.push(number.to_string().as_bytes());
        }
        let (kept, next) = recent.since(0);
        assert_eq!((kept.len(), next), (RECENT_MAX, RECENT_MAX as u64 + 5));
        assert_eq!(&*kept[0], b"5");
        assert_eq!(recent.since(next - 1).0.len(), 1);
        assert_eq!(recent.since(next).0.len(), 0);
        recent.push(&vec![b'x'; RECENT_BYTES_MAX - 10]);
        assert!(recent.since(0).0.len() < 10);
    }
}
