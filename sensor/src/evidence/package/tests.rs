//! Hosts with databases of packages.

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
    fs::write(at("var/lib/dpkg/info/demo:amd64.list"), "/.\n/etc\n/etc/apt/apt.conf.d/01demo\n/bin/demo\n")
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
        let owners = owners(&self.root, directory.as_bytes(), None, later()).unwrap();
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

/// What dpkg does not know may be rpm's; where that cannot be asked, nobody knows.
#[test]
fn a_host_with_both_asks_both() {
    let system = system();
    fs::write(system.directory.path().join("etc/apt/apt.conf.d/99hook"), "hook\n").unwrap();
    fs::create_dir_all(system.directory.path().join("var/lib/rpm")).unwrap();
    fs::write(system.directory.path().join("var/lib/rpm/rpmdb.sqlite"), "").unwrap();
    let of = |hunting: &str, name: &str| {
        let path = format!("/etc/apt/apt.conf.d/{name}");
        let owners = owners(&system.root, b"/etc/apt/apt.conf.d", Some(Path::new(hunting)), later()).unwrap();
        of(&system.root, path.as_bytes(), &owners, None)
    };
    let nobodys = |manager, shipped| Package { manager, name: None, shipped };
    // What it says is no line of the program that it stands for: a database without packages.
    assert_eq!(of("/bin/echo", "99hook"), nobodys("dpkg, rpm", Shipped::Never));
    assert_eq!(of("/bin/false", "99hook"), nobodys("dpkg", Shipped::Unknown));
    assert_eq!(of("/bin/echo", "01demo"), owned(Shipped::Unknown));
    assert_eq!(of("/bin/false", "01demo"), owned(Shipped::Unknown));
}

#[test]
fn a_host_without_either_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = open::root(directory.path()).unwrap();
    let reason = |root| owners(root, b"/etc", None, later()).unwrap_err();
    assert_eq!(reason(&root), "there is no database of dpkg or rpm");
    fs::create_dir_all(directory.path().join("var/lib/rpm")).unwrap();
    fs::write(directory.path().join("var/lib/rpm/rpmdb.sqlite"), "").unwrap();
    assert_eq!(reason(&root), "sensor-hunt, which reads the rpm database, is not installed");
}
