//! The process table: every process of the host, and the dead ones that something still refers to.
//!
//! Bounded in bytes. A process that has ended stays for a grace period, since its last records and those of its
//! children may still be on their way, and beyond it while a living process names it as creator or leader. Under
//! pressure the dead go first, then whoever was silent longest; an evicted process that speaks again is read from
//! `/proc` and marked.

mod entry;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use sensor_ecs::{Image, Scalar};

use entry::{image_bytes_if_sole, list_bytes};

pub(crate) use entry::{Entry, Ids, Key, Links, Proof, Relations};

/// Generations that documents name.
const ANCESTRY_MAX: usize = 20;
/// How long a process is kept after its end.
const GRACE_NS: u64 = 5_000_000_000;

/// A multiplicative hash: keys are small integers that the kernel hands out.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

type Hashed<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Apart from the indices, which have room to spare.
    entries: Vec<Option<Box<Entry>>>,
    /// Places that are free.
    free: Vec<u32>,
    places: Hashed<Key, u32>,
    /// Where the last one was that was asked for: who acts does so more than once.
    recent: Cell<u32>,
    /// The last process known under a pid.
    by_pid: Hashed<u32, Key>,
    /// Who ended, in order.
    ended: VecDeque<(u64, Key)>,
    bytes: usize,
    bytes_max: usize,
    evicted: u64,
    /// Changes so far that events can show.
    changes: u64,
}

impl Table {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            places: Hashed::default(),
            recent: Cell::new(0),
            by_pid: Hashed::default(),
            ended: VecDeque::new(),
            bytes: 0,
            bytes_max,
            evicted: 0,
            changes: 0,
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Entry> {
        self.near(key, &self.recent)
    }

