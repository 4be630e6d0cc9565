//! The other files of the directory: a hook rarely comes alone, and an old one may have been missed.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{AtFlags, FileType};
use serde::Serialize;

use super::Text;
use super::package::Owners;
use crate::open::{self, Refusal};

/// More are not listed: the newest are.
const SHOWN_MAX: usize = 32;
/// More are counted and not looked at.
const READ_MAX: usize = 1 << 16;

/// A file beside the event's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Neighbour {
    pub(super) name: Text,
    #[serde(rename = "type")]
    kind: &'static str,
    size: i64,
    modified: Text,
    /// Absent when no package has it, or when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package: Option<String>,
}

/// What is in a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours {
    /// The newest first.
    pub(super) files: Vec<Neighbour>,
    /// Older ones, and those that there was no time for.
    pub(super) not_shown: u64,
}

/// What is in a directory, as far as there is time.
pub(super) fn of(
    root: &OwnedFd,
    directory: &[u8],
    owners: Option<&Owners>,
    deadline: Instant,
) -> Result<Neighbours, String> {
    let opened = open::directory(root, if directory.is_empty() { b"/" } else { directory });
    let opened = opened.map_err(|refusal| refusal.to_string())?;
    let failed = |errno| Refusal::from(errno).to_string();
    let (mut found, mut not_shown) = (Vec::new(), 0);
    for entry in rustix::fs::Dir::read_from(&opened).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if found.len() >= READ_MAX || Instant::now() >= deadline {
            not_shown += 1;
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => "file",
            FileType::Directory => "dir",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "char_device",
            FileType::BlockDevice => "block_device",
            FileType::Unknown => "unknown",
        };
        found.push((stat.st_mtime, name.to_vec(), kind, stat.st_size));
    }
    found.sort_by(|(left, a, ..), (right, b, ..)| right.cmp(left).then_with(|| a.cmp(b)));
    not_shown += found.len().saturating_sub(SHOWN_MAX) as u64;
    let neighbour = |(modified, name, kind, size): (i64, Vec<u8>, &'static str, i64)| Neighbour {
        package: owners.and_then(|owners| owners.package(&[directory, b"/", &name].concat()).cloned()),
        name: Text(name),
        kind,
        size,
        modified: Text(sensor_ecs::time::rfc3339(modified.saturating_mul(1_000_000_000)).to_vec()),
    };
    Ok(Neighbours { files: found.into_iter().take(SHOWN_MAX).map(neighbour).collect(), not_shown })
}
