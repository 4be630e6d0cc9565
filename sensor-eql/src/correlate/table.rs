//! State by key, bounded in entries and bytes, oldest touched first out.
//!
//! What is forgotten leaves its buffers to what comes next, so that a table in use does not allocate.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Limits, Stats};

/// What a table holds per key.
pub(super) trait State: Default {
    /// What it counts against the limit.
    fn weight(&self) -> usize;
    /// Whether it can be forgotten at once.
    fn is_empty(&self) -> bool;
    /// Makes it as good as new; its buffers may stay.
    fn clear(&mut self);
}

/// Position of an entry.
type Slot = u32;

/// No entry.
const NONE: Slot = Slot::MAX;

/// Forgotten entries whose buffers are kept.
const SPARE_MAX: usize = 64;

#[derive(Clone, Debug)]
struct Entry<S> {
    key: Vec<u8>,
    hash: u64,
    state: S,
    weight: usize,
    /// Time of the event that touched it last.
    time: i64,
    /// Neighbours in the order of the last touch.
    older: Slot,
    newer: Slot,
}

/// State by key.
#[derive(Clone, Debug)]
pub(super) struct Table<S> {
    entries: Vec<Entry<S>>,
    /// Entries in use, by the hash of their key.
    index: HashTable<Slot>,
    free: Vec<Slot>,
    oldest: Slot,
    newest: Slot,
    hasher: DefaultHashBuilder,
    bytes: usize,
    limits: Limits,
    evicted: u64,
    expired: u64,
}

