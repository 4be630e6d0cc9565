//! Edits of rules and configuration, noticed without anybody's asking.
//!
//! What the kernel tells of the directories only wakes the thread: whether a file that is read is another one by now is
//! seen by looking. So neighbours mean nothing, and a link that is turned, as Kubernetes does with a ConfigMap, counts.
//!
//! Late, by [`LOOK_ANYWAY`]: changes that inotify does not tell (network file systems, a mount over a directory).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sensor_eql::diag::printable;
use tokio::sync::{mpsc, oneshot};

use super::RunArgs;
use super::rules::rule_files;
use super::run::configured;
use super::say::{count, note};
use crate::config::{Config, PATH_DEFAULT};
use crate::confine::{self, Role};
use crate::health::Reload;

/// Who writes files writes several: they are read when there was peace for so long.
const PEACE: Duration = Duration::from_millis(500);
/// Who never stops writing is not waited for.
const PEACE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// Names that fit the kernel's longest message, some of them at once.
const MESSAGE_BYTES: usize = 4096;

/// What tells one state of a file from another; nothing of a file that is not there.
type Mark = Option<[i128; 4]>;

/// Every file that is read, as it was at one time.
type Files = BTreeMap<PathBuf, Mark>;

/// Has rules and configuration read anew when they are others.
pub(super) struct Edits {
    args: RunArgs,
    /// Rules, as the last configuration that could be read says.
    rules: Vec<PathBuf>,
    known: Files,
}

impl Edits {
    /// Takes the files as they are now for known.
    pub(super) fn new(args: &RunArgs, config: &Config) -> Self {
        let mut edits = Self { args: args.clone(), rules: config.rules.paths.clone(), known: Files::new() };
        edits.known = edits.look().0;
        edits
    }

    /// Starts the thread, which ends when nobody reads anew any more.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(mut self, reload: mpsc::Sender<Reload>) -> io::Result<()> {
        thread::Builder::new().name("edits".to_owned()).spawn(move || {
            confine::thread(&Role::Edits);
            let files = count(self.known.len() as u64, "file");
            note(format_args!("sensor: rules and configuration are read anew when one of {files} changes"));
            let mut is_told = true;
            while self.read_anew(&reload) {
                let watch = Watch::on(&self.look().1);
                if let (Err(error), true) = (&watch, is_told) {
                    let seconds = LOOK_ANYWAY.as_secs();
                    note(format_args!("sensor: changes of files are looked for every {seconds} s: {error}"));
                }
                is_told = watch.is_ok();
                // What changed before it was watched shows now.
                let is_quiet = self.look().0 == self.known;
                match watch {
                    Ok(watch) => {
                        if is_quiet {
                            watch.wait(LOOK_ANYWAY);
                        }
                        watch.wait_for_peace();
                    }
                    Err(_) if is_quiet => thread::sleep(LOOK_ANYWAY),
                    Err(_) => {}
                }
            }
        })?;
        Ok(())
    }

    /// Has everything read anew if a file is another one; `false` when nobody does so any more.
    fn read_anew(&mut self, reload: &mpsc::Sender<Reload>) -> bool {
        let Some(what) = changed(&self.known, &self.look().0) else { return true };
        note(format_args!("sensor: {what}"));
        if let Ok(loaded) = configured(&self.args) {
            self.rules = loaded.config.rules.paths;
        }
        // Before they are read: what changes meanwhile shows the next time.
        self.known = self.look().0;
        let (tell, told) = oneshot::channel();
        // How it went is said by who does it.
        reload.blocking_send(tell).is_ok() && told.blocking_recv().is_ok()
    }

    /// The files, and the directories in which a change of them shows.
    fn look(&self) -> (Files, BTreeSet<PathBuf>) {
        let config = self.args.config.config.as_deref().unwrap_or(Path::new(PATH_DEFAULT));
        let (mut paths, mut directories) = (vec![config.to_owned()], BTreeSet::new());
        for path in &self.rules {
            let (files, within) = rule_files(path);
            paths.extend(files);
            directories.extend(within);
            directories.extend(directory(path));
        }
        for path in &paths {
            // Also where a link leads to.
            let real = path.canonicalize();
            directories.extend(
                [Some(path), real.as_ref().ok()].into_iter().flatten().filter_map(|path| directory(path)),
            );
        }
        (paths.into_iter().map(|path| (path.clone(), mark(&path))).collect(), directories)
    }
}

fn directory(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { ".".into() } else { parent.to_owned() })
}

fn mark(path: &Path) -> Mark {
    let metadata = fs::metadata(path).ok()?;
    let time = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    Some([
        i128::from(metadata.dev()) << 64 | i128::from(metadata.ino()),
        i128::from(metadata.len()),
        time(metadata.mtime(), metadata.mtime_nsec()),
        time(metadata.ctime(), metadata.ctime_nsec()),
    ])
}

/// What changed, for a person.
fn changed(old: &Files, new: &Files) -> Option<String> {
    let is_other = |path: &&PathBuf| old.get(*path) != new.get(*path);
    let paths: BTreeSet<&PathBuf> = old.keys().chain(new.keys()).filter(is_other).collect();
    let first = printable(&paths.first()?.display().to_string()).to_string();
    Some(match paths.len() {
        1 => format!("{first} has changed"),
        several => format!("{first} and {} have changed", count(several as u64 - 1, "other file")),
    })
}

