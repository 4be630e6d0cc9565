//! What one statement shares: the host it looks at, its budgets, what it has already read, and what it has to say.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::cell::Cell;
use super::host::Host;

/// Where Docker listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// How a statement is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Look below this directory instead of at the machine: an image, a fixture.
    pub root: Option<PathBuf>,
    /// Let `%` match names that begin with a dot, which it does not in osquery.
    pub hidden: bool,
    /// Give the real time of birth, which is 0 in osquery on Linux.
    pub birth_time: bool,
    /// Where the container engine listens that the `docker_*` tables ask.
    pub docker_socket: PathBuf,
    /// At most this long.
    pub time_max: Duration,
    /// At most this many files, processes and rows are looked at.
    pub looks_max: u64,
    /// At most this many rows are returned.
    pub rows_max: usize,
    /// At most this many bytes are hashed, and at most this many returned.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: None,
            hidden: false,
            birth_time: false,
            docker_socket: DOCKER_SOCKET.into(),
            time_max: Duration::from_secs(300),
            looks_max: 20_000_000,
            rows_max: 100_000,
            bytes_max: 4 << 30,
        }
    }
}

/// Why a table gives no more rows.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// A budget is spent; what was found so far stands.
    Spent(String),
    /// The statement cannot be answered.
    Failed(String),
}

impl Trouble {
    pub(crate) fn failed(cause: impl fmt::Display) -> Self {
        Self::Failed(cause.to_string())
    }
}

/// No file of configuration that is read whole is larger.
pub(crate) const CONFIG_BYTES_MAX: u64 = 16 << 20;
const WARNINGS_MAX: usize = 100;

/// Shared by the cursors of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Host,
    options: Options,
    started: Instant,
    looked: AtomicU64,
    hashed: AtomicU64,
    stopped: AtomicBool,
    said: Mutex<Said>,
    accounts: OnceLock<Accounts>,
    sockets: Mutex<HashMap<u64, Arc<Vec<super::tables::sockets::Socket>>>>,
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    pruned: Vec<String>,
    hidden: bool,
    spent: Option<String>,
}

