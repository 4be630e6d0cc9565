//! One process of the table, and whom it refers to.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::Arc;

use sensor_ecs::{Elsewhere, Image, Process, Scalar};

/// `/proc` counts time in units of 10 ms, whatever the kernel's tick.
const TICK_NS: u64 = 10_000_000;
/// What a process costs beside its entry: the indices have room for twice as many.
const INDEX_BYTES: usize = 96;

/// A process, told apart from others that had or will have its pid.
///
/// The start time is as coarse as `/proc` shows it, so that processes found there and processes seen starting have
/// the same key; [`Entry::start_ns`] tells apart what starts within one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    /// No pid has more, and the rest is for centuries.
    const PID_BITS: u32 = 22;

    pub(crate) const fn new(pid: u32, start_boottime_ns: u64) -> Self {
        Self::at_ticks(pid, start_boottime_ns / TICK_NS)
    }

    pub(crate) const fn at_ticks(pid: u32, start_ticks: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(start_ticks << Self::PID_BITS | pid as u64))
    }

    /// Another one for each process.
    pub(crate) const fn number(self) -> u64 {
        self.0.get() - 1
    }

    pub(crate) const fn pid(self) -> u32 {
        (self.number() & ((1 << Self::PID_BITS) - 1)) as u32
    }

    pub(crate) const fn start_ticks(self) -> u64 {
        self.number() >> Self::PID_BITS
    }

    /// When the process started, on the boot clock.
    pub(crate) const fn start_ns(self) -> u64 {
        self.start_ticks().saturating_mul(TICK_NS)
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
    pub(super) fn targets(self) -> impl Iterator<Item = Key> {
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

/// Where in the table those were that a process refers to; whoever is there now says whether it still is.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) parent: Cell<u32>,
    pub(super) group: Cell<u32>,
    pub(super) session: Cell<u32>,
    pub(super) entry: Cell<u32>,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) key: Key,
    pub(super) places: Places,
    pub(crate) process: Process,
    /// Entity ids of its ancestors, nearest first.
    pub(crate) ancestry: Arc<[Scalar]>,
    /// What its children's ancestry is, once one asks.
    pub(super) ancestry_below: Option<Arc<[Scalar]>>,
    pub(crate) links: Links,
    pub(crate) proof: Proof,
    pub(crate) ids: Ids,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    pub(crate) cgroup_id: u64,
    /// Exact start on the boot clock, once a record told it.
    pub(crate) start_ns: Option<u64>,
    /// When the hash of an image without one was last asked for, on the boot clock.
    pub(crate) hash_asked_ns: u64,
    /// The image is missing because we lost it, not because there is none.
    pub(crate) image_lost: bool,
    pub(super) ended_ns: Option<u64>,
    /// When it last spoke, on the boot clock.
    pub(crate) seen_ns: u64,
    pub(super) refs: u32,
    /// Number of the last change that an event can show.
    pub(super) changed: u64,
}

impl Entry {
    pub(crate) fn new(process: Process) -> Self {
        Self {
            // Until it is in the table.
            key: Key::at_ticks(0, 0),
            places: Places::default(),
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
            hash_asked_ns: 0,
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
    pub(super) fn own_bytes(&self) -> usize {
        let below = self.ancestry_below.as_deref().map_or(0, list_bytes);
        size_of::<Self>() + INDEX_BYTES + self.process.entity_id.len() + below
    }
}

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

pub(super) fn list_bytes(ancestry: &[Scalar]) -> usize {
    size_of_val(ancestry) + ancestry.iter().map(text_bytes).sum::<usize>()
}

fn text_bytes(scalar: &Scalar) -> usize {
    match scalar {
        Scalar::Keyword(bytes) => bytes.len(),
        Scalar::Long(_) | Scalar::Double(_) | Scalar::Boolean(_) | Scalar::Date(_) => 0,
    }
}

/// The bytes of an image that no other process shares; counted when it is made and when its last user goes.
pub(super) fn image_bytes_if_sole(image: &Arc<Image>) -> usize {
    if Arc::strong_count(image) > 1 {
        return 0;
    }
    size_of::<Image>()
        + image.executable.as_ref().map_or(0, |executable| executable.path().len())
        + image.elsewhere.as_ref().map_or(0, |names| {
            size_of::<Elsewhere>() + names.host.path().len() + names.file_system.path().len()
        })
        + image.arguments.command_line.as_ref().map_or(0, |line| line.len())
        + list_bytes(&image.arguments.args)
        + list_bytes(&image.env_vars)
}
