//! What the eBPF programs and user space share: wire types, limits, kernel-field manifest.

#![no_std]
#![forbid(unsafe_code)]

pub mod filter;
pub mod kernel_fields;
pub mod limits;
pub mod wire;
