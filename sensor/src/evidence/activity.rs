//! What every process tree did last, in a window of fixed size: an alert tells what else its tree did.
//!
//! Written for every event that names something, so nothing is allocated: a slot holds the end of the name.

use std::collections::VecDeque;

use sensor_ecs::{Action, Event};
use serde::Serialize;

use super::Text;
use crate::enrich::Tree;

/// Events that are remembered, of all trees together.
const SLOTS: usize = 8192;
const NAME_BYTES_MAX: usize = 112;
const ALERTS: usize = 256;
/// Events that an alert shows.
const SHOWN_MAX: usize = 40;
/// What is older has nothing to do with the alert.
const WINDOW_NS: i64 = 10 * 60 * 1_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Slot {
    tree: Tree,
    time_ns: i64,
    pid: u32,
    action: Action,
    /// Bytes of the whole name.
    len: u16,
    /// Its end.
    name: [u8; NAME_BYTES_MAX],
}

/// Something that a tree did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Act {
    #[serde(rename = "@timestamp")]
    time: Text,
    pub(super) action: &'static str,
    pub(super) pid: u32,
    /// The file, or the program.
    pub(super) name: Text,
    /// The name was longer: this is its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// An earlier alert of the same tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Related {
    #[serde(rename = "@timestamp")]
    pub(super) time: Text,
    pub(super) rule_id: String,
    pub(super) rule_name: String,
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Activity {
    slots: VecDeque<Slot>,
    alerts: VecDeque<(Tree, i64, Related)>,
}

impl Activity {
    /// Remembers an event that names a file or a program.
    pub(super) fn note(&mut self, event: &Event<'_>) {
        if self.slots.capacity() < SLOTS {
            // Once; memory is taken as it is written.
            self.slots.reserve_exact(SLOTS);
        }
        let Some(view) = &event.process else { return };
        let name = match (&event.file, event.meta.action) {
            (Some(file), _) => file.path.path(),
            (None, Action::Exec) => match &view.process.image.executable {
                Some(executable) => executable.path(),
                None => return,
            },
            _ => return,
        };
        let mut slot = Slot {
            tree: Tree::of(view),
            time_ns: event.meta.time_ns,
            pid: view.process.pid,
            action: event.meta.action,
            len: u16::try_from(name.len()).unwrap_or(u16::MAX),
            name: [0; NAME_BYTES_MAX],
        };
        let end = name.get(name.len().saturating_sub(NAME_BYTES_MAX)..).unwrap_or_default();
        for (place, byte) in slot.name.iter_mut().zip(end) {
            *place = *byte;
        }
        if self.slots.len() >= SLOTS {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
    }

    /// Remembers an alert.
    pub(super) fn note_alert(&mut self, tree: Tree, time_ns: i64, rule_id: &str, rule_name: &str) {
        if self.alerts.len() >= ALERTS {
            self.alerts.pop_front();
        }
        let related =
            Related { time: time(time_ns), rule_id: rule_id.to_owned(), rule_name: rule_name.to_owned() };
        self.alerts.push_back((tree, time_ns, related));
    }

    /// What the tree did, the last last; the number of earlier acts that are not shown.
    pub(super) fn of(&self, tree: Tree, now_ns: i64) -> (Vec<Act>, u64) {
        let recent = |slot: &&Slot| slot.tree == tree && now_ns.saturating_sub(slot.time_ns) <= WINDOW_NS;
        let mut acts: Vec<Act> = Vec::new();
        let mut hidden = 0;
        for slot in self.slots.iter().rev().filter(recent) {
            if acts.len() < SHOWN_MAX {
                acts.push(shown(slot));
            } else {
                hidden += 1;
            }
        }
        acts.reverse();
        (acts, hidden)
    }

    /// Earlier alerts of the tree.
    pub(super) fn alerts_of(&self, tree: Tree, now_ns: i64) -> Vec<Related> {
        let recent = |at: i64| now_ns.saturating_sub(at) <= WINDOW_NS;
        let same = self.alerts.iter().filter(|(of, at, _)| *of == tree && recent(*at));
        same.map(|(_, _, related)| related.clone()).collect()
    }
}

fn shown(slot: &Slot) -> Act {
    let len = usize::from(slot.len);
    Act {
        time: time(slot.time_ns),
        action: slot.action.name(),
        pid: slot.pid,
        name: Text(slot.name.get(..len.min(NAME_BYTES_MAX)).unwrap_or_default().to_vec()),
        cut: len > NAME_BYTES_MAX,
    }
}

fn time(ns: i64) -> Text {
    Text(sensor_ecs::time::rfc3339(ns).to_vec())
}
