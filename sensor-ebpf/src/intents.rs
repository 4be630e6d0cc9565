//! What threads are about to do: written where the path is known, advanced where the permission was given, taken away
//! where it took effect. By thread (`pid_tgid`), in places that are there for good: to add an entry to a hash map and to
//! remove it costs several times as much.
//!
//! One whose operation failed stays until its thread's next attempt or its end. Threads that fail on purpose can fill
//! the places; whoever comes then takes the place of another, and that one is counted as lost.
//!
//! Misses: one that is taken over in the very moment in which its thread writes to it spoils that of the other.

use aya_ebpf::{macros::map, maps::Array};
use sensor_common::wire::{FileOp, RecordKind};

use crate::{
    atomic,
    context::Access,
    emit,
    kernel::{Ptr, offset},
    task,
};

/// Something that a thread is about to do.
pub trait Intent: Sized + 'static {
    /// Counts what is lost: another thread takes its place.
    fn taken(&self);

    fn places() -> &'static Array<Place<Self>>;

    /// The names that it is about, once or twice the same; see [`is_intended`].
    fn hints(&self) -> [u64; 2];

    /// Counts what may be lost: it is still there, and its thread does something else.
    fn left(&self);
}

/// Room for the intent of one thread; `thread` is zero when nobody has it.
#[repr(C)]
pub struct Place<I> {
    thread: u64,
    intent: I,
}

/// Many times the threads that are inside an operation at one time.
const PLACES_BITS: u32 = 12;
/// Places where the intent of a thread may be.
const WAYS: u32 = 4;

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

/// Threads that are about to create or to remove a name.
#[map]
static CREATING: Array<Place<CreateIntent>> = Array::with_max_entries(1 << PLACES_BITS, 0);

/// Threads that are about to rename.
#[map]
static RENAMING: Array<Place<RenameIntent>> = Array::with_max_entries(1 << PLACES_BITS, 0);

impl CreateIntent {
    #[inline(always)]
    fn kind(&self) -> RecordKind {
        if self.op == FileOp::Unlink as u64 || self.op == FileOp::Rmdir as u64 {
            RecordKind::FileDelete
        } else {
            RecordKind::FileCreate
        }
    }
}

impl Intent for CreateIntent {
    #[inline(always)]
    fn taken(&self) {
        if self.op != 0 {
            emit::count_begun(self.kind(), -1);
        }
        emit::count_no_intent(self.kind());
    }

    #[inline(always)]
    fn places() -> &'static Array<Place<Self>> {
        &CREATING
    }

    #[inline(always)]
    fn hints(&self) -> [u64; 2] {
        [self.hint; 2]
    }

    #[inline(always)]
    fn left(&self) {
        if self.op != 0 {
            emit::count_unfinished(self.kind());
        }
    }
}

impl Intent for RenameIntent {
    #[inline(always)]
    fn taken(&self) {
        emit::count_no_intent(RecordKind::FileRename);
    }

    #[inline(always)]
    fn places() -> &'static Array<Place<Self>> {
        &RENAMING
    }

    #[inline(always)]
    fn hints(&self) -> [u64; 2] {
        self.hints
    }

    /// One that began has returned unseen.
    #[inline(always)]
    fn left(&self) {
        if self.call != 0 {
            emit::count_no_return(RecordKind::FileRename);
        }
    }
}

#[inline(always)]
fn place<I: Intent>(key: u64, way: u32) -> Option<*mut Place<I>> {
    I::places().get_ptr_mut(mixed(key, PLACES_BITS) as u32 ^ way)
}

/// The way that has `thread` in it, of the places of `key`.
#[inline(always)]
fn place_with<I: Intent>(key: u64, thread: u64) -> Option<*mut Place<I>> {
    let mut way = 0;
    while way < WAYS {
        let place = place::<I>(key, way)?;
        // SAFETY: a word of the map.
        if unsafe { core::ptr::read_volatile(&raw const (*place).thread) } == thread {
            return Some(place);
        }
        way += 1;
    }
    None
}