/// Directories that the kernel tells of.
struct Watch(OwnedFd);

impl Watch {
    fn on(directories: &BTreeSet<PathBuf>) -> rustix::io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for directory in directories {
            match inotify::add_watch(&fd, directory, what) {
                // One that is not there shows in the one above, or later.
                Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(fd))
    }

    /// Until something happens there, or that time is over; says whether something did.
    fn wait(&self, most: Duration) -> bool {
        // Of a few seconds at most.
        let Ok(timeout) = Timespec::try_from(most) else { return false };
        let happened = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout));
        let mut bytes = [MaybeUninit::uninit(); MESSAGE_BYTES];
        while let Ok((read, _)) = rustix::io::read(&self.0, &mut bytes)
            && !read.is_empty()
        {}
        happened.is_ok_and(|ready| ready > 0)
    }

    fn wait_for_peace(&self) {
        let start = Instant::now();
        while self.wait(PEACE) && start.elapsed() < PEACE_WITHIN {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn edits(root: &Path, rules: &[PathBuf]) -> Edits {
        let config = Config {
            rules: crate::config::RuleSettings { paths: rules.to_owned(), ..Default::default() },
            ..Config::default()
        };
        let args = RunArgs {
            config: crate::cli::args::ConfigArg { config: Some(root.join("sensor.toml")) },
            ..RunArgs::default()
        };
        Edits::new(&args, &config)
    }

    #[test]
    fn every_way_to_change_a_file_that_is_read_shows_and_a_neighbour_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let (rules, other) = (root.join("rules"), root.join("other"));
        fs::create_dir_all(rules.join("deep")).unwrap();
        fs::create_dir(&other).unwrap();
        let config = root.join("sensor.toml");
        fs::write(&config, "").unwrap();
        fs::write(other.join("linked.toml"), "1").unwrap();
        symlink(other.join("linked.toml"), rules.join("link.toml")).unwrap();
        let mut edits = edits(root, std::slice::from_ref(&rules));
        let mut expect = |done: &str, what: Option<&str>| {
            let now = edits.look().0;
            let said = changed(&edits.known, &now);
            let what = what.map(|path| format!("{} has changed", root.join(path).display()));
            assert_eq!(said, what, "{done}");
            edits.known = now;
        };
        expect("nothing", None);
        fs::write(root.join("neighbour.toml"), "x").unwrap();
        fs::write(rules.join("README.md"), "x").unwrap();
        expect("neighbours", None);
        fs::write(&config, "x").unwrap();
        expect("written over", Some("sensor.toml"));
        fs::write(root.join("new"), "x").unwrap();
        fs::rename(root.join("new"), &config).unwrap();
        expect("replaced by its equal", Some("sensor.toml"));
        fs::write(rules.join("deep/a.toml"), "x").unwrap();
        expect("a new rule", Some("rules/deep/a.toml"));
        // Of another size: within one tick of the clock, its times are the same.
        fs::write(other.join("linked.toml"), "22").unwrap();
        expect("behind a link", Some("rules/link.toml"));
        fs::remove_dir_all(rules.join("deep")).unwrap();
        expect("removed", Some("rules/deep/a.toml"));
        fs::remove_file(&config).unwrap();
        expect("gone", Some("sensor.toml"));
    }

    #[test]
    fn directories_that_are_watched_wake_and_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("rules/deep")).unwrap();
        let edits = edits(root, &[root.join("rules"), root.join("missing/rules")]);
        let directories = edits.look().1;
        for expected in [root, &root.join("rules"), &root.join("rules/deep"), &root.join("missing")] {
            assert!(directories.contains(expected), "{}: {directories:?}", expected.display());
        }
        let watch = Watch::on(&directories).unwrap();
        assert!(!watch.wait(Duration::from_millis(1)), "nothing has happened");
        fs::write(root.join("rules/deep/a.toml"), "x").unwrap();
        assert!(watch.wait(Duration::from_secs(60)));
        assert!(!watch.wait(Duration::from_millis(1)), "what was told is not told again");
        watch.wait_for_peace();
    }

    #[test]
    fn what_changes_is_read_once_and_whoever_reads_may_have_gone() {
        let folder = tempfile::tempdir().unwrap();
        let rule = folder.path().join("rule.toml");
        fs::write(folder.path().join("sensor.toml"), "rules.paths = [\"rule.toml\"]\n").unwrap();
        let edits = edits(folder.path(), std::slice::from_ref(&rule));
        let (reload, mut wanted) = mpsc::channel(1);
        edits.start(reload).unwrap();
        fs::write(&rule, "x").unwrap();
        // Refused or not: it is known now.
        wanted.blocking_recv().unwrap().send(Err("broken".to_owned())).unwrap();
        fs::write(&rule, "y").unwrap();
        drop(wanted.blocking_recv().unwrap());
        assert!(wanted.blocking_recv().is_none(), "who is not answered stops asking");
    }
}
