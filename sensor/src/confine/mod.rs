//! What the sensor may still do once its programs are attached: each thread gives up what its work does not need.
//!
//! All give up new privileges, all but two or three capabilities, and the system calls that are not on a list. Those
//! that write files are shut into their directories by Landlock as well. The threads that look at processes are not:
//! inside a Landlock domain, `/proc/PID/exe`, `cwd` and `root` of every process outside of it are denied, whatever the
//! capabilities. Threads share their memory, so this stops a confused thread, and the programs that a taken-over one
//! would start; it does not protect one thread from another.

mod attempt;
mod paths;
mod state;
mod syscalls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

pub(crate) use attempt::{Attempt, attempts};
pub(crate) use state::{Landlock, State};

/// What a thread is for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Reads records and processes, answers questions about files.
    Watch,
    /// Writes below these directories.
    Write(Vec<PathBuf>),
    /// Tells other services of this machine, by their sockets.
    Tell,
    /// Answers those who connect to sockets that are open.
    Answer,
    /// Sends what waits below these directories to other machines.
    Send(Vec<PathBuf>),
    /// Writes the event store, and starts the program that seals it.
    Store { root: PathBuf, program: Option<PathBuf> },
    /// Looks at processes and their files, and starts the program that hunts, which does so too.
    Look,
    /// Reads rules and configuration, writes what rules remember, and starts the program that reads the store.
    Reload { state_directory: PathBuf, program: Option<PathBuf> },
    /// Notices that files of rules and configuration change.
    Edits,
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Write(_) => "write",
            Self::Tell => "tell",
            Self::Answer => "answer",
            Self::Send(_) => "send",
            Self::Store { .. } => "store",
            Self::Look => "look",
            Self::Reload { .. } => "reload",
            Self::Edits => "edits",
        }
    }

    fn capabilities(&self) -> CapabilitySet {
        match self {
            Self::Watch | Self::Look => READING,
            Self::Write(_) | Self::Tell | Self::Send(_) | Self::Store { .. } => WRITING,
            Self::Answer => CapabilitySet::empty(),
            Self::Reload { .. } | Self::Edits => CapabilitySet::DAC_READ_SEARCH,
        }
    }
}

/// Of other users' processes and files, to read them.
const READING: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// Outputs may lie in a directory that is not root's.
const WRITING: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// Threads of a process that is not a running sensor keep what they have.
static ON: AtomicBool = AtomicBool::new(false);

/// What became of the threads that asked for it.
static DONE: Mutex<Confinement> = Mutex::new(Confinement { threads: BTreeMap::new(), failures: Vec::new() });

/// How the threads of this process are confined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// By what they are for; nothing if confinement is off.
    pub(crate) threads: BTreeMap<String, State>,
    /// What the kernel refused.
    pub(crate) failures: Vec<String>,
}

/// From now on, threads that ask for it are confined. Before any thread is started, since each inherits what is said
/// here: no program that any of them starts gains a privilege.
pub(crate) fn begin() {
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        tracing::warn!("no_new_privs cannot be set: {error}");
    }
    ON.store(true, Ordering::Relaxed);
}

/// Confines this thread, and those that it will start. What the kernel does not offer is left out; [`done`] tells.
pub(crate) fn thread(role: &Role) {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    let (state, failures) = apply(role);
    for failure in &failures {
        tracing::warn!("a thread is not confined as it should be: {failure}");
    }
    // Whoever held it only ever added whole values.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    done.threads.insert(role.name().to_owned(), state);
    for failure in failures {
        let failure = format!("{}: {failure}", role.name());
        if !done.failures.contains(&failure) {
            done.failures.push(failure);
        }
    }
}

/// What holds by now.
pub(crate) fn done() -> Confinement {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How the thread is confined now, and what failed, other than for want of a kernel that offers it.
fn apply(role: &Role) -> (State, Vec<String>) {
    let mut failures = Vec::new();
    let mut landlock = Landlock::NotAsked;
    if let Some(allowed) = paths::allowed(role) {
        match allowed.restrict() {
            Ok(state) => landlock = state,
            Err(failure) => {
                landlock = Landlock::Missing;
                failures.push(failure);
            }
        }
    }
    failures.extend(keep_capabilities(role.capabilities()).err());
    failures.extend(syscalls::restrict(role).err());
    (State::of_this_thread(landlock), failures)
}

/// Keeps those that it has of `wanted`.
fn keep_capabilities(wanted: CapabilitySet) -> Result<(), String> {
    let said = |error| format!("capabilities: {error}");
    let now = rustix::thread::capabilities(None).map_err(said)?;
    let sets = CapabilitySets {
        effective: now.effective.intersection(wanted),
        permitted: now.permitted.intersection(wanted),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(said)
}
