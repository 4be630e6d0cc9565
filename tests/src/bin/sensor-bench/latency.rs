//! How long it takes from the return of a system call until a line about it can be read: the event's, the alert's with
//! all of its evidence, and that of inotifywait, which watches the same folder at the same time.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::watch::{SENSOR, Watcher, inotifywait};
use crate::work::WATCHED;

/// Fewer than the rule's cap lets through.
const ROUNDS: u32 = 90;
const EVENTS: &str = "/run/latency-events.ndjson";
const ALERTS: &str = "/run/latency-alerts.ndjson";
const PEER: &str = "/run/latency-inotifywait";
const PAUSE: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_micros(20);
const WITHIN: Duration = Duration::from_secs(60);

/// A file that grows by lines.
struct Output {
    name: &'static str,
    file: File,
    read: u64,
    took: Vec<Duration>,
}

impl Output {
    fn open(name: &'static str, path: &str) -> Result<Self> {
        Ok(Self { name, file: File::open(path).context(path.to_owned())?, read: 0, took: Vec::new() })
    }

    /// Whether a whole line with this text has come.
    fn has(&mut self, text: &str) -> Result<bool> {
        if self.file.metadata()?.len() == self.read {
            return Ok(false);
        }
        let mut new = Vec::new();
        self.file.seek(SeekFrom::Start(self.read))?;
        self.file.read_to_end(&mut new)?;
        let Some(end) = new.iter().rposition(|byte| *byte == b'\n') else { return Ok(false) };
        self.read += end as u64 + 1;
        Ok(String::from_utf8_lossy(&new).contains(text))
    }

    fn print(&mut self) {
        self.took.sort_unstable();
        let at = |share: usize| self.took.get((self.took.len() * share / 100).min(self.took.len() - 1));
        for (what, took) in [("p50", at(50)), ("p99", at(99)), ("max", at(100))] {
            let ms = took.map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0);
            println!("value latency_ms_{}_{what} {ms}", self.name);
        }
    }
}

pub(crate) fn run() -> Result<()> {
    fs::create_dir_all(WATCHED)?;
    let mut command = Command::new(SENSOR);
    let sensor =
        Watcher::start(command.args(["run", "--output", EVENTS, "--alerts", ALERTS]), "sensor: ready")?;
    let mut outputs = vec![Output::open("event", EVENTS)?, Output::open("alert", ALERTS)?];
    let peer = match start_peer() {
        Ok(peer) => {
            outputs.push(Output::open("inotifywait", PEER)?);
            Some(peer)
        }
        Err(error) => {
            println!("skipped latency of inotifywait: {}", format!("{error:#}").replace('\n', " "));
            None
        }
    };
    for round in 0..ROUNDS {
        let name = format!("99latency-{round}-");
        let path = format!("{WATCHED}/{name}");
        let created = File::create(&path)?;
        let start = Instant::now();
        drop(created);
        let mut waiting: Vec<&mut Output> = outputs.iter_mut().collect();
        while !waiting.is_empty() {
            let mut still = Vec::new();
            for output in waiting {
                match output.has(&name)? {
                    true => output.took.push(start.elapsed()),
                    false => still.push(output),
                }
            }
            waiting = still;
            if start.elapsed() > WITHIN {
                bail!("no line about {path} from {}", waiting.first().map_or("", |output| output.name));
            }
            thread::sleep(POLL);
        }
        fs::remove_file(path)?;
        thread::sleep(PAUSE);
    }
    outputs.iter_mut().for_each(Output::print);
    drop(peer);
    sensor.stop().map(drop)
}

/// It ends when the value goes.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start_peer() -> Result<Peer> {
    let said = "/run/latency-inotifywait.log";
    let mut command = inotifywait();
    command.stdin(Stdio::null()).stdout(File::create(PEER)?).stderr(File::create(said)?);
    let mut peer = Peer(command.spawn().context("inotifywait")?);
    let start = Instant::now();
    while !fs::read_to_string(said)?.contains("Watches established") {
        if peer.0.try_wait()?.is_some() || start.elapsed() > WITHIN {
            bail!("inotifywait does not watch: {}", fs::read_to_string(said)?);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(peer)
}
