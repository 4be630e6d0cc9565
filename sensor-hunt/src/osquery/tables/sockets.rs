//! `process_open_sockets` and `listening_ports`, from `/proc/PID/net` of each network namespace and the descriptors of
//! each process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::processes::{descriptors, pids};
use super::text::{number, split_once, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, integer, none, text};

/// A socket as the kernel lists it.
#[derive(Clone, Debug)]
pub(in crate::osquery) struct Socket {
    inode: i64,
    family: i64,
    protocol: i64,
    local: (String, i64),
    remote: (String, i64),
    path: Vec<u8>,
    state: &'static str,
}

const UNIX: i64 = 1;
const INET: i64 = 2;
const INET6: i64 = 10;
const TCP: i64 = 6;

const LISTS: &[(&str, i64, i64)] = &[
    ("tcp", INET, TCP),
    ("tcp6", INET6, TCP),
    ("udp", INET, 17),
    ("udp6", INET6, 17),
    ("udplite", INET, 136),
    ("udplite6", INET6, 136),
    ("icmp", INET, 1),
    ("icmp6", INET6, 58),
    ("raw", INET, 255),
    ("raw6", INET6, 255),
];

const LIST_BYTES_MAX: u64 = 256 << 20;

pub(super) const PROCESS_OPEN_SOCKETS: Table = Table {
    name: "process_open_sockets",
    columns: &[
        integer("pid"),
        bigint("fd"),
        bigint("socket"),
        integer("family"),
        integer("protocol"),
        text("local_address"),
        text("remote_address"),
        integer("local_port"),
        integer("remote_port"),
        text("path"),
        text("state"),
        text("net_namespace"),
    ],
    key: &[],
    index: &["pid"],
    required: &[],
    rows: process_open_sockets,
};

fn process_open_sockets(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("process_open_sockets") {
        return none();
    }
    all(open(context, query)?.into_iter().map(|owned| owned.row()).collect())
}

pub(super) const LISTENING_PORTS: Table = Table::plain(
    "listening_ports",
    &[
        integer("pid"),
        integer("port"),
        integer("protocol"),
        integer("family"),
        text("address"),
        bigint("fd"),
        bigint("socket"),
        text("path"),
        text("net_namespace"),
    ],
    listening_ports,
);

/// A socket without a peer: of IP, one that is bound; of the UNIX family, one that has a path.
fn listening_ports(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("listening_ports") {
        return none();
    }
    let owned = open(context, &Query::default())?;
    let listening = owned.iter().filter(|it| match it.socket.family {
        UNIX => !it.socket.path.is_empty(),
        _ => it.socket.remote.1 == 0,
    });
    all(listening
        .map(|it| {
            row![
                it.pid,
                it.socket.local.1,
                it.socket.protocol,
                it.socket.family,
                it.socket.local.0.clone(),
                it.fd,
                it.socket.inode,
                it.socket.path.clone(),
                it.namespace.to_string(),
            ]
        })
        .collect())
}

struct Owned {
    pid: i64,
    fd: i64,
    namespace: u64,
    socket: Socket,
}

impl Owned {
    fn row(self) -> Row {
        let Self { pid, fd, namespace, socket } = self;
        let state = (socket.protocol == TCP).then_some(socket.state);
        row![
            pid,
            fd,
            socket.inode,
            socket.family,
            socket.protocol,
            socket.local.0,
            socket.remote.0,
            socket.local.1,
            socket.remote.1,
            socket.path,
            Cell::from(state.unwrap_or_default()),
            namespace.to_string(),
        ]
    }
}

/// Every socket of every namespace that a process is in, once for each descriptor; one that no process holds has the
/// pid -1, unless the query names pids.
fn open(context: &Context, query: &Query) -> Result<Vec<Owned>, Trouble> {
    let mut holders: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
    let mut namespaces: Vec<(u64, u32)> = Vec::new();
    for pid in pids(context, query)? {
        for (fd, target) in descriptors(context, pid)? {
            let inode =
                target.strip_prefix(b"socket:[").and_then(|it| it.strip_suffix(b"]")).and_then(number);
            if let Some(inode) = inode {
                holders.entry(inode).or_default().push((i64::from(pid), fd));
            }
        }
        let namespace = context
            .host()
            .read_link(format!("/proc/{pid}/ns/net").as_bytes())
            .ok()
            .and_then(|it| number(it.strip_prefix(b"net:[")?.strip_suffix(b"]")?));
        if let Some(namespace) = namespace
            && !namespaces.iter().any(|(known, _)| *known == namespace)
        {
            namespaces.push((namespace, pid));
        }
    }
    let by_pid = query.integer(0).is_some();
    let mut found = Vec::new();
    for (namespace, pid) in namespaces {
        for socket in context.sockets(namespace, || list(context, pid)).iter() {
            context.look()?;
            let mut push = |pid, fd| found.push(Owned { pid, fd, namespace, socket: socket.clone() });
            match holders.get(&socket.inode).filter(|_| socket.inode != 0) {
                Some(holders) => holders.iter().for_each(|(pid, fd)| push(*pid, *fd)),
                None if by_pid => {}
                None => push(-1, -1),
            }
        }
    }
    Ok(found)
}

