//! What the self-test does: a file, its new name, a program.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{SelfTestError, impossible};
use crate::enrich::boot_ns_now;

/// The word that makes this executable end at once: it was run to be seen.
const CANARY: &str = "self-test-canary";

/// Whether these arguments are the canary's.
pub(crate) fn is_canary(first: Option<&OsStr>) -> bool {
    first == Some(OsStr::new(CANARY))
}

const RUN_WITHIN: Duration = Duration::from_secs(5);

/// A file as `stat` shows it.
#[derive(Debug, Default)]
pub(super) struct FileFacts {
    pub(super) inode: u64,
    /// In the kernel's encoding.
    pub(super) dev: u32,
    pub(super) mode: u32,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Acts {
    /// The path that the file was created at.
    pub(super) created: Vec<u8>,
    /// Where it went.
    pub(super) renamed: Vec<u8>,
    /// The file, unless its file system shows another to `stat` than the kernel has.
    pub(super) file: Option<FileFacts>,
    /// The directory of both.
    pub(super) dir: Vec<u8>,
    /// The program that was run, as we call it.
    pub(super) child: Option<u32>,
    /// Its path; absent when it is gone from there.
    pub(super) executable: Option<Vec<u8>>,
    /// Its arguments, each ended by a NUL.
    pub(super) argv: Vec<u8>,
    /// Its directory.
    pub(super) cwd: Option<Vec<u8>>,
    /// The boot clock before and after.
    pub(super) moments: (u64, u64),
}

impl Acts {
    pub(super) fn is_below(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.dir.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Whether these arguments hold the name that only we know.
    pub(super) fn is_token_in(&self, argv: &[u8]) -> bool {
        !self.dir.is_empty() && argv.windows(self.dir.len()).any(|window| window == self.dir)
    }
}

/// A directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    /// Where temporary files belong, or where root can always write.
    fn new() -> io::Result<Self> {
        let name = format!("sensor-self-test-{}-{:x}", std::process::id(), boot_ns_now());
        let mut error = None;
        for parent in [std::env::temp_dir(), PathBuf::from("/run")] {
            let Ok(parent) = parent.canonicalize() else { continue };
            let path = parent.join(&name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(cause) => error = Some(cause),
            }
        }
        Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Does everything and cleans up.
pub(super) fn perform(runs_program: bool) -> Result<Acts, SelfTestError> {
    let mut acts = Acts::default();
    acts.moments.0 = boot_ns_now();
    let scratch = Scratch::new().map_err(impossible("making a temporary directory"))?;
    let (created, renamed) = (scratch.0.join("created"), scratch.0.join("renamed"));
    let file = File::create_new(&created).map_err(impossible("creating a temporary file"))?;
    acts.file = facts(&file);
    drop(file);
    fs::rename(&created, &renamed).map_err(impossible("renaming a temporary file"))?;
    acts.dir = bytes(&scratch.0);
    if runs_program {
        run_canary(&mut acts).map_err(impossible("running /proc/self/exe"))?;
    }
    (acts.created, acts.renamed) = (bytes(&created), bytes(&renamed));
    drop(scratch);
    acts.moments.1 = boot_ns_now();
    Ok(acts)
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// On overlayfs and btrfs, `stat` shows numbers that are not those of the kernel's inode.
pub(super) fn facts(file: &File) -> Option<FileFacts> {
    const OVERLAYFS: u64 = 0x794c_7630;
    const BTRFS: u64 = 0x9123_683e;
    let kind = rustix::fs::fstatfs(file).ok()?.f_type as u64;
    let meta = file.metadata().ok()?;
    let dev = rustix::fs::major(meta.dev()) << 20 | rustix::fs::minor(meta.dev());
    let facts = FileFacts { inode: meta.ino(), dev, mode: meta.mode() };
    (kind != OVERLAYFS && kind != BTRFS).then_some(facts)
}

fn run_canary(acts: &mut Acts) -> io::Result<()> {
    let token = OsStr::from_bytes(&acts.dir);
    let mut child = Command::new("/proc/self/exe")
        .arg0("sensor")
        .arg(CANARY)
        .arg(token)
        .arg("")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    acts.child = Some(child.id());
    acts.argv = [b"sensor", CANARY.as_bytes(), &acts.dir, b""].map(|arg| [arg, b"\0"].concat()).concat();
    acts.executable =
        fs::read_link("/proc/self/exe").ok().filter(|path| path.exists()).map(|path| bytes(&path));
    acts.cwd = std::env::current_dir().ok().map(|path| bytes(&path));
    reap(&mut child)
}

fn reap(child: &mut Child) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < RUN_WITHIN => thread::sleep(Duration::from_millis(1)),
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(io::Error::other(status.to_string())),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}
