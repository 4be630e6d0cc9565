//! The filter of file events: which names the rules look at, as tables that a kernel program tests in a few
//! instructions. One implementation for the kernel and for the tests in user space.
//!
//! A name is tested by a key of a few of its bytes, case folded; a key stands for every name that has it. So the
//! filter lets through more than is wanted and never less.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire::{FileOp, RecordKind};

/// Keys of names.
pub const FILTER_SLOTS: usize = 1 << SLOT_BITS;
/// Keys of devices.
pub const FILTER_DEVICES: usize = 1 << DEVICE_BITS;

const SLOT_BITS: u32 = 13;
const DEVICE_BITS: u32 = 8;

/// A set of [`FileOp`]s.
pub type Ops = u16;

/// The set of this one.
#[must_use]
pub const fn op_bit(op: FileOp) -> Ops {
    1 << op as u16
}

/// The bit of a kind in [`FilterTables::kinds`].
#[must_use]
pub const fn kind_bit(kind: RecordKind) -> u32 {
    1 << kind as u16
}

/// Every operation.
pub const OPS_ALL: Ops = {
    let mut all = 0;
    let mut raw = 0;
    while raw < Ops::BITS as u16 {
        if let Some(op) = FileOp::from_raw(raw) {
            all |= op_bit(op);
        }
        raw += 1;
    }
    all
};

/// What is wanted, by operation. The slots are indexed by key; each holds the operations that want such a name.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FilterTables {
    /// Operations of which every event is wanted.
    pub everything: Ops,
    /// Operations of which some are, by the tables below.
    pub some: Ops,
    /// Operations that look at a file's whole name.
    pub by_name: Ops,
    /// Operations that look at how a name ends.
    pub by_ending: Ops,
    /// The kinds of record that are wanted, apart from those on files and those that always are.
    pub kinds: u32,
    /// Changes with every change of the rest: what was found out by an older version does not hold.
    pub version: u32,
    directories: [Ops; FILTER_SLOTS],
    names: [Ops; FILTER_SLOTS],
    endings: [Ops; FILTER_SLOTS],
    /// Operations of which everything on a device is wanted, by its number.
    devices: [Ops; FILTER_DEVICES],
    /// The devices of which that is known. Of any other everything passes: it may be mounted where something is wanted.
    known_devices: [u32; FILTER_DEVICES],
    /// Overlays of which it is known that no wanted directory leads to their upper layer, by device number.
    plain_overlays: [u32; FILTER_DEVICES],
}

/// The first eight bytes of a name, case folded, as a number: the first byte lowest if there are eight, else shifted
/// up so that the last byte is highest and nothing behind the name is left.
#[inline(always)]
#[must_use]
pub const fn folded_head(head: u64, len: u32) -> u64 {
    let folded = head | FOLD;
    if len < 8 { folded.wrapping_shl(64_u32.wrapping_sub(8 * len)) } else { folded }
}

/// The last eight bytes of a name of more than eight, case folded, the last byte highest.
#[inline(always)]
#[must_use]
pub const fn folded_tail(tail: u64) -> u64 {
    tail | FOLD
}

/// Sets the bit in which the cases of a letter differ. Other bytes fall together too; that only lets more through.
const FOLD: u64 = 0x2020_2020_2020_2020;
const DOTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
const fn slot(mixed: u64) -> usize {
    (mixed.wrapping_mul(MIX) >> (64 - SLOT_BITS)) as usize
}

/// The key of a name of `len` bytes that begins so; see [`folded_head`].
#[inline(always)]
#[must_use]
pub const fn name_key(folded_head: u64, len: u32) -> usize {
    // A length reaches the high bits, which choose the slot, through the product.
    slot(folded_head ^ len as u64)
}

