//! What the package manager knows about a path: dpkg's database, read as files, below the root that the file was in.
//!
//! Whoever is root in a container can write its database: the answer says what the database says, no more.
//! The rpm database is an SQLite file of binary headers and is not read.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::time::Instant;

use md5::{Digest as _, Md5};
use serde::Serialize;

use crate::hash::hex;
use crate::open::{self, Opened};

const INFO: &str = "/var/lib/dpkg/info";
const STATUS: &[u8] = b"/var/lib/dpkg/status";
const RPM: [&[u8]; 2] = [b"/var/lib/rpm/rpmdb.sqlite", b"/usr/lib/sysimage/rpm/rpmdb.sqlite"];
/// Larger ones are no lists of files.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// In all, of one search.
const SEARCH_BYTES_MAX: u64 = 256 << 20;
const MD5_BYTES_MAX: usize = 64 << 20;

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

/// Owners of the paths in one directory: path to package.
pub(super) type Owners = BTreeMap<Vec<u8>, String>;

/// Which packages own what is directly in `directory`.
pub(super) fn owners(root: &OwnedFd, directory: &[u8], deadline: Instant) -> Result<Owners, String> {
    let info = open::directory(root, INFO.as_bytes()).map_err(|_| no_dpkg(root))?;
    let names = rustix::fs::Dir::read_from(&info).map_err(|errno| errno.to_string())?;
    let wanted = spellings(directory);
    let mut owners = Owners::new();
    let mut budget = SEARCH_BYTES_MAX;
    for entry in names {
        let entry = entry.map_err(|errno| errno.to_string())?;
        let name = entry.file_name().to_bytes();
        let Some(package) = name.strip_suffix(b".list") else { continue };
        if Instant::now() >= deadline {
            return Err("the search took too long".to_owned());
        }
        let Some(list) = read_system_file(root, &[INFO.as_bytes(), b"/", name].concat()) else { continue };
        budget = budget.checked_sub(list.len() as u64).ok_or("the database is too large")?;
        for wanted in &wanted {
            collect(&list, wanted, directory, package, &mut owners);
        }
    }
    Ok(owners)
}

