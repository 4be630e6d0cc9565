//! How a program is entered: where its arguments are, and how to read through them.
//!
//! Each hook has one body and two programs around it. The first has typed arguments, the second finds untyped
//! ones in registers (kprobe) or in an array (raw tracepoint); both feed the same maps. The loader chooses.

use aya_ebpf::{
    Argument,
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RawTracePointContext},
};

use crate::kernel::{self, Ptr};

/// A way to read through an argument, and through what was read so.
pub trait Access {
    /// A member of the structure at `base`; zero where it cannot be read, as through a null pointer.
    ///
    /// # Safety
    /// `base` must come from an argument of the program, and `offset` from [`kernel::offset!`].
    unsafe fn load<T: Copy>(base: Ptr, offset: usize) -> T;

    /// A number that stands for the address: no other address gives the same in one way of access.
    fn number(address: Ptr) -> u64;
}

/// The verifier knows the arguments' types: plain loads, which it checks.
pub struct Typed;

/// It does not: loads go through a helper.
pub struct Probed;

impl Access for Typed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: Ptr, offset: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { kernel::load(base, offset) }
    }

    #[inline(always)]
    fn number(address: Ptr) -> u64 {
        // The verifier allows no arithmetic on an address, but for the distance to another.
        (address as u64).wrapping_sub(kernel::anchor())
    }
}

impl Access for Probed {
    #[inline(always)]
    unsafe fn load<T: Copy>(base: Ptr, offset: usize) -> T {
        kernel::probe(base, offset)
    }

    #[inline(always)]
    fn number(address: Ptr) -> u64 {
        address as u64
    }
}

/// A load of a member that may not exist; zero where it does not.
///
/// # Safety
/// As for [`Access::load`].
#[inline(always)]
pub unsafe fn optional<A: Access, T: Copy + Default>(base: Ptr, offset: usize) -> T {
    if kernel::present(offset) {
        // SAFETY: the caller's promise.
        unsafe { A::load(base, offset) }
    } else {
        T::default()
    }
}

/// What a program is called with.
pub trait Context {
    /// The argument at position `n` of the hooked function or tracepoint.
    fn argument<T: Argument>(&self, n: usize) -> T;
}

macro_rules! typed_contexts {
    ($($context:ident)+) => {
        $(impl Context for $context {
            #[inline(always)]
            fn argument<T: Argument>(&self, n: usize) -> T {
                self.arg(n)
            }
        })+
    };
}
typed_contexts!(FEntryContext FExitContext BtfTracePointContext RawTracePointContext);

impl Context for ProbeContext {
    #[inline(always)]
    fn argument<T: Argument>(&self, n: usize) -> T {
        match self.arg(n) {
            Some(value) => value,
            // A position beyond those that registers hold: a mistake in this crate, refused as a program.
            None => panic!(),
        }
    }
}

/// Declares the two programs at the entry of a function.
///
/// `at_function!("symbol", fentry_program, kprobe_program, |A, ctx| body)`: `A` is the [`Access`] to use.
macro_rules! at_function {
    ($function:tt, $fentry:ident, $kprobe:ident, |$access:ident, $ctx:ident| $body:expr) => {
        #[aya_ebpf::macros::fentry(function = $function)]
        pub fn $fentry($ctx: aya_ebpf::programs::FEntryContext) -> i32 {
            #[allow(dead_code, reason = "not every body reads through its arguments")]
            type $access = $crate::context::Typed;
            $body;
            0
        }

        #[aya_ebpf::macros::kprobe(function = $function)]
        pub fn $kprobe($ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            #[allow(dead_code, reason = "not every body reads through its arguments")]
            type $access = $crate::context::Probed;
            $body;
            0
        }
    };
}
pub(crate) use at_function;

/// Declares the two programs at a tracepoint, as [`at_function!`] does.
macro_rules! at_tracepoint {
    ($tracepoint:tt, $tp_btf:ident, $raw_tp:ident, |$access:ident, $ctx:ident| $body:expr) => {
        #[aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        pub fn $tp_btf($ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            #[allow(dead_code, reason = "not every body reads through its arguments")]
            type $access = $crate::context::Typed;
            $body;
            0
        }

        #[aya_ebpf::macros::raw_tracepoint(tracepoint = $tracepoint)]
        pub fn $raw_tp($ctx: aya_ebpf::programs::RawTracePointContext) -> i32 {
            #[allow(dead_code, reason = "not every body reads through its arguments")]
            type $access = $crate::context::Probed;
            $body;
            0
        }
    };
}
pub(crate) use at_tracepoint;
