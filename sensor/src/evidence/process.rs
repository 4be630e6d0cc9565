//! Who did it, read while it may still be there: ancestors, their programs' hashes, open sockets.
//!
//! What the sensor knew when the alert was raised does not depend on this; it only adds what no record carries.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::enrich::{ProcFacts, read_process};

use super::{Bounds, Text, content, open};

/// Parents further up are not listed.
const ANCESTORS_MAX: usize = 64;
const DESCRIPTORS_MAX: usize = 4096;
const SOCKETS_MAX: usize = 32;
const TABLE_BYTES_MAX: u64 = 4 << 20;

/// A process as it is named in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    pub(crate) pid: u32,
    #[serde(skip)]
    pub(crate) start_ticks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) executable: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command_line: Option<Text>,
    /// Of its executable, if the event has it.
    #[serde(skip)]
    pub(crate) sha256: Option<String>,
}

/// The process, or one of its parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ancestor {
    #[serde(flatten)]
    pub(super) process: Known,
    /// Of the running program.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Why something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Ancestor {
    #[cfg(test)]
    pub(super) fn known(process: Known) -> Self {
        Self { process, sha256: None, reason: None }
    }

    pub(super) fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }
}

/// What was found, and why there may be more.
pub(super) type Found<T> = (Vec<T>, Option<&'static str>);

/// The acting process first, its parents up to the first process after it.
pub(super) fn ancestry(proc_root: &Path, known: &[Known], deadline: Instant) -> Found<Ancestor> {
    let mut chain: Vec<Ancestor> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = known.first().map(|process| process.pid);
    while let Some(pid) = next.filter(|pid| *pid > 0 && seen.insert(*pid)) {
        if chain.len() >= ANCESTORS_MAX {
            return (chain, Some("there are more than 64"));
        }
        if Instant::now() >= deadline {
            return (chain, Some(TOO_LONG));
        }
        let by_us = known.iter().find(|process| process.pid == pid);
        let alive =
            read_process(proc_root, pid).filter(|now| by_us.is_none_or(|process| is_same(process, now)));
        let by_us_next =
            known.iter().skip_while(|process| process.pid != pid).nth(1).map(|process| process.pid);
        next = alive.as_ref().map(|facts| facts.ppid).or(by_us_next);
        let process = match (by_us, &alive) {
            (Some(process), _) => process.clone(),
            (None, Some(facts)) => from_proc(facts),
            (None, None) => Known { pid, ..Known::default() },
        };
        let reason = alive.is_none().then(|| "it has ended".to_owned());
        chain.push(Ancestor { sha256: process.sha256.clone(), process, reason });
    }
    (chain, None)
}

const TOO_LONG: &str = "there was no time to look at all";

/// Whether a process is still the one that is meant, and not another with its number.
pub(super) fn is_alive(proc_root: &Path, known: &Known) -> bool {
    read_process(proc_root, known.pid).is_some_and(|now| is_same(known, &now))
}

fn is_same(known: &Known, now: &ProcFacts) -> bool {
    known.start_ticks.is_none_or(|start| start == now.start_ticks)
}

/// Adds the hashes of the programs that run.
pub(super) fn hash(proc_root: &Path, chain: &mut [Ancestor], bounds: Bounds) {
    let without = |ancestor: &&mut Ancestor| ancestor.reason.is_none() && ancestor.sha256.is_none();
    for ancestor in chain.iter_mut().filter(without) {
        match hash_of(proc_root, &ancestor.process, bounds) {
            Ok(sha256) => ancestor.sha256 = Some(sha256),
            Err(reason) => ancestor.reason = Some(format!("no hash: {reason}")),
        }
    }
}

fn from_proc(facts: &ProcFacts) -> Known {
    let executable = facts.script.clone().or_else(|| facts.exe.as_ref().map(|exe| exe.path.clone()));
    let words = facts.cmdline.strip_suffix(b"\0").unwrap_or(&facts.cmdline);
    let command_line: Vec<u8> = words.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    Known {
        pid: facts.pid,
        start_ticks: Some(facts.start_ticks),
        executable: executable.map(Text),
        command_line: (!command_line.is_empty()).then_some(Text(command_line)),
        sha256: None,
    }
}

fn hash_of(proc_root: &Path, process: &Known, bounds: Bounds) -> Result<String, String> {
    // The link leads to the file that runs, whatever its name has come to mean; held, it cannot hang.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let link = proc_root.join(process.pid.to_string()).join("exe");
    let held = rustix::fs::open(link, flags, rustix::fs::Mode::empty()).map_err(|errno| errno.to_string())?;
    // Asked after it is held: what is held is what this process ran, not what has its number now.
    let now = read_process(proc_root, process.pid).filter(|now| is_same(process, now));
    let now = from_proc(&now.ok_or("it has ended")?);
    if process.executable.is_some() && process.executable != now.executable {
        return Err("it may run another program now".to_owned());
    }
    let mut opened = open::held_regular(&held).map_err(|refusal| refusal.to_string())?;
    let hashed = content::sha256(&mut opened.file, bounds).map_err(|error| error.to_string())?;
    hashed.map_err(str::to_owned)
}

/// A connection, or a socket that waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Socket {
    pub(super) pid: u32,
    pub(super) protocol: &'static str,
    pub(super) local: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote: Option<String>,
    pub(super) state: &'static str,
}

