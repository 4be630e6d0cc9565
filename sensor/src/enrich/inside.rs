//! Users and groups as a container has them: its own passwd and group, behind its user namespace.
//!
//! The files are the container's to write. They are opened below its root directory, without following links, and read
//! by a thread that may hang; what is not found there has no name, never the host's.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::names::ById;
use crate::open;

/// A container's file beyond this is cut: its root writes it.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Whose names a process's ids have.
#[derive(Debug)]
pub(super) enum Root {
    /// The process still has the host's root directory, as a runtime has before it becomes the container.
    OfHost,
    OfContainer(Inside),
}

/// Names in one container, by the ids that the kernel counts with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inside {
    users: ById,
    groups: ById,
    uids: Mapping,
    gids: Mapping,
}

impl Inside {
    pub(super) fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.name(self.uids.inside(uid)?)
    }

    pub(super) fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.name(self.gids.inside(gid)?)
    }
}

/// `uid_map`, `gid_map`: first id inside, first id outside, how many.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapping(Vec<(u32, u32, u32)>);

impl Mapping {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse().ok());
            Some((numbers.next()?, numbers.next()?, numbers.next()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn inside(&self, id: u32) -> Option<u32> {
        if self.0.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|&(inside, outside, count)| {
            let at = id.checked_sub(outside).filter(|at| *at < count)?;
            inside.checked_add(at)
        })
    }
}

/// What there is to know from this process; nothing if it is gone.
pub(super) fn read(proc_root: &Path, pid: u32) -> Option<Root> {
    let process = proc_root.join(pid.to_string());
    let root = open::root(&process.join("root")).ok()?;
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let host = open::root(&proc_root.join("1/root")).ok();
    if host.as_ref().and_then(identity) == identity(&root) {
        return Some(Root::OfHost);
    }
    let names = |path: &[u8]| text(&root, path).map(|text| ById::parse(&text)).unwrap_or_default();
    Some(Root::OfContainer(Inside {
        users: names(b"/etc/passwd"),
        groups: names(b"/etc/group"),
        uids: Mapping::read(&process.join("uid_map")),
        gids: Mapping::read(&process.join("gid_map")),
    }))
}

fn text(root: &OwnedFd, path: &[u8]) -> Option<Vec<u8>> {
    let held = open::hold(root, path).ok()?;
    let opened = open::held_regular(&held).ok()?;
    let mut text = Vec::new();
    opened.file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A process with this root directory, beside a pid 1 with the host's.
    pub(in super::super) fn process_in(proc_root: &Path, pid: u32, root: &Path, uid_map: &str) {
        for (pid, root) in [(1, Path::new("/")), (pid, root)] {
            let dir = proc_root.join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            // Twice for pid 1, if there are several.
            let _ = symlink(root, dir.join("root"));
        }
        fs::write(proc_root.join(format!("{pid}/uid_map")), uid_map).unwrap();
    }

    pub(in super::super) fn container_root(passwd: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        root
    }

    fn inside(proc_root: &Path, pid: u32) -> Inside {
        match read(proc_root, pid) {
            Some(Root::OfContainer(inside)) => inside,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ids_are_named_as_the_container_does() {
        let proc = tempfile::tempdir().unwrap();
        let root = container_root("root:x:0:0::/:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n");
        process_in(proc.path(), 7, root.path(), "         0          0 4294967295\n");
        let plain = inside(proc.path(), 7);
        assert_eq!(plain.user(1000), Some(b"node".as_slice()));
        assert_eq!((plain.user(1001), plain.group(0)), (None, None));

        process_in(proc.path(), 8, root.path(), "0 100000 1000\n1000 1000 1\n");
        let mapped = inside(proc.path(), 8);
        assert_eq!(mapped.user(100_000), Some(b"root".as_slice()));
        assert_eq!(mapped.user(1000), Some(b"node".as_slice()));
        // The host's root has no id in there.
        assert_eq!(mapped.user(0), None);
    }

    #[test]
    fn a_process_with_the_hosts_root_is_told() {
        let proc = tempfile::tempdir().unwrap();
        process_in(proc.path(), 7, Path::new("/"), "");
        assert!(matches!(read(proc.path(), 7), Some(Root::OfHost)));
        assert!(read(proc.path(), 8).is_none());
    }

    #[test]
    fn links_lead_nowhere() {
        let proc = tempfile::tempdir().unwrap();
        let root = container_root("");
        fs::remove_file(root.path().join("etc/passwd")).unwrap();
        symlink("/etc/passwd", root.path().join("etc/passwd")).unwrap();
        process_in(proc.path(), 7, root.path(), "");
        assert_eq!(inside(proc.path(), 7).user(0), None);
    }
}
