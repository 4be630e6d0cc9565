//! Hunts that run by themselves: the program that hunts is started now and then, and each row that it finds is an event.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::confine::{self, Role};
use crate::sink::Report;

/// After the start, so that a host that boots has its time.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// A row is no longer; one that is ends the run.
const ROW_BYTES_MAX: u64 = 1 << 20;

/// What is hunted, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Hunting {
    /// The program.
    pub(crate) program: PathBuf,
    /// Hunt files, and folders of them.
    pub(crate) hunts: Vec<PathBuf>,
    /// The store that is asked, if there is one.
    pub(crate) store: Option<PathBuf>,
    /// `agent.id`
    pub(crate) agent: String,
    /// The last part of the data stream's name.
    pub(crate) namespace: String,
    /// Between the beginnings of two runs.
    pub(crate) every: Duration,
}

/// Takes a document; tells whether there was room for it.
pub(crate) type Take = Box<dyn Fn(&[u8]) -> bool + Send>;

#[derive(Default)]
struct State {
    ending: bool,
    running: Option<Child>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// The thread that hunts.
pub(crate) struct Hunter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hunter {
    /// Begins; the first run is a minute from now. `report` is called for what goes wrong.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn start(hunting: Hunting, take: Take, report: Report) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let hunt = move || {
            confine::thread(&Role::Look);
            let mut due = Instant::now() + FIRST_AFTER.min(hunting.every);
            while waited(&for_thread, due) {
                due = Instant::now() + hunting.every;
                if let Err(text) = run(&hunting, &for_thread, &take) {
                    report(&text);
                }
            }
        };
        let thread = std::thread::Builder::new().name("hunts".to_owned()).spawn(hunt)?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Hunter {
    /// A run that is under way ends there.
    fn drop(&mut self) {
        {
            let mut state = lock(&self.shared);
            state.ending = true;
            if let Some(child) = &mut state.running {
                // Fails only if it has ended already.
                let _ = child.kill();
            }
        }
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until it is time; false when the sensor ends.
fn waited(shared: &Shared, due: Instant) -> bool {
    let mut state = lock(shared);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if state.ending || left.is_zero() {
            return !state.ending;
        }
        (state, _) = shared.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
    }
}

fn run(hunting: &Hunting, shared: &Shared, take: &Take) -> Result<(), String> {
    let mut command = Command::new(&hunting.program);
    command.args(["hunt", "--format", "events", "--agent-id", &hunting.agent]);
    command.args(["--namespace", &hunting.namespace]);
    if let Some(store) = &hunting.store {
        command.arg("--store").arg(store);
    }
    command.arg("--").args(&hunting.hunts).stdin(Stdio::null()).stdout(Stdio::piped());
    // Ctrl-C is for the sensor, which ends the run itself.
    command.process_group(0);
    let cannot = |cause: io::Error| format!("hunts cannot be run by {}: {cause}", hunting.program.display());
    let output = {
        let mut state = lock(shared);
        if state.ending {
            return Ok(());
        }
        let child = state.running.insert(command.spawn().map_err(cannot)?);
        child.stdout.take()
    };
    let read = output.map_or(Ok(0), |output| rows(BufReader::new(output), take));
    let child = lock(shared).running.take();
    let Some(mut child) = child else { return Ok(()) };
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(cannot)?;
    let lost = read.map_err(|cause| format!("the rows of a hunt cannot be read: {cause}"))?;
    if lost > 0 {
        return Err(format!("{lost} rows of hunts could not be written"));
    }
    // What could not be run, or not whole, is an event of its own.
    match status.code() {
        Some(0 | 3 | 4) => Ok(()),
        _ if lock(shared).ending => Ok(()),
        _ => Err(format!("hunts could not be run: {status}")),
    }
}

/// Returns how many were not taken.
fn rows(mut output: impl io::BufRead, take: &Take) -> io::Result<u64> {
    let (mut line, mut lost) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut output).take(ROW_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(lost);
        }
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Err(io::Error::other("a row is cut off, or longer than a mebibyte"));
        }
        lost += u64::from(!take(&line));
    }
}
