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
const READ_MAX: usize = 4096;

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

/// What is in a directory, the newest first.
pub(super) fn of(
    root: &OwnedFd,
    directory: &[u8],
    owners: Option<&Owners>,
    deadline: Instant,
) -> Result<Vec<Neighbour>, String> {
    let opened = open::directory(root, if directory.is_empty() { b"/" } else { directory });
    let opened = opened.map_err(|refusal| refusal.to_string())?;
    let failed = |errno| Refusal::from(errno).to_string();
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(&opened).map_err(failed)?.take(READ_MAX) {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if Instant::now() >= deadline {
            return Err("the directory took too long to read".to_owned());
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
        let package = owners.and_then(|owners| owners.package(&[directory, b"/", name].concat()).cloned());
        let modified = Text(sensor_ecs::time::rfc3339(stat.st_mtime.saturating_mul(1_000_000_000)).to_vec());
        found.push((
            stat.st_mtime,
            Neighbour { name: Text(name.to_vec()), kind, size: stat.st_size, modified, package },
        ));
    }
    found.sort_by(|(left, a), (right, b)| right.cmp(left).then_with(|| a.name.0.cmp(&b.name.0)));
    found.truncate(SHOWN_MAX);
    Ok(found.into_iter().map(|(_, neighbour)| neighbour).collect())
}
