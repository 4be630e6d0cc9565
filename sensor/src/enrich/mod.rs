//! Records to events: who did it, where, under which name.

mod accounts;
pub(crate) mod agent;
mod changes;
mod clock;
mod container;
mod containers;
pub(crate) mod environment;
mod event;
mod hashes;
pub(crate) mod host;
mod inside;
mod leaders;
mod lookup;
mod mounts;
mod names;
mod process;
mod procfs;
mod runtimes;
mod scripts;
mod seed;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use sensor_ecs::{Agent, EventId, Host, Image, Text};

use accounts::Accounts;
use clock::BootClock;
use containers::Containers;
use event::{FileNumbers, PathBuffers};
use hashes::Hashes;
use lookup::Lookup;
use mounts::Mounts;
use scripts::PendingScripts;
use table::{Key, Table};

pub(crate) use clock::boot_ns_now;
pub(crate) use event::{Enriched, View, operation};
pub(crate) use procfs::{ProcFacts, pids, read_process};
pub(crate) use tree::Tree;

/// Bytes of the process table; some 8,000 processes with ordinary arguments.
pub(crate) const TABLE_BYTES_MAX: usize = 12 << 20;

/// Few executables are larger.
pub(crate) const HASHED_BYTES_DEFAULT: u64 = 64 << 20;

/// How often processes whose end was missed are looked for.
const SWEEP_NS: u64 = 60_000_000_000;

/// Where facts that records do not carry are read.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// `/`: os-release, passwd and the like.
    pub(crate) root: PathBuf,
    /// `/proc`.
    pub(crate) proc_root: PathBuf,
    /// Larger executables are not hashed.
    pub(crate) hashed_bytes_max: u64,
    /// Larger files that are renamed are not; none is with 0.
    pub(crate) hashed_file_bytes_max: u64,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            proc_root: PathBuf::from("/proc"),
            hashed_bytes_max: HASHED_BYTES_DEFAULT,
            hashed_file_bytes_max: 0,
        }
    }
}

/// How often the process table had to be put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnrichStats {
    /// Processes that spoke without having been seen to start.
    pub(crate) discovered: u64,
    /// Processes whose exec was missed.
    pub(crate) repaired: u64,
    /// Of both, those whose image could not be found out any more.
    pub(crate) images_lost: u64,
    /// Living processes that were dropped for want of room.
    pub(crate) evicted: u64,
}

/// Turns records into events.
#[derive(Debug)]
pub(crate) struct Enricher {
    host: Host,
    agent: Arc<Agent>,
    boot_hash: u32,
    proc_root: PathBuf,
    lookup: Lookup<u32, ProcFacts>,
    clock: BootClock,
    accounts: Accounts,
    containers: Containers,
    root: PathBuf,
    hashes: Hashes,
    /// Apart: an executable does not wait for files.
    file_hashes: Hashes,
    /// That of the file in hand.
    file_sha256: Option<Text>,
    mounts: Mounts,
    table: Table,
    scripts: PendingScripts,
    paths: PathBuffers,
    numbers: FileNumbers,
    /// The image before the exec in hand.
    previous: Option<Arc<Image>>,
    nonce: [u8; 10],
    sequence: u64,
    /// Of the last event.
    event_id: EventId,
    /// When the table was last compared with `/proc`, on the boot clock.
    swept_ns: u64,
    stats: EnrichStats,
}

impl Enricher {
    /// Reads what does not change with events.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes for the ids of events.
    pub(crate) fn new(sources: &Sources, agent: Arc<Agent>, table_bytes_max: usize) -> std::io::Result<Self> {
        let host = host::read(&sources.root);
        let nonce = agent::random()?;
        Ok(Self {
            boot_hash: host::boot_hash(&host),
            host,
            agent,
            proc_root: sources.proc_root.clone(),
            lookup: Lookup::new(sources.proc_root.clone(), |root, pid| read_process(root, *pid)),
            clock: BootClock::now(),
            accounts: Accounts::read(&sources.root, sources.proc_root.clone()),
            containers: Containers::new(sources.root.clone()),
            root: sources.root.clone(),
            hashes: Hashes::new(sources.hashed_bytes_max).below(&sources.root),
            file_hashes: Hashes::new(sources.hashed_file_bytes_max),
            file_sha256: None,
            mounts: Mounts::read(&sources.proc_root),
            table: Table::new(table_bytes_max),
            scripts: PendingScripts::default(),
            paths: PathBuffers::default(),
            numbers: FileNumbers::default(),
            previous: None,
            nonce,
            sequence: 0,
            event_id: EventId::new(nonce, 0),
            swept_ns: boot_ns_now(),
            stats: EnrichStats::default(),
        })
    }

    /// Has `POLLPRI` when [`Self::mounts_changed`] is due.
    pub(crate) fn mounts_watch(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.watch()
    }

    /// Something was mounted or unmounted.
    pub(crate) fn mounts_changed(&mut self) {
        self.mounts.refresh();
    }

    /// What passes with time rather than with records.
    pub(crate) fn tick(&mut self, boot_ns: u64) {
        self.accounts.refresh();
        if self.clock.resync() {
            tracing::info!("the wall clock was stepped; event times follow it");
        }
        self.scripts.expire(boot_ns);
        self.mounts.expire();
        self.table.expire(boot_ns);
        if boot_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.swept_ns = boot_ns;
            // A covered /proc shows nobody; that is not that nobody lives.
            if let Ok(alive) = pids(&self.proc_root)
                && !alive.is_empty()
            {
                self.table.sweep(&alive, boot_ns, SWEEP_NS);
            }
        }
    }

    /// Processes in the table.
    pub(crate) fn processes(&self) -> usize {
        self.table.len()
    }

    /// The living processes of a tree.
    pub(crate) fn processes_of(&self, tree: Tree) -> Vec<u32> {
        let of_tree = |key: &Key| {
            self.table
                .relations(*key)
                .is_some_and(|relations| Tree::of(&event::view(relations, None)) == tree)
        };
        self.table.living().filter(of_tree).map(|key| key.pid()).collect()
    }

    /// The time that an event of this boot time has.
    pub(crate) fn wall_ns(&self, boot_ns: u64) -> i64 {
        self.clock.wall_ns(boot_ns)
    }

    /// How it went so far.
    pub(crate) fn stats(&self) -> EnrichStats {
        EnrichStats { evicted: self.table.evicted(), ..self.stats }
    }
}
