//! What the loop says of itself once a second, for whoever asks; nothing of it costs an event more than a count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::several::SeveralTotals;

/// Upper bounds of the classes in which delays are counted, in seconds.
pub(crate) const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// For how long the busiest are counted after somebody has asked for them.
const WATCHED_NS: u64 = 10_000_000_000;

/// How often which delays were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delays {
    /// In the classes of [`SECONDS`] and one beyond.
    pub(crate) counts: [u64; SECONDS.len() + 1],
    pub(crate) seconds: f64,
}

impl Delays {
    pub(super) fn count(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let class = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.seconds += seconds;
    }
}

/// Names by how often they came, the most frequent first.
pub(crate) type Ranking = Vec<(String, u64)>;

/// A count under two names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) of: String,
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// The process table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessTable {
    pub(crate) entries: u64,
    /// Living processes that were dropped for want of room.
    pub(crate) evicted: u64,
    /// Processes that spoke without having been seen to start.
    pub(crate) discovered: u64,
    /// Processes whose exec was missed.
    pub(crate) repaired: u64,
    /// Of both, those whose image could not be found out any more.
    pub(crate) images_lost: u64,
}

/// What the loop says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vitals {
    /// Whether every event is seen by now.
    pub(crate) ready: bool,
    /// When this was said, on the boot clock.
    pub(crate) boot_ns: u64,
    /// By `event.action`.
    pub(crate) events: Vec<(String, u64)>,
    /// What the kernel could not deliver, by kind of record and reason; absent when its counters cannot be read.
    pub(crate) lost: Option<Vec<Tally>>,
    /// Matches by rule, in the order of [`RuleNames`].
    pub(crate) matches: Vec<u64>,
    #[serde(with = "shared")]
    pub(crate) rules: Arc<RuleNames>,
    pub(crate) alerts: u64,
    /// What exceptions and caps suppressed, by rule.
    pub(crate) suppressed: Vec<Tally>,
    /// Events of processes whose image was lost.
    pub(crate) degraded: u64,
    pub(crate) undecodable: u64,
    /// Gap records.
    pub(crate) gaps: u64,
    /// Records that are missing for no reason that was counted.
    pub(crate) unaccounted: u64,
    /// What keeps attached programs from being run.
    pub(crate) switched_off: Vec<String>,
    /// The sensor's own files.
    pub(crate) own: u64,
    pub(crate) processes: ProcessTable,
    /// The state of rules on several events.
    pub(crate) state: SeveralTotals,
    /// From the kernel to the end of matching, for the oldest record of each look into the ring.
    pub(crate) delays: Delays,
    /// Who was busiest in the last second, if somebody wants to know: programs, then directories.
    pub(crate) programs: Ranking,
    pub(crate) directories: Ranking,
}

/// Ids and names of the rules that run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleNames(pub(crate) Vec<(String, String)>);

/// Names are shared here and copied on the way.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::RuleNames;

    pub(super) fn serialize<S: Serializer>(names: &Arc<RuleNames>, to: S) -> Result<S::Ok, S::Error> {
        names.0.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<RuleNames>, D::Error> {
        Ok(Arc::new(RuleNames(Vec::deserialize(from)?)))
    }
}

/// Where the loop leaves what it says.
#[derive(Debug, Default)]
pub(crate) struct Board {
    vitals: Mutex<Arc<Vitals>>,
    /// When somebody last wanted to know who is busiest, on the boot clock.
    watched_ns: AtomicU64,
}

impl Board {
    pub(super) fn publish(&self, vitals: Vitals) {
        *self.vitals.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(vitals);
    }

    /// What was said last.
    pub(crate) fn read(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the busiest counted for a while.
    pub(crate) fn watch(&self, boot_ns: u64) {
        self.watched_ns.store(boot_ns, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self, boot_ns: u64) -> bool {
        let watched_ns = self.watched_ns.load(Ordering::Relaxed);
        watched_ns > 0 && boot_ns.saturating_sub(watched_ns) < WATCHED_NS
    }
}
