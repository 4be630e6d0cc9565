//! State by key, bounded in entries and bytes, oldest touched first out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::keys::KeyPart;
use super::{Limits, Stats};

/// What a table holds per key.
pub(super) trait State: Default {
    /// What it counts against the limit.
    fn weight(&self) -> usize;
    /// Whether it can be forgotten at once.
    fn is_empty(&self) -> bool;
}

#[derive(Clone, Debug)]
struct Entry<S> {
    state: S,
    weight: usize,
    /// Which line of the queue is the current one.
    turn: u64,
    /// Time of the event that touched it last.
    time: i64,
}

/// State by key.
#[derive(Clone, Debug)]
pub(super) struct Table<S> {
    entries: HashMap<Arc<[KeyPart]>, Entry<S>>,
    /// Keys in order of their last touch; lines that are not current are skipped.
    queue: VecDeque<(u64, Arc<[KeyPart]>)>,
    turn: u64,
    bytes: usize,
    limits: Limits,
    evicted: u64,
    expired: u64,
}

impl<S: State> Table<S> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            entries: HashMap::new(),
            queue: VecDeque::new(),
            turn: 0,
            bytes: 0,
            limits,
            evicted: 0,
            expired: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn peek(&self, key: &[KeyPart]) -> Option<&S> {
        self.entries.get(key).map(|e| &e.state)
    }

    /// Changes the state of a key that is there; an emptied one is forgotten.
    pub(super) fn change<R>(&mut self, key: &[KeyPart], change: impl FnOnce(&mut S) -> R) -> Option<R> {
        let entry = self.entries.get_mut(key)?;
        let result = change(&mut entry.state);
        let weight = entry.state.weight();
        self.bytes = self.bytes.saturating_sub(entry.weight).saturating_add(weight);
        entry.weight = weight;
        if entry.state.is_empty() {
            self.remove(key);
        }
        Some(result)
    }

    /// Changes the state of a key, new or not, as of `time`, and keeps the table within its limits.
    pub(super) fn touch(&mut self, key: Vec<KeyPart>, time: i64, change: impl FnOnce(&mut S)) {
        self.turn += 1;
        let turn = self.turn;
        let parts: usize = key.iter().map(KeyPart::weight).sum();
        let shared: Arc<[KeyPart]> = key.into();
        let entry = self.entries.entry(Arc::clone(&shared)).or_insert_with(|| Entry {
            state: S::default(),
            weight: 0,
            turn,
            time,
        });
        entry.turn = turn;
        entry.time = entry.time.max(time);
        change(&mut entry.state);
        let weight = entry.state.weight() + parts;
        self.bytes = self.bytes.saturating_sub(entry.weight).saturating_add(weight);
        entry.weight = weight;
        self.queue.push_back((turn, shared));
        self.compact();
        while self.entries.len() > self.limits.keys_max || self.bytes > self.limits.bytes_max {
            if !self.drop_oldest() {
                break;
            }
            self.evicted += 1;
        }
    }

    /// Forgets what was last touched before `time`.
    pub(super) fn expire(&mut self, time: i64) {
        while let Some((turn, key)) = self.queue.front() {
            if let Some(entry) = self.entries.get(key).filter(|entry| entry.turn == *turn) {
                if entry.time >= time {
                    return;
                }
                self.bytes = self.bytes.saturating_sub(entry.weight);
                self.entries.remove(key);
                self.expired += 1;
            }
            self.queue.pop_front();
        }
    }

    /// Forgets what lies in the future of `time`, as after a clock was set back.
    pub(super) fn forget_after(&mut self, time: i64) {
        let before = self.entries.len();
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let keep = entry.time <= time;
            if !keep {
                *bytes = bytes.saturating_sub(entry.weight);
            }
            keep
        });
        self.expired += u64::try_from(before - self.entries.len()).unwrap_or(0);
    }

    /// Every key with its time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[KeyPart], i64)> {
        self.entries.iter().map(|(key, entry)| (key.as_ref(), entry.time))
    }

    fn remove(&mut self, key: &[KeyPart]) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.weight);
        }
    }

    fn drop_oldest(&mut self) -> bool {
        while let Some((turn, key)) = self.queue.pop_front() {
            if self.entries.get(&key).is_some_and(|e| e.turn == turn) {
                self.remove(&key);
                return true;
            }
        }
        false
    }

    /// Keeps the queue proportional to the entries.
    fn compact(&mut self) {
        if self.queue.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.queue.retain(|(turn, key)| entries.get(key).is_some_and(|e| e.turn == *turn));
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            keys: self.entries.len(),
            bytes: self.bytes,
            evicted: self.evicted,
            expired: self.expired,
            ..Stats::default()
        }
    }
}
