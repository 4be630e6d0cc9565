//! Loading the kernel programs and reading their ring: the only user of aya.

mod btf;
mod capability;
mod error;
mod heap;
mod hooks;
mod host;
mod kallsyms;
#[cfg(test)]
mod known_kernels;
mod misses;
mod offsets;
mod programs;
mod switches;

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use sensor_common::{
    filter::FilterTables,
    limits::{FOLLOWED_MAX, RING_BYTES_DEFAULT},
    wire::RecordKind,
};
use zerocopy::IntoBytes;

pub(crate) use capability::{Capabilities, Missing};
pub(crate) use error::KernelError;
pub(crate) use heap::{drop_code, trim as trim_heap};
pub(crate) use hooks::{Attach, HOOKS, Mode};
pub(crate) use host::{Capability, HostFacts, require_capabilities};
use misses::{Ending, Misses, Operations};
pub(crate) use programs::HookStatus;
use programs::Programs;
use switches::Switches;

/// Where the running kernel describes its types.
pub(crate) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The object that was embedded at build time; empty when it was not.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor-ebpf.o"));

/// What a person is told of [`Counted::are_misses_uncounted`].
const UNCOUNTED: &str = "before Linux 6.7 the kernel does not count the runs that it leaves out of programs at \
                         breakpoints: such losses go unreported";

const FILTER_CHANGED: &str = "the filter in the kernel is not what the sensor wrote, another process has changed it \
                              (`sensor reload` writes it anew)";

/// The reader is woken when this part of the ring is full, whatever the records are.
const WAKE_AT_PART: u32 = 8;

/// How to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelOptions {
    /// Size of the ring: a power of two, at least a page.
    pub(crate) ring_bytes: u32,
    /// Whether the programs report their own troubles.
    pub(crate) diagnostics: bool,
    /// Kinds of record that a rule may match, as bits by [`RecordKind::index`]: the reader is woken for them at once.
    pub(crate) urgent_kinds: u32,
    /// Which ways to attach may be tried.
    pub(crate) attach: Attach,
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self {
            ring_bytes: RING_BYTES_DEFAULT,
            diagnostics: false,
            urgent_kinds: u32::MAX,
            attach: Attach::Auto,
        }
    }
}

/// What the programs could not deliver, by record kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// No room in the ring.
    pub(crate) ring_full: u64,
    /// No room to remember that the operation had begun.
    pub(crate) no_intent: u64,
    /// A program did not run: the kernel does not let one interrupt itself on its CPU, and remembers only so many
    /// calls to whose return it owes one. What it would have seen may have failed.
    pub(crate) missed: u64,
}

/// The account of the kernel side, by record kind in the order of [`RecordKind::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) lost: [Lost; RecordKind::ALL.len()],
    /// Programs may have been left out beyond what [`Lost::missed`] says: this kernel does not count them.
    pub(crate) are_misses_uncounted: bool,
}

impl Lost {
    /// All of it.
    pub(crate) fn total(self) -> u64 {
        self.ring_full + self.no_intent + self.missed
    }
}

/// [`sensor_common::wire::KindCounters`], as a map's value can be read.
type Counters = [u64; 6];

/// The loaded programs and their ring.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, Counters>,
    filter: Array<MapData, [u8; size_of::<FilterTables>()]>,
    /// What the filter's map was last given.
    written: Option<Box<FilterTables>>,
    followed: HashMap<MapData, u32, u64>,
    is_following: Array<MapData, u64>,
    /// Runs that were left out, when the programs were unloaded.
    missed: Option<Misses>,
    endings: [Ending; RecordKind::ALL.len()],
    are_misses_uncounted: bool,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    hooks: Vec<HookStatus>,
    capabilities: Capabilities,
    absent: Vec<String>,
    switches: Switches,
}

impl Kernel {
    /// Loads, and attaches what can be attached.
    ///
    /// # Errors
    ///
    /// When nothing could be seen; nothing stays attached then.
    pub(crate) fn load(options: &KernelOptions) -> Result<Self, KernelError> {
        let kernel = Self::try_load(options)?;
        if kernel.capabilities.available.is_empty() {
            let first = kernel.capabilities.missing.first().map(|missing| missing.reason.clone());
            return Err(KernelError::NoHook(first.unwrap_or_default()));
        }
        Ok(kernel)
    }

