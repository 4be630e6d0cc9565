//! What the package manager knows about a path, below the root that the file was in.
//!
//! Whoever is root in a container can write its database: the answer says what the database says, no more.

mod dpkg;
mod known;
mod rpm;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use md5::Md5;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hash::hex;
use crate::open::{self, Opened};
use known::Found;

pub(super) use known::Known;

/// Larger ones are no lists of files.
const FILE_BYTES_MAX: u64 = 32 << 20;
const SUMMED_BYTES_MAX: usize = 64 << 20;
/// In one directory; a database is whatever root of a container wrote.
const OWNED_MAX: usize = 1 << 16;
const TOO_LARGE: &str = "the database is too large";

/// What is known about a path's package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Package {
    /// Whose package it is; where it is nobody's, who was asked.
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
    /// The package has the path, but no sum of its content, or the content was not read; or no package of those that
    /// could be read has it.
    Unknown,
}

/// Owners of the paths in one directory.
#[derive(Clone, Debug)]
pub(super) struct Owners {
    /// Who was asked.
    asked: &'static str,
    /// What the first of them says counts.
    found: Vec<Rc<Found>>,
    /// There is another database, which could not be read.
    is_partial: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    manager: &'static str,
    package: String,
    /// Of the content that it brought, where the database has it beside the path.
    sum: Option<Sum>,
    /// Under which path the database has it, if that is another.
    listed: Option<Vec<u8>>,
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
        self.owner(path).map(|(_, owner)| &owner.package)
    }

    fn owner(&self, path: &[u8]) -> Option<(&Found, &Owner)> {
        self.found.iter().find_map(|found| Some((&**found, found.owners.get(path)?)))
    }
}

/// Which packages own what is directly in `directory`: a host can have databases of both managers. `hunting` is the program
/// that reads rpm's. What is `known` is not read again.
pub(super) fn owners(
    root: &OwnedFd,
    directory: &[u8],
    hunting: Option<&Path>,
    known: &mut Known,
    deadline: Instant,
) -> Result<Owners, String> {
    let by_dpkg = dpkg::owners(root, directory, known, deadline)?;
    let of = |asked, found, is_partial| Owners { asked, found, is_partial };
    match (by_dpkg, rpm::owners(root, directory, hunting, known, deadline)) {
        (None, Ok(None)) => Err("there is no database of dpkg or rpm".to_owned()),
        (None, Ok(Some(by_rpm))) => Ok(of(rpm::NAME, vec![by_rpm], false)),
        (None, Err(why)) => Err(why),
        (Some(by_dpkg), Ok(None)) => Ok(of(dpkg::NAME, vec![by_dpkg], false)),
        (Some(by_dpkg), Ok(Some(by_rpm))) => Ok(of("dpkg, rpm", vec![by_dpkg, by_rpm], false)),
        (Some(by_dpkg), Err(why)) => {
            tracing::debug!("{why}");
            Ok(of(dpkg::NAME, vec![by_dpkg], true))
        }
    }
}

/// What the database says about a file; `opened` is its content, if it could be had.
pub(super) fn of(root: &OwnedFd, path: &[u8], owners: &Owners, opened: Option<&mut Opened>) -> Package {
    let Some((found, owner)) = owners.owner(path) else {
        let shipped = if owners.is_partial { Shipped::Unknown } else { Shipped::Never };
        return Package { manager: owners.asked, name: None, shipped };
    };
    let Owner { manager, package, sum, listed } = owner;
    let listed = listed.as_deref().unwrap_or(path);
    let by_dpkg = || found.sum(path, || dpkg::sum(root, package, listed)).filter(|_| *manager == dpkg::NAME);
    let recorded = sum.clone().or_else(by_dpkg);
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
