//! What is mounted where, as pid 1 sees it, for the filter: read when the kernel says that it has changed.
//!
//! Between a change and that look a file system whose device was not known passes whole. Where its number was another's
//! a moment ago, it is judged by the directories that lead to it on the way it is used, not by those that lead to its
//! other mounts: a file that is named there and watched here is missed for that time.

use std::fs::File;
use std::path::Path;

use super::{Filter, Mounted};
use crate::mountinfo::{self, Mount};

/// The list of mounts.
pub(crate) struct Mounts {
    list: Option<File>,
}

impl Mounts {
    /// Opens the list; without one no overlay is known, and all pass.
    pub(crate) fn open(proc_root: &Path) -> Self {
        Self { list: File::open(proc_root.join("1/mountinfo")).ok() }
    }

    /// Whether something was mounted or unmounted since the last look.
    pub(crate) fn have_changed(&self) -> bool {
        self.list.as_ref().is_some_and(mountinfo::has_changed)
    }

    /// Tells the filter.
    pub(crate) fn tell(&mut self, filter: &mut Filter) {
        let Some(list) = &self.list else { return };
        match mountinfo::read(list) {
            Ok(mounts) => filter.set_mounts(mounts.iter().map(mounted)),
            Err(error) => {
                tracing::warn!("the list of mounts cannot be read, every file event passes: {error}");
                filter.distrust_mounts();
            }
        }
    }
}

fn mounted(mount: &Mount) -> Mounted<'_> {
    let Mount { dev, at, is_overlay, upper, .. } = mount;
    Mounted { dev: *dev, at, is_overlay: *is_overlay, upper: upper.as_deref() }
}