    /// Loads, and attaches what can be attached, if only nothing: each hook says how it went.
    ///
    /// # Errors
    ///
    /// What makes any hook impossible.
    pub(crate) fn try_load(options: &KernelOptions) -> Result<Self, KernelError> {
        if OBJECT.is_empty() {
            return Err(KernelError::NoObject);
        }
        require_capabilities()?;
        let bytes = fs::read(BTF_PATH).map_err(KernelError::NoBtf)?;
        let resolved = offsets::resolve(&bytes, &hooks::signatures().collect::<Vec<_>>())?;
        if !resolved.missing.is_empty() {
            return Err(KernelError::MissingFields(resolved.missing));
        }
        drop(bytes);

        let btf = aya::Btf::from_sys_fs()?;
        let diagnostics = u32::from(options.diagnostics);
        let wake_bytes = options.ring_bytes / WAKE_AT_PART;
        let locks = kallsyms::locks();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            // Asked for only when a program was refused.
            .verifier_log_level(VerifierLogLevel::DEBUG)
            .override_global("OFFSETS", resolved.offsets.as_bytes(), true)
            .override_global("DCACHE_PAR_LOOKUP", &resolved.dcache_par_lookup, true)
            .override_global("EXIT_SAYS_GROUP_DEAD", &u32::from(resolved.exit_says_group_dead), true)
            .override_global("DIAGNOSTICS", &diagnostics, true)
            .override_global("WAKE_BYTES", &wake_bytes, true)
            .override_global("URGENT_KINDS", &options.urgent_kinds, true)
            .override_global("LOCKS", &locks, true)
            .map_max_entries("RING", options.ring_bytes)
            .load(OBJECT)?;
        let ring = take_map(&mut ebpf, "RING")?;
        let counters = take_map(&mut ebpf, "COUNTERS")?;
        let filter = take_map(&mut ebpf, ".data.filter")?;
        let followed = take_map(&mut ebpf, "FOLLOWED")?;
        let is_following = take_map(&mut ebpf, ".data.follow")?;
        let hooks =
            Programs { ebpf: &mut ebpf, btf: &btf, mismatched: &resolved.functions, attach: options.attach }
                .attach_all();
        drop(btf);
        let capabilities = Capabilities::of(&hooks);
        let are_misses_uncounted = misses::are_uncounted(&hooks, resolved.are_probe_misses_counted);
        let logger = if options.diagnostics {
            Some(
                aya_log::EbpfLogger::init(&mut ebpf)
                    .map_err(|error| KernelError::Logger(error.to_string()))?,
            )
        } else {
            None
        };
        Ok(Self {
            switches: Switches::open(&hooks),
            ebpf,
            ring,
            counters,
            filter,
            written: None,
            followed,
            is_following,
            missed: None,
            endings: Default::default(),
            are_misses_uncounted,
            logger,
            hooks,
            capabilities,
            absent: resolved.absent,
        })
    }

