//! The state of a running sensor, put together when somebody asks.

use std::sync::Arc;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::alert::{ChannelGauge, ChannelStatus};
use crate::confine::{self, Confinement};
use crate::enrich::boot_ns_now;
use crate::pipeline::{Board, Vitals};
use crate::sink::Recent;
use crate::store::{StoreGauge, StoreTotals};

/// The loop speaks once a second; when it has not for so long, something is wrong with it.
const SILENCE_NS_MAX: u64 = 10_000_000_000;

/// A hook and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HookState {
    pub(crate) name: String,
    /// `none` where it could not be attached.
    pub(crate) mode: String,
    /// Whether it is attached and of use.
    pub(crate) is_used: bool,
}

/// What does not change while the sensor runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) agent_id: String,
    pub(crate) kernel: String,
    /// The configuration file, if there is one.
    pub(crate) config: String,
    pub(crate) hooks: Vec<HookState>,
    /// What cannot be seen on this kernel.
    pub(crate) missing: String,
    pub(crate) started_ns: u64,
}

/// How the last reload went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloads {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) last: String,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) about: About,
    pub(crate) uptime_seconds: u64,
    /// What is wrong, if anything.
    pub(crate) troubles: Vec<String>,
    pub(crate) vitals: Vitals,
    pub(crate) channels: Vec<ChannelStatus>,
    pub(crate) store: Option<StoreTotals>,
    /// Why nothing can be stored now.
    pub(crate) store_trouble: Option<String>,
    pub(crate) reloads: Reloads,
    pub(crate) confinement: Confinement,
}

/// Where the state is read.
pub(crate) struct Sources {
    pub(crate) about: About,
    pub(crate) board: Arc<Board>,
    pub(crate) channels: Vec<ChannelGauge>,
    pub(crate) store: Option<StoreGauge>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) reloads: Arc<Mutex<Reloads>>,
}

impl Sources {
    /// Whether the loop turns.
    pub(crate) fn is_alive(&self) -> bool {
        let said_ns = self.board.read().boot_ns;
        boot_ns_now().saturating_sub(said_ns) < SILENCE_NS_MAX
    }

    /// Whether every event is seen and the loop turns.
    pub(crate) fn is_ready(&self) -> bool {
        self.board.read().ready && self.is_alive()
    }

    /// All of it; `watching` has the busiest counted for a while.
    pub(crate) fn read(&self, watching: bool) -> Status {
        let now_ns = boot_ns_now();
        if watching {
            self.board.watch(now_ns);
        }
        let vitals = Vitals::clone(&self.board.read());
        let reloads = self.reloads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut status = Status {
            about: self.about.clone(),
            uptime_seconds: now_ns.saturating_sub(self.about.started_ns) / 1_000_000_000,
            troubles: Vec::new(),
            vitals,
            channels: self.channels.iter().map(ChannelGauge::read).collect(),
            store: self.store.as_ref().map(StoreGauge::totals),
            store_trouble: self.store.as_ref().and_then(StoreGauge::trouble),
            reloads,
            confinement: confine::done(),
        };
        status.troubles = status.find_troubles(self.is_alive());
        status
    }
}

impl Status {
    fn find_troubles(&self, alive: bool) -> Vec<String> {
        let mut troubles = Vec::new();
        if !alive {
            troubles.push("the loop has said nothing for 10 seconds".to_owned());
        }
        if !self.vitals.ready {
            troubles.push("not ready: processes are still being looked for".to_owned());
        }
        if !self.about.missing.is_empty() {
            troubles.push(format!("not seen on this kernel: {}", self.about.missing));
        }
        for what in &self.vitals.switched_off {
            troubles.push(format!("blind: {what}"));
        }
        match &self.vitals.lost {
            None => troubles.push("the kernel's counts of lost records cannot be read".to_owned()),
            Some(lost) => {
                let lost: u64 = lost.iter().map(|one| one.count).sum();
                if lost > 0 {
                    troubles.push(format!(
                        "{lost} records were lost in the kernel: a larger telemetry.ring_bytes helps"
                    ));
                }
            }
        }
        for channel in &self.channels {
            let name = &channel.name;
            if let Some(trouble) = &channel.trouble {
                troubles.push(format!("{name} cannot be written to: {trouble}"));
            }
            if let Some(trouble) = channel.remote.as_ref().and_then(|remote| remote.trouble.as_ref()) {
                troubles.push(format!("{name}: {trouble}"));
            }
            let dropped = channel.dropped();
            if dropped > 0 {
                troubles.push(format!("{name}: {dropped} documents were dropped"));
            }
            if let Some(remote) = channel.remote.as_ref().filter(|remote| remote.dead + remote.dead_lost > 0)
            {
                troubles.push(format!("{name}: {} documents were refused", remote.dead + remote.dead_lost));
            }
        }
        for failure in &self.confinement.failures {
            troubles.push(format!("not confined as it should be: {failure}"));
        }
        if let Some(trouble) = &self.store_trouble {
            troubles.push(format!("store: events cannot be stored: {trouble}"));
        }
        if let Some(store) = self.store.filter(|store| store.dropped > 0) {
            troubles.push(format!("store: {} events could not be stored", store.dropped));
        }
        if self.vitals.unaccounted > 0 {
            troubles.push(format!("{} records are missing, nobody knows why", self.vitals.unaccounted));
        }
        if self.vitals.undecodable > 0 {
            troubles.push(format!("{} records could not be decoded", self.vitals.undecodable));
        }
        troubles
    }
}

impl ChannelStatus {
    /// Documents that this output did not get, whatever the reason.
    pub(crate) fn dropped(&self) -> u64 {
        let of_spool = self.spool.map_or(0, |spool| spool.dropped_full + spool.dropped_large + spool.damaged);
        self.lines.dropped() + of_spool
    }
}
