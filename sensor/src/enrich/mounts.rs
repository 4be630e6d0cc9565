//! Where file systems are mounted, as pid 1 sees it: the names that a file has beside the one that was used.
//!
//! A file is in one place of its file system, however many mounts lead there: bind mounts, other namespaces,
//! descriptors of detached trees. The kernel's record says which place, this table where the host sees it. It is read
//! anew when the kernel says that a mount has come or gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use sensor_ecs::{Elsewhere, Executable};

use crate::decode::WirePath;
use crate::mountinfo::{self, Mount};

/// File systems of other namespaces that are remembered between two rounds of housekeeping.
const FOREIGN_MAX: usize = 256;

/// Mounts by the device of their file system, in the kernel's encoding.
type ByDevice = HashMap<u32, Vec<Mount>>;

/// The mounts of the host.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    proc_root: PathBuf,
    /// Has `POLLPRI` when something was mounted or unmounted.
    watch: Option<File>,
    host: ByDevice,
    /// The device whose whole file system is `/`.
    root: Option<u32>,
    /// File systems that the host has not mounted: what their namespace says of them.
    foreign: HashMap<(u32, u32), Vec<Mount>>,
}

/// Whose view of an unknown file system may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) pid: u32,
    pub(super) mnt_ns: u32,
    pub(super) dev: u32,
}

impl Mounts {
    /// Reads what is mounted. Without `/proc/1/mountinfo` nothing is known, and no file has further names.
    pub(super) fn read(proc_root: &Path) -> Self {
        let watch = File::open(proc_root.join("1/mountinfo")).ok();
        let mut mounts = Self { proc_root: proc_root.to_path_buf(), watch, ..Self::default() };
        mounts.refresh();
        mounts
    }

    /// Has `POLLPRI` when [`Self::refresh`] is due.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(File::as_fd)
    }

    /// Reads the table anew.
    pub(super) fn refresh(&mut self) {
        let Some(list) = &self.watch else { return };
        match by_device(list) {
            Ok(host) => {
                let shows_all = |mounts: &[Mount]| {
                    primary(mounts, b"/").is_some_and(|(mount, _)| mount.root == b"/" && mount.at == b"/")
                };
                // Of two, the later hides the other; then neither is taken for granted.
                let mut roots = host.iter().filter(|(_, mounts)| shows_all(mounts)).map(|(dev, _)| *dev);
                self.root = roots.next().filter(|_| roots.next().is_none());
                self.host = host;
            }
            Err(error) => tracing::warn!("the list of mounts cannot be read: {error}"),
        }
        self.foreign.clear();
    }

    /// Whether a path in this file system is the host's path as it is.
    pub(super) fn is_root(&self, dev: u32) -> bool {
        self.root == Some(dev)
    }

    /// Forgets what no one tells the changes of.
    pub(super) fn expire(&mut self) {
        self.foreign.clear();
    }

    /// The name by way of the file system's first mount, and that in the upper layer of an overlay, for a file at
    /// `within` its file system; each buffer stays empty where there is none.
    pub(super) fn names(
        &mut self,
        asked: Asked,
        within: &[u8],
        by_mount: &mut Vec<u8>,
        in_upper: &mut Vec<u8>,
    ) {
        if let Some(mounts) = self.on_host(asked.dev) {
            let Some((mount, below)) = primary(mounts, within) else { return };
            write_below(&mount.at, below, by_mount);
            if let Some(upper) = &mount.upper {
                write_below(upper, below, in_upper);
            }
            return;
        }
        // Only the upper layer is of interest: where it is mounted is what the record says already.
        if let Some((mount, below)) = primary(self.foreign(asked), within)
            && let Some(upper) = &mount.upper
        {
            write_below(upper, below, in_upper);
        }
    }

    /// The name by way of the file system's first mount, if the host has mounted it.
    pub(super) fn name(&mut self, dev: u32, within: &[u8]) -> Option<Vec<u8>> {
        let (mount, below) = primary(self.on_host(dev)?, within)?;
        let mut name = Vec::new();
        write_below(&mount.at, below, &mut name);
        Some(name)
    }

    /// The names of an executable in this file system, where one is another than the process's own.
    pub(super) fn elsewhere(&mut self, path: &WirePath<'_>, dev: u32) -> Option<Box<Elsewhere>> {
        // Nearly every one: on the host's root, and no root of its own.
        let is_plain = path.is_within_one_mount() && self.is_root(dev);
        if !path.is_known() || is_plain && !path.views_differ() {
            return None;
        }
        let (mut task, mut host, mut within) = (Vec::new(), Vec::new(), Vec::new());
        path.write_task_view(&mut task);
        path.write_namespace_view(&mut host);
        let has_mount = !is_plain && path.write_within_file_system(&mut within);
        let by_mount = if has_mount { self.name(dev, &within) } else { None };
        let file_system = by_mount.unwrap_or_else(|| host.clone());
        (host != task || file_system != task).then(|| {
            Box::new(Elsewhere { host: Executable::new(host), file_system: Executable::new(file_system) })
        })
    }

    fn on_host(&mut self, dev: u32) -> Option<&Vec<Mount>> {
        if !self.host.contains_key(&dev) && self.watch.as_ref().is_some_and(mountinfo::has_changed) {
            self.refresh();
        }
        self.host.get(&dev)
    }

    fn foreign(&mut self, asked: Asked) -> &[Mount] {
        let key = (asked.mnt_ns, asked.dev);
        if self.foreign.len() >= FOREIGN_MAX && !self.foreign.contains_key(&key) {
            self.foreign.clear();
        }
        let path = || self.proc_root.join(asked.pid.to_string()).join("mountinfo");
        let list = || File::open(path()).and_then(|list| by_device(&list)).ok();
        let read = || list().and_then(|mut found| found.remove(&asked.dev)).unwrap_or_default();
        self.foreign.entry(key).or_insert_with(read)
    }
}

