//! dpkg's database: lists and sums, one file of each for every package, a status with the sums of configuration files,
//! and the files that had to make way for another package's.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, fstat, readlinkat, statat};

use super::known::{Files, Found, Known};
use super::{OWNED_MAX, Owner, Sum, TOO_LARGE, read_system_file};
use crate::open;

pub(super) const NAME: &str = "dpkg";
const INFO: &str = "/var/lib/dpkg/info";
const STATUS: &[u8] = b"/var/lib/dpkg/status";
const DIVERSIONS: &[u8] = b"/var/lib/dpkg/diversions";
/// In all, of one search.
const SEARCH_BYTES_MAX: u64 = 256 << 20;
const PACKAGES_MAX: usize = 1 << 16;
/// That are diverted to one directory.
const DIVERTED_MAX: usize = 64;

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
    for path in [STATUS, DIVERSIONS] {
        if let Some(stat) = open::hold(root, path).ok().and_then(|held| fstat(held).ok()) {
            files.add(path, &stat);
        }
    }
    let wanted = spellings(root, directory);
    wanted.iter().for_each(|spelt| files.spelt(spelt));
    for entry in Dir::read_from(&info).map_err(|errno| errno.to_string())? {
        let entry = entry.map_err(|errno| errno.to_string())?;
        let name = entry.file_name().to_bytes();
        in_time()?;
        if !name.ends_with(b".list") && !name.ends_with(b".md5sums") {
            continue;
        }
        if let Ok(stat) = statat(&info, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            files.add(name, &stat);
        }
        if let Some(package) = name.strip_suffix(b".list") {
            lists.push(package.to_vec());
            if lists.len() > PACKAGES_MAX {
                return Err(TOO_LARGE.to_owned());
            }
        }
    }
    let read = || {
        let diversions = Diversions::read(root, &wanted)?;
        let mut owners = BTreeMap::new();
        let mut budget = SEARCH_BYTES_MAX;
        for package in lists {
            in_time()?;
            let path = [INFO.as_bytes(), b"/", &package, b".list"].concat();
            let Some(list) = read_system_file(root, &path) else { continue };
            budget = budget.checked_sub(list.len() as u64).ok_or(TOO_LARGE)?;
            for wanted in &wanted {
                collect(&list, wanted, directory, &package, &diversions, &mut owners)?;
            }
            for Diverted { from, spellings, to, by } in &diversions.to_here {
                in_time()?;
                let is_listed = || spellings.iter().any(|spelt| has_line(&list, spelt));
                if by != without_architecture(&package) && is_listed() {
                    let path = [directory, b"/", to].concat();
                    let owner = Owner { listed: Some(from.clone()), ..Owner::of_dpkg(&package) };
                    owners.insert(path, owner);
                }
            }
        }
        Ok(owners)
    };
    known.of(files.version(), directory, read).map(Some)
}

/// `dpkg-divert`: under this name is the file of `by` alone, that of others is under another.
#[derive(Debug)]
struct Diverted {
    from: Vec<u8>,
    /// The ways in which lists may have it, each with a slash after it.
    spellings: Vec<Vec<u8>>,
    /// The name in the directory that was asked for.
    to: Vec<u8>,
    by: Vec<u8>,
}

/// Those that the directory is concerned in.
#[derive(Debug, Default)]
struct Diversions {
    /// By the name in the directory: whose file has it.
    from_here: BTreeMap<Vec<u8>, Vec<u8>>,
    to_here: Vec<Diverted>,
}

