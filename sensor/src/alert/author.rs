//! Who writes alerts, and the id of each.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use sensor_ecs::{Agent, EventId};
use sensor_eql::LoadedRule;

use crate::pipeline::{Gap, SeveralHit};

use super::document::{AlertId, write_alert_of_several, write_held_back};
use super::gap::write_gap;

/// Numbers alerts, and writes those as documents that are made of documents.
pub(crate) struct Author {
    pub(super) agent: Arc<Agent>,
    nonce: [u8; 10],
    sequence: u64,
}

impl Author {
    pub(crate) fn new(agent: Arc<Agent>) -> Self {
        Self { agent, nonce: nonce(), sequence: 0 }
    }

    pub(super) fn next(&mut self) -> AlertId {
        self.sequence += 1;
        AlertId { id: EventId::new(self.nonce, self.sequence), sequence: self.sequence }
    }

    /// Appends the alert for events that are kept as their documents.
    pub(crate) fn several(&mut self, hit: &SeveralHit<'_>, out: &mut Vec<u8>) {
        let own = self.next();
        write_alert_of_several(hit, &self.agent, own, out);
    }

    /// Appends what a rule's cap held back.
    pub(crate) fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64, out: &mut Vec<u8>) {
        let own = self.next();
        write_held_back(&rule.rule, &self.agent, count, last_ns, own, out);
    }

    /// Appends what is missing from the events.
    pub(super) fn gap(&mut self, gap: &Gap, out: &mut Vec<u8>) {
        let own = self.next();
        write_gap(gap, &self.agent, &own.id, out);
    }
}

/// Ids of alerts must differ from run to run; the standard library seeds its hash maps from the system.
fn nonce() -> [u8; 10] {
    let mut nonce = [0; 10];
    let halves = [RandomState::new(), RandomState::new()].map(|seed| seed.hash_one(0u8).to_be_bytes());
    for (place, byte) in nonce.iter_mut().zip(halves.iter().flatten()) {
        *place = *byte;
    }
    nonce
}