/// The mount that shows most of the file system, and what is left of `within` below it. The first of several.
fn primary<'a>(mounts: &'a [Mount], within: &'a [u8]) -> Option<(&'a Mount, &'a [u8])> {
    let mut best: Option<(&Mount, &[u8])> = None;
    for mount in mounts {
        let Some(below) = below(&mount.root, within) else { continue };
        if best.is_none_or(|(best, _)| mount.root.len() < best.root.len()) {
            best = Some((mount, below));
        }
    }
    best
}

/// What follows `root` in `path`: nothing, or a slash and more.
fn below<'a>(root: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).filter(|below| below.is_empty() || below.starts_with(b"/"))
}

fn write_below(at: &[u8], below: &[u8], out: &mut Vec<u8>) {
    let at = if below.is_empty() { at } else { at.strip_suffix(b"/").unwrap_or(at) };
    out.extend_from_slice(at);
    out.extend_from_slice(below);
}

/// By device; a relative place is in nobody's view.
fn by_device(list: &File) -> io::Result<ByDevice> {
    let mut found = ByDevice::new();
    for mount in mountinfo::read(list)?.into_iter().filter(|mount| mount.at.starts_with(b"/")) {
        found.entry(mount.dev).or_default().push(mount);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
22 1 0:20 / /proc rw - proc proc rw
30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 30 8:1 /etc/apt/apt.conf.d /srv/by\\040bind rw shared:2 - ext4 /dev/sda1 rw
32 30 0:40 /@home /home rw - btrfs /dev/sdb rw,subvol=/@home
33 30 0:50 / /var/lib/box/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/box/d\\054iff,workdir=/w
34 30 0:51 / /mnt rw - overlay overlay rw,lowerdir=/l,upperdir=relative,workdir=/w
a line that says nothing
";

    fn table(dir: &Path) -> Mounts {
        for (pid, text) in
            [("1", HOST), ("7", "5 4 0:60 / / rw - overlay o rw,upperdir=/deep/diff,workdir=/w\n")]
        {
            std::fs::create_dir_all(dir.join(pid)).unwrap();
            std::fs::write(dir.join(pid).join("mountinfo"), text).unwrap();
        }
        Mounts::read(dir)
    }

    fn names(mounts: &mut Mounts, dev: (u32, u32), within: &str) -> (String, String) {
        let (mut by_mount, mut in_upper) = (Vec::new(), Vec::new());
        let asked = Asked { pid: 7, mnt_ns: 9, dev: dev.0 << 20 | dev.1 };
        mounts.names(asked, within.as_bytes(), &mut by_mount, &mut in_upper);
        (String::from_utf8(by_mount).unwrap(), String::from_utf8(in_upper).unwrap())
    }

    #[test]
    fn a_file_is_named_by_the_mount_that_shows_most() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = &mut table(dir.path());
        let plain = |mounts: &mut Mounts, dev, within| names(mounts, dev, within).0;
        assert_eq!(plain(mounts, (8, 1), "/etc/apt/apt.conf.d/99evil"), "/etc/apt/apt.conf.d/99evil");
        assert_eq!(plain(mounts, (0, 40), "/@home/alice"), "/home/alice");
        assert_eq!(plain(mounts, (0, 40), "/@homely"), "");
        assert_eq!(plain(mounts, (0, 40), "/@home"), "/home");
        assert_eq!(plain(mounts, (8, 1), "/"), "/");
        assert_eq!(plain(mounts, (9, 9), "/x"), "");
    }

    #[test]
    fn a_file_on_an_overlay_is_also_in_its_upper_layer() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = &mut table(dir.path());
        let both = names(mounts, (0, 50), "/etc/x");
        assert_eq!(both, ("/var/lib/box/merged/etc/x".to_owned(), "/var/lib/box/d,iff/etc/x".to_owned()));
        assert_eq!(names(mounts, (0, 51), "/x"), ("/mnt/x".to_owned(), String::new()));
        // Mounted in the namespace of process 7 only.
        assert_eq!(names(mounts, (0, 60), "/etc/x"), (String::new(), "/deep/diff/etc/x".to_owned()));
    }

    #[test]
    fn without_a_table_there_are_no_names() {
        let mut mounts = Mounts::read(Path::new("/nowhere"));
        assert!(mounts.watch().is_none());
        assert_eq!(names(&mut mounts, (8, 1), "/x"), (String::new(), String::new()));
    }
}
