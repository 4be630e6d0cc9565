//! Writes memories on a thread of its own: a slow disk holds up nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use sensor_eql::{Rule, RuleSet};

use crate::confine::{self, Role};

use super::{DIRECTORY, Remembered, save};

/// How long an ending sensor waits for the disk.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// The thread, and the way to it.
#[derive(Debug)]
pub(crate) struct Keeper {
    to: SyncSender<Vec<Remembered>>,
    /// Closed when the thread has ended.
    done: Receiver<()>,
}

impl Keeper {
    /// Starts the thread; nothing at all if no rule remembers. `report` is told of trouble, once until it is over.
    pub(crate) fn start(
        state_directory: &Path,
        rules: &RuleSet,
        report: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Option<Self>> {
        let remembering =
            rules.rules().iter().map(|loaded| &loaded.rule).filter(|rule| rule.new_terms.is_some());
        let rules: BTreeMap<String, Rule> = remembering.map(|rule| (rule.id.clone(), rule.clone())).collect();
        if rules.is_empty() {
            return Ok(None);
        }
        let state_directory = state_directory.to_owned();
        let directory = state_directory.join(DIRECTORY);
        // One waits while one is written; a further one would only be older than the next.
        let (to, from) = sync_channel(1);
        let (ending, done) = channel();
        std::thread::Builder::new().name("memory".to_owned()).spawn(move || {
            confine::thread(&Role::Write(vec![state_directory]));
            keep(&directory, &rules, &from, &report);
            drop(ending);
        })?;
        Ok(Some(Self { to, done }))
    }

    /// Has memories written, unless the disk is still busy with former ones: the next ones will be newer.
    pub(crate) fn keep(&self, memories: Vec<Remembered>) {
        match self.to.try_send(memories) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::warn!("what rules remember is no longer written"),
        }
    }

    /// Has the last memories written, and waits for it; says whether that worked in time.
    pub(crate) fn finish(self, memories: Vec<Remembered>) -> bool {
        let Self { to, done } = self;
        // The place in the queue may be taken while the disk is slow: then the wait below is what bounds it.
        let sender =
            std::thread::Builder::new().name("memory-end".to_owned()).spawn(move || to.send(memories));
        sender.is_ok() && done.recv_timeout(FINISH_TIME_MAX) == Err(RecvTimeoutError::Disconnected)
    }
}

fn keep(
    directory: &Path,
    rules: &BTreeMap<String, Rule>,
    from: &Receiver<Vec<Remembered>>,
    report: &impl Fn(&str),
) {
    let mut failing = false;
    for memories in from {
        let mut failure = None;
        for memory in &memories {
            if let Some(rule) = rules.get(&memory.rule)
                && let Err(cause) = save(directory, rule, memory)
            {
                failure = Some(cause);
            }
        }
        match &failure {
            Some(cause) if !failing => report(&format!(
                "what rules remember cannot be kept in {}: {cause}; after a restart they learn anew",
                directory.display()
            )),
            None if failing => report("what rules remember is kept again"),
            _ => {}
        }
        failing = failure.is_some();
    }
}
