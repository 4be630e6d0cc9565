//! Process trees of which everything is wanted for a while: an alert was raised about them.
//!
//! User space lists the processes that a tree has by then; from there on a child is followed as its parent is, whatever
//! session or parent it gives itself. An entry that has run out counts for nothing; it goes with its process, or when
//! room is needed.
//!
//! Misses: a child whose fork is still in the ring when its tree is listed, and those that it has by then.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::{maps::FOLLOWED, task};

/// Whether anybody is followed; written by user space. A section of its own is a map of its own.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.follow")]
static mut FOLLOWING: u64 = 0;

/// Most of the time nobody is, and this is all that it costs.
#[inline(always)]
fn is_anybody() -> bool {
    // SAFETY: a word of a static.
    unsafe { core::ptr::read_volatile(&raw const FOLLOWING) != 0 }
}

#[inline(always)]
fn own_tgid() -> u32 {
    (task::thread_key() >> 32) as u32
}

/// Whether everything is wanted that the current process does.
#[inline(always)]
pub fn is_wanted() -> bool {
    if !is_anybody() {
        return false;
    }
    // SAFETY: a value of the map; the helper has no arguments.
    unsafe {
        FOLLOWED
            .get_ptr(own_tgid())
            .is_some_and(|until| core::ptr::read_volatile(until) > bpf_ktime_get_boot_ns())
    }
}

/// The current process has a child.
#[inline(always)]
pub fn forked(child: u32) {
    if !is_anybody() {
        return;
    }
    if let Some(until) = FOLLOWED.get_ptr(own_tgid()) {
        // SAFETY: a value of the map.
        let until = unsafe { core::ptr::read_volatile(until) };
        // Where there is no room the child's own files are filtered like anybody's.
        let _ = FOLLOWED.insert(child, until, 0);
    }
}

/// The current process ends: its pid will be another's.
#[inline(always)]
pub fn exited() {
    if is_anybody() {
        let _ = FOLLOWED.remove(own_tgid());
    }
}
