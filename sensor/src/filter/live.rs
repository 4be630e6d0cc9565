//! The kernel programs with a filter that follows the mounts.

use std::io;
use std::os::fd::BorrowedFd;

use super::mounts::Mounts;
use super::{Filter, everything};
use crate::enrich::boot_ns_now;
use crate::kernel::Kernel;
use crate::pipeline::{Counted, RecordSource};

/// A kernel whose filter is kept right.
pub(crate) struct Filtered {
    kernel: Kernel,
    filter: Filter,
    mounts: Mounts,
    /// Until when somebody is followed, on the boot clock.
    followed_until_ns: Option<u64>,
}

impl Filtered {
    /// Gives the filter to the kernel.
    ///
    /// # Errors
    ///
    /// When it does not take it.
    pub(crate) fn new(kernel: Kernel, mut filter: Filter, mounts: Mounts) -> io::Result<Self> {
        // What was found out about a directory holds until one is renamed.
        if !kernel.capabilities().sees_renames() {
            filter.lift();
        }
        let mut filtered = Self { kernel, filter, mounts, followed_until_ns: None };
        filtered.mounts.tell(&mut filtered.filter);
        filtered.kernel.set_filter(filtered.filter.tables())?;
        Ok(filtered)
    }

    fn follow_mounts(&mut self) {
        if !self.mounts.have_changed() {
            return;
        }
        self.mounts.tell(&mut self.filter);
        if let Err(error) = self.kernel.set_filter(self.filter.tables()) {
            tracing::warn!("the filter cannot be changed, and is lifted: {error}");
            // What it was told before may be too little now.
            if let Err(error) = self.kernel.set_filter(&everything()) {
                tracing::error!("the filter cannot be lifted: {error}");
            }
        }
    }
}

impl RecordSource for Filtered {
    fn fd(&self) -> BorrowedFd<'_> {
        self.kernel.fd()
    }

    fn next_record(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.kernel.next_record(take)
    }

    fn counted(&mut self) -> io::Result<Counted> {
        RecordSource::counted(&mut self.kernel)
    }

    fn switched_off(&self) -> Vec<&'static str> {
        self.kernel.switched_off()
    }

    type Filter = Filter;

    fn refilter(&mut self, mut filter: Filter) -> io::Result<()> {
        if !self.kernel.capabilities().sees_renames() {
            filter.lift();
        }
        self.mounts.tell(&mut filter);
        self.kernel.set_filter(filter.tables())?;
        self.filter = filter;
        Ok(())
    }

    fn follow(&mut self, processes: &[u32], until_ns: u64) {
        match self.kernel.follow(processes, until_ns) {
            Ok(()) => self.followed_until_ns = self.followed_until_ns.max(Some(until_ns)),
            Err(error) => tracing::warn!("what the processes of an alert do cannot be followed: {error}"),
        }
    }

    fn mounts_changed(&mut self) {
        self.follow_mounts();
    }

    fn tick(&mut self) {
        // Where changes cannot be waited for.
        self.follow_mounts();
        if self.followed_until_ns.is_some_and(|until_ns| until_ns <= boot_ns_now()) {
            self.followed_until_ns = None;
            if let Err(error) = self.kernel.follow_nobody() {
                // Nobody's time goes on; it only costs.
                tracing::warn!("the end of following cannot be told: {error}");
            }
        }
        RecordSource::tick(&mut self.kernel);
    }

    fn detach(&mut self) {
        self.kernel.detach();
    }
}
