//! Words that several programs may change at once, on one CPU too: one can preempt another.

/// Adds `n`, modulo the width, and returns what there was before.
///
/// # Safety
/// `counter` must point into a map's value or a static.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, n: u64) -> u64 {
    // SAFETY: the caller's promise. The target has no compare-and-swap for `core::sync::atomic` to build on.
    unsafe {
        // With relaxed ordering the compiler takes the instruction that does not fetch, and hands back the addend.
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::SeqCst }>(counter, n)
    }
}

/// Writes `to` if there is `from`; whether it was.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn replace(word: *mut u64, from: u64, to: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        core::intrinsics::atomic_cxchg::<
            u64,
            { core::intrinsics::AtomicOrdering::SeqCst },
            { core::intrinsics::AtomicOrdering::SeqCst },
        >(word, from, to)
        .1
    }
}
