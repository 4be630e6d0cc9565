//! Process trees: all that came from one login, service or container.

use sensor_ecs::{Process, ProcessView};

/// A process tree, told by the process that it begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pid: u32,
    start_ns: i64,
}

impl Tree {
    /// The tree of a process: below what entered the host, below its session where everything below pid 1 would be.
    pub(crate) fn of(view: &ProcessView<'_>) -> Self {
        let own = |process: &&Process| process.pid > 1;
        let top = view
            .entry_leader
            .filter(own)
            .or(view.session_leader.filter(own))
            .or(view.group_leader.filter(own));
        let top = top.unwrap_or(view.process);
        Self { pid: top.pid, start_ns: top.start_ns.unwrap_or(0) }
    }
}
