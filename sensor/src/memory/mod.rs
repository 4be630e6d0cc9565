//! What rules on new terms remember from one run to the next: one file per rule, written whole and renamed into place.
//!
//! A file that is not what was written here, or was written for another query, is no memory: the rule starts cold, which
//! is said, and learns silently for its window.

mod keeper;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sensor_eql::{Rule, RuleSet};
use serde::{Deserialize, Serialize};

pub(crate) use keeper::Keeper;

/// Below the state directory.
const DIRECTORY: &str = "new_terms";
/// What the files look like; another number is another format.
const SCHEMA: u32 = 1;
/// Far more than the bounds of a rule's state let come to be.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a file's name before its ending: the file system takes 255.
const NAME_BYTES_MAX: usize = 200;

/// What a rule on new terms has seen, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The rule's id.
    pub(crate) rule: String,
    /// From when on everything is known.
    pub(crate) since_ns: i64,
    /// Until when.
    pub(crate) until_ns: i64,
    /// Opaque combinations of values, each with the time when it was last seen.
    pub(crate) seen: Vec<(Vec<u8>, i64)>,
}

/// A rule's memory as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    schema: u32,
    rule: String,
    /// What it was learnt with: combinations of another query mean something else.
    query: String,
    fields: Vec<String>,
    /// From when on everything is known.
    since_ns: i64,
    /// Until when.
    until_ns: i64,
    /// Each combination, as opaque bytes in base64, with the time when it was last seen.
    seen: Vec<(String, i64)>,
}

/// How a rule starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what it knew.
    Warm(Remembered),
    /// With nothing, because there is nothing, or for this reason.
    Cold(Option<String>),
}

/// Reads the memory of every rule that has one. `now_ns` is the time on the wall.
pub(crate) fn load(state_directory: &Path, rules: &RuleSet, now_ns: i64) -> Vec<(String, Start)> {
    let directory = state_directory.join(DIRECTORY);
    let remembering = rules.rules().iter().map(|loaded| &loaded.rule).filter(|rule| rule.new_terms.is_some());
    remembering.map(|rule| (rule.id.clone(), start(&directory, rule, now_ns))).collect()
}

fn start(directory: &Path, rule: &Rule, now_ns: i64) -> Start {
    let path = directory.join(file_name(&rule.id));
    let cold = |why: &str| Start::Cold(Some(format!("{}: {why}", path.display())));
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Start::Cold(None),
        Err(cause) => return cold(&format!("cannot be read: {cause}")),
    };
    let stored: Stored = match serde_json::from_slice(&bytes) {
        Ok(stored) => stored,
        Err(cause) => return cold(&format!("is damaged: {cause}")),
    };
    let history_ns = rule.new_terms.as_ref().map_or(0, |terms| terms.history_ns);
    let fields = rule.new_terms.as_ref().map(|terms| &terms.fields);
    if stored.schema != SCHEMA {
        cold(&format!("has format {}, and this sensor reads {SCHEMA}", stored.schema))
    } else if stored.rule != rule.id || stored.query != rule.query || Some(&stored.fields) != fields {
        cold("was learnt with another query")
    } else if stored.since_ns > now_ns || stored.until_ns > now_ns {
        cold("is from the future: the clock was set back")
    } else if stored.until_ns.saturating_add(history_ns) <= now_ns {
        cold("is older than the rule's window")
    } else {
        match stored.seen.iter().map(|(key, ns)| Some((BASE64.decode(key).ok()?, *ns))).collect() {
            Some(seen) => Start::Warm(Remembered {
                rule: stored.rule,
                since_ns: stored.since_ns,
                until_ns: stored.until_ns,
                seen,
            }),
            None => cold("is damaged"),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes one rule's memory. A crash leaves the former one or this one.
fn save(directory: &Path, rule: &Rule, memory: &Remembered) -> io::Result<()> {
    let stored = Stored {
        schema: SCHEMA,
        rule: rule.id.clone(),
        query: rule.query.clone(),
        fields: rule.new_terms.as_ref().map(|terms| terms.fields.clone()).unwrap_or_default(),
        since_ns: memory.since_ns,
        until_ns: memory.until_ns,
        seen: memory.seen.iter().map(|(key, ns)| (BASE64.encode(key), *ns)).collect(),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(file_name(&rule.id));
    let fresh = path.with_extension("new");
    let flags = libc::O_NOFOLLOW;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(&fresh)?;
    file.write_all(&serde_json::to_vec(&stored)?)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

/// The rule's id as the name of a file: ids are what their authors wrote.
fn file_name(id: &str) -> PathBuf {
    let mut name = String::new();
    for byte in id.bytes() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let piece = if plain { char::from(byte).to_string() } else { format!("%{byte:02x}") };
        if name.len() + piece.len() > NAME_BYTES_MAX {
            break;
        }
        name.push_str(&piece);
    }
    format!("{name}.json").into()
}
