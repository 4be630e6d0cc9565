//! What the package manager knows about a path, below the root that the file was in.
//!
//! Whoever is root in a container can write its database: the answer says what the database says, no more.

mod dpkg;
mod rpm;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use md5::Md5;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hash::hex;
use crate::open::{self, Opened};

/// Larger ones are no lists of files.
const FILE_BYTES_MAX: u64 = 32 << 20;
const SUMMED_BYTES_MAX: usize = 64 << 20;

/// What is known about a path's package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Package {
    pub(super) manager: &'static str,
    /// Absent when no package has the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// How the content compares with what the package brought.
    pub(super) shipped: Shipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shipped {
    Same,
    Different,
    /// No package has the path.
    Never,
    /// The package has the path, but no sum of its content, or the content was not read.
    Unknown,
}

/// Owners of the paths in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owners {
    manager: &'static str,
    owners: BTreeMap<Vec<u8>, Owner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    package: String,
    /// Of the content that it brought, where the database has it beside the path.
    sum: Option<Sum>,
}

/// A digest as a database has it, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    algorithm: String,
    digest: String,
}

impl Owners {
    /// The package that has this path.
    pub(super) fn package(&self, path: &[u8]) -> Option<&String> {
        self.owners.get(path).map(|owner| &owner.package)
    }
}

/// Which packages own what is directly in `directory`. `hunting` is the program that reads rpm's database.
pub(super) fn owners(
    root: &OwnedFd,
    directory: &[u8],
    hunting: Option<&Path>,
    deadline: Instant,
) -> Result<Owners, String> {
    match dpkg::owners(root, directory, deadline)? {
        Some(owners) => Ok(owners),
        None => rpm::owners(root, directory, hunting, deadline),
    }
}

/// What the database says about a file; `opened` is its content, if it could be had.
pub(super) fn of(root: &OwnedFd, path: &[u8], owners: &Owners, opened: Option<&mut Opened>) -> Package {
    let manager = owners.manager;
    let Some(Owner { package, sum }) = owners.owners.get(path) else {
        return Package { manager, name: None, shipped: Shipped::Never };
    };
    let recorded = sum.clone().or_else(|| dpkg::sum(root, package, path).filter(|_| manager == "dpkg"));
    let actual = recorded.as_ref().and_then(|sum| digest(opened?, &sum.algorithm));
    let shipped = match (recorded, actual) {
        (Some(recorded), Some(actual)) if recorded.digest == actual => Shipped::Same,
        (Some(_), Some(_)) => Shipped::Different,
        _ => Shipped::Unknown,
    };
    Package { manager, name: Some(package.clone()), shipped }
}

/// Of the whole content; `None` for an algorithm that nobody packages with any more.
fn digest(opened: &mut Opened, algorithm: &str) -> Option<String> {
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut opened.file).ok()?;
    (&opened.file).take(SUMMED_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() > SUMMED_BYTES_MAX {
        return None;
    }
    match algorithm {
        "md5" => Some(hex(&Md5::digest(&bytes))),
        "sha256" => Some(hex(&Sha256::digest(&bytes))),
        _ => None,
    }
}

/// A file of the system below `root`; `None` if it is not there, or is not what it should be.
pub(super) fn read_system_file(root: &OwnedFd, path: &[u8]) -> Option<Vec<u8>> {
    let held = open::hold(root, path).ok()?;
    let opened = open::held_regular(&held).ok()?;
    let mut bytes = Vec::new();
    opened.file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
