//! Rule files: those that the user names, and those that ship with the sensor.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sensor_eql::diag::{Located, SourceFile};
use sensor_eql::{Diagnostic, Origin, RuleSource, Span};

use crate::cli::say::note;

/// Where packages put the shipped rules. When it is missing, those embedded at build time are used.
const SHIPPED_DIRECTORY: &str = "/usr/share/sensor/rules";
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped_rules.rs"));
/// What the rule reader accepts, and one more byte so that it can say that there was more.
const FILE_BYTES_MAX: u64 = (4 << 20) + 1;

/// Rule files, read.
#[derive(Default)]
pub(super) struct Found {
    pub(super) sources: Vec<RuleSource>,
    /// Files that could not be read as text.
    pub(super) unreadable: Vec<Located>,
    /// Files already taken, by their real path: a tree may be named twice, or be the shipped one.
    seen: BTreeSet<PathBuf>,
}

impl Found {
    /// Adds a rule file, or every `*.toml` below a directory.
    pub(super) fn add(&mut self, path: &Path, origin: Origin) -> anyhow::Result<()> {
        let metadata = fs::metadata(path).with_context(|| format!("rules {}", path.display()))?;
        if !metadata.is_dir() {
            let text = read(path).with_context(|| format!("rules {}", path.display()))?;
            self.take(path, origin, text);
            return Ok(());
        }
        let mut tree = Tree::default();
        tree.walk(path).with_context(|| format!("rules {}: cannot be listed", path.display()))?;
        if tree.files.is_empty() {
            bail!("rules {}: no rule file (*.toml) in it", path.display());
        }
        // One directory that cannot be listed does not take the others with it.
        self.unreadable
            .extend(tree.unlisted.iter().map(|(path, cause)| unreadable(path, &cause.to_string())));
        tree.files.sort();
        for file in tree.files {
            match read(&file) {
                Ok(text) => self.take(&file, origin, text),
                Err(cause) => self.unreadable.push(unreadable(&file, &cause.to_string())),
            }
        }
        Ok(())
    }

    /// Adds the rules that ship with the sensor, but for files that the user has named himself.
    pub(super) fn add_shipped(&mut self) {
        let directory = Path::new(SHIPPED_DIRECTORY);
        if directory.is_dir() {
            match self.add(directory, Origin::Shipped) {
                Ok(()) => return,
                Err(cause) => note(format_args!("sensor: {cause:#}; the built-in rules are used instead")),
            }
        }
        self.sources.extend(EMBEDDED.iter().map(|(name, text)| RuleSource {
            origin: Origin::Shipped,
            path: format!("built-in/{name}"),
            text: (*text).to_owned(),
        }));
    }

    fn take(&mut self, path: &Path, origin: Origin, text: Vec<u8>) {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(real) {
            return;
        }
        match String::from_utf8(text) {
            Ok(text) => self.sources.push(RuleSource { origin, path: path.display().to_string(), text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let shown = String::from_utf8_lossy(error.as_bytes());
                let diagnostic = Diagnostic::error(Span::new(at, at + 1), "not UTF-8 text");
                let name = path.display().to_string();
                self.unreadable.push(SourceFile::new(&name, &shown).locate(&diagnostic));
            }
        }
    }
}

/// The rule files at this path, whether or not they can be read, and the directories in which they were found.
pub(crate) fn rule_files(path: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if !path.is_dir() {
        return (vec![path.to_owned()], Vec::new());
    }
    let mut tree = Tree::default();
    // What cannot be listed has no files; reading it says so.
    let _ = tree.walk(path);
    (tree.files, tree.directories)
}

fn unreadable(path: &Path, cause: &str) -> Located {
    let name = path.display().to_string();
    SourceFile::new(&name, "").locate(&Diagnostic::error(Span::default(), "cannot be read").because(cause))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A fifo that nobody writes to would hang the open, and the read.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("it is a fifo or a socket, not a file"));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Rule files below a directory. Links to directories are followed, each directory once; hidden ones are not entered.
#[derive(Default)]
struct Tree {
    files: Vec<PathBuf>,
    /// Directories that could not be listed.
    unlisted: Vec<(PathBuf, io::Error)>,
    directories: Vec<PathBuf>,
    /// Device and inode of directories already entered.
    entered: BTreeSet<(u64, u64)>,
}

impl Tree {
    fn walk(&mut self, directory: &Path) -> io::Result<()> {
        let metadata = fs::metadata(directory)?;
        if !self.entered.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        self.directories.push(directory.to_owned());
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !hidden && let Err(cause) = self.walk(&path) {
                    self.unlisted.push((path, cause));
                }
            } else if is_rule_file(&path) {
                self.files.push(path);
            }
        }
        Ok(())
    }
}

/// A TOML file, but not one of the tests beside a rule.
fn is_rule_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".toml") && !name.ends_with(super::test::cases::SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(found: &Found) -> Vec<&str> {
        found.sources.iter().map(|source| source.path.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn a_tree_gives_its_rule_files_in_order_and_each_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("b/.git")).unwrap();
        for name in ["b/2.toml", "a.toml", "b/1.toml", "README.md", "b/.git/x.toml"] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink(root, root.join("b/loop")).unwrap();
        let mut found = Found::default();
        found.add(root, Origin::User).unwrap();
        found.add(&root.join("a.toml"), Origin::User).unwrap();
        assert_eq!(names(&found), ["a.toml", "1.toml", "2.toml"]);
    }

    #[test]
    fn a_path_without_rules_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_owned(), directory.path().join("missing")] {
            let error = Found::default().add(&path, Origin::User).unwrap_err();
            assert!(format!("{error:#}").contains(path.to_str().unwrap()), "{error:#}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_located() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        fs::write(&path, b"[rule]\nname = \"\xff\"").unwrap();
        let mut found = Found::default();
        found.add(&path, Origin::User).unwrap();
        assert!(found.sources.is_empty());
        assert!(found.unreadable[0].to_string().contains("x.toml:2:9"), "{}", found.unreadable[0]);
    }

    #[test]
    fn what_is_no_file_is_said_and_waits_for_nobody() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.toml"), "").unwrap();
        let fifo = directory.path().join("f.toml");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let mut found = Found::default();
        found.add(directory.path(), Origin::User).unwrap();
        assert_eq!(names(&found), ["a.toml"]);
        assert!(found.unreadable[0].to_string().contains("f.toml"), "{}", found.unreadable[0]);
        assert!(Found::default().add(&fifo, Origin::User).is_err());
    }

    #[test]
    fn the_rules_of_the_repository_are_embedded() {
        let mut tree = Tree::default();
        tree.walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules")).unwrap();
        assert_eq!(tree.files.len(), EMBEDDED.len());
        assert!(
            EMBEDDED
                .iter()
                .any(|(name, _)| *name == "linux/persistence_apt_package_manager_file_creation.toml")
        );
    }
}
