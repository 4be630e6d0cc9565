//! What is mounted where, as pid 1 sees it, for the filter: read when the kernel says that it has changed.
//!
//! Between a change and that look a file system whose device was not known passes whole. Where its number was another's
//! a moment ago, it is judged by the directories that lead to it on the way it is used, not by those that lead to its
//! other mounts: a file that is named there and watched here is missed for that time.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Filter, Mounted};

/// Bytes that are read; some 30,000 mounts.
const MOUNTINFO_BYTES_MAX: u64 = 4 << 20;

/// The list of mounts.
pub(crate) struct Mounts {
    list: Option<File>,
}

/// One line of the list.
struct Line {
    dev: u32,
    at: Vec<u8>,
    upper: Option<Vec<u8>>,
    is_overlay: bool,
}

impl Mounts {
    /// Opens the list; without one no overlay is known, and all pass.
    pub(crate) fn open(proc_root: &Path) -> Self {
        Self { list: File::open(proc_root.join("1/mountinfo")).ok() }
    }

    /// Whether something was mounted or unmounted since the last look.
    pub(crate) fn have_changed(&self) -> bool {
        let Some(list) = &self.list else { return false };
        let mut fds = [PollFd::new(list, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Tells the filter.
    pub(crate) fn tell(&mut self, filter: &mut Filter) {
        let Some(list) = &mut self.list else { return };
        let mut text = Vec::new();
        let read = list.rewind().and_then(|()| list.take(MOUNTINFO_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(bytes) if (bytes as u64) < MOUNTINFO_BYTES_MAX => {}
            Ok(_) => {
                tracing::warn!("the list of mounts is too long: every file event passes");
                return filter.distrust_mounts();
            }
            Err(error) => {
                tracing::warn!("the list of mounts cannot be read, every file event passes: {error}");
                return filter.distrust_mounts();
            }
        }
        let lines: Vec<Line> = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
        filter.set_mounts(lines.iter().map(|line| Mounted {
            dev: line.dev,
            at: &line.at,
            is_overlay: line.is_overlay,
            upper: line.upper.as_deref(),
        }));
    }
}

/// `36 35 98:0 /root /at rw,noatime master:1 - type source options`
fn parse(line: &[u8]) -> Option<Line> {
    let mut words = line.split(|byte| *byte == b' ');
    let (major, minor) = std::str::from_utf8(words.nth(2)?).ok()?.split_once(':')?;
    let dev = major.parse::<u32>().ok()?.checked_mul(1 << 20)? | minor.parse::<u32>().ok()?;
    let at = unescaped(words.nth(1)?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    let is_overlay = words.next()? == b"overlay";
    let options = words.nth(1).unwrap_or_default();
    let upper = options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(b"upperdir="));
    // A relative one was relative to a directory that nobody knows any more.
    let upper = upper.map(unescaped).filter(|upper| upper.starts_with(b"/"));
    Some(Line { dev, at, upper, is_overlay })
}

/// Undoes the kernel's `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) => {
                out.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = parse(br"31 30 8:1 /etc /srv/by\040bind rw shared:2 - ext4 /dev/sda1 rw").unwrap();
        assert_eq!(
            (line.dev, line.at.as_slice(), line.is_overlay),
            (8 << 20 | 1, &b"/srv/by bind"[..], false)
        );
        let line =
            parse(br"33 30 0:50 / /m rw - overlay o rw,lowerdir=/l,upperdir=/d\054iff,workdir=/w").unwrap();
        assert_eq!((line.is_overlay, line.upper.as_deref()), (true, Some(&b"/d,iff"[..])));
        assert!(parse(b"a line that says nothing").is_none());
        assert!(parse(b"").is_none());
    }
}