impl Context {
    pub(crate) fn new(options: &Options) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            host: Host::new(options.root.as_deref())?,
            options: options.clone(),
            started: Instant::now(),
            looked: AtomicU64::new(0),
            hashed: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            said: Mutex::default(),
            accounts: OnceLock::new(),
            sockets: Mutex::default(),
            keys: RandomState::new(),
        })))
    }

    pub(crate) fn host(&self) -> &Host {
        &self.0.host
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        self.0.accounts.get_or_init(|| Accounts::read(self))
    }

    pub(crate) fn looked(&self) -> u64 {
        self.0.looked.load(Ordering::Relaxed)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Accounts for one more file, process or row that is looked at.
    pub(crate) fn look(&self) -> Result<(), Trouble> {
        let looked = self.0.looked.fetch_add(1, Ordering::Relaxed) + 1;
        if looked > self.0.options.looks_max {
            return Err(self.spend(format!("{} things were looked at", self.0.options.looks_max)));
        }
        if looked.is_multiple_of(64) && self.is_late() {
            return Err(self.late());
        }
        Ok(())
    }

    pub(crate) fn is_late(&self) -> bool {
        self.0.started.elapsed() >= self.0.options.time_max
    }

    pub(crate) fn late(&self) -> Trouble {
        self.spend(format!("{} seconds have passed", self.0.options.time_max.as_secs_f64()))
    }

    /// Accounts for bytes that are hashed.
    pub(crate) fn hash(&self, bytes: u64) -> Result<(), Trouble> {
        let hashed = self.0.hashed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if hashed > self.0.options.bytes_max {
            return Err(self.spend(format!("{} bytes were hashed", self.0.options.bytes_max)));
        }
        if self.is_late() { Err(self.late()) } else { Ok(()) }
    }

    pub(crate) fn spend(&self, what: String) -> Trouble {
        self.0.stopped.store(true, Ordering::Relaxed);
        let text = format!("stopped after {what}: the rows are not all");
        self.say(|said| said.spent = said.spent.take().or_else(|| Some(text.clone())));
        Trouble::Spent(text)
    }

    pub(crate) fn spent(&self) -> Option<String> {
        self.0.stopped.load(Ordering::Relaxed).then(|| self.say(|said| said.spent.clone())).flatten()
    }

    fn say<T>(&self, with: impl FnOnce(&mut Said) -> T) -> T {
        // A panic in another holder leaves nothing half written.
        with(&mut self.0.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Says something once.
    pub(crate) fn warn(&self, text: String) {
        self.say(|said| {
            if said.warnings.len() < WARNINGS_MAX && !said.warnings.contains(&text) {
                said.warnings.push(text);
            }
        });
    }

    /// Says that the kernel refused to show a process to this one.
    pub(crate) fn warn_of_processes(&self, table: &str) {
        let what = if rustix::process::geteuid().is_root() {
            "processes that the kernel shows to nobody else are left out"
        } else {
            "processes of other users are left out; run as root"
        };
        self.warn(format!("{table}: {what}"));
    }

    /// A recursion stayed out of a file system that the kernel makes up.
    pub(crate) fn note_pruned(&self, path: &[u8]) {
        let path = path.strip_suffix(b"/").unwrap_or(path).escape_ascii().to_string();
        self.say(|said| {
            if said.pruned.len() < WARNINGS_MAX && !said.pruned.contains(&path) {
                said.pruned.push(path);
            }
        });
    }

    /// A pattern was resolved in which `%` does not match a leading dot.
    pub(crate) fn note_hidden(&self) {
        self.say(|said| said.hidden = true);
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.say(|said| {
            let mut warnings = said.warnings.clone();
            if !said.pruned.is_empty() {
                warnings.push(format!("not descended into: {}", said.pruned.join(", ")));
            }
            if said.hidden {
                warnings.push(
                    "% does not match names that begin with a dot, as in osquery; --hidden does".into(),
                );
            }
            warnings
        })
    }

    /// A number that identifies a row: the same for the same values within a statement, and not to be foreseen by who
    /// chooses the values.
    pub(crate) fn row_id(&self, key: &[Option<&Cell>], occurrence: u64) -> i64 {
        let parts: Vec<(u8, &[u8], u64)> = key
            .iter()
            .map(|cell| match cell {
                None | Some(Cell::Null) => (0, [].as_slice(), 0),
                Some(Cell::Int(number)) => (1, [].as_slice(), number.cast_unsigned()),
                Some(Cell::Real(number)) => (2, [].as_slice(), number.to_bits()),
                Some(Cell::Text(bytes)) => (3, bytes.as_slice(), 0),
            })
            .collect();
        self.0.keys.hash_one((parts, occurrence)).cast_signed()
    }

    /// The sockets of a network namespace, read once.
    pub(crate) fn sockets(
        &self,
        namespace: u64,
        read: impl FnOnce() -> Vec<super::tables::sockets::Socket>,
    ) -> Arc<Vec<super::tables::sockets::Socket>> {
        let mut known = self.0.sockets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(known.entry(namespace).or_insert_with(|| Arc::new(read())))
    }

    /// Reads a file of configuration. What is there but cannot be read is said.
    pub(crate) fn config(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.host().read(path, CONFIG_BYTES_MAX) {
            Ok(bytes) => Some(bytes),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
            Err(cause) => {
                self.warn(format!("{}: {cause}", path.escape_ascii()));
                None
            }
        }
    }

    /// The files directly in a directory: whole paths, sorted; no directories. Symbolic links are followed.
    pub(crate) fn files_in(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let Ok((entries, _)) = self.host().list(directory) else { return Vec::new() };
        let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
        let mut paths: Vec<Vec<u8>> =
            entries.into_iter().map(|entry| [directory, slash, &entry.name].concat()).collect();
        paths.retain(|path| !self.host().is_dir(path));
        paths
    }

    /// Tables about what runs have rows only where something runs.
    pub(crate) fn is_live(&self, table: &str) -> bool {
        if !self.host().is_live() {
            let root = self.host().root().map(|path| path.display().to_string()).unwrap_or_default();
            self.warn(format!("{table}: nothing runs below {root}, so the table is empty"));
        }
        self.host().is_live()
    }
}
