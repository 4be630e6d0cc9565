//! Through which process a session entered the host: `process.entry_leader`.

use sensor_ecs::{EntryType, Process};

/// Major number of virtual consoles and serial lines.
const TTY_MAJOR: u32 = 4;
/// Major numbers of pseudo terminals.
const PTS_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// Runtimes start these in a session of their own; what they start in turn is the entry.
const NOT_ENTRIES: [&[u8]; 6] =
    [b"runc", b"containerd-shim", b"calico-node", b"check-status", b"pause", b"conmon"];

/// Whether the process leads an entry, and which kind; `None` means that it belongs to its parent's.
pub(crate) fn entry_type(
    process: &Process,
    parent: Option<&Process>,
    is_session_leader: bool,
    is_kernel_thread: bool,
) -> Option<EntryType> {
    if process.pid == 1 {
        return Some(EntryType::Init);
    }
    if is_kernel_thread {
        return Some(EntryType::Kthread);
    }
    if !is_session_leader {
        return None;
    }
    let major = process.tty.map(|tty| tty.major);
    if major == Some(TTY_MAJOR) {
        return Some(EntryType::Terminal);
    }
    if NOT_ENTRIES.iter().any(|prefix| name(process).starts_with(prefix)) {
        return None;
    }
    let parent = name(parent?);
    let is_runtime =
        ["containerd-shim", "runc", "conmon"].iter().any(|prefix| parent.starts_with(prefix.as_bytes()));
    if parent == b"ssm-session-worker" && major.is_some_and(|major| PTS_MAJORS.contains(&major)) {
        Some(EntryType::Ssm)
    } else if matches!(parent, b"sshd" | b"sshd-session") {
        Some(EntryType::Sshd)
    } else if is_runtime {
        Some(EntryType::Container)
    } else {
        None
    }
}

/// Whether a terminal with this major number has somebody typing.
pub(crate) fn is_interactive(major: u32) -> bool {
    major == TTY_MAJOR || PTS_MAJORS.contains(&major)
}

fn name(process: &Process) -> &[u8] {
    process.image.executable.as_ref().and_then(|executable| executable.name()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sensor_ecs::{Executable, Image, Tty};
    use std::sync::Arc;

    fn process(pid: u32, executable: &str, major: u32) -> Process {
        let image = Image { executable: Some(Executable::new(executable.as_bytes())), ..Image::default() };
        Process {
            image: Arc::new(image),
            tty: (major != 0).then_some(Tty { major, minor: 1 }),
            ..Process::new(pid, Arc::from(b"id".as_slice()))
        }
    }

    #[test]
    fn entries_are_found_by_who_started_the_session() {
        for (executable, major, parent, expected) in [
            ("/usr/bin/bash", 136, "/usr/sbin/sshd", Some(EntryType::Sshd)),
            ("/usr/bin/bash", 0, "/usr/lib/openssh/sshd-session", Some(EntryType::Sshd)),
            ("/usr/bin/bash", 136, "/usr/bin/ssm-session-worker", Some(EntryType::Ssm)),
            ("/usr/bin/bash", 0, "/usr/bin/ssm-session-worker", None),
            ("/usr/bin/nginx", 0, "/usr/bin/containerd-shim-runc-v2", Some(EntryType::Container)),
            ("/usr/bin/runc", 0, "/usr/bin/containerd-shim-runc-v2", None),
            ("/usr/sbin/agetty", 4, "/usr/lib/systemd/systemd", Some(EntryType::Terminal)),
            ("/usr/sbin/cron", 0, "/usr/lib/systemd/systemd", None),
        ] {
            let (process, parent) = (process(50, executable, major), process(40, parent, 0));
            assert_eq!(entry_type(&process, Some(&parent), true, false), expected, "{executable}");
            assert_eq!(entry_type(&process, Some(&parent), false, false), None, "{executable}");
        }
    }

    #[test]
    fn init_and_kernel_threads_lead_themselves() {
        let init = process(1, "/usr/lib/systemd/systemd", 0);
        assert_eq!(entry_type(&init, None, true, false), Some(EntryType::Init));
        let thread = Process::new(9, Arc::from(b"id".as_slice()));
        assert_eq!(entry_type(&thread, None, false, true), Some(EntryType::Kthread));
    }
}
