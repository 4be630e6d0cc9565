//! Names of users and groups, read from the host's files and never through NSS: a lookup must not wait for a
//! directory server, nor ask one what the host's own files do not know.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file that is read; a longer one is cut at its last whole line.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What tells two versions of a file apart.
type Version = (SystemTime, u64);

/// Names in the order of their ids: as quick to find as in a map, and nobody who writes the file can slow it down.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ById(Vec<(u32, Box<[u8]>)>);

impl ById {
    /// `name:password:id:...` lines. The first name of an id wins, as it does for `getpwuid`.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut names: Vec<(u32, Box<[u8]>)> = text
            .split(|&byte| byte == b'\n')
            .filter_map(|line| {
                let mut columns = line.split(|&byte| byte == b':');
                let (name, _, id) = (columns.next()?, columns.next()?, columns.next()?);
                let id = std::str::from_utf8(id).ok()?.parse().ok()?;
                (!name.is_empty()).then(|| (id, name.into()))
            })
            .collect();
        // The sort keeps those of one id in the order of the file.
        names.sort_by_key(|(id, _)| *id);
        names.dedup_by_key(|(id, _)| *id);
        Self(names)
    }

    pub(super) fn name(&self, id: u32) -> Option<&[u8]> {
        // Most files are root's.
        let known = match self.0.first() {
            Some(first) if first.0 == id => Some(first),
            _ => self.0.get(self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?),
        };
        known.map(|(_, name)| &**name)
    }
}

/// Where the host's `etc/passwd` says that a user is at home.
pub(super) fn home(root: &Path, user: u32) -> Option<PathBuf> {
    let mut text = std::fs::read(root.join("etc/passwd")).ok()?;
    text.truncate(FILE_BYTES_MAX);
    let of_user = |line: &[u8]| {
        let mut columns = line.split(|&byte| byte == b':').skip(2);
        let id: u32 = std::str::from_utf8(columns.next()?).ok()?.parse().ok()?;
        let home = columns.nth(2)?;
        (id == user && home.starts_with(b"/")).then(|| PathBuf::from(OsStr::from_bytes(home)))
    };
    text.split(|&byte| byte == b'\n').find_map(of_user)
}

/// One of passwd and group.
#[derive(Debug)]
struct NameFile {
    path: PathBuf,
    version: Option<Version>,
    names: ById,
}

impl NameFile {
    fn read(path: PathBuf) -> Self {
        let mut file = Self { path, version: None, names: ById::default() };
        file.refresh();
        file
    }

    /// Reads the file again if it is not the one that was read last; says whether it did.
    fn refresh(&mut self) -> bool {
        let version = version_of(&self.path);
        if version == self.version {
            return false;
        }
        match std::fs::read(&self.path) {
            Ok(mut text) => {
                text.truncate(FILE_BYTES_MAX);
                self.names = ById::parse(&text);
                self.version = version;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.names = ById::default();
                self.version = None;
            }
            // Old names are better than none while the file is being replaced.
            Err(_) => return false,
        }
        true
    }
}

fn version_of(path: &Path) -> Option<Version> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The host's users and groups.
#[derive(Debug)]
pub(crate) struct Names {
    users: NameFile,
    groups: NameFile,
}

impl Names {
    /// From `etc/passwd` and `etc/group` below `root`.
    pub(crate) fn read(root: &Path) -> Self {
        Self {
            users: NameFile::read(root.join("etc/passwd")),
            groups: NameFile::read(root.join("etc/group")),
        }
    }

    /// Follows changes of the files, and says whether there were any; called between records, not for each.
    pub(crate) fn refresh(&mut self) -> bool {
        let users = self.users.refresh();
        self.groups.refresh() || users
    }

    /// The user's name.
    pub(crate) fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.names.name(uid)
    }

    /// The group's name.
    pub(crate) fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.names.name(gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc").join(name), text).unwrap();
    }

    #[test]
    fn names_follow_the_files() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "passwd", "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\nbad line\n");
        write(root.path(), "group", "root:x:0:\nsudo:x:27:alice\n");
        let mut names = Names::read(root.path());
        assert_eq!(names.user(0), Some(b"root".as_slice()));
        assert_eq!(names.user(1000), None);
        assert_eq!(names.group(27), Some(b"sudo".as_slice()));
        write(root.path(), "passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n");
        names.refresh();
        assert_eq!(names.user(1000), Some(b"alice".as_slice()));
    }

    #[test]
    fn a_missing_file_has_no_names() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Names::read(root.path()).user(0), None);
    }
}
