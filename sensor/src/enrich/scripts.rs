//! Scripts on their way into an exec: the kernel names a script before it loads the interpreter, and the exec record
//! knows only the interpreter.

use std::collections::HashMap;

use sensor_common::wire::record_flags;

use crate::decode::{Exec, Script, base_name};

use super::procfs::absolute;

/// Threads with a script pending; an exec that fails leaves its script behind.
const TASKS_MAX: usize = 4096;
/// Scripts of one thread: failed attempts and interpreters that are scripts themselves.
const PER_TASK_MAX: usize = 8;
/// A script older than this belongs to an exec that failed.
const AGE_NS_MAX: u64 = 10_000_000_000;

/// A script that an exec may be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingScript {
    /// As the task sees it.
    pub(crate) path: Vec<u8>,
    /// Upper components are missing or may be wrong.
    pub(crate) is_doubtful: bool,
    boot_ns: u64,
}

/// By process and thread.
#[derive(Debug, Default)]
pub(crate) struct PendingScripts {
    by_thread: HashMap<(u32, u32), Vec<PendingScript>>,
}

impl PendingScripts {
    /// Remembers a script until its exec.
    pub(crate) fn note(&mut self, script: &Script<'_>) {
        let header = &script.record.header;
        // An interpreter that is a script too: the user ran the one before it.
        if header.flags & record_flags::SCRIPT != 0 || !script.path.is_known() {
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
        let pending = self.by_thread.entry((header.task.tgid, header.task.tid)).or_default();
        if pending.len() >= PER_TASK_MAX {
            pending.remove(0);
        }
        pending.push(PendingScript {
            path,
            is_doubtful: script.path.doubts().next().is_some(),
            boot_ns: header.boot_ns,
        });
    }

    /// The script that this exec runs. Whatever else the thread had pending is stale now.
    ///
    /// Several can be pending: attempts that failed, as `execvp` makes along `PATH`, and interpreters that are scripts
    /// themselves. What the caller wrote decides; where that is a link to a script of another name, the first is taken.
    pub(crate) fn take(&mut self, exec: &Exec<'_>, cwd: &[u8]) -> Option<PendingScript> {
        let header = &exec.record.header;
        let caller = if exec.record.old_tid == 0 { header.task.tid } else { exec.record.old_tid };
        let mut pending = self.by_thread.remove(&(header.task.tgid, caller))?;
        if header.flags & record_flags::SCRIPT == 0 {
            return None;
        }
        pending.retain(|script| script.boot_ns.saturating_add(AGE_NS_MAX) >= header.boot_ns);
        let written = exec.filename.map(|name| absolute(name, cwd));
        let written_name = written.as_deref().and_then(base_name);
        let at = pending
            .iter()
            .rposition(|script| Some(&script.path) == written.as_ref())
            .or_else(|| pending.iter().rposition(|script| base_name(&script.path) == written_name))
            .unwrap_or(0);
        // A failed attempt can be made to look like the one that was not: the choice is a guess, and is marked as one.
        let is_guess = pending.len() > 1;
        (at < pending.len())
            .then(|| pending.swap_remove(at))
            .map(|script| PendingScript { is_doubtful: script.is_doubtful || is_guess, ..script })
    }

    /// Forgets the scripts of a process.
    pub(crate) fn forget(&mut self, tgid: u32) {
        if !self.by_thread.is_empty() {
            self.by_thread.retain(|(process, _), _| *process != tgid);
        }
    }

    /// Forgets what was left behind.
    pub(crate) fn expire(&mut self, boot_ns: u64) {
        self.by_thread.retain(|_, pending| {
            pending.iter().any(|script| script.boot_ns.saturating_add(AGE_NS_MAX) >= boot_ns)
        });
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
        scripts.note(&script);
    }

    fn take(scripts: &mut PendingScripts, filename: &str, interp: &str) -> Option<String> {
        let spec = ExecSpec { exe: "/usr/bin/dash", filename, interp, ..ExecSpec::default() };
        let bytes = synth::exec(&synth::task(10, 1), 100, &spec);
        let Ok(Wire::Exec(exec)) = decode(&bytes) else { panic!("not an exec") };
        scripts.take(&exec, b"/root").map(|script| String::from_utf8(script.path).unwrap())
    }

    #[test]
    fn an_exec_consumes_its_script() {
        let mut scripts = PendingScripts::default();
        note(&mut scripts, 1, "/root/x.sh");
        assert_eq!(take(&mut scripts, "./x.sh", "/bin/sh").as_deref(), Some("/root/x.sh"));
        assert_eq!(take(&mut scripts, "./x.sh", "/bin/sh"), None);
    }

    #[test]
    fn an_interpreter_that_is_a_script_does_not_hide_the_first() {
        let mut scripts = PendingScripts::default();
        note(&mut scripts, 1, "/root/x.sh");
        note(&mut scripts, 2, "/usr/bin/wrapper");
        assert_eq!(take(&mut scripts, "./x.sh", "/bin/sh").as_deref(), Some("/root/x.sh"));
        note(&mut scripts, 1, "/opt/tool/main.sh");
        note(&mut scripts, 2, "/usr/bin/wrapper");
        assert_eq!(take(&mut scripts, "/usr/bin/tool", "/bin/sh").as_deref(), Some("/opt/tool/main.sh"));
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
