//! The programs' own troubles, in words, through aya-log: off unless asked for, at most ten a second on a CPU.
//!
//! Losses are counted whether or not they are spoken of; see `emit`.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, macros::map, maps::PerCpuArray};

/// Set by the loader. A constant to the verifier: while it is 0 nothing of this is left in the programs.
#[unsafe(no_mangle)]
static DIAGNOSTICS: u32 = 0;

const INTERVAL_NS: u64 = 100_000_000;

/// When a message was last sent from this CPU.
#[map]
static DIAGNOSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Whether a message may be sent now.
#[inline(always)]
pub fn due() -> bool {
    if crate::kernel::loaded(&DIAGNOSTICS) == 0 {
        return false;
    }
    let Some(last) = DIAGNOSED.get_ptr_mut(0) else { return false };
    // SAFETY: reads the clock.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a value of the map; a race with a program that preempts this one costs a message, or adds one.
    unsafe {
        if now.wrapping_sub(*last) < INTERVAL_NS {
            return false;
        }
        *last = now;
    }
    true
}

/// Says something, if asked for and not too often.
macro_rules! diagnose {
    ($($arg:tt)*) => {
        if $crate::diag::due() {
            aya_log_ebpf::warn!((), $($arg)*);
        }
    };
}
pub(crate) use diagnose;
