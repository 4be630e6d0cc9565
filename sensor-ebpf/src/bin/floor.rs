//! The least that programs on our hooks can cost, for the benchmark: empty ones, and ones that send 256 bytes.
//!
//! The bench attaches them to the functions that the sensor's own programs are on; the names here are only examples.

#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::generated::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::{btf_tracepoint, fentry, fexit, map},
    maps::RingBuf,
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use sensor_common::limits::RING_BYTES_DEFAULT;

/// `BPF_RB_NO_WAKEUP`
const NO_WAKEUP: u64 = 1;
const WORDS: usize = 256 / size_of::<u64>();

#[map]
static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES_DEFAULT, 0);

#[fentry(function = "vfs_rename")]
pub fn empty_fentry(_ctx: FEntryContext) -> i32 {
    0
}

#[fexit(function = "vfs_rename")]
pub fn empty_fexit(_ctx: FExitContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn empty_tp_btf(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[fentry(function = "vfs_rename")]
pub fn record_fentry(_ctx: FEntryContext) -> i32 {
    record()
}

#[fexit(function = "vfs_rename")]
pub fn record_fexit(_ctx: FExitContext) -> i32 {
    record()
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn record_tp_btf(_ctx: BtfTracePointContext) -> i32 {
    record()
}

/// Who and when, and zeros; without a wake-up.
#[inline(always)]
fn record() -> i32 {
    let Some(mut slot) = RING.reserve::<[u64; WORDS]>(0) else { return 0 };
    let words = slot.as_mut_ptr().cast::<u64>();
    // SAFETY: inside the reservation, which is WORDS long.
    unsafe {
        for word in 4..WORDS {
            words.add(word).write_volatile(0);
        }
        words.write(bpf_ktime_get_boot_ns());
        words.add(1).write(bpf_get_current_pid_tgid());
        bpf_get_current_comm(words.add(2).cast(), 16);
    }
    slot.submit(NO_WAKEUP);
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program from which this can be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
