//! Reads of kernel memory, at offsets that the loader resolved for the running kernel.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use sensor_common::kernel_fields::{DCACHE_PAR_LOOKUP_MACRO, KernelOffsets, OFFSET_ABSENT};

/// Overridden by the loader before the object is loaded; constants to the verifier.
#[unsafe(no_mangle)]
pub static OFFSETS: KernelOffsets = KernelOffsets::ABSENT;

/// Overridden by the loader where the kernel has another value.
#[unsafe(no_mangle)]
pub static DCACHE_PAR_LOOKUP: u32 = DCACHE_PAR_LOOKUP_MACRO;

/// Overridden by the loader: whether `sched_process_exit` has an argument that says so.
#[unsafe(no_mangle)]
pub static EXIT_SAYS_GROUP_DEAD: u32 = 0;

/// Overridden by the loader with the addresses of the sequence counters that every rename, and every mount, moves;
/// zero where they are not known.
#[unsafe(no_mangle)]
pub static LOCKS: [u64; 2] = [0; 2];

/// A pointer into the kernel. Which structure it points to is in the variable's name.
pub type Ptr = *const u8;

/// The offset of a [`KernelOffsets`] member.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::loaded(&$crate::kernel::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// What the loader put into a static, read so that the compiler cannot fold the placeholder in.
#[inline(always)]
pub fn loaded(offset: &u32) -> usize {
    // SAFETY: reads a u32 through a reference.
    unsafe { core::ptr::read_volatile(offset) as usize }
}

/// Whether the kernel has the member at `offset`.
#[inline(always)]
pub fn present(offset: usize) -> bool {
    offset != OFFSET_ABSENT as usize
}

/// A load through a pointer whose type the verifier knows: an argument of a BTF-typed program, the current
/// task, or what was loaded from one of them. A fault, a null pointer included, reads as zero.
///
/// # Safety
/// `base` must be such a pointer and `offset` must come from [`offset!`]: the verifier rejects anything else.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: Ptr, offset: usize) -> T {
    // SAFETY: the verifier checked the access against the structure's BTF.
    unsafe { core::ptr::read_volatile(base.add(offset).cast()) }
}

/// A read through any pointer, by helper; zero when it fails: the helper clears the destination then, and
/// testing its result would double what the verifier has to follow.
#[inline(always)]
pub fn probe<T: Copy>(base: Ptr, offset: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local of the given size, every byte of which the helper writes; it
    // tolerates any source address. `T` is an integer at every call.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset).cast(),
        );
        value.assume_init()
    }
}

/// [`probe`] of a pointer.
#[inline(always)]
pub fn probe_ptr(base: Ptr, offset: usize) -> Ptr {
    probe::<u64>(base, offset) as Ptr
}

/// Zero; in writable memory, so that the verifier does not know.
#[unsafe(no_mangle)]
static mut ZERO: u64 = 0;

/// An address that is the same wherever it is asked for.
#[inline(always)]
pub fn anchor() -> u64 {
    core::hint::black_box(&raw const ZERO) as u64
}

/// `value`, as a number of which the verifier knows nothing.
///
/// A loop whose counter starts as a known constant has another range in each iteration, and the verifier walks
/// through all of them; one that starts unknown and is bounded inside the loop converges at once.
#[inline(always)]
pub fn forget(value: u64) -> u64 {
    // SAFETY: nothing writes it.
    value | unsafe { core::ptr::read_volatile(&raw const ZERO) }
}
