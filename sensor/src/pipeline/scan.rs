//! Reading `/proc` beside the hot path: attach first, then look, so that nothing falls in between.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::enrich::{ProcFacts, pids, read_process};

/// A scan under way.
#[derive(Debug)]
pub(crate) struct Scan {
    found: Arc<Mutex<Vec<ProcFacts>>>,
    done: Option<oneshot::Receiver<()>>,
}

impl Scan {
    /// Starts to read. On a thread of its own: a file of `/proc` can make its reader wait for as long as the process
    /// that it describes likes.
    pub(crate) fn start(proc_root: PathBuf) -> std::io::Result<Self> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let (tell, done) = oneshot::channel();
        let shared = Arc::clone(&found);
        thread::Builder::new().name("proc-scan".to_owned()).spawn(move || {
            match pids(&proc_root) {
                Ok(pids) => {
                    for facts in pids.into_iter().filter_map(|pid| read_process(&proc_root, pid)) {
                        shared.lock().unwrap_or_else(PoisonError::into_inner).push(facts);
                    }
                }
                Err(error) => tracing::warn!("{} cannot be read: {error}", proc_root.display()),
            }
            // Nobody listens any more if the scan took too long.
            let _ = tell.send(());
        })?;
        Ok(Self { found, done: Some(done) })
    }

    /// Waits for the end. Can be cancelled and called again; never returns once it has.
    pub(crate) async fn done(&mut self) {
        match &mut self.done {
            Some(done) => {
                // An error means that the thread is gone, which ends the scan as well.
                let _ = done.await;
                self.done = None;
            }
            None => std::future::pending().await,
        }
    }

    /// What was found so far.
    pub(crate) fn take(&mut self) -> Vec<ProcFacts> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
