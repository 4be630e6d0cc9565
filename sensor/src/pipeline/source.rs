//! Where records come from.

use std::io;
use std::os::fd::BorrowedFd;

use sensor_common::wire::RecordKind;

pub(crate) use crate::kernel::{Counted, Lost};

/// What could not be delivered, by kind, in the order of [`RecordKind::ALL`].
pub(crate) type LostByKind = [Lost; RecordKind::ALL.len()];

/// A ring of records. The kernel is one; a test brings recorded bytes.
pub(crate) trait RecordSource {
    /// Becomes readable when records wait.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands the oldest record to `take`; `false` when there is none.
    fn next_record(&mut self, take: &mut dyn FnMut(&[u8])) -> bool;

    /// What was lost so far.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn counted(&mut self) -> io::Result<Counted>;

    /// What keeps records from being made at all.
    fn switched_off(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Which records are worth sending, as the source understands it.
    type Filter;

    /// Sends what other rules want.
    ///
    /// # Errors
    ///
    /// When it cannot be told; it goes on as before.
    fn refilter(&mut self, filter: Self::Filter) -> io::Result<()>;

    /// Sends whatever these processes, and those that they will fork, do until then, on the boot clock.
    fn follow(&mut self, _processes: &[u32], _until_ns: u64) {}

    /// Called when something was mounted or unmounted.
    fn mounts_changed(&mut self) {}

    /// Called from time to time.
    fn tick(&mut self) {}

    /// Ends the production of records; what is there can still be read.
    fn detach(&mut self);
}

impl RecordSource for crate::kernel::Kernel {
    fn fd(&self) -> BorrowedFd<'_> {
        Self::fd(self)
    }

    fn next_record(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        Self::next_record(self, take)
    }

    fn counted(&mut self) -> io::Result<Counted> {
        Self::counted(self)
    }

    fn switched_off(&self) -> Vec<&'static str> {
        Self::switched_off(self)
    }

    type Filter = ();

    fn refilter(&mut self, (): ()) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self) {
        self.flush_diagnostics();
    }

    fn detach(&mut self) {
        Self::detach(self);
    }
}
