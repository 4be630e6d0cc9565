//! Scripts on their way into an exec: the kernel names a script before it loads the interpreter, and the exec record
//! knows only the interpreter.

use std::collections::HashMap;

use sensor_common::wire::record_flags;
use sensor_ecs::Elsewhere;

use crate::decode::{Exec, Script};

use super::mounts::Mounts;

/// Threads with a script pending; an exec that fails leaves its script behind.
const TASKS_MAX: usize = 4096;
/// A script older than this belongs to an exec that failed.
const AGE_NS_MAX: u64 = 10_000_000_000;

/// A script that an exec may be about.
#[derive(Clone, Debug)]
pub(crate) struct PendingScript {
    /// As the task sees it.
    pub(crate) path: Vec<u8>,
    /// Upper components are missing or may be wrong.
    pub(crate) is_doubtful: bool,
    /// By other ways.
    pub(crate) elsewhere: Option<Box<Elsewhere>>,
    boot_ns: u64,
}

/// By process and thread.
#[derive(Debug, Default)]
pub(crate) struct PendingScripts {
    by_thread: HashMap<(u32, u32), PendingScript>,
}

impl PendingScripts {
    /// Remembers a script until its exec. The kernel sends one for each attempt: what the thread had pending belongs to
    /// an attempt that failed, as `execvp` makes along `PATH`.
    pub(crate) fn note(&mut self, script: &Script<'_>, mounts: &mut Mounts) {
        let header = &script.record.header;
        if !script.path.is_known() {
            return;
        }
        if self.by_thread.len() >= TASKS_MAX {
            self.expire(header.boot_ns);
        }
        if self.by_thread.len() >= TASKS_MAX {
            self.by_thread.clear();
        }
        let mut path = Vec::new();
        script.path.write_task_view(&mut path);
        let is_doubtful = script.path.doubts().next().is_some();
        let elsewhere = mounts.elsewhere(&script.path, script.record.dev);
        let pending = PendingScript { path, is_doubtful, elsewhere, boot_ns: header.boot_ns };
        self.by_thread.insert((header.task.tgid, header.task.tid), pending);
    }

    /// The script that this exec runs. Whatever the thread had pending is consumed.
    pub(crate) fn take(&mut self, exec: &Exec<'_>) -> Option<PendingScript> {
        let header = &exec.record.header;
        let caller = if exec.record.old_tid == 0 { header.task.tid } else { exec.record.old_tid };
        let pending = self.by_thread.remove(&(header.task.tgid, caller))?;
        let is_script = header.flags & record_flags::SCRIPT != 0;
        (is_script && pending.boot_ns.saturating_add(AGE_NS_MAX) >= header.boot_ns).then_some(pending)
    }

    /// Forgets the scripts of a process.
    pub(crate) fn forget(&mut self, tgid: u32) {
        if !self.by_thread.is_empty() {
            self.by_thread.retain(|(process, _), _| *process != tgid);
        }
    }

    /// Forgets what was left behind.
    pub(crate) fn expire(&mut self, boot_ns: u64) {
        self.by_thread.retain(|_, pending| pending.boot_ns.saturating_add(AGE_NS_MAX) >= boot_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::synth::{self, ExecSpec};
    use crate::decode::{Wire, decode};

    fn note(scripts: &mut PendingScripts, boot_ns: u64, path: &str) {
        let bytes = synth::script(&synth::task(10, 1), boot_ns, path);
        let Ok(Wire::Script(script)) = decode(&bytes) else { panic!("not a script") };
        scripts.note(&script, &mut Mounts::default());
    }

    fn take(scripts: &mut PendingScripts, filename: &str, interp: &str) -> Option<String> {
        let spec = ExecSpec { exe: "/usr/bin/dash", filename, interp, ..ExecSpec::default() };
        let bytes = synth::exec(&synth::task(10, 1), 100, &spec);
        let Ok(Wire::Exec(exec)) = decode(&bytes) else { panic!("not an exec") };
        scripts.take(&exec).map(|script| String::from_utf8(script.path).unwrap())
    }

    #[test]
    fn an_exec_consumes_its_script() {
        let mut scripts = PendingScripts::default();
        note(&mut scripts, 1, "/root/x.sh");
        assert_eq!(take(&mut scripts, "./x.sh", "/bin/sh").as_deref(), Some("/root/x.sh"));
        assert_eq!(take(&mut scripts, "./x.sh", "/bin/sh"), None);
    }

    #[test]
    fn an_attempt_that_failed_is_not_taken_for_the_one_that_did_not() {
        let mut scripts = PendingScripts::default();
        note(&mut scripts, 1, "/usr/local/bin/foo");
        note(&mut scripts, 2, "/usr/bin/foo");
        assert_eq!(take(&mut scripts, "/usr/bin/foo", "/bin/sh").as_deref(), Some("/usr/bin/foo"));
        note(&mut scripts, 1, "/usr/local/bin/foo");
        assert_eq!(take(&mut scripts, "/usr/bin/true", ""), None, "a binary ran");
        assert_eq!(take(&mut scripts, "/usr/bin/bar", "/bin/sh"), None, "and dropped what was pending");
    }

    #[test]
    fn scripts_are_forgotten() {
        let mut scripts = PendingScripts::default();
        note(&mut scripts, 1, "/root/x.sh");
        scripts.expire(AGE_NS_MAX + 2);
        assert!(scripts.by_thread.is_empty());
        note(&mut scripts, 1, "/root/x.sh");
        scripts.forget(10);
        assert!(scripts.by_thread.is_empty());
    }
}
