//! Every map, and what its entries mean.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    limits::RING_BYTES_DEFAULT,
    wire::{KindCounters, RecordKind},
};

/// One ring for all CPUs keeps their order; the loader may change its size.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES_DEFAULT, 0);

/// Sequence numbers and losses by record kind, counted per CPU.
#[map]
pub static COUNTERS: PerCpuArray<KindCounters> =
    PerCpuArray::with_max_entries(RecordKind::ALL.len() as u32, 0);

/// A thread that is about to create or remove a name, by thread (`pid_tgid`).
///
/// Written where the path is known, advanced where the permission was given, consumed where it took effect.
/// An entry whose operation failed stays until the thread's next attempt or its end; LRU, so that threads that
/// fail on purpose cannot fill the map and blind the sensor to others.
#[map]
pub static CREATE_INTENTS: LruHashMap<u64, CreateIntent> = LruHashMap::with_max_entries(INTENTS_MAX, 0);

/// A thread that is about to rename, by thread.
#[map]
pub static RENAME_INTENTS: LruHashMap<u64, RenameIntent> = LruHashMap::with_max_entries(INTENTS_MAX / 4, 0);

/// Threads that may be inside a creation at one time.
const INTENTS_MAX: u32 = 16_384;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct CreateIntent {
    /// The new name's dentry, still negative.
    pub dentry: u64,
    /// The mount that it was looked up through.
    pub vfsmount: u64,
    /// `d_parent` and `d_name.hash` when the permission was given: a dentry's memory is reused, a stale
    /// intent must not be taken for the name that lives there now.
    pub parent: u64,
    pub name_hash: u64,
    /// The [`sensor_common::wire::FileOp`] once `security_inode_*` allowed it; zero before.
    pub op: u64,
    /// The `old_name` of a symbolic link, the `old_dentry` of a hard link: both live until the call returns.
    pub other: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct RenameIntent {
    pub old_dentry: u64,
    pub vfsmount: u64,
    /// The call of `vfs_rename` that runs: tells it from a nested one (overlayfs renames in its upper layer on
    /// behalf of the same task). Zero until it began.
    pub call: u64,
    /// Its argument.
    pub renamedata: u64,
    /// The directory that the file leaves.
    pub old_parent: u64,
    /// The name that it leaves behind; gone from the dentry by the time the rename succeeded.
    pub name_len: u64,
    pub name: [u8; 256],
}

/// What a fresh [`RenameIntent`] is copied from: it is too large for the stack.
pub static RENAME_INTENT_EMPTY: RenameIntent = RenameIntent {
    old_dentry: 0,
    vfsmount: 0,
    call: 0,
    renamedata: 0,
    old_parent: 0,
    name_len: 0,
    name: [0; 256],
};

/// Forgets what a thread was about to do: it ends, or it takes another thread's id.
#[inline(always)]
pub fn forget_intents(thread_key: u64) {
    let _ = CREATE_INTENTS.remove(thread_key);
    let _ = RENAME_INTENTS.remove(thread_key);
}
