//! Opening what an attacker chose the name of.
//!
//! The path is walked below a root directory that was opened first, without following any link, and the file is
//! held by `O_PATH`, which runs no code of a driver or of a file system in user space and does not wait for a FIFO.
//! Only a regular file that is the event's own, on a file system that cannot make its reader wait, is then read.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Which file an event was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As `st_dev` has it.
    pub(crate) device: Option<u64>,
    pub(crate) inode: Option<u64>,
}

/// How far it was proven that the opened file is the event's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// Device and inode are the event's.
    DeviceAndInode,
    /// The inode is; the file system gives its files device numbers of their own, or the event had none.
    Inode,
}

/// A file that may be read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) stat: Stat,
    pub(crate) proof: Proof,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is not there any more")]
    Gone,
    #[error("a directory of the path is a symbolic link now")]
    Link,
    #[error("another file has the name now")]
    Another,
    #[error("the event does not say which file it was")]
    Unidentified,
    #[error("it is a {0}, which is not read")]
    NotRegular(&'static str),
    #[error("it is on {0}, whose answers can be held back for ever; it is not read")]
    FileSystem(&'static str),
    #[error("{0}")]
    Failed(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone,
            Errno::LOOP => Self::Link,
            other => Self::Failed(other),
        }
    }
}

/// Opens the root directory that a path counts from.
pub(crate) fn root(path: &Path) -> Result<OwnedFd, Refusal> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Holds what `path` below `root` names, without opening it. The last component may be a link: it is not followed.
pub(crate) fn hold(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Refusal> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), resolve)?)
}

/// Opens a directory below `root` for reading its names.
pub(crate) fn directory(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Refusal> {
    let held = hold(root, path)?;
    trusted(&held)?;
    let stat = rustix::fs::fstat(&held)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Refusal::Another);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&held, c".", flags, Mode::empty())?)
}

/// Opens the regular file that `path` below `root` names if it is the one that is meant.
pub(crate) fn regular(root: &OwnedFd, path: &[u8], wanted: Identity) -> Result<Opened, Refusal> {
    let held = hold(root, path)?;
    let stat = rustix::fs::fstat(&held)?;
    let proof = prove(&held, &stat, wanted)?;
    readable(&held, stat, proof)
}

/// Opens the regular file that is held: a system file whose identity is not in question.
pub(crate) fn held_regular(held: &OwnedFd) -> Result<Opened, Refusal> {
    let stat = rustix::fs::fstat(held)?;
    readable(held, stat, Proof::Inode)
}

fn readable(held: &OwnedFd, stat: Stat, proof: Proof) -> Result<Opened, Refusal> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Refusal::NotRegular("directory")),
        FileType::Symlink => return Err(Refusal::NotRegular("symbolic link")),
        FileType::Fifo => return Err(Refusal::NotRegular("named pipe")),
        FileType::Socket => return Err(Refusal::NotRegular("socket")),
        FileType::CharacterDevice | FileType::BlockDevice => return Err(Refusal::NotRegular("device")),
        FileType::Unknown => return Err(Refusal::NotRegular("file of an unknown type")),
    }
    trusted(held)?;
    // The same file, whatever its name has come to mean. Not blocking: a lease would hold the open up.
    let own = format!("/proc/self/fd/{}", held.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(own, flags, Mode::empty())?);
    Ok(Opened { file, stat, proof })
}

/// Whether what is held is what is meant.
fn prove(held: impl AsFd, stat: &Stat, wanted: Identity) -> Result<Proof, Refusal> {
    let inode = wanted.inode.ok_or(Refusal::Unidentified)?;
    if stat.st_ino != inode {
        return Err(Refusal::Another);
    }
    match wanted.device {
        Some(device) if stat.st_dev == device => Ok(Proof::DeviceAndInode),
        Some(_) if !has_devices_of_its_own(held)? => Err(Refusal::Another),
        _ => Ok(Proof::Inode),
    }
}

