//! What was found in databases of packages, until they change: many alerts at once are mostly about one directory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

use super::{Owner, Sum};

/// Paths that are remembered, of all directories; a directory with more is not.
const OWNERS_MAX: usize = 8192;
const DIRECTORIES_MAX: usize = 16;
const SUMS_MAX: usize = 256;

/// A state of all files that an answer was read from.
pub(super) type Version = [u8; 32];

/// Makes a version of what file systems say of files.
#[derive(Default)]
pub(super) struct Files(Sha256);

impl Files {
    pub(super) fn add(&mut self, name: &[u8], stat: &Stat) {
        self.spelt(name);
        for number in [stat.st_dev, stat.st_ino] {
            self.0.update(number.to_ne_bytes());
        }
        for number in [stat.st_size, stat.st_mtime, stat.st_ctime] {
            self.0.update(number.to_ne_bytes());
        }
        self.0.update(stat.st_mtime_nsec.to_ne_bytes());
        self.0.update(stat.st_ctime_nsec.to_ne_bytes());
    }

    /// A name that is looked for in them.
    pub(super) fn spelt(&mut self, name: &[u8]) {
        self.0.update(name);
        self.0.update([0]);
    }

    pub(super) fn version(self) -> Version {
        self.0.finalize().into()
    }
}

/// Who owns what in one directory, as one database says.
#[derive(Debug)]
pub(super) struct Found {
    version: Version,
    directory: Vec<u8>,
    pub(super) owners: BTreeMap<Vec<u8>, Owner>,
    sums: RefCell<BTreeMap<Vec<u8>, Option<Sum>>>,
}

impl Found {
    /// The sum of a path's content, looked up once.
    pub(super) fn sum(&self, path: &[u8], look_up: impl FnOnce() -> Option<Sum>) -> Option<Sum> {
        if let Some(known) = self.sums.borrow().get(path) {
            return known.clone();
        }
        let sum = look_up();
        let mut sums = self.sums.borrow_mut();
        if sums.len() < SUMS_MAX {
            sums.insert(path.to_vec(), sum.clone());
        }
        sum
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub(in crate::evidence) struct Known(VecDeque<Rc<Found>>);

impl Known {
    /// What the files of this version say about a directory.
    pub(super) fn of(
        &mut self,
        version: Version,
        directory: &[u8],
        read: impl FnOnce() -> Result<BTreeMap<Vec<u8>, Owner>, String>,
    ) -> Result<Rc<Found>, String> {
        let is_it = |found: &&Rc<Found>| found.version == version && found.directory == directory;
        if let Some(found) = self.0.iter().find(is_it) {
            return Ok(Rc::clone(found));
        }
        let (directory, sums) = (directory.to_vec(), RefCell::default());
        let found = Rc::new(Found { version, directory, owners: read()?, sums });
        if found.owners.len() <= OWNERS_MAX {
            self.0.push_back(Rc::clone(&found));
        }
        while self.0.len() > DIRECTORIES_MAX || self.owners() > OWNERS_MAX {
            self.0.pop_front();
        }
        Ok(found)
    }

    pub(super) fn owners(&self) -> usize {
        self.0.iter().map(|found| found.owners.len()).sum()
    }
}
