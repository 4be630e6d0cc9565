//! When the sensor was watching, over what, and where it lost events: what a hunt's answer rests on.
//!
//! A file of lines: one when the sensor starts, one now and then while it runs, one for each loss. A line that was cut
//! off is passed over.

#[cfg(feature = "files")]
use std::fs;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A time in which the sensor ran without a change of what it records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Nanoseconds since 1970.
    pub first_ns: i64,
    /// The last sign of life.
    pub last_ns: i64,
    /// `agent.id`
    pub agent: String,
    /// The datasets that were recorded, and what of them was left out, in words.
    pub scope: Scope,
}

/// What is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `endpoint.events.file`, ...
    pub datasets: Vec<String>,
    /// Values of `event.action` that are recorded.
    pub actions: Vec<String>,
    /// What the configuration leaves out, for a person.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// Events that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it was noticed, nanoseconds since 1970.
    pub time_ns: i64,
    /// How many.
    pub events: u64,
    /// Where.
    pub cause: String,
}

/// What is known of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// In the order of time.
    pub sessions: Vec<Session>,
    /// In the order of time.
    pub gaps: Vec<Gap>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Session(Session),
    /// The latest session still ran at this time.
    Alive(i64),
    Gap(Gap),
}

fn path(root: &Path) -> PathBuf {
    root.join("coverage.ndjson")
}

/// Reads it; where there is none, nothing is known.
#[cfg(feature = "files")]
pub(crate) fn read(root: &Path) -> Result<Coverage, StoreError> {
    let path = path(root);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Coverage::default()),
        Err(cause) => return Err(StoreError::new(&path, cause)),
    };
    let mut coverage = Coverage::default();
    for line in text.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Session(session)) => coverage.sessions.push(session),
            Ok(Line::Alive(time)) => {
                if let Some(session) = coverage.sessions.last_mut() {
                    session.last_ns = session.last_ns.max(time);
                }
            }
            Ok(Line::Gap(gap)) => coverage.gaps.push(gap),
            Err(_) => {}
        }
    }
    Ok(coverage)
}

/// Keeps a line from being written into a file that is just being replaced.
fn hold(root: &Path) -> Result<File, StoreError> {
    let path = root.join("COVERAGE.LOCK");
    let held = File::create(&path).and_then(|file| file.lock().map(|()| file));
    held.map_err(StoreError::at(&path))
}

fn append(root: &Path, line: &Line) -> Result<(), StoreError> {
    let path = path(root);
    let mut text = serde_json::to_vec(line).map_err(|cause| StoreError::new(&path, cause))?;
    // A line that was cut off must not swallow this one.
    text.insert(0, b'\n');
    text.push(b'\n');
    let _held = hold(root)?;
    let file = OpenOptions::new().append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(&text)).map_err(StoreError::at(&path))
}

pub(crate) fn start(root: &Path, session: Session) -> Result<(), StoreError> {
    append(root, &Line::Session(session))
}

pub(crate) fn alive(root: &Path, time_ns: i64) -> Result<(), StoreError> {
    append(root, &Line::Alive(time_ns))
}

pub(crate) fn gap(root: &Path, gap: Gap) -> Result<(), StoreError> {
    append(root, &Line::Gap(gap))
}

/// Rewrites the file without what is older, one line a session: of that time no events are left.
#[cfg(feature = "files")]
pub(crate) fn shorten(root: &Path, before_ns: i64) -> Result<(), StoreError> {
    let path = path(root);
    if !path.exists() {
        return Ok(());
    }
    let _held = hold(root)?;
    let coverage = read(root)?;
    let sessions = coverage.sessions.into_iter().filter(|session| session.last_ns >= before_ns);
    let sessions = sessions.map(|session| Session { first_ns: session.first_ns.max(before_ns), ..session });
    let gaps = coverage.gaps.into_iter().filter(|gap| gap.time_ns >= before_ns);
    let mut text = Vec::new();
    for line in gaps.map(Line::Gap).chain(sessions.map(Line::Session)) {
        serde_json::to_writer(&mut text, &line).map_err(|cause| StoreError::new(&path, cause))?;
        text.push(b'\n');
    }
    let temporary = root.join("coverage.ndjson.tmp");
    fs::write(&temporary, text).map_err(StoreError::at(&temporary))?;
    fs::rename(&temporary, &path).map_err(StoreError::at(&path))
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;

    #[test]
    fn a_time_whose_events_were_removed_is_not_covered() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let session = |first_ns| Session {
            first_ns,
            last_ns: first_ns,
            agent: "a".to_owned(),
            scope: Scope::default(),
        };
        start(root, session(0)).unwrap();
        alive(root, 50).unwrap();
        gap(root, Gap { time_ns: 20, events: 1, cause: "the ring".to_owned() }).unwrap();
        start(root, session(100)).unwrap();
        alive(root, 200).unwrap();
        shorten(root, 30).unwrap();
        let left = read(root).unwrap();
        let times: Vec<(i64, i64)> = left.sessions.iter().map(|s| (s.first_ns, s.last_ns)).collect();
        assert_eq!((times.as_slice(), left.gaps.len()), ([(30, 50), (100, 200)].as_slice(), 0));
        shorten(root, 60).unwrap();
        assert_eq!(read(root).unwrap().sessions.len(), 1);
    }
}
