//! What keeps attached programs from being run, all of them at once: root can turn off what they hang on. And what
//! keeps the sensor from knowing whose doing it was.
//!
//! Missed: debugfs that is mounted only later, or elsewhere.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::hooks::Mode;
use super::programs::HookStatus;

/// Path, the ways to attach that it is about, and what is said of it.
const SWITCHES: [(&str, &[Mode], &str); 2] = [
    (
        "/proc/sys/kernel/ftrace_enabled",
        &[Mode::Fentry, Mode::Kprobe],
        "ftrace is turned off (kernel.ftrace_enabled)",
    ),
    (
        "/sys/kernel/debug/kprobes/enabled",
        &[Mode::Kprobe],
        "kprobes are turned off (debugfs, kprobes/enabled)",
    ),
];

const PROC: &str = "/proc";
const COVERED: &str = "/proc is covered by another file system, processes cannot be looked at";

/// The switches that matter to the hooks in use; held open, since a confined thread could not open them.
pub(super) struct Switches(Vec<(File, &'static str)>);

impl Switches {
    /// Those that there are.
    pub(super) fn open(hooks: &[HookStatus]) -> Self {
        let is_used = |mode: &Mode| hooks.iter().any(|hook| hook.is_used && hook.mode == Some(*mode));
        let wanted = SWITCHES.into_iter().filter(|(_, modes, _)| modes.iter().any(is_used));
        Self(wanted.filter_map(|(path, _, what)| Some((File::open(path).ok()?, what))).collect())
    }

    /// What is turned off now.
    pub(super) fn off(&self) -> Vec<&'static str> {
        let off = self.0.iter().filter(|(file, _)| is_off(file)).map(|(_, what)| *what);
        off.chain(is_covered(Path::new(PROC)).then_some(COVERED)).collect()
    }
}

fn is_covered(proc: &Path) -> bool {
    rustix::fs::statfs(proc).is_ok_and(|found| found.f_type != rustix::fs::PROC_SUPER_MAGIC)
}

fn is_off(file: &File) -> bool {
    let mut first = [0];
    file.read_at(&mut first, 0).is_ok_and(|read| read == 1) && first == *b"0"
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn another_file_system_is_no_proc() {
        assert!(!is_covered(Path::new(PROC)));
        assert!(is_covered(tempfile::tempdir().unwrap().path()));
    }

    #[test]
    fn a_switch_is_off_at_zero() {
        for (text, off) in [("0\n", true), ("1\n", false), ("", false)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(Switches(vec![(file, "it")]).off().len(), usize::from(off), "{text:?}");
        }
    }
}
