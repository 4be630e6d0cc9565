//! The file system that is looked at: this machine's, or one below a directory (a mounted image, a test's fixture).
//!
//! Nothing here opens what could block or have a side effect: a path is first resolved with `O_PATH`, and only what
//! then proves to be a regular file or a directory is opened for reading. Below a directory, symbolic links are
//! resolved by the kernel as after a `chroot`, so an absolute link in an image never leads to the machine's own files.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

/// A file system.
#[derive(Debug)]
pub(crate) struct Host {
    /// `None` is the machine's own root.
    root: Option<(PathBuf, OwnedFd)>,
}

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name, without its directory.
    pub name: Vec<u8>,
    /// What the directory says it is; a symbolic link is not followed.
    pub kind: FileType,
}

impl Host {
    pub(crate) fn new(root: Option<&Path>) -> io::Result<Self> {
        let Some(path) = root else { return Ok(Self { root: None }) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { root: Some((path.to_owned(), fd)) })
    }

    /// Whether this is the machine that runs, whose processes and sockets can be asked for.
    pub(crate) fn is_live(&self) -> bool {
        self.root.is_none()
    }

    /// A directory other than the machine's root.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_ref().map(|(path, _)| path.as_path())
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let fd = match &self.root {
            None => rustix::fs::openat(CWD, path, flags, Mode::empty())?,
            Some((_, root)) => rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?,
        };
        Ok(fd)
    }

    /// What a path leads to.
    pub(crate) fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        match &self.root {
            None => Ok(rustix::fs::stat(path)?),
            Some(_) => Ok(rustix::fs::fstat(self.resolve(path, OFlags::PATH)?)?),
        }
    }

    /// What a path is. A path that ends in a slash is followed, as by the kernel.
    pub(crate) fn lstat(&self, path: &[u8]) -> io::Result<Stat> {
        match &self.root {
            None => Ok(rustix::fs::lstat(path)?),
            Some(_) => {
                let follow = path.ends_with(b"/");
                let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
                Ok(rustix::fs::fstat(self.resolve(path, flags)?)?)
            }
        }
    }

    /// When a path was made, in seconds.
    pub(crate) fn birth(&self, path: &[u8]) -> Option<i64> {
        let fd = self.resolve(path, OFlags::PATH).ok()?;
        let mask = rustix::fs::StatxFlags::BTIME;
        let found = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, mask).ok()?;
        (found.stx_mask & mask.bits() != 0).then_some(found.stx_btime.tv_sec)
    }

    /// The extended attributes of what a path leads to. One that cannot be read is left out.
    pub(crate) fn attributes(&self, path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        const BYTES_MAX: usize = 64 << 10;
        let Ok(found) = self.resolve(path, OFlags::PATH) else { return Vec::new() };
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        let mut buffer = vec![0; BYTES_MAX];
        let Ok(length) = rustix::fs::listxattr(&again, buffer.as_mut_slice()) else { return Vec::new() };
        let names = buffer.get(..length).unwrap_or_default().to_vec();
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names
            .filter_map(|name| {
                let length = rustix::fs::getxattr(&again, name, buffer.as_mut_slice()).ok()?;
                Some((name.to_vec(), buffer.get(..length)?.to_vec()))
            })
            .collect()
    }

    pub(crate) fn is_dir(&self, path: &[u8]) -> bool {
        self.stat(path).is_ok_and(|found| kind_of(&found) == FileType::Directory)
    }

    pub(crate) fn exists(&self, path: &[u8]) -> bool {
        self.stat(path).is_ok()
    }

    pub(crate) fn read_link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        match &self.root {
            None => Ok(rustix::fs::readlink(path, Vec::new())?.into_bytes()),
            Some(_) => {
                let fd = self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW)?;
                Ok(rustix::fs::readlinkat(&fd, c"", Vec::new())?.into_bytes())
            }
        }
    }

    /// Opens a regular file, and nothing else, for reading.
    pub(crate) fn open_regular(&self, path: &[u8]) -> io::Result<std::fs::File> {
        let found = self.resolve(path, OFlags::PATH)?;
        if kind_of(&rustix::fs::fstat(&found)?) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // The descriptor is reopened rather than the path, which could be something else by now.
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(again, flags, Mode::empty())?.into())
    }

    /// The whole of a regular file of at most `bytes_max`; a longer one is an error rather than half an answer.
    pub(crate) fn read(&self, path: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_regular(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {bytes_max} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// The entries of a directory but `.` and `..`, sorted by name, and the device it is on.
    pub(crate) fn list(&self, path: &[u8]) -> io::Result<(Vec<Entry>, u64)> {
        let path = if path.is_empty() { b"/" } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let fd = self.resolve(path, flags)?;
        let device = rustix::fs::fstat(&fd)?.st_dev;
        let mut entries = Vec::new();
        for entry in Dir::new(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push(Entry { name: name.to_vec(), kind: entry.file_type() });
            }
        }
        entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok((entries, device))
    }

    /// Whether a directory is on a file system that the kernel makes up, such as `/proc`.
    pub(crate) fn is_pseudo(&self, path: &[u8]) -> bool {
        let Ok(fd) = self.resolve(path, OFlags::PATH) else { return false };
        // The type's width differs by architecture; the numbers all fit 32 bits.
        rustix::fs::fstatfs(&fd).is_ok_and(|found| PSEUDO.contains(&(found.f_type as u64 & 0xffff_ffff)))
    }
}

/// The type of what was found.
pub(crate) fn kind_of(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// `f_type` of file systems that hold no files of their own, from `linux/magic.h`. tmpfs is not among them: files hide
/// well in `/dev/shm`.
const PSEUDO: &[u64] = &[
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6265_6570, // configfs
    0x9584_58f6, // hugetlbfs
    0x4249_4e4d, // binfmt_misc
    0xde5e_81e4, // efivarfs
    0x6e73_6673, // nsfs
    0x6573_5543, // fusectl
    0x6759_6969, // rpc_pipefs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
];
