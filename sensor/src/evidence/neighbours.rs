//! The other files of the directory: a hook rarely comes alone, and an old one may have been missed.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{AtFlags, FileType};
use serde::Serialize;

use super::package::Owners;
use super::{Text, time};
use crate::open::{self, Refusal};

/// More are not listed: the newest are.
const SHOWN_MAX: usize = 32;
/// So many more than are shown are kept while it is read.
const KEPT_MAX: usize = 8 * SHOWN_MAX;
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
    /// Nobody can set it.
    changed: Text,
    /// Absent when no package has it, or when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package: Option<String>,
}

/// What is in a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours {
    /// The newest first: by the time of change, since that of modification is whatever its owner wants.
    pub(super) files: Vec<Neighbour>,
    /// Older ones, and those that there was no time for.
    pub(super) not_shown: u64,
    /// There was no time to count them all.
    pub(super) not_counted: bool,
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
    let newest_first = |found: &mut Vec<Found>| {
        found.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
    };
    let (mut found, mut looked_at, mut not_shown, mut not_counted) = (Vec::new(), 0, 0, false);
    for entry in rustix::fs::Dir::read_from(&opened).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if Instant::now() >= deadline {
            not_counted = true;
            break;
        }
        if looked_at >= READ_MAX {
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
        looked_at += 1;
        let (changed, modified) = (
            (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
            (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        );
        found.push(Found { changed, modified, name: name.to_vec(), kind, size: stat.st_size });
        if found.len() >= KEPT_MAX {
            newest_first(&mut found);
            found.truncate(SHOWN_MAX);
        }
    }
    newest_first(&mut found);
    found.truncate(SHOWN_MAX);
    not_shown += looked_at.saturating_sub(found.len()) as u64;
    let neighbour = |Found { changed, modified, name, kind, size }| Neighbour {
        package: owners.and_then(|owners| owners.package(&[directory, b"/", &name[..]].concat()).cloned()),
        name: Text(name),
        kind,
        size,
        modified: time(modified.0, modified.1),
        changed: time(changed.0, changed.1),
    };
    Ok(Neighbours { files: found.into_iter().map(neighbour).collect(), not_shown, not_counted })
}

struct Found {
    changed: Seconds,
    modified: Seconds,
    name: Vec<u8>,
    kind: &'static str,
    size: i64,
}

/// And nanoseconds.
type Seconds = (i64, i64);

/// Their type is not the same on every target.
fn nanoseconds(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(0)
}