/// The key of how a name ends: its last dot and what follows, if that is within the last eight bytes, else those.
#[inline(always)]
#[must_use]
pub const fn ending_key(folded_tail: u64) -> usize {
    let mut dots = is_dot(folded_tail);
    let mut kept = folded_tail;
    if dots != 0 {
        // The highest dot is the last one in the name; bytes before it go.
        if dots >> 32 != 0 {
            kept >>= 32;
            dots >>= 32;
        }
        if dots >> 16 != 0 {
            kept >>= 16;
            dots >>= 16;
        }
        if dots >> 8 != 0 {
            kept >>= 8;
        }
    }
    slot(kept)
}

/// The high bit of each byte that is a dot.
#[inline(always)]
const fn is_dot(folded: u64) -> u64 {
    let differs = folded ^ DOTS;
    !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS)
}

#[inline(always)]
const fn device_slot(dev: u32) -> usize {
    (dev.wrapping_mul(MIX as u32) >> (32 - DEVICE_BITS)) as usize
}

impl FilterTables {
    /// Of these operations, those that want a file below a directory with this key.
    #[inline(always)]
    #[must_use]
    pub fn directory(&self, key: usize) -> Ops {
        lookup(&self.directories, key)
    }

    /// Those that want a file with this key.
    #[inline(always)]
    #[must_use]
    pub fn name(&self, key: usize) -> Ops {
        lookup(&self.names, key)
    }

    /// Those that want a file whose name ends with this key.
    #[inline(always)]
    #[must_use]
    pub fn ending(&self, key: usize) -> Ops {
        lookup(&self.endings, key)
    }

    /// Those that want every file on this device.
    #[inline(always)]
    #[must_use]
    pub fn device(&self, dev: u32) -> Ops {
        let slot = device_slot(dev);
        if self.known_devices.get(slot) != Some(&dev) {
            return OPS_ALL;
        }
        lookup(&self.devices, slot)
    }

    /// Whether the upper layer of this overlay is known to lie where nothing is wanted.
    #[inline(always)]
    #[must_use]
    pub fn is_plain_overlay(&self, dev: u32) -> bool {
        self.plain_overlays.get(device_slot(dev)) == Some(&dev)
    }
}

#[inline(always)]
fn lookup<const N: usize>(table: &[Ops; N], key: usize) -> Ops {
    // Keys are in range by construction; where the compiler sees that, nothing is left of the test.
    match table.get(key) {
        Some(ops) => *ops,
        None => OPS_ALL,
    }
}

impl Default for FilterTables {
    fn default() -> Self {
        Self::NOTHING
    }
}

/// Building the tables, and asking them as the kernel does.
impl FilterTables {
    /// Nothing is wanted.
    pub const NOTHING: Self = Self {
        everything: 0,
        some: 0,
        by_name: 0,
        by_ending: 0,
        kinds: 0,
        version: 0,
        directories: [0; FILTER_SLOTS],
        names: [0; FILTER_SLOTS],
        endings: [0; FILTER_SLOTS],
        devices: [0; FILTER_DEVICES],
        known_devices: [0; FILTER_DEVICES],
        plain_overlays: [0; FILTER_DEVICES],
    };
    /// All is wanted.
    pub const EVERYTHING: Self = Self { everything: OPS_ALL, kinds: u32::MAX, ..Self::NOTHING };

    /// Adds what is below every directory of this name.
    pub fn add_directory(&mut self, name: &[u8], ops: Ops) {
        self.some |= ops;
        add(&mut self.directories, key_of_name(name), ops);
    }

    /// Adds files of this name.
    pub fn add_name(&mut self, name: &[u8], ops: Ops) {
        self.some |= ops;
        self.by_name |= ops;
        add(&mut self.names, key_of_name(name), ops);
    }

    /// Adds files whose name ends so. `false`, and nothing is added, where the key of such a name cannot be known.
    #[must_use]
    pub fn add_ending(&mut self, text: &[u8], ops: Ops) -> bool {
        let Some(key) = key_of_ending(text) else { return false };
        self.some |= ops;
        self.by_ending |= ops;
        add(&mut self.endings, key, ops);
        true
    }

