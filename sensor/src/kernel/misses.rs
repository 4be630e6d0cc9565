//! Programs that the kernel did not run: none may interrupt itself on its CPU, and the kernel only counts.
//!
//! Programs at breakpoints share one such guard for all of a CPU, which is also held while any process uses a map through
//! a system call; what they leave out is counted since 6.7. Before, nobody knows.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Ebpf;
use sensor_common::wire::RecordKind;

use super::capability;
use super::hooks::{Mode, Part};
use super::programs::HookStatus;

/// Came with the counting, and is the only trace of it in the types.
pub(super) const COUNTED_SINCE: (&str, &str) = ("bpf_link_info", "perf_event.kprobe.missed");

/// Runs that were left out, by the kind of record that might have come of them.
pub(super) fn of(ebpf: &Ebpf, hooks: &[HookStatus]) -> io::Result<[u64; RecordKind::ALL.len()]> {
    let mut missed = [0; RecordKind::ALL.len()];
    for status in hooks.iter().filter(|status| status.is_used) {
        let Some(kind) = capability::kind_of(status.hook.name) else { continue };
        let parts = status.chosen().map(|chosen| chosen.parts).unwrap_or_default();
        for part in parts.iter().filter(|part| !shows_by_itself(part, parts)) {
            // What is not loaded any more cannot miss anything.
            let Some(program) = ebpf.program(part.program) else { continue };
            let Ok(fd) = program.fd() else { continue };
            if let Some(sum) = missed.get_mut(kind.index()) {
                *sum += recursion_misses(fd.as_fd().as_raw_fd())?;
            }
        }
    }
    Ok(missed)
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
