//! dpkg's database: lists and sums, one file of each for every package, and a status with those of configuration files.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, fstat, statat};

use super::known::{Files, Found, Known};
use super::{Owner, Sum, read_system_file};
use crate::open;

pub(super) const NAME: &str = "dpkg";
const INFO: &str = "/var/lib/dpkg/info";
const STATUS: &[u8] = b"/var/lib/dpkg/status";
/// In all, of one search.
const SEARCH_BYTES_MAX: u64 = 256 << 20;

/// Which packages own what is directly in `directory`; nothing without a database.
pub(super) fn owners(
    root: &OwnedFd,
    directory: &[u8],
    known: &mut Known,
    deadline: Instant,
) -> Result<Option<Rc<Found>>, String> {
    let Ok(info) = open::directory(root, INFO.as_bytes()) else { return Ok(None) };
    let in_time =
        || if Instant::now() < deadline { Ok(()) } else { Err("the search took too long".to_owned()) };
    let (mut files, mut lists) = (Files::default(), Vec::new());
    if let Some(status) = open::hold(root, STATUS).ok().and_then(|held| fstat(held).ok()) {
        files.add(STATUS, &status);
    }
    for entry in Dir::read_from(&info).map_err(|errno| errno.to_string())? {
        let entry = entry.map_err(|errno| errno.to_string())?;
        let name = entry.file_name().to_bytes();
        if !name.ends_with(b".list") && !name.ends_with(b".md5sums") {
            continue;
        }
        in_time()?;
        if let Ok(stat) = statat(&info, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            files.add(name, &stat);
        }
        if let Some(package) = name.strip_suffix(b".list") {
            lists.push(package.to_vec());
        }
    }
    let read = || {
        let wanted = spellings(directory);
        let mut owners = BTreeMap::new();
        let mut budget = SEARCH_BYTES_MAX;
        for package in lists {
            in_time()?;
            let path = [INFO.as_bytes(), b"/", &package, b".list"].concat();
            let Some(list) = read_system_file(root, &path) else { continue };
            budget = budget.checked_sub(list.len() as u64).ok_or("the database is too large")?;
            for wanted in &wanted {
                collect(&list, wanted, directory, &package, &mut owners);
            }
        }
        Ok(owners)
    };
    known.of(files.version(), directory, read).map(Some)
}

/// Notes every line of a list that is directly below a directory.
fn collect(
    list: &[u8],
    spelt: &[u8],
    directory: &[u8],
    package: &[u8],
    owners: &mut BTreeMap<Vec<u8>, Owner>,
) {
    for at in memchr::memmem::find_iter(list, spelt) {
        let starts_line = at == 0 || list.get(at - 1) == Some(&b'\n');
        let name = list.get(at + spelt.len()..).unwrap_or_default().split(|byte| *byte == b'\n').next();
        if let Some(name) = name.filter(|name| starts_line && !name.is_empty() && !name.contains(&b'/')) {
            let path = [directory, b"/", name].concat();
            let package = String::from_utf8_lossy(package).into_owned();
            owners.insert(path, Owner { manager: NAME, package, sum: None });
        }
    }
}

/// A path with a slash after it, as lists may have it: some packages ship into `/bin`, which is `/usr/bin` now.
fn spellings(directory: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![[directory, b"/"].concat()];
    let merged = [&b"/bin"[..], b"/sbin", b"/lib", b"/lib64"];
    let under = |parent: &[u8]| {
        merged.iter().any(|top| {
            directory.strip_prefix(parent).is_some_and(|rest| {
                rest.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            })
        })
    };
    if under(b"/usr") {
        spellings.push([directory.get(4..).unwrap_or_default(), b"/"].concat());
    } else if under(b"") {
        spellings.push([b"/usr", directory, b"/"].concat());
    }
    spellings
}

/// The sum that the package brought: for a configuration file in the status, for any other in its list of sums.
pub(super) fn sum(root: &OwnedFd, package: &str, path: &[u8]) -> Option<Sum> {
    let digest = recorded(root, package, path)?;
    Some(Sum { algorithm: "md5".to_owned(), digest })
}

fn recorded(root: &OwnedFd, package: &str, path: &[u8]) -> Option<String> {
    let status = read_system_file(root, STATUS).unwrap_or_default();
    if let Some(sum) = conffile_sum(&status, package, path) {
        return Some(sum);
    }
    let sums = read_system_file(root, format!("{INFO}/{package}.md5sums").as_bytes())?;
    let spelt = spellings(path);
    sums.split(|byte| *byte == b'\n').find_map(|line| {
        let name = [b"/", line.get(34..)?, b"/"].concat();
        spelt.contains(&name).then(|| text(line.get(..32)?))?
    })
}

fn conffile_sum(status: &[u8], package: &str, path: &[u8]) -> Option<String> {
    let name = package.split(':').next()?;
    let header = format!("Package: {name}");
    let mut of_package = false;
    for line in status.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            of_package = false;
        } else if line == header.as_bytes() {
            of_package = true;
        } else if of_package
            && let Some(rest) = line.strip_prefix(b" ").and_then(|line| line.strip_prefix(path))
            && let Some(sum) = rest.strip_prefix(b" ").and_then(|rest| rest.get(..32))
        {
            return text(sum);
        }
    }
    None
}

fn text(sum: &[u8]) -> Option<String> {
    let is_sum = sum.iter().all(u8::is_ascii_hexdigit);
    is_sum.then(|| String::from_utf8_lossy(sum).to_ascii_lowercase())
}
