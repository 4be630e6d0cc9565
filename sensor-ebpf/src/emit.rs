//! The only user of the ring: reserves a slot, has it filled in place, counts what found no room.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use sensor_common::wire::{KindCounters, RecordHeader, RecordKind};

use crate::{
    atomic,
    context::Typed,
    diag::diagnose,
    maps::{COUNTERS, RING},
    slot::{Class, Slot},
    task, wake,
};

/// Something that writes itself into a slot as a record.
pub trait Fill {
    const KIND: RecordKind;
    /// Returns whether everything found room.
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool;

    /// Whether a rule may match it, so that the reader should see it at once.
    #[inline(always)]
    fn is_urgent(&self) -> bool {
        wake::may_match(Self::KIND)
    }
}

#[inline(always)]
pub fn counters(kind: RecordKind) -> Option<*mut KindCounters> {
    COUNTERS.get_ptr_mut(kind.index() as u32)
}

/// Takes the next sequence number of `kind` on this CPU.
#[inline(always)]
pub fn next_seq(kind: RecordKind) -> u64 {
    match counters(kind) {
        // SAFETY: a value of the map.
        Some(counters) => unsafe { atomic::add(&raw mut (*counters).seq, 1) },
        None => 0,
    }
}

#[inline(always)]
fn count_ring_full(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*counters).lost_ring_full, 1) };
    }
    diagnose!("the ring is full: a record of kind {} is lost", kind as u32);
}

/// Counts an operation that will end without a record, because there was no room to remember its beginning.
#[inline(always)]
pub fn count_no_intent(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*counters).lost_no_intent, 1) };
    }
    diagnose!("no room to remember an operation of kind {}", kind as u32);
}

/// Counts an operation whose end no program saw: the kernel left it out.
#[inline(always)]
pub fn count_no_return(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*counters).lost_no_return, 1) };
    }
    diagnose!("an operation of kind {} ended unseen", kind as u32);
}

/// Counts an operation that has begun (1), or that was none (-1).
#[inline(always)]
pub fn count_begun(kind: RecordKind, change: i64) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*counters).begun, change as u64) };
    }
}

/// Counts an operation that had begun, and that failed or whose end no program saw.
#[inline(always)]
pub fn count_unfinished(kind: RecordKind) {
    if let Some(counters) = counters(kind) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(&raw mut (*counters).unfinished, 1) };
    }
}

/// Reserves a slot of class `C`, has it filled, and submits it.
#[inline(always)]
pub fn emit<F: Fill, C: Class>(record: &mut F, seq: u64) {
    emit_in::<F, C, false>(record, seq);
}

/// The same, but lets go of what did not find room: `true` when nothing more is to be done about the record. To try a
/// slot costs less than to find out beforehand what nearly always fits.
#[inline(always)]
pub fn try_emit<F: Fill, C: Class>(record: &mut F, seq: u64) -> bool {
    emit_in::<F, C, true>(record, seq)
}

#[inline(always)]
fn emit_in<F: Fill, C: Class, const IS_TRIAL: bool>(record: &mut F, seq: u64) -> bool {
    let Some(mut bytes) = RING.reserve_bytes(C::SIZE, 0) else {
        count_ring_full(F::KIND);
        return true;
    };
    let base = bytes.as_mut_ptr();
    let fits = record.fill(&Slot::<C>::new(base), seq);
    if IS_TRIAL && !fits {
        bytes.discard(wake::NO_WAKEUP);
        return false;
    }
    // SAFETY: every record begins with a header, which was just filled.
    let now_ns = unsafe { (*base.cast::<RecordHeader>()).boot_ns };
    bytes.submit(wake::flags(now_ns, record.is_urgent()));
    true
}

/// Writes the part that all records share, with the running task as who did it.
///
/// # Safety
/// `header` must point to writable memory of its size.
#[inline(always)]
pub unsafe fn fill_header(header: *mut RecordHeader, kind: RecordKind, seq: u64) {
    fill_current_header(header, kind as u64, seq);
}

/// Global, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fill_current_header(header: *mut RecordHeader, kind: u64, seq: u64) -> u64 {
    if header.is_null() {
        return 0;
    }
    // SAFETY: not null, of its type's size.
    unsafe {
        (*header).kind = kind as u16;
        (*header).flags = 0;
        (*header).len = 0;
        (*header).boot_ns = bpf_ktime_get_boot_ns();
        (*header).seq = seq;
        (*header).cpu = bpf_get_smp_processor_id();
        (*header).reserved = 0;
        task::fill_facts::<Typed>(&raw mut (*header).task, task::current());
    }
    0
}
