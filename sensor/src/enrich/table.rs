//! The process table: every process of the host, and the dead ones that something still refers to.
//!
//! Bounded in bytes. A process that has ended stays for a grace period, since its last records and those of its
//! children may still be on their way, and beyond it while a living process names it as creator or leader. Under
//! pressure the dead go first, then whoever was silent longest; an evicted process that speaks again is read from
//! `/proc` and marked.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use sensor_ecs::{Image, Process, Scalar};

/// `/proc` counts time in units of 10 ms, whatever the kernel's tick.
const TICK_NS: u64 = 10_000_000;
/// Generations that documents name.
const ANCESTRY_MAX: usize = 20;
/// How long a process is kept after its end.
const GRACE_NS: u64 = 5_000_000_000;

/// A process, told apart from others that had or will have its pid.
///
/// The start time is as coarse as `/proc` shows it, so that processes found there and processes seen starting have
/// the same key; [`Entry::start_ns`] tells apart what starts within one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
}

impl Key {
    pub(crate) const fn new(pid: u32, start_boottime_ns: u64) -> Self {
        Self { pid, start_ticks: start_boottime_ns / TICK_NS }
    }

    /// Another one for each process: no pid has more than 22 bits, and the rest is for centuries.
    pub(crate) const fn number(self) -> u64 {
        self.start_ticks << 22 | self.pid as u64
    }

    /// When the process started, on the boot clock.
    pub(crate) const fn start_ns(self) -> u64 {
        self.start_ticks.saturating_mul(TICK_NS)
    }
}

/// Whom a process refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Who forked it, however often it was given another parent since.
    pub(crate) creator: Option<Key>,
    /// Its parent now.
    pub(crate) parent: Option<Key>,
    /// The leader of its group.
    pub(crate) group: Option<Key>,
    /// The leader of its session.
    pub(crate) session: Option<Key>,
    /// Through whom its session entered the host.
    pub(crate) entry: Option<Key>,
}

impl Links {
    fn targets(self) -> impl Iterator<Item = Key> {
        [self.creator, self.parent, self.group, self.session, self.entry].into_iter().flatten()
    }
}

/// What proves that an entry's image is the one that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Absent for what was read from `/proc`, until the first record.
    pub(crate) exec_id: Option<u32>,
    pub(crate) exe_inode: Option<u64>,
}

/// Ids and the like that records repeat; compared to see what has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
    pub(crate) suid: u32,
    pub(crate) sgid: u32,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) process: Process,
    /// Entity ids of its ancestors, nearest first.
    pub(crate) ancestry: Arc<[Scalar]>,
    /// What its children's ancestry is, once one asks.
    ancestry_below: Option<Arc<[Scalar]>>,
    pub(crate) links: Links,
    pub(crate) proof: Proof,
    pub(crate) ids: Ids,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    pub(crate) cgroup_id: u64,
    /// Exact start on the boot clock, once a record told it.
    pub(crate) start_ns: Option<u64>,
    /// The image is missing because we lost it, not because there is none.
    pub(crate) image_lost: bool,
    ended_ns: Option<u64>,
    /// When it last spoke, on the boot clock.
    pub(crate) seen_ns: u64,
    refs: u32,
    /// Number of the last change that an event can show.
    changed: u64,
}

impl Entry {
    pub(crate) fn new(process: Process) -> Self {
        Self {
            process,
            ancestry: Arc::default(),
            ancestry_below: None,
            links: Links::default(),
            proof: Proof::default(),
            ids: Ids::default(),
            pgid: 0,
            sid: 0,
            cgroup_id: 0,
            start_ns: None,
            image_lost: false,
            ended_ns: None,
            seen_ns: 0,
            refs: 0,
            changed: 0,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended_ns.is_some()
    }

    /// What the entry alone costs; shared parts are counted where they are made.
    fn own_bytes(&self) -> usize {
        let below = self.ancestry_below.as_deref().map_or(0, list_bytes);
        // Key, bucket and the entry in the index by pid.
        size_of::<Self>() + 2 * size_of::<Key>() + 64 + self.process.entity_id.len() + below
    }
}

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

/// A process and its relations, as far as the table has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relations<'t> {
    pub(crate) own: &'t Entry,
    pub(crate) parent: Option<&'t Entry>,
    pub(crate) group: Option<&'t Entry>,
    pub(crate) session: Option<&'t Entry>,
    pub(crate) entry: Option<&'t Entry>,
    pub(crate) above_entry: Option<&'t Entry>,
}

