//! The program that seals the log, started when it is needed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two starts, at least.
const PAUSE: Duration = Duration::from_secs(10);
/// What is too old is removed though nothing is to be sealed.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// After it failed.
const FAILED_PAUSE: Duration = Duration::from_secs(300);

/// Where the store is and how long events stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) root: PathBuf,
    /// A directory of the sensor's own around it, where it can be made anew when it was removed.
    pub(crate) within: Option<PathBuf>,
    /// The program that seals; without it the log grows up to its bound.
    pub(crate) program: Option<PathBuf>,
    /// Days that events stay.
    pub(crate) days: u32,
    /// Bytes of sealed files.
    pub(crate) bytes: u64,
}

pub(super) struct Keeper {
    keeping: Keeping,
    running: Option<Child>,
    next: Instant,
    /// When it is started though nothing waits.
    latest: Instant,
    failed: bool,
}

impl Keeper {
    pub(super) fn new(keeping: Keeping) -> Self {
        let now = Instant::now();
        Self { keeping, running: None, next: now, latest: now + LONGEST_PAUSE, failed: false }
    }

    pub(super) fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// Looks after the program, and starts it if there is work. An error is for a person, once for each trouble.
    pub(super) fn tick(&mut self, waiting: bool) -> Result<(), String> {
        if let Some(child) = &mut self.running {
            match child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) if status.success() => self.failed = false,
                Ok(Some(status)) => {
                    return self.trouble(format!("the event store could not be sealed: {status}"));
                }
                Err(cause) => {
                    return self.trouble(format!("what seals the event store cannot be waited for: {cause}"));
                }
            }
            self.running = None;
        }
        let now = Instant::now();
        if now < self.next || (!waiting && now < self.latest) {
            return Ok(());
        }
        self.next = now + PAUSE;
        self.latest = now + LONGEST_PAUSE;
        let Some(program) = &self.keeping.program else { return Ok(()) };
        let child = Command::new(program)
            .args(["store", "keep", "--days", &self.keeping.days.to_string()])
            .args(["--bytes", &self.keeping.bytes.to_string()])
            .arg(&self.keeping.root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        match child {
            Ok(child) => self.running = Some(child),
            Err(cause) => {
                let what =
                    format!("{} cannot be started, the event store's log grows: {cause}", program.display());
                return self.trouble(what);
            }
        }
        Ok(())
    }

    fn trouble(&mut self, text: String) -> Result<(), String> {
        self.running = None;
        self.next = Instant::now() + FAILED_PAUSE;
        if std::mem::replace(&mut self.failed, true) { Ok(()) } else { Err(text) }
    }
}
