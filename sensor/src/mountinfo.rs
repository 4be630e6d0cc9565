//! The kernel's list of mounts: `/proc/PID/mountinfo`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that are read; some 30,000 mounts.
const BYTES_MAX: u64 = 4 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The device of the file system, in the kernel's encoding.
    pub(crate) dev: u32,
    /// The directory of the file system that is seen there.
    pub(crate) root: Vec<u8>,
    /// Where it is seen.
    pub(crate) at: Vec<u8>,
    pub(crate) is_overlay: bool,
    /// Of overlayfs: the directory that new files go to, as whoever mounted it wrote it.
    pub(crate) upper: Option<Vec<u8>>,
}

/// Whether something was mounted or unmounted since the list was last read.
pub(crate) fn has_changed(list: &File) -> bool {
    let mut fds = [PollFd::new(list, PollFlags::PRI)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// The whole list; half of it is an error, since nothing could be said of what is missing.
pub(crate) fn read(mut list: &File) -> io::Result<Vec<Mount>> {
    let mut text = Vec::new();
    list.rewind()?;
    if list.take(BYTES_MAX).read_to_end(&mut text)? as u64 >= BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// `36 35 98:0 /root /at rw,noatime master:1 - type source options`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|&byte| byte == b' ');
    let dev = device(words.nth(2)?)?;
    let (root, at) = (unescaped(words.next()?), unescaped(words.next()?));
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    let is_overlay = words.next()? == b"overlay";
    let options = words.nth(1).unwrap_or_default();
    let upper = options.split(|&byte| byte == b',').find_map(|option| option.strip_prefix(b"upperdir="));
    // A relative one was relative to a directory that nobody knows any more.
    let upper = upper.map(unescaped).filter(|upper| is_overlay && upper.starts_with(b"/"));
    Some(Mount { dev, root, at, is_overlay, upper })
}

/// `major:minor` in the kernel's encoding.
fn device(text: &[u8]) -> Option<u32> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(major.parse::<u32>().ok()?.checked_mul(1 << 20)? | minor.parse::<u32>().ok()?)
}

/// Undoes the kernel's `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| matches!(d, b'0'..=b'7')));
        let value = octal.map(|digits| digits.iter().fold(0u32, |sum, d| sum * 8 + u32::from(d - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                out.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
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
        assert_eq!((line.dev, line.is_overlay, line.upper), (8 << 20 | 1, false, None));
        assert_eq!((line.root.as_slice(), line.at.as_slice()), (&b"/etc"[..], &b"/srv/by bind"[..]));
        let line =
            parse(br"33 30 0:50 / /m rw - overlay o rw,lowerdir=/l,upperdir=/d\054iff,workdir=/w").unwrap();
        assert_eq!((line.is_overlay, line.upper.as_deref()), (true, Some(&b"/d,iff"[..])));
        let line = parse(br"34 30 0:51 / /m rw - overlay o rw,lowerdir=/l,upperdir=d,workdir=/w").unwrap();
        assert_eq!((line.is_overlay, line.upper), (true, None));
        assert!(parse(b"a line that says nothing").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped(br"/a\040b\134\011c\9"), b"/a b\\\tc\\9");
        assert_eq!(unescaped(b"\\04"), b"\\04");
    }

    #[test]
    fn a_list_without_an_end_is_an_error() {
        let mut endless = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut endless, &vec![b'\n'; BYTES_MAX as usize]).unwrap();
        assert!(read(&endless).is_err());
    }
}
