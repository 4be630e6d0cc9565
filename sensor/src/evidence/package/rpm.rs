//! rpm's database, which the hunting program reads: the sensor carries no SQLite, and what a container's root wrote into
//! its database is parsed in a process that ends with the answer.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::fstat;

use super::known::{Files, Found, Known};
use super::{OWNED_MAX, Owner, Sum, TOO_LARGE};
use crate::open;

pub(super) const NAME: &str = "rpm";
const DATABASES: [&[u8]; 2] = [b"/var/lib/rpm/rpmdb.sqlite", b"/usr/lib/sysimage/rpm/rpmdb.sqlite"];
/// Of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const POLL: Duration = Duration::from_millis(2);

/// Which packages own what is directly in `directory`; nothing without a database.
pub(super) fn owners(
    root: &OwnedFd,
    directory: &[u8],
    hunting: Option<&Path>,
    known: &mut Known,
    deadline: Instant,
) -> Result<Option<Rc<Found>>, String> {
    let held = DATABASES.iter().find_map(|path| Some((open::hold(root, path).ok()?, path)));
    let Some((held, path)) = held else { return Ok(None) };
    let mut files = Files::default();
    let log = open::hold(root, &[path, &b"-wal"[..]].concat()).ok();
    for (name, held) in [(&b"database"[..], Some(&held)), (b"log", log.as_ref())] {
        if let Some(stat) = held.and_then(|held| fstat(held).ok()) {
            files.add(name, &stat);
        }
    }
    let program = hunting.ok_or("sensor-hunt, which reads the rpm database, is not installed")?;
    let database = open::held_regular(&held).map_err(|refusal| format!("the rpm database: {refusal}"))?;
    let read = || {
        let child = Command::new(program)
            .arg("rpm-files")
            .arg(OsStr::from_bytes(directory))
            .env_clear()
            .stdin(database.file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| format!("{} cannot be started: {cause}", program.display()))?;
        let text = answer(child, deadline)?;
        let mut owners = BTreeMap::new();
        for line in text.lines() {
            owners.extend(owner(directory, line));
            if owners.len() > OWNED_MAX {
                return Err(TOO_LARGE.to_owned());
            }
        }
        Ok(owners)
    };
    known.of(files.version(), directory, read).map(Some)
}

/// What the program prints, if it does so in time.
fn answer(mut child: Child, deadline: Instant) -> Result<String, String> {
    let (mut out, mut error) = (child.stdout.take(), child.stderr.take());
    let reader = thread::Builder::new().name("rpm".to_owned()).spawn(move || {
        let mut text = String::new();
        let read = out.as_mut().map(|out| out.take(ANSWER_BYTES_MAX).read_to_string(&mut text));
        read.and_then(Result::ok).map(|_| text)
    });
    let reader = reader.map_err(|cause| format!("no thread could be started: {cause}"));
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline && reader.is_ok() => thread::sleep(POLL),
            Ok(None) | Err(_) => break None,
        }
    };
    if ended.is_none() {
        // Fails only if it has ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = reader?.join().ok().flatten();
    match (ended, text) {
        (Some(status), Some(text)) if status.success() => Ok(text),
        (Some(_), _) => {
            let mut said = String::new();
            let read = error.as_mut().map(|error| error.take(1024).read_to_string(&mut said));
            let said = said.lines().next().unwrap_or_default().trim_start_matches("sensor: ").to_owned();
            Err(read
                .filter(|_| !said.is_empty())
                .map_or_else(|| "the rpm database cannot be read".to_owned(), |_| said))
        }
        (None, _) => Err("the rpm database took too long to read".to_owned()),
    }
}

fn owner(directory: &[u8], line: &str) -> Option<(Vec<u8>, Owner)> {
    let mut parts = line.split('\t');
    let name = bytes(parts.next()?)?;
    let package = parts.next()?.to_owned();
    let (algorithm, digest) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let sum = (!algorithm.is_empty()).then_some(Sum { algorithm, digest });
    Some(([directory, b"/", &name].concat(), Owner { manager: NAME, package, sum, listed: None }))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
