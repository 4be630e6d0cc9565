//! An initramfs in the kernel's "newc" format: sorted and without times, so that equal input gives equal bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// What stands at a path.
#[derive(Clone, Debug)]
enum Node {
    Dir,
    File { executable: bool, content: Vec<u8> },
    Symlink(Vec<u8>),
}

/// A file tree in memory; parents come into being with their children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    nodes: BTreeMap<String, Node>,
}

impl Archive {
    /// Adds a folder.
    pub(crate) fn dir(&mut self, path: &str) {
        let path = path.trim_matches('/');
        self.parents(path);
        if !path.is_empty() {
            self.nodes.entry(path.to_owned()).or_insert(Node::Dir);
        }
    }

    /// Adds a file that may be executed.
    pub(crate) fn program(&mut self, path: &str, content: Vec<u8>) {
        self.insert(path, Node::File { executable: true, content });
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.insert(path, Node::File { executable: false, content: content.into() });
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path, Node::Symlink(target.as_bytes().to_vec()));
    }

    /// Whether something stands at the path.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.trim_matches('/'))
    }

    fn insert(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.nodes.insert(path.to_owned(), node);
    }

    fn parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            if let Some(parent) = path.get(..end) {
                self.nodes.entry(parent.to_owned()).or_insert(Node::Dir);
            }
        }
    }

    /// Writes the archive, uncompressed: unpacking costs an emulated machine more than reading.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        // A folder's path is a prefix of its children's, so sorted order creates it first.
        for (inode, (path, node)) in (1_u32..).zip(&self.nodes) {
            let (mode, content): (u32, &[u8]) = match node {
                Node::Dir => (0o040_755, &[]),
                Node::File { executable: true, content } => (0o100_755, content),
                Node::File { executable: false, content } => (0o100_644, content),
                Node::Symlink(target) => (0o120_777, target),
            };
            entry(out, inode, mode, path, content)?;
        }
        entry(out, 0, 0, "TRAILER!!!", &[])
    }
}

fn entry(out: &mut impl Write, inode: u32, mode: u32, path: &str, content: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is over 4 GiB"));
    let size = u32::try_from(content.len()).map_err(too_long)?;
    let name_size = u32::try_from(path.len() + 1).map_err(too_long)?;
    let (uid, gid, links, mtime, device, check) = (0, 0, 1, 0, 0, 0);
    write!(out, "070701")?;
    for field in [inode, mode, uid, gid, links, mtime, size, device, device, device, device, name_size, check]
    {
        write!(out, "{field:08x}")?;
    }
    out.write_all(path.as_bytes())?;
    out.write_all(&[0])?;
    // Name and content both end on a multiple of four, the header being 110 bytes long.
    pad(out, 110 + path.len() + 1)?;
    out.write_all(content)?;
    pad(out, content.len())
}

fn pad(out: &mut impl Write, written: usize) -> io::Result<()> {
    const ZEROS: [u8; 3] = [0; 3];
    let missing = written.next_multiple_of(4) - written;
    out.write_all(ZEROS.get(..missing).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(archive: &Archive) -> Vec<u8> {
        let mut out = Vec::new();
        archive.write(&mut out).unwrap();
        out
    }

    #[test]
    fn parents_come_before_children_and_everything_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/etc/apt/x", "abc");
        archive.symlink("bin", "usr/bin");
        let out = bytes(&archive);
        assert_eq!(out.len() % 4, 0);
        let text = String::from_utf8_lossy(&out).into_owned();
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("bin\0") < at("etc\0") && at("etc\0") < at("etc/apt\0"));
        assert!(at("etc/apt\0") < at("etc/apt/x\0"));
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn order_of_insertion_does_not_change_the_bytes() {
        let mut one = Archive::default();
        one.file("a", "1");
        one.program("b/c", b"2".to_vec());
        let mut two = Archive::default();
        two.program("b/c", b"2".to_vec());
        two.file("a", "1");
        assert_eq!(bytes(&one), bytes(&two));
    }
}