impl<S: State> Table<S> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            entries: Vec::new(),
            index: HashTable::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            hasher: DefaultHashBuilder::default(),
            bytes: 0,
            limits,
            evicted: 0,
            expired: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn peek(&self, key: &[u8]) -> Option<&S> {
        let slot = self.find(self.hasher.hash_one(key), key)?;
        self.get(slot).map(|entry| &entry.state)
    }

    /// Changes the state of a key that is there; an emptied one is forgotten.
    pub(super) fn change<R>(&mut self, key: &[u8], change: impl FnOnce(&mut S) -> R) -> Option<R> {
        let slot = self.find(self.hasher.hash_one(key), key)?;
        let result = self.change_at(slot, change);
        if self.get(slot).is_some_and(|entry| entry.state.is_empty()) {
            self.remove(slot);
        }
        result
    }

    /// Changes the state of a key as of `time` and keeps the table within its limits; whether the key is new.
    pub(super) fn touch(&mut self, key: &[u8], time: i64, change: impl FnOnce(&mut S)) -> bool {
        let hash = self.hasher.hash_one(key);
        let known = self.find(hash, key);
        let slot = match known {
            Some(slot) => slot,
            None => self.insert(hash, key, time),
        };
        self.change_at(slot, change);
        self.unlink(slot);
        self.append(slot);
        if let Some(entry) = self.get_mut(slot) {
            entry.time = entry.time.max(time);
        }
        while self.index.len() > self.limits.keys_max || self.bytes > self.limits.bytes_max {
            if self.oldest == NONE {
                break;
            }
            self.remove(self.oldest);
            self.evicted += 1;
        }
        known.is_none()
    }

    /// Forgets what was last touched before `time`.
    pub(super) fn expire(&mut self, time: i64) {
        while self.get(self.oldest).is_some_and(|entry| entry.time < time) {
            self.remove(self.oldest);
            self.expired += 1;
        }
    }

    /// Forgets what lies in the future of `time`, as after a clock was set back.
    pub(super) fn forget_after(&mut self, time: i64) {
        let mut slot = self.oldest;
        while let Some(entry) = self.get(slot) {
            let (next, is_later) = (entry.newer, entry.time > time);
            if is_later {
                self.remove(slot);
                self.expired += 1;
            }
            slot = next;
        }
    }

    /// Lets nothing be touched later than at `time`.
    pub(super) fn move_back(&mut self, time: i64) {
        self.entries.iter_mut().for_each(|entry| entry.time = entry.time.min(time));
    }

    /// Every key with its time, the one touched first first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        let mut slot = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.get(slot)?;
            slot = entry.newer;
            Some((entry.key.as_slice(), entry.time))
        })
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            keys: self.index.len(),
            bytes: self.bytes,
            evicted: self.evicted,
            expired: self.expired,
            ..Stats::default()
        }
    }

    fn get(&self, slot: Slot) -> Option<&Entry<S>> {
        self.entries.get(slot as usize)
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<S>> {
        self.entries.get_mut(slot as usize)
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        let is_it = |slot: &Slot| self.get(*slot).is_some_and(|entry| entry.hash == hash && entry.key == key);
        self.index.find(hash, is_it).copied()
    }

    fn insert(&mut self, hash: u64, key: &[u8], time: i64) -> Slot {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot::try_from(self.entries.len()).unwrap_or(NONE);
                self.entries.push(Entry {
                    key: Vec::new(),
                    hash,
                    state: S::default(),
                    weight: 0,
                    time,
                    older: NONE,
                    newer: NONE,
                });
                slot
            }
        };
        if let Some(entry) = self.get_mut(slot) {
            entry.key.extend_from_slice(key);
            entry.hash = hash;
            entry.time = time;
        }
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |slot| entries.get(*slot as usize).map_or(0, |e| e.hash));
        self.append(slot);
        slot
    }

    fn change_at<R>(&mut self, slot: Slot, change: impl FnOnce(&mut S) -> R) -> Option<R> {
        let entry = self.entries.get_mut(slot as usize)?;
        let result = change(&mut entry.state);
        let weight = entry.state.weight().saturating_add(size_of::<Entry<S>>() + entry.key.len());
        self.bytes = self.bytes.saturating_sub(entry.weight).saturating_add(weight);
        entry.weight = weight;
        Some(result)
    }

    fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let keeps_buffers = self.free.len() < SPARE_MAX;
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        if let Ok(found) = self.index.find_entry(entry.hash, |known| *known == slot) {
            found.remove();
        }
        self.bytes = self.bytes.saturating_sub(entry.weight);
        entry.weight = 0;
        if keeps_buffers {
            entry.key.clear();
            entry.state.clear();
        } else {
            (entry.key, entry.state) = (Vec::new(), S::default());
        }
        self.free.push(slot);
    }

    fn append(&mut self, slot: Slot) {
        let newest = std::mem::replace(&mut self.newest, slot);
        match self.get_mut(newest) {
            Some(before) => before.newer = slot,
            None => self.oldest = slot,
        }
        if let Some(entry) = self.get_mut(slot) {
            (entry.older, entry.newer) = (newest, NONE);
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Some((older, newer)) = self.get(slot).map(|entry| (entry.older, entry.newer)) else { return };
        match self.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, Default)]
    struct Count(usize);

    impl State for Count {
        fn weight(&self) -> usize {
            self.0
        }

        fn is_empty(&self) -> bool {
            self.0 == 0
        }

        fn clear(&mut self) {
            self.0 = 0;
        }
    }

    proptest! {
        /// The same as a list in the order of the last touch.
        #[test]
        fn forgets_in_the_order_of_touch(
            steps in prop::collection::vec((0_u8..4, 0_u8..12, 0_i64..40), 0..200), keys_max in 1_usize..8,
        ) {
            let mut table = Table::<Count>::new(Limits { keys_max, bytes_max: usize::MAX });
            let mut model: Vec<(Vec<u8>, i64, usize)> = Vec::new();
            let (mut evicted, mut expired) = (0, 0);
            for (what, key, time) in steps {
                let key = vec![key; usize::from(key)];
                let at = model.iter().position(|(k, ..)| *k == key);
                match what {
                    0 | 1 => {
                        let (_, before, count) = at.map_or((Vec::new(), i64::MIN, 0), |at| model.remove(at));
                        model.push((key.clone(), before.max(time), count + 1));
                        prop_assert_eq!(table.touch(&key, time, |count| count.0 += 1), at.is_none());
                        if model.len() > keys_max {
                            model.remove(0);
                            evicted += 1;
                        }
                    }
                    2 => {
                        let changed = table.change(&key, |count| count.0 -= 1);
                        prop_assert_eq!(changed.is_some(), at.is_some());
                        if let Some(at) = at {
                            model[at].2 -= 1;
                            model.retain(|(.., count)| *count > 0);
                        }
                    }
                    _ => {
                        table.expire(time);
                        while model.first().is_some_and(|(_, t, _)| *t < time) {
                            model.remove(0);
                            expired += 1;
                        }
                    }
                }
                let held: Vec<(Vec<u8>, i64)> = table.iter().map(|(k, t)| (k.to_vec(), t)).collect();
                let want: Vec<(Vec<u8>, i64)> = model.iter().map(|(k, t, _)| (k.clone(), *t)).collect();
                prop_assert_eq!(held, want);
                for (key, _, count) in &model {
                    prop_assert_eq!(table.peek(key).map(|c| c.0), Some(*count));
                }
                let stats = table.stats();
                prop_assert_eq!((stats.evicted, stats.expired, stats.keys), (evicted, expired, model.len()));
            }
            table.forget_after(10);
            prop_assert!(table.iter().all(|(_, time)| time <= 10));
            table.expire(i64::MAX);
            prop_assert_eq!((table.stats().bytes, table.stats().keys), (0, 0));
        }
    }
}
