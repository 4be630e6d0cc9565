//! The ring's slot classes.
//!
//! What writes into a slot exists once per class: the verifier must know the size as a constant. The functions
//! that loop are global, so that it checks each of them once, and not again for every way that leads to a call.

use sensor_common::{
    limits::{ENVP_BYTES_MAX, SLOT_HUGE_BYTES, SLOT_LARGE_BYTES, SLOT_MEDIUM_BYTES, SLOT_SMALL_BYTES},
    wire::{PathRef, Span, record_flags},
};

use crate::path::{self, Start};

/// A size of slot.
pub trait Class {
    const SIZE: usize;
    /// Longest name that a path in it may have, as a mask.
    const NAME_MASK: usize;
    /// Last offset at which a name may begin.
    const NAME_LIMIT: usize = Self::SIZE - Self::NAME_MASK - 1;
    /// Longest argv, as a mask.
    const ARGV_MASK: usize;
    /// Longest environment, as a mask.
    const ENVP_MASK: usize;
    /// Longest string, terminator included; a power of two.
    const STRING_MAX: usize;

    /// Writes the path's components at `from` and their [`PathRef`] at `out`; returns where they end.
    fn copy_path(base: *mut u8, from: usize, start: &Start, out: usize) -> usize;
    /// Writes the names of the current task's cgroup; returns where they end and whether any are missing.
    fn copy_cgroup(base: *mut u8, from: usize) -> (usize, bool);
}

/// A reserved slot.
pub struct Slot<C> {
    pub base: *mut u8,
    class: core::marker::PhantomData<C>,
}

impl<C: Class> Slot<C> {
    #[inline(always)]
    pub fn new(base: *mut u8) -> Self {
        Self { base, class: core::marker::PhantomData }
    }

    /// Writes a path at `from` and its reference to `out`, which lies in the slot; returns where it ends.
    #[inline(always)]
    pub fn copy_path(&self, from: usize, start: &Start, out: *mut PathRef) -> usize {
        C::copy_path(self.base, from, start, out as usize - self.base as usize)
    }

    /// Writes the cgroup's names at `from`; flags those that are missing.
    #[inline(always)]
    pub fn copy_cgroup(&self, from: usize, out: *mut Span, flags: &mut u16) -> usize {
        let (end, truncated) = C::copy_cgroup(self.base, from);
        if truncated {
            *flags |= record_flags::CGROUP_TRUNCATED;
        }
        // SAFETY: as above.
        unsafe { *out = Span { offset: from as u16, len: (end - from) as u16 } };
        end
    }
}

macro_rules! class {
    ($(#[$doc:meta])* $name:ident, $memory:ident, $size:expr, $name_mask:expr, $argv_mask:expr, $envp_mask:expr, $string:expr,
     $copy_path:ident, $copy_cgroup:ident) => {
        $(#[$doc])*
        pub struct $name;

        /// The slot's memory, as an argument type that has its size.
        #[repr(C)]
        pub struct $memory {
            bytes: [u8; $size],
        }

        /// The verifier checks this once, for any `from` and any `start`.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $copy_path(slot: *mut $memory, from: u64, start: *const Start, out: u64) -> u64 {
            if slot.is_null() || start.is_null() {
                return 0;
            }
            // SAFETY: not null, and of the size that the argument's type says.
            path::copy::<$name>(slot.cast(), from, unsafe { &*start }, out)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $copy_cgroup(slot: *mut $memory, from: u64) -> u64 {
            if slot.is_null() {
                return from;
            }
            path::copy_cgroup::<$name>(slot.cast(), from)
        }

        impl Class for $name {
            const SIZE: usize = $size;
            const NAME_MASK: usize = $name_mask;
            const ARGV_MASK: usize = $argv_mask;
            const ENVP_MASK: usize = $envp_mask;
            const STRING_MAX: usize = $string;

            #[inline(always)]
            fn copy_path(base: *mut u8, from: usize, start: &Start, out: usize) -> usize {
                ($copy_path(base.cast(), from as u64, start, out as u64) & 0xffff) as usize
            }

            #[inline(always)]
            fn copy_cgroup(base: *mut u8, from: usize) -> (usize, bool) {
                let packed = $copy_cgroup(base.cast(), from as u64);
                ((packed & 0xffff) as usize, packed >> 16 != 0)
            }
        }
    };
}

class!(
    /// Nearly every file event.
    Small, SmallMemory, SLOT_SMALL_BYTES, 63, 63, 63, 64, copy_path_small, copy_cgroup_small
);
class!(
    /// Nearly every exec.
    Medium, MediumMemory, SLOT_MEDIUM_BYTES, 255, 511, 2047, 256, copy_path_medium, copy_cgroup_medium
);
class!(
    /// Two paths at their limit.
    Large, LargeMemory, SLOT_LARGE_BYTES, 255, 2047, ENVP_BYTES_MAX - 1, 1024, copy_path_large, copy_cgroup_large
);
class!(
    /// Everything at its limit.
    Huge, HugeMemory, SLOT_HUGE_BYTES, 255, 16_383, ENVP_BYTES_MAX - 1, 4096, copy_path_huge, copy_cgroup_huge
);
