//! Every map, and what its entries mean; those of [`crate::intents`] are there.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    limits::{FOLLOWED_MAX, RING_BYTES_DEFAULT},
    wire::{KindCounters, RecordKind},
};

/// One ring for all CPUs keeps their order; the loader may change its size.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES_DEFAULT, 0);

/// Sequence numbers and losses by record kind, counted per CPU.
#[map]
pub static COUNTERS: PerCpuArray<KindCounters> =
    PerCpuArray::with_max_entries(RecordKind::ALL.len() as u32, 0);

/// Processes of which everything is wanted, by pid (`tgid`), and until when on the boot clock; see [`crate::follow`].
#[map]
pub static FOLLOWED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(FOLLOWED_MAX, 0);
