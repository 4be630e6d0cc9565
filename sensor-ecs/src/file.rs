//! What a path says about a file: name and extension.

use std::sync::Arc;

use memchr::memrchr;

/// The last component; `None` for the root and for a path that ends in a slash.
#[must_use]
pub fn name(path: &[u8]) -> Option<&[u8]> {
    let name = match memrchr(b'/', path) {
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
    let dot = memrchr(b'.', name)?;
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
        let name = name(path);
        Self { path, name, extension: name.and_then(extension_of_name) }
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
    fn name_is_the_last_component_or_absent() {
        for (path, expected) in
            [("/usr/bin/dpkg", Some("dpkg")), ("/", None), ("", None), ("/a/", None), ("x", Some("x"))]
        {
            assert_eq!(text(name(path.as_bytes())), expected, "{path}");
            assert_eq!(text(Executable::new(path.as_bytes()).name()), expected, "{path}");
        }
    }

    #[test]
    fn bytes_need_not_be_utf8() {
        assert_eq!(name(b"/x/\xff\xfe"), Some(&b"\xff\xfe"[..]));
        assert_eq!(extension(b"/x/\xff.\xfe"), Some(&b"\xfe"[..]));
    }
}