/// What this thread is about to do.
#[inline(always)]
pub fn get<I: Intent>(thread: u64) -> Option<*mut I> {
    let place = place_with::<I>(thread, thread)?;
    // SAFETY: a value of the map, and the thread's own.
    Some(unsafe { &raw mut (*place).intent })
}

/// Remembers what this thread is about to do, in place of what it was about to before; `write` writes all of it. `kind` is
/// lost if there is no place.
#[inline(always)]
pub fn intend<I: Intent>(kind: RecordKind, thread: u64, hints: [u64; 2], write: impl FnOnce(*mut I)) {
    let Some(intent) = take::<I>(thread) else {
        emit::count_no_intent(kind);
        return;
    };
    write(intent);
    count(hints, MORE);
}

#[inline(always)]
fn take<I: Intent>(thread: u64) -> Option<*mut I> {
    if let Some(intent) = get::<I>(thread) {
        // SAFETY: the thread's own.
        unsafe {
            (*intent).left();
            count((*intent).hints(), LESS);
        }
        return Some(intent);
    }
    let place = place_with::<I>(thread, FREE).or_else(|| place::<I>(thread, 0))?;
    // SAFETY: words of the map; of those that want the place at one time, one gets it.
    unsafe {
        let before = core::ptr::read_volatile(&raw const (*place).thread);
        if !atomic::replace(&raw mut (*place).thread, before, thread) {
            return None;
        }
        if before != FREE {
            // It stays counted under its names: its owner may be changing them now.
            (*place).intent.taken();
        }
        Some(&raw mut (*place).intent)
    }
}

/// Forgets what a thread was about to do, done or not.
#[inline(always)]
pub fn forget<I: Intent>(thread: u64) {
    let Some(place) = place_with::<I>(thread, thread) else { return };
    // SAFETY: the thread's own until it is free.
    unsafe {
        let hints = (*place).intent.hints();
        if atomic::replace(&raw mut (*place).thread, thread, FREE) {
            count(hints, LESS);
        }
    }
}

/// Forgets what this thread was about to do with the name, if anything: it does something else with it.
#[inline(always)]
pub fn forget_on(hint: u64) {
    if is_intended(hint) {
        forget_all(task::thread_key());
    }
}

/// Forgets what a thread was about to do: it ends, or it takes another thread's id.
#[inline(always)]
pub fn forget_all(thread: u64) {
    leave::<CreateIntent>(thread);
    leave::<RenameIntent>(thread);
}

#[inline(always)]
fn leave<I: Intent>(thread: u64) {
    if let Some(intent) = get::<I>(thread) {
        // SAFETY: the thread's own.
        unsafe { (*intent).left() };
        forget::<I>(thread);
    }
}

/// How many intents there are on names of each slot, or more: most programs run for names that nothing intends
/// anything with, and know it from here without looking further. A name counts by the hash that its dentry has of it,
/// which is a number to the verifier where the dentry's address is not.
static mut INTENDED: [u64; 1 << INTENDED_BITS] = [0; 1 << INTENDED_BITS];
const INTENDED_BITS: u32 = 12;

#[inline(always)]
fn mixed(value: u64, bits: u32) -> usize {
    (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
}

#[inline(always)]
fn intended(hint: u64) -> *mut u64 {
    (&raw mut INTENDED).cast::<u64>().wrapping_add(mixed(hint, INTENDED_BITS))
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

/// Never too few: an intent that is not counted is not found.
#[inline(always)]
fn count([one, other]: [u64; 2], change: u64) {
    // SAFETY: words of a static.
    unsafe {
        atomic::add(intended(one), change);
        if one != other {
            atomic::add(intended(other), change);
        }
    }
}

const MORE: u64 = 1;
const LESS: u64 = u64::MAX;
const FREE: u64 = 0;
