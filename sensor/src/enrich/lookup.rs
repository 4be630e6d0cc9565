//! Asking a file system without being held up by it.
//!
//! Reading the arguments of a process takes its memory lock and may fault in pages that a file system of the process's
//! own choice provides: it can make its reader wait for ever. So can a disk that is gone. A thread of its own reads, and
//! is given up when it does not answer.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the hot path waits for an answer.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Readers that may hang before nothing is asked any more.
const ABANDONED_MAX: usize = 8;

#[derive(Debug)]
struct Reader<Q, A> {
    ask: Sender<Q>,
    answers: Receiver<(Q, Option<A>)>,
    thread: JoinHandle<()>,
}

/// The way to what lies below a directory.
#[derive(Debug)]
pub(crate) struct Lookup<Q, A> {
    root: PathBuf,
    read: fn(&Path, &Q) -> Option<A>,
    reader: Option<Reader<Q, A>>,
    /// Those that were given up and still hang.
    abandoned: Vec<JoinHandle<()>>,
}

impl<Q: Clone + Debug + PartialEq + Send + 'static, A: Send + 'static> Lookup<Q, A> {
    pub(crate) fn new(root: PathBuf, read: fn(&Path, &Q) -> Option<A>) -> Self {
        Self { root, read, reader: None, abandoned: Vec::new() }
    }

    /// What there is to read about it; `None` if it is gone, or does not let itself be read.
    pub(crate) fn read(&mut self, about: &Q) -> Option<A> {
        if self.reader.is_none() {
            self.reader = self.start();
        }
        let reader = self.reader.as_ref()?;
        let deadline = Instant::now() + WAIT_MAX;
        let mut asked = reader.ask.send(about.clone()).is_ok();
        while asked {
            match reader.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((this, facts)) if this == *about => return facts,
                Ok(_) => {}
                Err(_) => asked = false,
            }
        }
        self.abandoned.extend(self.reader.take().map(|reader| reader.thread));
        tracing::warn!("{about:?} cannot be read below {}", self.root.display());
        None
    }

    fn start(&mut self) -> Option<Reader<Q, A>> {
        self.abandoned.retain(|thread| !thread.is_finished());
        if self.abandoned.len() >= ABANDONED_MAX {
            return None;
        }
        let (ask, asked) = channel::<Q>();
        let (answer, answers) = channel();
        let (root, read) = (self.root.clone(), self.read);
        let thread = thread::Builder::new()
            .name("lookup".to_owned())
            .spawn(move || {
                for about in asked {
                    let facts = read(&root, &about);
                    if answer.send((about, facts)).is_err() {
                        break;
                    }
                }
            })
            .ok()?;
        Some(Reader { ask, answers, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::procfs::{ProcFacts, read_process};

    fn processes(root: PathBuf) -> Lookup<u32, ProcFacts> {
        Lookup::new(root, |root, pid| read_process(root, *pid))
    }

    #[test]
    fn a_process_that_hangs_its_reader_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("7");
        std::fs::create_dir(&dir).unwrap();
        // Opening a pipe that nobody writes to waits, as the worst file of /proc would.
        let pipe = std::ffi::CString::new(dir.join("stat").to_str().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let mut lookup = processes(root.path().into());
        let start = Instant::now();
        for _ in 0..ABANDONED_MAX + 3 {
            assert!(lookup.read(&7).is_none());
        }
        assert!(start.elapsed() < WAIT_MAX * (ABANDONED_MAX as u32 + 3));
        assert_eq!(lookup.abandoned.len(), ABANDONED_MAX);
        // Somebody writes, and all come back.
        let writer = std::fs::File::options().write(true).open(dir.join("stat")).unwrap();
        drop(writer);
        std::fs::remove_dir_all(&dir).unwrap();
        let own = std::process::id();
        lookup.root = "/proc".into();
        let deadline = Instant::now() + Duration::from_secs(60);
        while lookup.read(&own).is_none() {
            assert!(Instant::now() < deadline, "nothing is read any more");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn answers_are_about_who_was_asked_for() {
        let mut lookup = processes("/proc".into());
        let pid = std::process::id();
        assert!(lookup.read(&u32::MAX).is_none());
        assert_eq!(lookup.read(&pid).unwrap().pid, pid);
        assert!(lookup.abandoned.is_empty());
    }
}