    /// Takes note that nothing but this is wanted on the device, whatever its files are called.
    pub fn add_device(&mut self, dev: u32, ops: Ops) {
        add(&mut self.devices, device_slot(dev), ops);
        // The first of two that share a slot is known; the other passes.
        if let Some(slot) = self.known_devices.get_mut(device_slot(dev))
            && *slot == 0
        {
            *slot = dev;
        }
    }

    /// Notes that nothing wanted leads to the upper layer of this overlay.
    pub fn add_plain_overlay(&mut self, dev: u32) {
        if let Some(slot) = self.plain_overlays.get_mut(device_slot(dev)) {
            *slot = dev;
        }
    }

    /// What either wants: to be written before `next` replaces `self`, so that no mix of the two wants less than either.
    #[must_use]
    pub fn before(&self, next: &Self) -> Self {
        let mut both = next.clone();
        both.everything |= self.everything;
        both.kinds |= self.kinds;
        both.some |= self.some;
        both.by_name |= self.by_name;
        both.by_ending |= self.by_ending;
        join(&mut both.directories, &self.directories);
        join(&mut both.names, &self.names);
        join(&mut both.endings, &self.endings);
        join(&mut both.devices, &self.devices);
        for (mine, theirs) in both.known_devices.iter_mut().zip(&self.known_devices) {
            *mine = if *mine == *theirs { *mine } else { 0 };
        }
        for (mine, theirs) in both.plain_overlays.iter_mut().zip(&self.plain_overlays) {
            *mine = if *mine == *theirs { *mine } else { 0 };
        }
        both
    }

    /// Forgets every device: everything passes.
    pub fn clear_devices(&mut self) {
        self.devices = [0; FILTER_DEVICES];
        self.known_devices = [0; FILTER_DEVICES];
        self.plain_overlays = [0; FILTER_DEVICES];
    }

    /// Whether a file below such a directory is wanted.
    #[must_use]
    pub fn wants_directory(&self, name: &[u8], ops: Ops) -> bool {
        self.directory(key_of_name(name)) & ops != 0
    }

    /// Whether a file of this name is wanted wherever it is.
    #[must_use]
    pub fn wants_name(&self, name: &[u8], ops: Ops) -> bool {
        let ending = self.ending(ending_key(tail_of(name)));
        (self.name(key_of_name(name)) & self.by_name | ending & self.by_ending) & ops != 0
    }
}

/// Whether the key of every name that ends so is the same.
#[must_use]
pub fn is_ending_usable(text: &[u8]) -> bool {
    key_of_ending(text).is_some()
}

fn add(table: &mut [Ops], key: usize, ops: Ops) {
    if let Some(slot) = table.get_mut(key) {
        *slot |= ops;
    }
}

fn join(mine: &mut [Ops], theirs: &[Ops]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine |= *theirs;
    }
}

fn key_of_name(name: &[u8]) -> usize {
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(name) {
        *to = *from;
    }
    let len = name.len() as u32;
    name_key(folded_head(u64::from_le_bytes(head), len), len)
}

/// The last eight bytes, case folded, with zeros before a shorter name.
fn tail_of(name: &[u8]) -> u64 {
    let mut tail = [0; 8];
    for (to, from) in tail.iter_mut().rev().zip(name.iter().rev()) {
        *to = *from;
    }
    let tail = u64::from_le_bytes(tail);
    if name.len() > 8 { folded_tail(tail) } else { folded_head(tail >> unused_bits(name), name.len() as u32) }
}

fn unused_bits(name: &[u8]) -> u32 {
    (64 - 8 * name.len().min(8) as u32).min(63)
}

fn key_of_ending(text: &[u8]) -> Option<usize> {
    let tail = tail_of(text);
    (text.len() >= 8 || is_dot(tail) != 0).then(|| ending_key(tail))
}

const _: () = assert!(size_of::<FilterTables>() == 16 + 2 * (3 * FILTER_SLOTS) + 10 * FILTER_DEVICES);
const _: () = assert!(OPS_ALL != 0 && FileOp::from_raw(15).is_none());