    /// To change something that events show.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.changes += 1;
        let changes = self.changes;
        let entry = self.get_hidden_mut(key)?;
        entry.changed = changes;
        Some(entry)
    }

    /// To change something that no event shows: when it was seen, and what proves that it is who it is.
    pub(crate) fn get_hidden_mut(&mut self, key: Key) -> Option<&mut Entry> {
        if self.at(self.recent.get()).is_none_or(|entry| entry.key != key) {
            self.recent.set(*self.places.get(&key)?);
        }
        self.entries.get_mut(self.recent.get() as usize)?.as_deref_mut()
    }

    /// A process and whom its events name.
    pub(crate) fn relations(&self, key: Key) -> Option<Relations<'_>> {
        let own = self.get(key)?;
        let related = |other: Option<Key>, place| {
            let other = other?;
            if other == key { Some(own) } else { self.near(other, place) }
        };
        let Entry { links, places, .. } = own;
        let entry = related(links.entry, &places.entry);
        Some(Relations {
            own,
            parent: related(links.parent, &places.parent),
            group: related(links.group, &places.group),
            session: related(links.session, &places.session),
            entry,
            above_entry: entry.and_then(|entry| related(entry.links.parent, &entry.places.parent)),
        })
    }

    fn at(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)?.as_deref()
    }

    /// Who is most likely at this place.
    fn near(&self, key: Key, place: &Cell<u32>) -> Option<&Entry> {
        if let Some(entry) = self.at(place.get()).filter(|entry| entry.key == key) {
            return Some(entry);
        }
        place.set(*self.places.get(&key)?);
        self.at(place.get())
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter_map(Option::as_deref)
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.places.contains_key(&key)
    }

    /// The last process known under this pid.
    pub(crate) fn latest(&self, pid: u32) -> Option<Key> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Everybody whose end is not known.
    pub(crate) fn living(&self) -> impl Iterator<Item = Key> + '_ {
        self.all().filter(|entry| !entry.has_ended()).map(|entry| entry.key)
    }

    /// Living processes that were dropped for want of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Adds a process, in place of one that was there under the same key.
    pub(crate) fn insert(&mut self, key: Key, mut entry: Entry, seen_ns: u64) {
        let links = std::mem::take(&mut entry.links);
        self.changes += 1;
        entry.changed = self.changes;
        entry.seen_ns = seen_ns;
        entry.refs = self.get(key).map_or(0, |old| old.refs);
        entry.key = key;
        self.drop_entry(key);
        self.bytes += entry.own_bytes() + image_bytes_if_sole(&entry.process.image);
        self.put(entry);
        match self.latest(key.pid()) {
            Some(known) if known > key => {}
            Some(known) if known < key => {
                // Its end was missed: there is no pid for two.
                self.end(known, seen_ns);
                self.by_pid.insert(key.pid(), key);
            }
            Some(_) | None => {
                self.by_pid.insert(key.pid(), key);
            }
        }
        self.set_links(key, links);
        if self.bytes > self.bytes_max {
            self.make_room(key);
        }
    }

    fn put(&mut self, entry: Entry) {
        let end = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let place = self.free.pop().unwrap_or(end);
        if place == end {
            self.entries.push(None);
        }
        self.places.insert(entry.key, place);
        if let Some(free) = self.entries.get_mut(place as usize) {
            *free = Some(Box::new(entry));
        }
    }

    /// Gives a process another image; the old one is handed back.
    pub(crate) fn set_image(&mut self, key: Key, image: Arc<Image>) -> Option<Arc<Image>> {
        let entry = self.get_mut(key)?;
        let old = std::mem::replace(&mut entry.process.image, image);
        let new_bytes = image_bytes_if_sole(&entry.process.image);
        self.bytes = (self.bytes + new_bytes).saturating_sub(image_bytes_if_sole(&old));
        if self.bytes > self.bytes_max {
            self.make_room(key);
        }
        Some(old)
    }

    /// Changes whom a process refers to.
    pub(crate) fn set_links(&mut self, key: Key, links: Links) {
        let Some(entry) = self.get_hidden_mut(key) else { return };
        let old = std::mem::replace(&mut entry.links, links);
        if old == links {
            return;
        }
        self.get_mut(key);
        for target in links.targets().filter(|target| *target != key) {
            if let Some(entry) = self.get_hidden_mut(target) {
                entry.refs += 1;
            }
        }
        self.release(key, old);
    }

    /// The ancestry of the children of `key`: itself, then its own. Made once, and shared by all of them.
    pub(crate) fn ancestry_below(&mut self, key: Key) -> Arc<[Scalar]> {
        let Some(entry) = self.get_hidden_mut(key) else { return Arc::default() };
        if let Some(known) = &entry.ancestry_below {
            return Arc::clone(known);
        }
        let own = Scalar::Keyword(entry.process.entity_id.to_vec().into());
        let above = entry.ancestry.iter().take(ANCESTRY_MAX - 1).cloned();
        let below: Arc<[Scalar]> = std::iter::once(own).chain(above).collect();
        entry.ancestry_below = Some(Arc::clone(&below));
        self.bytes += list_bytes(&below);
        below
    }

    /// Changes the ancestry of a process; children that it forks from now on have another one too.
    pub(crate) fn set_ancestry(&mut self, key: Key, ancestry: Arc<[Scalar]>) {
        let Some(entry) = self.get_mut(key) else { return };
        entry.ancestry = ancestry;
        if let Some(below) = entry.ancestry_below.take() {
            self.bytes = self.bytes.saturating_sub(list_bytes(&below));
        }
    }

    /// Notes the end of a process.
    pub(crate) fn end(&mut self, key: Key, boot_ns: u64) {
        // In order, though records of several CPUs come only nearly so.
        let ended_ns = self.ended.back().map_or(boot_ns, |(last_ns, _)| boot_ns.max(*last_ns));
        if let Some(entry) = self.get_hidden_mut(key)
            && entry.ended_ns.is_none()
        {
            entry.ended_ns = Some(ended_ns);
            self.ended.push_back((ended_ns, key));
        }
    }

    /// Forgets those whose grace is over and whom nobody refers to.
    pub(crate) fn expire(&mut self, boot_ns: u64) {
        while let Some(&(ended_ns, key)) = self.ended.front()
            && ended_ns.saturating_add(GRACE_NS) <= boot_ns
        {
            self.ended.pop_front();
            self.drop_if_over(key, ended_ns);
        }
    }

    /// Ends those who do not exist any more although no record said so. Whoever spoke within `recent_ns` is left alone:
    /// `alive`, which is sorted, may be older than its start.
    pub(crate) fn sweep(&mut self, alive: &[u32], boot_ns: u64, recent_ns: u64) {
        let gone: Vec<Key> = self
            .all()
            .filter(|entry| {
                !entry.has_ended()
                    && entry.seen_ns.saturating_add(recent_ns) <= boot_ns
                    && alive.binary_search(&entry.key.pid()).is_err()
            })
            .map(|entry| entry.key)
            .collect();
        for key in gone {
            self.end(key, boot_ns);
        }
    }

    fn drop_if_over(&mut self, key: Key, ended_ns: u64) {
        let is_over = |entry: &Entry| entry.refs == 0 && entry.ended_ns == Some(ended_ns);
        if self.get(key).is_some_and(is_over) {
            self.drop_entry(key);
        }
    }

    fn drop_entry(&mut self, key: Key) {
        let Some(place) = self.places.remove(&key) else { return };
        let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.bytes = self.bytes.saturating_sub(entry.own_bytes() + image_bytes_if_sole(&entry.process.image));
        if self.latest(key.pid()) == Some(key) {
            self.by_pid.remove(&key.pid());
        }
        self.release(key, entry.links);
    }

    /// Takes back the references of `key`. Whoever has ended, is beyond its grace and loses its last one goes too.
    fn release(&mut self, key: Key, links: Links) {
        for target in links.targets().filter(|target| *target != key) {
            let Some(entry) = self.get_hidden_mut(target) else { continue };
            entry.refs = entry.refs.saturating_sub(1);
            let Some(ended_ns) = entry.ended_ns else { continue };
            // Before its grace is over it is still queued, and goes when its turn comes.
            let is_queued = self.ended.front().is_some_and(|(first_ns, _)| *first_ns <= ended_ns);
            if !is_queued {
                self.drop_if_over(target, ended_ns);
            }
        }
    }

    /// Drops an eighth, so that the search is not repeated for each insertion. `keep` is the entry in hand.
    fn make_room(&mut self, keep: Key) {
        let goal = self.bytes_max - self.bytes_max / 8;
        while self.bytes > goal
            && let Some((_, key)) = self.ended.pop_front()
        {
            if key != keep && self.get(key).is_some_and(Entry::has_ended) {
                self.drop_entry(key);
            }
        }
        if self.bytes <= goal {
            return;
        }
        let mut by_age: Vec<(bool, u64, Key)> = self
            .all()
            .filter(|entry| entry.key != keep)
            .map(|entry| (!entry.has_ended(), entry.seen_ns, entry.key))
            .collect();
        by_age.sort_unstable();
        for (is_alive, _, key) in by_age {
            if self.bytes <= goal {
                break;
            }
            self.evicted += u64::from(is_alive);
            self.drop_entry(key);
        }
    }
}

#[cfg(test)]
mod tests;