/// Notes every line of a list that is directly below a directory.
fn collect(list: &[u8], spelt: &[u8], directory: &[u8], package: &[u8], owners: &mut Owners) {
    for at in memchr::memmem::find_iter(list, spelt) {
        let starts_line = at == 0 || list.get(at - 1) == Some(&b'\n');
        let name = list.get(at + spelt.len()..).unwrap_or_default().split(|byte| *byte == b'\n').next();
        if let Some(name) = name.filter(|name| starts_line && !name.is_empty() && !name.contains(&b'/')) {
            let path = [directory, b"/", name].concat();
            owners.insert(path, String::from_utf8_lossy(package).into_owned());
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

fn no_dpkg(root: &OwnedFd) -> String {
    if RPM.iter().any(|path| open::hold(root, path).is_ok()) {
        "the rpm database is not read".to_owned()
    } else {
        "there is no dpkg database".to_owned()
    }
}

/// What the database says about a file; `opened` is its content, if it could be had.
pub(super) fn of(root: &OwnedFd, path: &[u8], owners: &Owners, opened: Option<&mut Opened>) -> Package {
    let Some(package) = owners.get(path) else {
        return Package { manager: "dpkg", name: None, shipped: Shipped::Never };
    };
    let recorded = recorded_sum(root, package, path);
    let shipped = match (recorded, opened.and_then(md5)) {
        (Some(recorded), Some(actual)) if recorded == actual => Shipped::Same,
        (Some(_), Some(_)) => Shipped::Different,
        _ => Shipped::Unknown,
    };
    Package { manager: "dpkg", name: Some(package.clone()), shipped }
}

/// The sum that the package brought: for a configuration file in the status, for any other in its list of sums.
fn recorded_sum(root: &OwnedFd, package: &str, path: &[u8]) -> Option<String> {
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

fn md5(opened: &mut Opened) -> Option<String> {
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut opened.file).ok()?;
    (&opened.file).take(MD5_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MD5_BYTES_MAX).then(|| hex(&Md5::digest(&bytes)))
}

/// A file of the system below `root`; `None` if it is not there, or is not what it should be.
pub(super) fn read_system_file(root: &OwnedFd, path: &[u8]) -> Option<Vec<u8>> {
    let held = open::hold(root, path).ok()?;
    let opened = open::held_regular(&held).ok()?;
    let mut bytes = Vec::new();
    opened.file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::time::Duration;

    use super::*;
    use crate::open::Identity;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    struct System {
        directory: tempfile::TempDir,
        root: OwnedFd,
    }

    /// A host with one package that owns a configuration file and a program.
    fn system() -> System {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for made in ["var/lib/dpkg/info", "etc/apt/apt.conf.d", "usr/bin"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        fs::write(
            at("var/lib/dpkg/info/demo:amd64.list"),
            "/.\n/etc\n/etc/apt/apt.conf.d/01demo\n/bin/demo\n",
        )
        .unwrap();
        // md5 of "shipped\n" and of "program\n".
        let shipped = hex(&Md5::digest(b"shipped\n"));
        let program = hex(&Md5::digest(b"program\n"));
        fs::write(at("var/lib/dpkg/info/demo:amd64.md5sums"), format!("{program}  usr/bin/demo\n")).unwrap();
        fs::write(
            at("var/lib/dpkg/status"),
            format!("Package: other\nStatus: x\n\nPackage: demo\nStatus: install ok installed\nConffiles:\n /etc/apt/apt.conf.d/01demo {shipped}\n\n"),
        )
        .unwrap();
        fs::write(at("etc/apt/apt.conf.d/01demo"), "shipped\n").unwrap();
        fs::write(at("usr/bin/demo"), "program\n").unwrap();
        let root = open::root(directory.path()).unwrap();
        System { directory, root }
    }

    impl System {
        fn package(&self, path: &str) -> Package {
            let metadata = fs::metadata(self.directory.path().join(path.trim_start_matches('/'))).unwrap();
            let identity = Identity { device: Some(metadata.dev()), inode: Some(metadata.ino()) };
            let mut opened = open::regular(&self.root, path.as_bytes(), identity).unwrap();
            let directory = path.rsplit_once('/').unwrap().0;
            let owners = owners(&self.root, directory.as_bytes(), later()).unwrap();
            of(&self.root, path.as_bytes(), &owners, Some(&mut opened))
        }
    }

    fn owned(shipped: Shipped) -> Package {
        Package { manager: "dpkg", name: Some("demo:amd64".to_owned()), shipped }
    }

    #[test]
    fn a_shipped_file_is_known() {
        let system = system();
        assert_eq!(system.package("/etc/apt/apt.conf.d/01demo"), owned(Shipped::Same));
        // Listed below /bin, which is /usr/bin.
        assert_eq!(system.package("/usr/bin/demo"), owned(Shipped::Same));
    }

    #[test]
    fn a_changed_file_is_told() {
        let system = system();
        fs::write(system.directory.path().join("etc/apt/apt.conf.d/01demo"), "hook\n").unwrap();
        assert_eq!(system.package("/etc/apt/apt.conf.d/01demo"), owned(Shipped::Different));
    }

    #[test]
    fn a_file_of_nobody_is_told() {
        let system = system();
        fs::write(system.directory.path().join("etc/apt/apt.conf.d/99hook"), "hook\n").unwrap();
        let nobodys = Package { manager: "dpkg", name: None, shipped: Shipped::Never };
        assert_eq!(system.package("/etc/apt/apt.conf.d/99hook"), nobodys);
    }

    #[test]
    fn a_host_without_dpkg_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let root = open::root(directory.path()).unwrap();
        let reason = |root| owners(root, b"/etc", later()).unwrap_err();
        assert_eq!(reason(&root), "there is no dpkg database");
        fs::create_dir_all(directory.path().join("var/lib/rpm")).unwrap();
        fs::write(directory.path().join("var/lib/rpm/rpmdb.sqlite"), "").unwrap();
        assert_eq!(reason(&root), "the rpm database is not read");
    }
}
