//! Every map, and what its entries mean.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    limits::{FOLLOWED_MAX, RING_BYTES_DEFAULT},
    wire::{KindCounters, RecordKind},
};

use crate::{
    atomic,
    context::Access,
    emit,
    kernel::{Ptr, offset},
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

/// Processes of which everything is wanted, by pid (`tgid`), and until when on the boot clock; see [`crate::follow`].
#[map]
pub static FOLLOWED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(FOLLOWED_MAX, 0);

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
    /// What it is counted under; see [`is_intended`].
    pub hint: u64,
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
    /// What it is counted under, before and after the rename; see [`is_intended`].
    pub hints: [u64; 2],
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
    hints: [0; 2],
    call: 0,
    renamedata: 0,
    old_parent: 0,
    name_len: 0,
    name: [0; 256],
};

/// How many intents there are on names of each slot, or more: most programs run for names that nothing intends
/// anything with, and know it from here without looking into a map. A name counts by the hash that its dentry has of it,
/// which is a number to the verifier where the dentry's address is not.
static mut INTENDED: [u64; 1 << INTENDED_BITS] = [0; 1 << INTENDED_BITS];
const INTENDED_BITS: u32 = 12;

#[inline(always)]
fn intended(hint: u64) -> *mut u64 {
    let slot = hint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - INTENDED_BITS);
    (&raw mut INTENDED).cast::<u64>().wrapping_add(slot as usize)
}

/// What a dentry's name counts under.
///
/// # Safety
/// `dentry` must come from an argument of the program.
#[inline(always)]
pub unsafe fn hint<A: Access>(dentry: Ptr) -> u64 {
    // SAFETY: the caller's promise.
    u64::from(unsafe { A::load::<u32>(dentry, offset!(dentry_name_hash)) })
}

/// Whether some thread may intend something with this name.
#[inline(always)]
pub fn is_intended(hint: u64) -> bool {
    // SAFETY: a word of a static.
    unsafe { core::ptr::read_volatile(intended(hint)) != 0 }
}

#[inline(always)]
fn count(hint: u64, change: u64) {
    // SAFETY: a word of a static.
    unsafe { atomic::add(intended(hint), change) };
}

#[inline(always)]
fn count_both([one, other]: [u64; 2], change: u64) {
    count(one, change);
    count(other, change);
}

const MORE: u64 = 1;
const LESS: u64 = u64::MAX;

/// Remembers what a thread is about to create or to remove, in place of what it was about to before.
#[inline(always)]
pub fn intend_create(thread_key: u64, intent: &CreateIntent) -> Result<(), i32> {
    if let Some(old) = CREATE_INTENTS.get_ptr_mut(thread_key) {
        // SAFETY: a value of the map, used by this thread alone.
        unsafe {
            count((*old).hint, LESS);
            *old = *intent;
        }
    } else {
        CREATE_INTENTS.insert(thread_key, intent, 0)?;
    }
    count(intent.hint, MORE);
    Ok(())
}

/// Forgets it, done or not.
#[inline(always)]
pub fn forget_create(thread_key: u64, hint: u64) {
    if CREATE_INTENTS.remove(thread_key).is_ok() {
        count(hint, LESS);
    }
}

/// Remembers what a thread is about to rename, in place of what it was about to before.
#[inline(always)]
pub fn intend_rename(thread_key: u64, old_dentry: u64, vfsmount: u64, hints: [u64; 2]) -> Result<(), i32> {
    let intent = match RENAME_INTENTS.get_ptr_mut(thread_key) {
        Some(intent) => {
            // SAFETY: a value of the map, used by this thread alone.
            unsafe {
                count_unseen(intent);
                count_both((*intent).hints, LESS);
            }
            Some(intent)
        }
        None => {
            // By reference: a copy on the stack would be most of it.
            let empty = &RENAME_INTENT_EMPTY;
            RENAME_INTENTS.insert(thread_key, empty, 0)?;
            RENAME_INTENTS.get_ptr_mut(thread_key)
        }
    };
    if let Some(intent) = intent {
        // SAFETY: as above.
        unsafe {
            (*intent).call = 0;
            (*intent).old_dentry = old_dentry;
            (*intent).vfsmount = vfsmount;
            (*intent).hints = hints;
        }
        count_both(hints, MORE);
    }
    Ok(())
}

/// Forgets it, done or not.
#[inline(always)]
pub fn forget_rename(thread_key: u64, hints: [u64; 2]) {
    if RENAME_INTENTS.remove(thread_key).is_ok() {
        count_both(hints, LESS);
    }
}

/// Forgets what this thread was about to do with the name, if anything: it does something else with it.
#[inline(always)]
pub fn forget_intents_on(hint: u64) {
    if is_intended(hint) {
        forget_intents(crate::task::thread_key());
    }
}

/// Forgets what a thread was about to do: it ends, or it takes another thread's id.
#[inline(always)]
pub fn forget_intents(thread_key: u64) {
    if let Some(intent) = CREATE_INTENTS.get_ptr(thread_key) {
        // SAFETY: a value of the map, used by this thread alone.
        forget_create(thread_key, unsafe { (*intent).hint });
    }
    if let Some(intent) = RENAME_INTENTS.get_ptr(thread_key) {
        // SAFETY: as above.
        unsafe {
            count_unseen(intent);
            forget_rename(thread_key, (*intent).hints);
        }
    }
}

/// A rename that began and is still there when its thread does something else has returned unseen.
///
/// # Safety
/// `intent` must be a value of the map.
#[inline(always)]
unsafe fn count_unseen(intent: *const RenameIntent) {
    // SAFETY: the caller's promise.
    if unsafe { (*intent).call } != 0 {
        emit::count_no_return(RecordKind::FileRename);
    }
}