impl Relations<'_> {
    /// A number that changes with anything that the fields of this process are read from.
    ///
    /// The number of the last change to any of them, which only grows, and which of them are there: what is dropped
    /// and comes again is a change of its own.
    pub(crate) fn version(&self) -> u64 {
        let related = [self.parent, self.group, self.session, self.entry, self.above_entry];
        let changed = related.iter().flatten().fold(self.own.changed, |last, entry| last.max(entry.changed));
        related.iter().fold(changed, |number, entry| number << 1 | u64::from(entry.is_some()))
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Hashed<Key, Entry>,
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
            entries: Hashed::default(),
            by_pid: Hashed::default(),
            ended: VecDeque::new(),
            bytes: 0,
            bytes_max,
            evicted: 0,
            changes: 0,
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// To change something that events show.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&key)?;
        self.changes += 1;
        entry.changed = self.changes;
        Some(entry)
    }

    /// To change something that no event shows: when it was seen, and what proves that it is who it is.
    pub(crate) fn get_hidden_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    /// A process and whom its events name.
    pub(crate) fn relations(&self, key: Key) -> Option<Relations<'_>> {
        let own = self.get(key)?;
        let related = |other: Option<Key>| if other == Some(key) { Some(own) } else { self.get(other?) };
        let entry = related(own.links.entry);
        Some(Relations {
            own,
            parent: related(own.links.parent),
            group: related(own.links.group),
            session: related(own.links.session),
            entry,
            above_entry: related(entry.and_then(|entry| entry.links.parent)),
        })
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// The last process known under this pid.
    pub(crate) fn latest(&self, pid: u32) -> Option<Key> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everybody whose end is not known.
    pub(crate) fn living(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries.iter().filter(|(_, entry)| !entry.has_ended()).map(|(key, _)| *key)
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
        entry.refs = self.entries.get(&key).map_or(0, |old| old.refs);
        self.drop_entry(key);
        self.bytes += entry.own_bytes() + image_bytes_if_sole(&entry.process.image);
        self.entries.insert(key, entry);
        match self.latest(key.pid) {
            Some(known) if known > key => {}
            Some(known) if known < key => {
                // Its end was missed: there is no pid for two.
                self.end(known, seen_ns);
                self.by_pid.insert(key.pid, key);
            }
            Some(_) | None => {
                self.by_pid.insert(key.pid, key);
            }
        }
        self.set_links(key, links);
        if self.bytes > self.bytes_max {
            self.make_room(key);
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
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let old = std::mem::replace(&mut entry.links, links);
        if old == links {
            return;
        }
        self.changes += 1;
        entry.changed = self.changes;
        for target in links.targets().filter(|target| *target != key) {
            if let Some(entry) = self.entries.get_mut(&target) {
                entry.refs += 1;
            }
        }
        self.release(key, old);
    }

    /// The ancestry of the children of `key`: itself, then its own. Made once, and shared by all of them.
    pub(crate) fn ancestry_below(&mut self, key: Key) -> Arc<[Scalar]> {
        let Some(entry) = self.entries.get_mut(&key) else { return Arc::default() };
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
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.ended_ns.is_none()
        {
            // In order, though records of several CPUs come only nearly so.
            let ended_ns = self.ended.back().map_or(boot_ns, |(last_ns, _)| boot_ns.max(*last_ns));
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
            .entries
            .iter()
            .filter(|(key, entry)| {
                !entry.has_ended()
                    && entry.seen_ns.saturating_add(recent_ns) <= boot_ns
                    && alive.binary_search(&key.pid).is_err()
            })
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.end(key, boot_ns);
        }
    }

    fn drop_if_over(&mut self, key: Key, ended_ns: u64) {
        let is_over = |entry: &Entry| entry.refs == 0 && entry.ended_ns == Some(ended_ns);
        if self.entries.get(&key).is_some_and(is_over) {
            self.drop_entry(key);
        }
    }

    fn drop_entry(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else { return };
        self.bytes = self.bytes.saturating_sub(entry.own_bytes() + image_bytes_if_sole(&entry.process.image));
        if self.latest(key.pid) == Some(key) {
            self.by_pid.remove(&key.pid);
        }
        self.release(key, entry.links);
    }

    /// Takes back the references of `key`. Whoever has ended, is beyond its grace and loses its last one goes too.
    fn release(&mut self, key: Key, links: Links) {
        for target in links.targets().filter(|target| *target != key) {
            let Some(entry) = self.entries.get_mut(&target) else { continue };
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
            if key != keep && self.entries.get(&key).is_some_and(Entry::has_ended) {
                self.drop_entry(key);
            }
        }
        if self.bytes <= goal {
            return;
        }
        let mut by_age: Vec<(bool, u64, Key)> = self
            .entries
            .iter()
            .filter(|(key, _)| **key != keep)
            .map(|(key, entry)| (!entry.has_ended(), entry.seen_ns, *key))
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

fn list_bytes(ancestry: &[Scalar]) -> usize {
    size_of_val(ancestry) + ancestry.iter().map(text_bytes).sum::<usize>()
}

fn text_bytes(scalar: &Scalar) -> usize {
    match scalar {
        Scalar::Keyword(bytes) => bytes.len(),
        Scalar::Long(_) | Scalar::Double(_) | Scalar::Boolean(_) | Scalar::Date(_) => 0,
    }
}

/// The bytes of an image that no other process shares; counted when it is made and when its last user goes.
fn image_bytes_if_sole(image: &Arc<Image>) -> usize {
    if Arc::strong_count(image) > 1 {
        return 0;
    }
    size_of::<Image>()
        + image.executable.as_ref().map_or(0, |executable| executable.path().len())
        + image.arguments.command_line.as_ref().map_or(0, |line| line.len())
        + list_bytes(&image.arguments.args)
        + list_bytes(&image.env_vars)
}

#[cfg(test)]
mod tests;
