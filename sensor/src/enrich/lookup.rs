//! Asking `/proc` about one process without being held up by it.
//!
//! Reading the arguments of a process takes its memory lock and may fault in pages that a file system of the process's
//! own choice provides: it can make its reader wait for ever. So a thread of its own reads, and is given up when it
//! does not answer.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::procfs::{ProcFacts, read_process};

/// How long the hot path waits for an answer.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Readers that may hang before `/proc` is not asked any more.
const ABANDONED_MAX: u32 = 8;

#[derive(Debug)]
struct Reader {
    ask: Sender<u32>,
    answers: Receiver<(u32, Option<ProcFacts>)>,
}

/// The way to `/proc`.
#[derive(Debug)]
pub(crate) struct Lookup {
    proc_root: PathBuf,
    reader: Option<Reader>,
    abandoned: u32,
}

impl Lookup {
    pub(crate) fn new(proc_root: PathBuf) -> Self {
        Self { proc_root, reader: None, abandoned: 0 }
    }

    /// The process with this pid; `None` if it is gone, or does not let itself be read.
    pub(crate) fn read(&mut self, pid: u32) -> Option<ProcFacts> {
        if self.reader.is_none() {
            self.reader = self.start();
        }
        let reader = self.reader.as_ref()?;
        let deadline = Instant::now() + WAIT_MAX;
        let mut asked = reader.ask.send(pid).is_ok();
        while asked {
            match reader.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((about, facts)) if about == pid => return facts,
                Ok(_) => {}
                Err(_) => asked = false,
            }
        }
        self.reader = None;
        self.abandoned += 1;
        tracing::warn!("process {pid} cannot be read from /proc");
        None
    }

    fn start(&self) -> Option<Reader> {
        if self.abandoned >= ABANDONED_MAX {
            return None;
        }
        let (ask, asked) = channel::<u32>();
        let (answer, answers) = channel();
        let proc_root = self.proc_root.clone();
        thread::Builder::new()
            .name("proc-lookup".to_owned())
            .spawn(move || {
                for pid in asked {
                    if answer.send((pid, read_process(&proc_root, pid))).is_err() {
                        break;
                    }
                }
            })
            .ok()?;
        Some(Reader { ask, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_hangs_its_reader_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("7");
        std::fs::create_dir(&dir).unwrap();
        // Opening a pipe that nobody writes to waits, as the worst file of /proc would.
        let pipe = std::ffi::CString::new(dir.join("stat").to_str().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let mut lookup = Lookup::new(root.path().into());
        let start = Instant::now();
        for _ in 0..ABANDONED_MAX + 3 {
            assert!(lookup.read(7).is_none());
        }
        assert!(start.elapsed() < WAIT_MAX * (ABANDONED_MAX + 3));
        assert_eq!(lookup.abandoned, ABANDONED_MAX);
    }

    #[test]
    fn answers_are_about_who_was_asked_for() {
        let mut lookup = Lookup::new("/proc".into());
        let pid = std::process::id();
        assert!(lookup.read(u32::MAX).is_none());
        assert_eq!(lookup.read(pid).unwrap().pid, pid);
        assert_eq!(lookup.abandoned, 0);
    }
}
