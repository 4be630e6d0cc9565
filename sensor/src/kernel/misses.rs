//! Programs that the kernel did not run: none may interrupt itself on its CPU, and the kernel only counts.
//!
//! Programs at breakpoints share one such guard for all of a CPU, which is also held while any process uses a map through
//! a system call; what they leave out is counted since 6.7. Before, nobody knows.
//!
//! Most of these runs would have made a record, and count as one. The programs that see a file's name come or go run
//! for every lookup too: of their misses those are losses that an operation can have gone with, which was allowed and
//! was not seen to end. One that failed cannot be told from them.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use aya::Ebpf;
use sensor_common::wire::RecordKind;

use super::capability;
use super::hooks::{Mode, Part};
use super::programs::HookStatus;

/// Came with the counting, and is the only trace of it in the types.
pub(super) const COUNTED_SINCE: (&str, &str) = ("bpf_link_info", "perf_event.kprobe.missed");

const KINDS: usize = RecordKind::ALL.len();
/// Hooks that also run for much that makes no record.
const ENDINGS: [&str; 2] = ["security_d_instantiate", "d_delete"];
/// An operation that has been under way for so long has ended.
const UNDER_WAY_MAX: Duration = Duration::from_secs(10);

/// Runs that were left out, by the kind of record that might have come of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Misses {
    pub(super) plain: [u64; KINDS],
    /// Of programs at [`ENDINGS`].
    pub(super) endings: [u64; KINDS],
}

/// Reads what the kernel has counted.
pub(super) fn of(ebpf: &Ebpf, hooks: &[HookStatus]) -> io::Result<Misses> {
    let mut missed = Misses::default();
    for status in hooks.iter().filter(|status| status.is_used) {
        let Some(kind) = capability::kind_of(status.hook.name) else { continue };
        let parts = status.chosen().map(|chosen| chosen.parts).unwrap_or_default();
        for part in parts.iter().filter(|part| !shows_by_itself(part, parts)) {
            // What is not loaded any more cannot miss anything.
            let Some(program) = ebpf.program(part.program) else { continue };
            let Ok(fd) = program.fd() else { continue };
            let is_ending = ENDINGS.contains(&status.hook.name);
            let sums = if is_ending { &mut missed.endings } else { &mut missed.plain };
            if let Some(sum) = sums.get_mut(kind.index()) {
                *sum += recursion_misses(fd.as_fd().as_raw_fd())?;
            }
        }
    }
    Ok(missed)
}

/// What the programs have counted of the operations of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Operations {
    /// Those that failed or whose end was not seen, and whose thread has gone on to something else.
    pub(super) unfinished: u64,
    /// Those that are under way, or as the others, but for their thread.
    pub(super) open: u64,
}

/// Which misses of a kind's ending are losses.
#[derive(Debug, Default)]
pub(super) struct Ending {
    missed: u64,
    unfinished: u64,
    lost: u64,
    /// Misses that operations may have gone with which seem to be under way.
    suspected: u64,
    suspected_since: Option<Instant>,
}

impl Ending {
    /// How many there are so far. What is suspected is told when it becomes certain; `at_once`, when nothing is under
    /// way any more.
    pub(super) fn lost(&mut self, missed: u64, now: Operations, time: Instant, at_once: bool) -> u64 {
        let misses = self.suspected + missed.saturating_sub(self.missed);
        let certain = misses.min(now.unfinished.saturating_sub(self.unfinished));
        self.missed = missed;
        self.unfinished = now.unfinished;
        self.lost += certain;
        self.suspected = (misses - certain).min(now.open);
        if self.suspected == 0 {
            self.suspected_since = None;
        } else if at_once || time >= *self.suspected_since.get_or_insert(time) + UNDER_WAY_MAX {
            self.lost += std::mem::take(&mut self.suspected);
            self.suspected_since = None;
        }
        self.lost
    }
}

/// That the program at a function's return did not run shows in the one at its entry, whatever the reason: the next
/// operation of the thread finds the last one unfinished.
fn shows_by_itself(part: &Part, parts: &[Part]) -> bool {
    part.returns && parts.iter().any(|other| other.target == part.target && !other.returns)
}

/// Whether some of the programs may be left out without anybody counting.
pub(super) fn are_uncounted(hooks: &[HookStatus], are_probes_counted: bool) -> bool {
    let is_probed = |status: &HookStatus| status.is_used && status.mode == Some(Mode::Kprobe);
    !are_probes_counted && hooks.iter().any(is_probed)
}

fn recursion_misses(program: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{program}"))?;
    let count = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    // Without the line the kernel, before 5.12, leaves nothing out.
    count.map_or(Ok(0), |count| count.trim().parse().map_err(io::Error::other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::hooks::HOOKS;

    #[test]
    fn a_miss_is_a_loss_where_an_operation_did_not_end() {
        let time = Instant::now();
        let operations = |unfinished, open| Operations { unfinished, open };
        let mut ending = Ending::default();
        // Lookups, and operations that failed.
        assert_eq!(ending.lost(5, operations(0, 0), time, false), 0);
        assert_eq!(ending.lost(5, operations(7, 0), time, false), 0);
        // Neither more than were missed nor more than did not end.
        assert_eq!(ending.lost(8, operations(9, 0), time, false), 2);
        assert_eq!(ending.lost(9, operations(19, 0), time, false), 3);
        // Under way, and well.
        assert_eq!(ending.lost(12, operations(19, 1), time, false), 3);
        assert_eq!(ending.lost(12, operations(19, 0), time, false), 3);
        // Under way, and not.
        assert_eq!(ending.lost(14, operations(19, 1), time, false), 3);
        assert_eq!(ending.lost(14, operations(20, 0), time, false), 4);
    }

    #[test]
    fn what_is_never_seen_to_end_is_told_after_some_time() {
        let time = Instant::now();
        let open = Operations { unfinished: 0, open: 1 };
        let mut ending = Ending::default();
        assert_eq!(ending.lost(3, open, time, false), 0);
        assert_eq!(ending.lost(3, open, time + UNDER_WAY_MAX / 2, false), 0);
        assert_eq!(ending.lost(3, open, time + UNDER_WAY_MAX, false), 1);
        // Once.
        assert_eq!(ending.lost(3, open, time + 3 * UNDER_WAY_MAX, false), 1);
        let mut ending = Ending::default();
        assert_eq!(ending.lost(3, open, time, true), 1);
    }

    #[test]
    fn only_the_return_of_a_function_whose_entry_is_seen_is_not_asked_for() {
        let parts = || HOOKS.iter().flat_map(|hook| hook.alternatives).map(|alternative| alternative.parts);
        let of = |program: &str| {
            let parts = parts().find(|parts| parts.iter().any(|part| part.program == program)).unwrap();
            shows_by_itself(parts.iter().find(|part| part.program == program).unwrap(), parts)
        };
        assert!(of("rename_exit") && of("rename_exit_kprobe"));
        assert!(!of("rename_entry") && !of("setsid_exit") && !of("process_exec"));
    }

    #[test]
    fn what_probes_leave_out_is_uncounted_before_the_kernel_counts_it() {
        let status =
            |mode| HookStatus { hook: &HOOKS[0], mode: Some(mode), refused: Vec::new(), is_used: true };
        assert!(are_uncounted(&[status(Mode::Fentry), status(Mode::Kprobe)], false));
        assert!(!are_uncounted(&[status(Mode::Fentry), status(Mode::Kprobe)], true));
        assert!(!are_uncounted(&[status(Mode::Fentry), status(Mode::RawTp)], false));
    }
}