/// File systems that show other device numbers than that of their superblock: subvolumes, layers.
fn has_devices_of_its_own(held: impl AsFd) -> Result<bool, Refusal> {
    const BTRFS: u32 = 0x9123_683e;
    const OVERLAYFS: u32 = 0x794c_7630;
    const BCACHEFS: u32 = 0xca45_1a4e;
    Ok(matches!(magic(held)?, BTRFS | OVERLAYFS | BCACHEFS))
}

/// Refuses file systems whose server decides when, and whether, a read returns.
pub(crate) fn trusted(held: impl AsFd) -> Result<(), Refusal> {
    let name = match magic(held)? {
        0x6573_5546 => "FUSE",
        0x6969 => "NFS",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x2003_0528 => "OrangeFS",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x786f_4256 => "a VirtualBox share",
        0x1980_0202 => "POSIX message queues",
        _ => return Ok(()),
    };
    Err(Refusal::FileSystem(name))
}

fn magic(held: impl AsFd) -> Result<u32, Refusal> {
    // The type's width differs from target to target; magic numbers have 32 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bit pattern")]
    Ok(rustix::fs::fstatfs(held)?.f_type as u32)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        root: OwnedFd,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(directory.path().join("d/file"), "text").unwrap();
        let root = root(directory.path()).unwrap();
        Place { directory, root }
    }

    impl Place {
        fn identity(&self, path: &str) -> Identity {
            let metadata = fs::symlink_metadata(self.directory.path().join(path)).unwrap();
            Identity { device: Some(metadata.dev()), inode: Some(metadata.ino()) }
        }
    }

    #[test]
    fn the_events_own_file_is_opened() {
        let place = place();
        let opened = regular(&place.root, b"/d/file", place.identity("d/file")).unwrap();
        assert_eq!((opened.stat.st_size, opened.proof), (4, Proof::DeviceAndInode));
    }

    #[test]
    fn another_file_of_the_name_is_not() {
        let place = place();
        let meant = place.identity("d/file");
        fs::rename(place.directory.path().join("d/file"), place.directory.path().join("d/kept")).unwrap();
        fs::write(place.directory.path().join("d/file"), "other").unwrap();
        assert!(matches!(regular(&place.root, b"/d/file", meant), Err(Refusal::Another)));
        assert!(matches!(
            regular(&place.root, b"/d/kept", Identity { device: Some(1), ..meant }),
            Err(Refusal::Another)
        ));
        assert!(matches!(regular(&place.root, b"/d/kept", Identity::default()), Err(Refusal::Unidentified)));
    }

    #[test]
    fn no_link_is_followed() {
        let place = place();
        symlink("d", place.directory.path().join("to-directory")).unwrap();
        symlink("file", place.directory.path().join("d/to-file")).unwrap();
        let meant = place.identity("d/file");
        assert!(matches!(regular(&place.root, b"/to-directory/file", meant), Err(Refusal::Link)));
        assert!(matches!(regular(&place.root, b"/d/to-file", meant), Err(Refusal::Another)));
        let link = place.identity("d/to-file");
        assert!(matches!(
            regular(&place.root, b"/d/to-file", link),
            Err(Refusal::NotRegular("symbolic link"))
        ));
    }

    #[test]
    fn the_root_is_not_left() {
        let place = place();
        fs::write(place.directory.path().join("outside"), "").unwrap();
        let inner = root(&place.directory.path().join("d")).unwrap();
        let outside = place.identity("outside");
        assert!(matches!(regular(&inner, b"/../outside", outside), Err(Refusal::Gone)));
    }

    #[test]
    fn a_named_pipe_does_not_hold_us_up() {
        let place = place();
        let pipe = place.directory.path().join("d/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let refused = regular(&place.root, b"/d/pipe", place.identity("d/pipe"));
        assert!(matches!(refused, Err(Refusal::NotRegular("named pipe"))));
    }

    #[test]
    fn a_file_that_is_gone_is_told() {
        let place = place();
        let meant = place.identity("d/file");
        fs::remove_file(place.directory.path().join("d/file")).unwrap();
        assert!(matches!(regular(&place.root, b"/d/file", meant), Err(Refusal::Gone)));
    }
}