impl Diversions {
    fn read(root: &OwnedFd, wanted: &[Vec<u8>]) -> Result<Self, String> {
        let text = read_system_file(root, DIVERSIONS).unwrap_or_default();
        let mut lines = text.split(|byte| *byte == b'\n');
        let name_here = |path: &[u8]| {
            let name = wanted.iter().find_map(|directory| path.strip_prefix(directory.as_slice()))?;
            (!name.is_empty() && !name.contains(&b'/')).then(|| name.to_vec())
        };
        let mut found = Self::default();
        while let (Some(from), Some(to), Some(by)) = (lines.next(), lines.next(), lines.next()) {
            if let Some(name) = name_here(from) {
                found.from_here.insert(name, by.to_vec());
            }
            if let Some(to) = name_here(to) {
                let from = resolved(root, from);
                let spellings = spellings(root, &from);
                found.to_here.push(Diverted { from, spellings, to, by: by.to_vec() });
            }
            if found.to_here.len() > DIVERTED_MAX || found.from_here.len() > OWNED_MAX {
                return Err(TOO_LARGE.to_owned());
            }
        }
        Ok(found)
    }
}

fn without_architecture(package: &[u8]) -> &[u8] {
    package.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// `line` has a slash after it, which the list has not.
fn has_line(list: &[u8], line: &[u8]) -> bool {
    let line = line.strip_suffix(b"/").unwrap_or(line);
    let mut found = memchr::memmem::find_iter(list, line);
    found.any(|at| {
        let after = list.get(at + line.len());
        (at == 0 || list.get(at - 1) == Some(&b'\n')) && after.is_none_or(|byte| *byte == b'\n')
    })
}

impl Owner {
    fn of_dpkg(package: &[u8]) -> Self {
        let package = String::from_utf8_lossy(package).into_owned();
        Self { manager: NAME, package, sum: None, listed: None }
    }
}

/// Notes every line of a list that is directly below a directory.
fn collect(
    list: &[u8],
    spelt: &[u8],
    directory: &[u8],
    package: &[u8],
    diversions: &Diversions,
    owners: &mut BTreeMap<Vec<u8>, Owner>,
) -> Result<(), String> {
    for at in memchr::memmem::find_iter(list, spelt) {
        let starts_line = at == 0 || list.get(at - 1) == Some(&b'\n');
        let name = list.get(at + spelt.len()..).unwrap_or_default().split(|byte| *byte == b'\n').next();
        if let Some(name) = name.filter(|name| starts_line && !name.is_empty() && !name.contains(&b'/')) {
            let diverted = diversions.from_here.get(name);
            if diverted.is_some_and(|by| by != without_architecture(package)) {
                continue;
            }
            owners.insert([directory, b"/", name].concat(), Owner::of_dpkg(package));
            if owners.len() > OWNED_MAX {
                return Err(TOO_LARGE.to_owned());
            }
        }
    }
    Ok(())
}

/// A path with a slash after it, as lists may have it: some packages ship into `/bin`, which is `/usr/bin` on most
/// hosts. The kernel's paths lead through no links: where one begins with `/bin`, that is a directory.
fn spellings(root: &OwnedFd, directory: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![[directory, b"/"].concat()];
    if let Some(below) = directory.strip_prefix(b"/usr")
        && is_merged(root, below)
    {
        spellings.push([below, b"/"].concat());
    }
    spellings
}

/// A path as the kernel has it.
fn resolved(root: &OwnedFd, path: &[u8]) -> Vec<u8> {
    if is_merged(root, path) { [b"/usr", path].concat() } else { path.to_vec() }
}

/// Whether a path begins with a link to the directory of its name below `/usr`.
fn is_merged(root: &OwnedFd, path: &[u8]) -> bool {
    let is_in =
        |top: &&[u8]| path.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let Some(top) = [&b"/bin"[..], b"/sbin", b"/lib", b"/lib64"].into_iter().find(is_in) else {
        return false;
    };
    let target = open::hold(root, top).ok().and_then(|held| readlinkat(held, c"", Vec::new()).ok());
    target.is_some_and(|target| {
        let target = target.as_bytes();
        target.strip_prefix(b"/").unwrap_or(target) == [b"usr", top].concat()
    })
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
    let spelt = spellings(root, path);
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