/// The internet sockets of the processes that are still alive.
pub(super) fn sockets(proc_root: &Path, chain: &[Ancestor], deadline: Instant) -> Found<Socket> {
    let mut found: Vec<Socket> = Vec::new();
    let mut shown = BTreeSet::new();
    let mut missing = None;
    let alive = chain.iter().filter(|ancestor| ancestor.reason.is_none());
    for pid in alive.map(|ancestor| ancestor.process.pid).filter(|pid| *pid > 1) {
        let inodes = match socket_inodes(&proc_root.join(pid.to_string()), deadline) {
            Ok((inodes, more)) => {
                missing = missing.or(more);
                inodes
            }
            Err(_) => {
                missing = missing.or(Some("the descriptors of a process could not be read"));
                continue;
            }
        };
        if inodes.is_empty() {
            continue;
        }
        for (table, protocol) in [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")] {
            if Instant::now() >= deadline {
                return (found, Some(TOO_LONG));
            }
            let path = proc_root.join(pid.to_string()).join("net").join(table);
            let Some(text) = read(&path) else { continue };
            if text.len() as u64 >= TABLE_BYTES_MAX {
                missing = missing.or(Some("the kernel's list of sockets is too long to be read whole"));
            }
            for line in text.lines().skip(1) {
                if let Some((inode, socket)) = parse_socket(line, pid, protocol)
                    && inodes.contains(&inode)
                    && shown.insert(inode)
                {
                    if found.len() >= SOCKETS_MAX {
                        return (found, Some("there are more than 32"));
                    }
                    found.push(socket);
                }
            }
        }
    }
    (found, missing)
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(TABLE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn socket_inodes(
    process: &Path,
    deadline: Instant,
) -> std::io::Result<(BTreeSet<u64>, Option<&'static str>)> {
    let mut inodes = BTreeSet::new();
    for (number, descriptor) in std::fs::read_dir(process.join("fd"))?.flatten().enumerate() {
        if number >= DESCRIPTORS_MAX {
            return Ok((inodes, Some("a process has more than 4096 descriptors open")));
        }
        if Instant::now() >= deadline {
            return Ok((inodes, Some(TOO_LONG)));
        }
        let target = std::fs::read_link(descriptor.path());
        inodes.extend(target.ok().and_then(|target| socket_inode(target.as_os_str())));
    }
    Ok((inodes, None))
}

fn socket_inode(target: &OsStr) -> Option<u64> {
    let number = target.as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A line of `/proc/PID/net/tcp` and its like, with the socket's inode.
fn parse_socket(line: &str, pid: u32, protocol: &'static str) -> Option<(u64, Socket)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let local = parse_address(fields.get(1)?)?;
    let remote = parse_address(fields.get(2)?)?;
    let state = match (protocol, *fields.get(3)?) {
        ("tcp", "01") => "established",
        ("tcp", "02" | "03") => "connecting",
        ("tcp", "0A") => "listening",
        ("tcp", _) => "closing",
        (_, "01") => "connected",
        _ => "open",
    };
    let inode = fields.get(9)?.parse().ok()?;
    let remote = (remote.port() != 0).then(|| remote.to_string());
    Some((inode, Socket { pid, protocol, local: local.to_string(), remote, state }))
}

/// Words in the machine's byte order, in hexadecimal, and a port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match address.len() {
        8 => Some((Ipv4Addr::from(word(0)?), port).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_mut(4).enumerate() {
                place.copy_from_slice(&word(at)?);
            }
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or_else(|| (address, port).into(), |v4| (v4, port).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::config::EvidenceSettings;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn cat() -> Child {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It runs its own image once it answers.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    #[test]
    fn the_chain_leads_to_the_first_process() {
        let mut child = cat();
        let known = [Known {
            pid: child.id(),
            executable: Some(executable(child.id())),
            command_line: Some(Text(b"as the event said".to_vec())),
            ..Known::default()
        }];
        let (mut chain, incomplete) = ancestry(Path::new("/proc"), &known, later());
        assert_eq!(incomplete, None);
        hash(Path::new("/proc"), &mut chain[..1], Bounds::new(&EvidenceSettings::default(), later()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(chain[0].process, known[0]);
        assert_eq!(chain[0].sha256.as_ref().unwrap().len(), 64);
        assert_eq!(chain[1].process.pid, std::process::id());
        assert!(chain[1].process.command_line.is_some());
        assert!(chain.last().unwrap().process.pid == 1 || chain.len() > 2, "{chain:?}");
    }

    fn executable(pid: u32) -> Text {
        let link = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        Text(link.as_os_str().as_bytes().to_vec())
    }

    /// Who has its number by the time that it is looked at, or what it runs by then.
    #[test]
    fn another_program_is_not_hashed_in_its_place() {
        let mut child = cat();
        let pid = child.id();
        let it = Known { pid, executable: Some(executable(pid)), ..Known::default() };
        let hashed = |process: Known| {
            let mut chain = [Ancestor::known(process)];
            hash(Path::new("/proc"), &mut chain, Bounds::new(&EvidenceSettings::default(), later()));
            let [Ancestor { sha256, reason, .. }] = chain;
            (sha256.is_some(), reason)
        };
        let why = |reason: &str| (false, Some(format!("no hash: {reason}")));
        assert_eq!(hashed(it.clone()), (true, None));
        assert_eq!(hashed(Known { start_ticks: Some(1), ..it.clone() }), why("it has ended"));
        let began_as = Some(Text(b"/tmp/began-as-this".to_vec()));
        assert_eq!(
            hashed(Known { executable: began_as.clone(), ..it.clone() }),
            why("it may run another program now")
        );
        // What the event says counts, whatever runs now.
        let known = Known { executable: began_as, sha256: Some("as the event said".to_owned()), ..it };
        let (chain, _) = ancestry(Path::new("/proc"), &[known], later());
        assert_eq!(chain[0].sha256(), Some("as the event said"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn process(proc_root: &Path, pid: u32, ppid: u32) {
        let process = proc_root.join(pid.to_string());
        std::fs::create_dir_all(process.join("fd")).unwrap();
        std::fs::create_dir_all(process.join("net")).unwrap();
        let stat = format!("{pid} (sh) S {ppid} {pid} {pid} 0 -1 4194304 {} 1000 0", "0 ".repeat(11));
        std::fs::write(process.join("stat"), stat).unwrap();
        std::fs::write(process.join("status"), "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n").unwrap();
        std::fs::write(process.join("cmdline"), "sh\0").unwrap();
        std::os::unix::fs::symlink("/usr/bin/sh", process.join("exe")).unwrap();
    }

    /// Who hides behind many says so by that.
    #[test]
    fn what_is_too_much_to_be_looked_at_is_told() {
        let proc_root = tempfile::tempdir().unwrap();
        let proc_root = proc_root.path();
        for pid in 1..=70 {
            process(proc_root, pid, pid - 1);
        }
        let known = |pid| [Known { pid, ..Known::default() }];
        let of = |pid| ancestry(proc_root, &known(pid), later());
        assert_eq!((of(64).0.len(), of(64).1), (64, None));
        assert_eq!((of(65).0.len(), of(65).1), (64, Some("there are more than 64")));
        let (chain, _) = ancestry(proc_root, &known(2), later());
        assert_eq!(sockets(proc_root, &chain, later()), (Vec::new(), None));
        let descriptors = proc_root.join("2/fd");
        for number in 0..DESCRIPTORS_MAX {
            std::os::unix::fs::symlink("/dev/null", descriptors.join(number.to_string())).unwrap();
        }
        assert_eq!(sockets(proc_root, &chain, later()), (Vec::new(), None));
        std::os::unix::fs::symlink("socket:[1]", descriptors.join("4096")).unwrap();
        assert_eq!(
            sockets(proc_root, &chain, later()).1,
            Some("a process has more than 4096 descriptors open")
        );
        std::fs::remove_dir_all(&descriptors).unwrap();
        assert_eq!(
            sockets(proc_root, &chain, later()).1,
            Some("the descriptors of a process could not be read")
        );
    }

    #[test]
    fn a_process_that_has_ended_keeps_what_was_known() {
        let gone =
            Known { pid: 4_000_000, executable: Some(Text(b"/bin/gone".to_vec())), ..Known::default() };
        let parent = Known { pid: std::process::id(), ..Known::default() };
        let (chain, _) = ancestry(Path::new("/proc"), &[gone.clone(), parent], later());
        assert_eq!(chain[0].process, gone);
        assert_eq!(chain[0].reason.as_deref(), Some("it has ended"));
        assert_eq!(chain[1].process.pid, std::process::id());
    }

    #[test]
    fn a_pid_that_was_reused_is_not_taken_for_the_process() {
        let other_life = Known { pid: std::process::id(), start_ticks: Some(1), ..Known::default() };
        assert!(!is_alive(Path::new("/proc"), &other_life));
        assert!(is_alive(Path::new("/proc"), &Known { start_ticks: None, ..other_life.clone() }));
        let (chain, _) = ancestry(Path::new("/proc"), &[other_life], later());
        assert_eq!(chain.len(), 1);
        assert_eq!(chain[0].reason.as_deref(), Some("it has ended"));
    }

    #[test]
    fn connections_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let me = Ancestor {
            process: Known { pid: std::process::id(), ..Known::default() },
            sha256: None,
            reason: None,
        };
        let (found, _) = sockets(Path::new("/proc"), &[me], later());
        let local = client.local_addr().unwrap().to_string();
        let socket = found.iter().find(|socket| socket.local == local).unwrap();
        assert_eq!(socket.remote, Some(listener.local_addr().unwrap().to_string()));
        assert_eq!((socket.protocol, socket.state), ("tcp", "established"));
        let waiting = found.iter().find(|socket| socket.local == listener.local_addr().unwrap().to_string());
        assert_eq!(waiting.unwrap().state, "listening");
    }

    #[test]
    fn addresses_of_both_kinds_are_read() {
        let shown = |text| parse_address(text).map(|address| address.to_string());
        assert_eq!(shown("0100007F:0009").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(shown("00000000000000000000000001000000:1F90").as_deref(), Some("[::1]:8080"));
        assert_eq!(shown("0000000000000000FFFF00000100007F:0016").as_deref(), Some("127.0.0.1:22"));
        assert_eq!(shown("xx"), None);
        assert_eq!(shown("0100007F:zz"), None);
    }
}
