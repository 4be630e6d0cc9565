//! The ring's slot classes.
//!
//! What writes into a slot exists once per class: the verifier must know the size as a constant. The functions
//! that loop are global, so that it checks each of them once, and not again for every way that leads to a call.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use sensor_common::{
    limits::{
        ENVP_BYTES_MAX, NAME_BYTES_MAX, SLOT_FAIR_BYTES, SLOT_HUGE_BYTES, SLOT_LARGE_BYTES,
        SLOT_MEDIUM_BYTES, SLOT_SMALL_BYTES,
    },
    wire::{PathRef, Span, path_flags, record_flags},
};

use crate::path::{self, Start};

/// A size of slot.
pub trait Class {
    const SIZE: usize;
    /// Longest name that a path in it may have, as a mask.
    const NAME_MASK: usize;
    /// Last offset at which a name may begin.
    const NAME_LIMIT: usize = Self::SIZE - Self::NAME_MASK - 1;
    /// What a longer name says of its path: no file has one of more than 255 bytes, so it was renamed while it was
    /// read; where less fits the record has to be made anew in a larger slot.
    const NAME_TOO_LONG: u16 =
        if Self::NAME_MASK < NAME_BYTES_MAX { path_flags::TRUNCATED } else { path_flags::TORN };
    /// Longest argv, as a mask.
    const ARGV_MASK: usize;
    /// Longest environment, as a mask.
    const ENVP_MASK: usize;
    /// Longest string, terminator included; a power of two.
    const STRING_MAX: usize;

    /// Writes the path's components at `from` and their [`PathRef`] at `out`; returns where they end.
    fn copy_path(base: *mut u8, from: Begun, start: &Start, out: usize) -> usize;
    /// Writes the names of the current task's cgroup; returns where they end and whether any are missing.
    fn copy_cgroup(base: *mut u8, from: usize) -> (usize, bool);
}

/// Where a path begins in a slot, and where a name ends that stands there already.
#[derive(Clone, Copy)]
pub struct Begun {
    from: usize,
    name_end: usize,
}

const NOTHING: Span = Span { offset: 0, len: 0 };
/// No path.
pub const NOWHERE: PathRef =
    PathRef { span: NOTHING, root_bytes: 0, flags: 0, above: NOTHING, mount_bytes: 0, reserved: 0 };

impl Begun {
    /// With no name yet.
    #[inline(always)]
    pub fn at(from: usize) -> Self {
        Self { from, name_end: from }
    }
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
        self.finish_path(Begun::at(from), start, out)
    }

    /// The same behind a name that stands there.
    #[inline(always)]
    pub fn finish_path(&self, begun: Begun, start: &Start, out: *mut PathRef) -> usize {
        C::copy_path(self.base, begun, start, out as usize - self.base as usize)
    }

    /// Leaves it at the name: the rest is that of the record's other path.
    #[inline(always)]
    pub fn keep_name(&self, begun: Begun, out: *mut PathRef) -> usize {
        let Begun { from, name_end } = begun;
        let name = Span { offset: from as u16, len: (name_end - from) as u16 };
        // SAFETY: it lies in the slot.
        unsafe { *out = PathRef { span: name, flags: path_flags::BESIDE, ..NOWHERE } };
        name_end
    }

    /// Begins a path at `from` with a name that is in no dentry any more; `None` if it has no room.
    #[inline(always)]
    pub fn begin_path(&self, from: usize, name: u64, len: u64) -> Option<Begun> {
        // The values that are checked are those that are used: the compiler would check others that are the same.
        let (from, len) = (black_box(from), black_box(len as usize));
        if from > C::NAME_LIMIT || len > C::NAME_MASK {
            return None;
        }
        let len = black_box(len) & C::NAME_MASK;
        // SAFETY: the limit leaves room for the longest name and its NUL.
        unsafe {
            let to = self.base.add(from);
            if bpf_probe_read_kernel(to.cast(), len as u32, name as *const _) != 0 {
                return None;
            }
            to.add(len).write(0);
        }
        Some(Begun { from, name_end: from + len + 1 })
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
        pub extern "C" fn $copy_path(
            slot: *mut $memory,
            from: u64,
            name_end: u64,
            start: *const Start,
            out: u64,
        ) -> u64 {
            if slot.is_null() || start.is_null() {
                return 0;
            }
            // SAFETY: not null, and of the size that the argument's type says.
            path::copy::<$name>(slot.cast(), from, name_end, unsafe { &*start }, out)
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
            fn copy_path(base: *mut u8, begun: Begun, start: &Start, out: usize) -> usize {
                let (from, name_end) = (begun.from as u64, begun.name_end as u64);
                ($copy_path(base.cast(), from, name_end, start, out as u64) & 0xffff) as usize
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
    /// File events with longer names.
    Fair, FairMemory, SLOT_FAIR_BYTES, 255, 63, 63, 64, copy_path_fair, copy_cgroup_fair
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
