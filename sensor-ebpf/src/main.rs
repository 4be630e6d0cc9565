//! The eBPF programs: gather facts where something happens, emit one record after it took effect.
//!
//! One file per hook under `hooks/`; `context` enters the programs; `emit` is the only user of the ring, `path` the only walker of dentries,
//! `task` the only reader of `task_struct`, `kernel` the only place where kernel memory is read.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "atomics: see atomic::add")]

mod atomic;
mod context;
mod diag;
mod emit;
mod filter;
mod follow;
mod hooks;
mod intents;
mod kernel;
mod maps;
mod path;
mod slot;
mod task;
mod wake;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program from which this can be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
