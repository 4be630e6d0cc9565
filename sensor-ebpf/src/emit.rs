//! The only user of the ring: reserves a slot, has it filled in place, counts what found no room.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use sensor_common::wire::{KindCounters, RecordHeader, RecordKind};

use crate::{
    diag::diagnose,
    kernel::Ptr,
    maps::{COUNTERS, RING},
    task,
};

/// A reservation and its limits, all constants at each place that makes one: the verifier follows them
/// through calls and proves every write against them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Slot {
    pub base: *mut u8,
    pub size: usize,
    /// Longest name that fits behind [`Slot::name_limit`], as a mask.
    pub name_mask: usize,
}

impl Slot {
    /// Last offset at which a name may begin.
    #[inline(always)]
    pub fn name_limit(&self) -> usize {
        self.size - self.name_mask - 1
    }
}

/// Something that writes itself into a slot as a record.
pub trait Fill {
    const KIND: RecordKind;
    fn fill(&self, slot: &Slot, seq: u64);
}

#[inline(always)]
pub fn counters(kind: RecordKind) -> Option<*mut KindCounters> {
    COUNTERS.get_ptr_mut(kind.index() as u32)
}

/// Adds one to a counter and returns what it was. Atomic: another program may preempt this one on its CPU.
///
/// # Safety
/// `counter` must point into a map's value.
#[inline(always)]
unsafe fn increment(counter: *mut u64) -> u64 {
    // SAFETY: the caller's promise. The target has no compare-and-swap for `core::sync::atomic` to build on.
    unsafe { core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(counter, 1) }
}

/// Takes the next sequence number of `kind` on this CPU.
#[inline(always)]
pub fn next_seq(kind: RecordKind) -> u64 {
    match counters(kind) {
        // SAFETY: a value of the map.
        Some(counters) => unsafe { increment(&raw mut (*counters).seq) },
        None => 0,
    }
}

#[inline(always)]
fn count_ring_full(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { increment(&raw mut (*counters).lost_ring_full) };
    }
    diagnose!("the ring is full: a record of kind {} is lost", kind as u32);
}

/// Counts an operation that will end without a record, because there was no room to remember its beginning.
#[inline(always)]
pub fn count_no_intent(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { increment(&raw mut (*counters).lost_no_intent) };
    }
    diagnose!("no room to remember an operation of kind {}", kind as u32);
}

/// Reserves `SIZE` bytes, fills and submits them.
#[inline(always)]
pub fn emit_sized<F: Fill, const SIZE: usize, const NAME_MASK: usize>(record: &F, seq: u64) {
    match RING.reserve_bytes(SIZE, 0) {
        Some(mut bytes) => {
            let slot = Slot { base: bytes.as_mut_ptr(), size: SIZE, name_mask: NAME_MASK };
            record.fill(&slot, seq);
            bytes.submit(0);
        }
        None => count_ring_full(F::KIND),
    }
}

/// Writes the part that all records share.
///
/// # Safety
/// `header` must point to writable memory of its size, `task` be a typed `task_struct` pointer.
#[inline(always)]
pub unsafe fn fill_header(header: *mut RecordHeader, kind: RecordKind, seq: u64, task: Ptr) {
    // SAFETY: the caller's promise; the verifier checks each write.
    unsafe {
        (*header).kind = kind as u16;
        (*header).flags = 0;
        (*header).len = 0;
        (*header).boot_ns = bpf_ktime_get_boot_ns();
        (*header).seq = seq;
        (*header).cpu = bpf_get_smp_processor_id();
        (*header).reserved = 0;
        task::fill_facts(&raw mut (*header).task, task);
    }
}
