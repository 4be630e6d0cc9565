//! Whether a record calls the reader: the wake-up is what a record costs, not its bytes.
//!
//! A record that a rule may match calls at once, any other only after a time in which nobody called, or when the ring
//! fills. Two calls are at least [`WAKE_URGENT_NS`] apart, so that whoever makes events on purpose cannot make them
//! dear. A reader that was called looks again by itself for longer than [`WAKE_NS`], so no record is left behind.

use sensor_common::{
    limits::{WAKE_NS, WAKE_URGENT_NS},
    wire::RecordKind,
};

use crate::{kernel::loaded, maps::RING};

/// Bytes that may wait before the reader is called for them; overridden by the loader.
#[unsafe(no_mangle)]
static WAKE_BYTES: u32 = 0;

/// Kinds of record that a rule may match, as bits by their index; overridden by the loader.
#[unsafe(no_mangle)]
static URGENT_KINDS: u32 = u32::MAX;

/// When the reader was last called, on the boot clock; of all CPUs.
#[unsafe(no_mangle)]
static mut CALLED_NS: u64 = 0;

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, `BPF_RB_AVAIL_DATA`
pub const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAILABLE: u64 = 0;

#[inline(always)]
pub fn may_match(kind: RecordKind) -> bool {
    loaded(&URGENT_KINDS) & 1 << kind.index() != 0
}

/// Flags for submitting a record that was made at `now_ns`.
#[inline(always)]
pub fn flags(now_ns: u64, urgent: bool) -> u64 {
    // SAFETY: a word of the object's own data; a race makes one call more.
    let called_ns = unsafe { core::ptr::read_volatile(&raw const CALLED_NS) };
    // Negative for a record that is older than the last call, which has been called for.
    let since = now_ns.wrapping_sub(called_ns) as i64;
    if since < WAKE_URGENT_NS as i64 {
        return NO_WAKEUP;
    }
    if !urgent && since < WAKE_NS as i64 && RING.query(AVAILABLE) <= loaded(&WAKE_BYTES) as u64 {
        return NO_WAKEUP;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut CALLED_NS, now_ns) };
    FORCE_WAKEUP
}
