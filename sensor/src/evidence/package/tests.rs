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
    std::os::unix::fs::symlink("usr/bin", at("bin")).unwrap();
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
        let owners = owners(&self.root, directory.as_bytes(), None, &mut Known::default(), later()).unwrap();
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

/// Where `/bin` and `/usr/bin` are two directories, a package's program in one of them says nothing of the other.
#[test]
fn a_program_of_another_directory_is_no_packages() {
    let system = system();
    let at = |path: &str| system.directory.path().join(path);
    fs::remove_file(at("bin")).unwrap();
    fs::create_dir(at("bin")).unwrap();
    fs::write(at("bin/demo"), "program\n").unwrap();
    let nobodys = Package { manager: "dpkg", name: None, shipped: Shipped::Never };
    assert_eq!(system.package("/usr/bin/demo"), nobodys);
    assert_eq!(system.package("/bin/demo").name.as_deref(), Some("demo:amd64"));
    fs::write(at("var/lib/dpkg/info/demo:amd64.list"), "/usr/bin/demo\n").unwrap();
    assert_eq!(system.package("/bin/demo"), nobodys);
    assert_eq!(system.package("/usr/bin/demo"), owned(Shipped::Same));
}

/// The file under the name is the diverting package's, and the other's is under another name.
#[test]
fn a_diverted_file_is_still_its_packages() {
    let system = system();
    let at = |path: &str| system.directory.path().join(path);
    fs::write(at("usr/bin/demo.distrib"), "program\n").unwrap();
    fs::write(at("usr/bin/demo"), "wrapper\n").unwrap();
    let wrapper = hex(&Md5::digest(b"wrapper\n"));
    fs::write(at("var/lib/dpkg/info/wrap.list"), "/usr/bin/demo\n").unwrap();
    fs::write(at("var/lib/dpkg/info/wrap.md5sums"), format!("{wrapper}  usr/bin/demo\n")).unwrap();
    let by = |by: &str| {
        format!("/usr/bin/other\n/usr/bin/other.distrib\nx\n/bin/demo\n/usr/bin/demo.distrib\n{by}\n")
    };
    fs::write(at("var/lib/dpkg/diversions"), by("wrap")).unwrap();
    let wraps = Package { manager: "dpkg", name: Some("wrap".to_owned()), shipped: Shipped::Same };
    assert_eq!(system.package("/usr/bin/demo"), wraps);
    assert_eq!(system.package("/usr/bin/demo.distrib"), owned(Shipped::Same));
    fs::write(at("usr/bin/demo.distrib"), "evil\n").unwrap();
    assert_eq!(system.package("/usr/bin/demo.distrib"), owned(Shipped::Different));
    // By the administrator: nobody's file is there.
    fs::write(at("var/lib/dpkg/diversions"), by(":")).unwrap();
    assert_eq!(system.package("/usr/bin/demo").name, None);
}

/// A container's root writes its database.
#[test]
fn a_database_without_end_is_refused() {
    let system = system();
    let list = system.directory.path().join("var/lib/dpkg/info/many.list");
    let lines: String = (0..=OWNED_MAX).map(|number| format!("/usr/bin/{number}\n")).collect();
    fs::write(list, lines).unwrap();
    let refused = owners(&system.root, b"/usr/bin", None, &mut Known::default(), later()).unwrap_err();
    assert_eq!(refused, TOO_LARGE);
    assert!(owners(&system.root, b"/etc", None, &mut Known::default(), later()).is_ok());
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
        let known = &mut Known::default();
        let owners =
            owners(&system.root, b"/etc/apt/apt.conf.d", Some(Path::new(hunting)), known, later()).unwrap();
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
    let reason = |root| owners(root, b"/etc", None, &mut Known::default(), later()).unwrap_err();
    assert_eq!(reason(&root), "there is no database of dpkg or rpm");
    fs::create_dir_all(directory.path().join("var/lib/rpm")).unwrap();
    fs::write(directory.path().join("var/lib/rpm/rpmdb.sqlite"), "").unwrap();
    assert_eq!(reason(&root), "sensor-hunt, which reads the rpm database, is not installed");
}

/// Many alerts at once do not read the whole database each; a change of any file of it is seen all the same.
#[test]
fn a_database_is_read_again_when_it_changes() {
    let system = system();
    let known = &mut Known::default();
    let hook = b"/etc/apt/apt.conf.d/99hook";
    let mut asked = || owners(&system.root, b"/etc/apt/apt.conf.d", None, known, later()).unwrap();
    let (first, second) = (asked(), asked());
    assert!(Rc::ptr_eq(&first.found[0], &second.found[0]));
    let list = system.directory.path().join("var/lib/dpkg/info/demo:amd64.list");
    let text = fs::read_to_string(&list).unwrap();
    // As long as before, and in place.
    fs::write(&list, text.replace("01demo", "99hook")).unwrap();
    assert!(first.package(hook).is_none() && asked().package(hook).is_some());
    fs::write(system.directory.path().join("var/lib/dpkg/info/hook.list"), "/etc/apt/apt.conf.d/98hook\n")
        .unwrap();
    assert!(asked().package(b"/etc/apt/apt.conf.d/98hook").is_some());
    let before = asked();
    fs::write(system.directory.path().join("var/lib/dpkg/status"), "").unwrap();
    assert!(!Rc::ptr_eq(&before.found[0], &asked().found[0]));
    // Another directory is another question.
    assert!(
        owners(&system.root, b"/usr/bin", None, known, later()).unwrap().package(b"/usr/bin/demo").is_some()
    );
}

#[test]
fn what_is_remembered_has_bounds() {
    let mut known = Known::default();
    let owner = || Owner { manager: "dpkg", package: "demo".to_owned(), sum: None, listed: None };
    for number in 0..100_u32 {
        let directory = number.to_ne_bytes();
        let many = if number % 10 == 9 { 10_000 } else { 1_000 };
        let read = || Ok((0..many).map(|at: u32| (at.to_ne_bytes().to_vec(), owner())).collect());
        assert_eq!(known.of([0; 32], &directory, read).unwrap().owners.len(), many as usize);
        assert!(known.owners() <= 8192, "{}", known.owners());
    }
}
