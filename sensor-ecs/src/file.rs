//! What a path says about a file: name and extension.

use std::sync::Arc;

/// Where a byte is last. Names are short: to call what searches long texts fast costs more than the search.
#[must_use]
pub fn rfind(byte: u8, text: &[u8]) -> Option<usize> {
    let (first, eights) = text.as_rchunks::<8>();
    for (at, eight) in eights.iter().enumerate().rev() {
        let same = same_as(byte, *eight);
        if same != 0 {
            return Some(first.len() + 8 * at + highest(same));
        }
    }
    first.iter().rposition(|other| *other == byte)
}

/// The high bit of each byte that is this one, the first of them lowest.
#[must_use]
pub const fn same_as(byte: u8, eight: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let differs = u64::from_le_bytes(eight) ^ (ONES * byte as u64);
    !(((differs & LOW) + LOW) | differs | LOW)
}

const fn highest(same: u64) -> usize {
    7 - same.leading_zeros() as usize / 8
}

/// Where the last slash is, and where after it the last dot: both in one look at the name.
fn slash_and_dot(path: &[u8]) -> (Option<usize>, Option<usize>) {
    let (first, eights) = path.as_rchunks::<8>();
    let mut last_dot = None;
    for (at, eight) in eights.iter().enumerate().rev() {
        let (slashes, dots) = (same_as(b'/', *eight), same_as(b'.', *eight));
        let begin = first.len() + 8 * at;
        let dot = || (dots > slashes).then(|| begin + highest(dots));
        last_dot = last_dot.or_else(dot);
        if slashes != 0 {
            return (Some(begin + highest(slashes)), last_dot);
        }
    }
    let slash = first.iter().rposition(|byte| *byte == b'/');
    let name = first.get(slash.map_or(0, |slash| slash + 1)..).unwrap_or_default();
    let dot = || Some(first.len() - name.len() + name.iter().rposition(|byte| *byte == b'.')?);
    (slash, last_dot.or_else(dot))
}

/// The last component; `None` for the root and for a path that ends in a slash.
#[must_use]
pub fn name(path: &[u8]) -> Option<&[u8]> {
    let name = match rfind(b'/', path) {
        Some(slash) => path.get(slash + 1..)?,
        None => path,
    };
    (!name.is_empty()).then_some(name)
}

/// The text after the last dot of the last component; `None` without a dot and with nothing after it.
///
/// A leading dot counts like any other, as in Elastic's own agents: `.bashrc` has the extension `bashrc`.
#[must_use]
pub fn extension(path: &[u8]) -> Option<&[u8]> {
    extension_of_name(name(path)?)
}

fn extension_of_name(name: &[u8]) -> Option<&[u8]> {
    let dot = rfind(b'.', name)?;
    name.get(dot + 1..).filter(|extension| !extension.is_empty())
}

/// A borrowed path with its name and extension found once, since every rule asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathView<'a> {
    path: &'a [u8],
    name: Option<&'a [u8]>,
    extension: Option<&'a [u8]>,
}

impl<'a> PathView<'a> {
    /// Looks at a path.
    #[must_use]
    pub fn new(path: &'a [u8]) -> Self {
        let (slash, dot) = slash_and_dot(path);
        let after = |at: usize| path.get(at + 1..).filter(|rest| !rest.is_empty());
        let name = slash.map_or(Some(path).filter(|path| !path.is_empty()), after);
        Self { path, name, extension: dot.and_then(after) }
    }

    /// The whole path.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// [`name`].
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        self.name
    }

    /// [`extension`].
    #[must_use]
    pub fn extension(&self) -> Option<&'a [u8]> {
        self.extension
    }
}

/// An owned path, cheap to clone, that remembers where its name begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    path: Arc<[u8]>,
    name_at: usize,
}

impl Executable {
    /// Keeps a path.
    #[must_use]
    pub fn new(path: impl Into<Arc<[u8]>>) -> Self {
        let path = path.into();
        let name_at = path.len() - name(&path).map_or(0, <[u8]>::len);
        Self { path, name_at }
    }

    /// The whole path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.path.get(self.name_at..).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn extension_is_what_follows_the_last_dot() {
        for (path, expected) in [
            ("/x/foo", None),
            ("/root/.bashrc", Some("bashrc")),
            ("/x/a.tar.gz", Some("gz")),
            ("/x/x.", None),
            ("/x/.99evil.swp", Some("swp")),
            ("/etc/apt/apt.conf.d/01auto.dpkg-new", Some("dpkg-new")),
            ("/etc/apt/apt.conf.d/99evil", None),
            ("/x/A.CONF", Some("CONF")),
            ("/x.d/", None),
            ("/", None),
            ("", None),
            ("name.only", Some("only")),
            ("/x/a..b", Some("b")),
            ("/x/..", None),
        ] {
            assert_eq!(text(extension(path.as_bytes())), expected, "{path}");
            assert_eq!(text(PathView::new(path.as_bytes()).extension()), expected, "{path}");
        }
    }

    #[test]
    fn the_last_of_a_byte_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut text = vec![b'.'; length];
            assert_eq!((rfind(b'/', &text), rfind(b'.', &text)), (None, length.checked_sub(1)));
            for at in 0..length {
                for odd in [0, 1, b'/' - 1, b'/' + 1, b'/' | 0x80, 0xff] {
                    text.fill(odd);
                    text[at] = b'/';
                    text[0] = b'/';
                    assert_eq!(rfind(b'/', &text), Some(at), "{length} {odd}");
                }
            }
        }
    }

    #[test]
    fn name_is_the_last_component_or_absent() {
        for (path, expected) in
            [("/usr/bin/dpkg", Some("dpkg")), ("/", None), ("", None), ("/a/", None), ("x", Some("x"))]
        {
            assert_eq!(text(name(path.as_bytes())), expected, "{path}");
            assert_eq!(text(Executable::new(path.as_bytes()).name()), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn both_are_found_in_one_look(path in "[/.ab\u{80}]{0,30}") {
            let view = PathView::new(path.as_bytes());
            prop_assert_eq!((view.name(), view.extension()), (name(path.as_bytes()), extension(path.as_bytes())));
        }
    }

    #[test]
    fn bytes_need_not_be_utf8() {
        assert_eq!(name(b"/x/\xff\xfe"), Some(&b"\xff\xfe"[..]));
        assert_eq!(extension(b"/x/\xff.\xfe"), Some(&b"\xfe"[..]));
    }
}