    /// What keeps attached programs from being run, or from sending what they see.
    pub(crate) fn switched_off(&self) -> Vec<&'static str> {
        let mut off = self.switches.off();
        off.extend(self.is_filter_another().then_some(FILTER_CHANGED));
        off
    }

    /// Whether somebody else has written to the filter's map: root may, and the programs believe it.
    fn is_filter_another(&self) -> bool {
        let Some(written) = &self.written else { return false };
        self.filter.get(&0, 0).is_ok_and(|now| now != written.as_bytes())
    }

    /// Becomes readable when records wait.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Hands the oldest record to `take`; `false` when there is none.
    pub(crate) fn next_record(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        match self.ring.next() {
            Some(record) => {
                take(&record);
                true
            }
            None => false,
        }
    }

    /// Has the programs let through what `tables` want; until then everything passes.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub(crate) fn set_filter(&mut self, tables: &FilterTables) -> io::Result<()> {
        let mut now = Box::new(FilterTables::NOTHING);
        let bytes = self.filter.get(&0, 0).map_err(io::Error::other)?;
        if self.written.as_ref().is_some_and(|written| written.as_bytes() != bytes) {
            tracing::error!("{FILTER_CHANGED}: now");
        }
        now.as_mut_bytes().copy_from_slice(&bytes);
        let mut both = Box::new(now.before(tables));
        // Whoever finds something out while the tables are written must not take it for true when they are.
        both.version = now.version.wrapping_add(1);
        let mut next = Box::new(tables.clone());
        next.version = both.version.wrapping_add(1);
        for step in [both, next] {
            let bytes: &[u8; size_of::<FilterTables>()] =
                step.as_bytes().try_into().map_err(io::Error::other)?;
            self.filter.set(0, bytes, 0).map_err(io::Error::other)?;
            self.written = Some(step);
        }
        Ok(())
    }

    /// Has the programs let through whatever these processes, and those that they will fork, do until then, on the boot
    /// clock.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    pub(crate) fn follow(&mut self, processes: &[u32], until_ns: u64) -> io::Result<()> {
        for pid in processes.iter().take(FOLLOWED_MAX as usize) {
            self.followed.insert(pid, until_ns, 0).map_err(io::Error::other)?;
        }
        self.is_following.set(0, 1, 0).map_err(io::Error::other)
    }

    /// The time of everybody who was followed is over: the programs need not look any more.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    pub(crate) fn follow_nobody(&mut self) -> io::Result<()> {
        self.is_following.set(0, 0, 0).map_err(io::Error::other)
    }

    /// What was lost so far.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub(crate) fn counted(&mut self) -> io::Result<Counted> {
        let mut counted = Counted { are_misses_uncounted: self.are_misses_uncounted, ..Counted::default() };
        let misses = match self.missed {
            Some(missed) => missed,
            None => misses::of(&self.ebpf, &self.hooks)?,
        };
        let misses = misses.plain.iter().zip(misses.endings).zip(&mut self.endings);
        let by_kind = counted.lost.iter_mut().zip(RecordKind::ALL).zip(misses);
        for ((lost, kind), ((missed, missed_endings), ending)) in by_kind {
            let per_cpu = self.counters.get(&(kind.index() as u32), 0).map_err(io::Error::other)?;
            let mut sums: Counters = Default::default();
            for counters in per_cpu.iter() {
                for (sum, counter) in sums.iter_mut().zip(counters) {
                    // What began on one processor may be taken back on another.
                    *sum = sum.wrapping_add(*counter);
                }
            }
            let [seq, ring_full, no_intent, no_return, begun, unfinished] = sums;
            let operations = Operations { unfinished, open: begun.saturating_sub(seq + unfinished) };
            let ended_unseen = ending.lost(missed_endings, operations, Instant::now(), self.missed.is_some());
            *lost = Lost { ring_full, no_intent, missed: no_return + missed + ended_unseen };
        }
        Ok(counted)
    }

    /// What may be lost without anybody knowing, for a person; absent if nothing.
    pub(crate) fn uncounted(&self) -> Option<&'static str> {
        self.are_misses_uncounted.then_some(UNCOUNTED)
    }

    /// Every hook and how it went.
    pub(crate) fn hooks(&self) -> &[HookStatus] {
        &self.hooks
    }

    /// What can be seen with them.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Structure members that this kernel does not have, whose facts are missing from the records.
    pub(crate) fn absent_members(&self) -> &[String] {
        &self.absent
    }

    /// Passes on what the programs had to say about themselves.
    pub(crate) fn flush_diagnostics(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Detaches every program; the ring keeps what it holds.
    pub(crate) fn detach(&mut self) {
        match misses::of(&self.ebpf, &self.hooks) {
            Ok(missed) => self.missed = Some(missed),
            Err(error) => tracing::warn!("losses cannot be read: {error}"),
        }
        programs::detach_all(&mut self.ebpf, &self.hooks);
    }
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<aya::maps::Map>,
    T::Error: std::fmt::Display,
{
    let map = ebpf.take_map(name).ok_or_else(|| KernelError::Object(format!("no map {name}")))?;
    T::try_from(map).map_err(|error| KernelError::Object(format!("map {name}: {error}")))
}
