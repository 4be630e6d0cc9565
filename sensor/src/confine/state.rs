//! How a thread is confined, as the kernel says.

use std::fmt;

use rustix::thread::{CapabilitySet, SecureComputingMode};
use serde::{Deserialize, Serialize};

/// Whether Landlock holds a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Landlock {
    /// It looks at processes, which is impossible from inside, or is not confined at all.
    #[default]
    NotAsked,
    /// The kernel has none, or refused.
    Missing,
    /// By this version.
    Version(i32),
}

/// What a thread has given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) no_new_privs: bool,
    pub(crate) seccomp: bool,
    pub(crate) landlock: Landlock,
    /// What is left of them.
    pub(crate) capabilities: Vec<String>,
}

impl State {
    pub(super) fn of_this_thread(landlock: Landlock) -> Self {
        let capabilities =
            rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
        Self {
            no_new_privs: rustix::thread::no_new_privs().unwrap_or(false),
            seccomp: rustix::thread::secure_computing_mode()
                .is_ok_and(|mode| mode == SecureComputingMode::Filter),
            landlock,
            capabilities: capabilities.iter_names().map(|(name, _)| name.to_owned()).collect(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.no_new_privs { "no_new_privs" } else { "WITHOUT no_new_privs" })?;
        f.write_str(if self.seccomp { ", seccomp" } else { ", WITHOUT seccomp" })?;
        match self.landlock {
            Landlock::NotAsked => {}
            Landlock::Missing => f.write_str(", WITHOUT Landlock")?,
            Landlock::Version(version) => write!(f, ", Landlock {version}")?,
        }
        match self.capabilities.as_slice() {
            [] => f.write_str(", no capability"),
            some => write!(f, ", only {}", some.join(" ")),
        }
    }
}