fn list(context: &Context, pid: u32) -> Vec<Socket> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/net/{name}");
        match context.host().read(path.as_bytes(), LIST_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(cause) => {
                if cause.kind() != std::io::ErrorKind::NotFound {
                    context.warn(format!("{path}: {cause}"));
                }
                Vec::new()
            }
        }
    };
    let mut sockets = Vec::new();
    for (name, family, protocol) in LISTS {
        let bytes = read(name);
        sockets.extend(lines(&bytes).skip(1).filter_map(|line| internet(line, *family, *protocol)));
    }
    sockets.extend(lines(&read("unix")).skip(1).filter_map(unix));
    sockets
}

/// A line of `/proc/net/tcp` and the like.
fn internet(line: &[u8], family: i64, protocol: i64) -> Option<Socket> {
    let fields: Vec<&[u8]> = words(line).collect();
    let state = fields.get(3).and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
    Some(Socket {
        inode: number(fields.get(9)?)?,
        family,
        protocol,
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        path: Vec::new(),
        state: state_name(state?),
    })
}

/// `0100007F:0016`: words of 32 bits in the byte order of the machine, then the port.
fn address(field: &[u8]) -> Option<(String, i64)> {
    let (host, port) = split_once(field, b':')?;
    let hex = |part: &[u8]| u32::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok();
    let port = i64::from(hex(port)?);
    let bytes: Vec<u8> = host
        .chunks(8)
        .map(hex)
        .collect::<Option<Vec<u32>>>()?
        .iter()
        .flat_map(|it| it.to_ne_bytes())
        .collect();
    let text = match host.len() {
        8 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        32 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
        _ => return None,
    };
    Some((text, port))
}

/// A line of `/proc/net/unix`; the path is the rest of the line, and may be missing.
fn unix(line: &[u8]) -> Option<Socket> {
    let mut rest = line;
    let mut next = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let tail = rest.get(start..)?;
        let end = tail.iter().position(|byte| *byte == b' ').unwrap_or(tail.len());
        rest = tail.get(end..)?;
        tail.get(..end)
    };
    for _ in 0..6 {
        next()?;
    }
    let inode = number(next()?)?;
    let path = rest.strip_prefix(b" ").unwrap_or(rest).to_vec();
    let nothing = || (String::new(), 0);
    Some(Socket { inode, family: UNIX, protocol: 0, local: nothing(), remote: nothing(), path, state: "" })
}

fn state_name(state: u8) -> &'static str {
    match state {
        1 => "ESTABLISHED",
        2 => "SYN_SENT",
        3 => "SYN_RECV",
        4 => "FIN_WAIT1",
        5 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        7 => "CLOSE",
        8 => "CLOSE_WAIT",
        9 => "LAST_ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        12 => "NEW_SYN_RECV",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::{address, unix};

    #[test]
    fn addresses_are_read_in_the_order_of_the_machine() {
        let local = format!("{:08X}:0016", u32::from_ne_bytes([127, 0, 0, 1]));
        assert_eq!(address(local.as_bytes()), Some(("127.0.0.1".into(), 22)));
        let six = format!("{:08X}{:08X}{:08X}{:08X}:FFFF", 0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1]));
        assert_eq!(address(six.as_bytes()), Some(("::1".into(), 65535)));
        assert_eq!(address(b"XYZ:1"), None);
    }

    #[test]
    fn a_socket_path_may_hold_blanks() {
        let socket = unix(b"0000000000000000: 00000002 00000000 00010000 0001 01 4242 /run/a b ").unwrap();
        assert_eq!((socket.inode, socket.path.as_slice()), (4242, b"/run/a b ".as_slice()));
        assert!(unix(b"0000000000000000: 00000003 00000000 00000000 0001 03 17").unwrap().path.is_empty());
    }
}
