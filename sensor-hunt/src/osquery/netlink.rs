//! What the kernel says of addresses and routes when it is asked over netlink (rtnetlink(7)). Only read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub interface: u32,
    /// The name that an alias of IPv4 has.
    pub label: Option<Vec<u8>>,
    pub address: IpAddr,
    pub prefix: u8,
    pub broadcast: Option<IpAddr>,
    pub peer: Option<IpAddr>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub destination: IpAddr,
    pub prefix: u8,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    pub flags: u32,
    pub interface: Option<u32>,
    pub mtu: Option<u32>,
    pub metric: Option<u32>,
    /// `RTN_UNICAST` and so on.
    pub kind: u8,
    pub hops: Option<u32>,
}

const DONE: u16 = 3;
const ERROR: u16 = 2;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
/// A request, for everything.
const DUMP: u16 = 0x301;
const HEAD_BYTES: usize = 16;
/// The kernel writes at most 32 KiB at once.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Messages of one answer: of a router with the whole Internet's routes, and many times that.
const MESSAGES_MAX: usize = 4_000_000;

pub(super) fn addresses() -> io::Result<Vec<Address>> {
    let mut found = Vec::new();
    ask(GET_ADDRESS, 8, &mut |body| found.extend(address(body)))?;
    Ok(found)
}

pub(super) fn routes() -> io::Result<Vec<Route>> {
    let mut found = Vec::new();
    ask(GET_ROUTE, 12, &mut |body| found.extend(route(body)))?;
    Ok(found)
}

/// Sends one question of so many bytes, all zero, and gives the body of each message of the answer.
fn ask(kind: u16, bytes: usize, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    // Protocol 0 is NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    let mut question = Vec::with_capacity(HEAD_BYTES + bytes);
    question.extend_from_slice(&u32::try_from(HEAD_BYTES + bytes).unwrap_or(0).to_ne_bytes());
    question.extend_from_slice(&kind.to_ne_bytes());
    question.extend_from_slice(&DUMP.to_ne_bytes());
    question.resize(HEAD_BYTES + bytes, 0);
    rustix::net::send(&socket, &question, SendFlags::empty())?;
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    for _ in 0..MESSAGES_MAX {
        let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, tail)) = message(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => {
                    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => take(body),
            }
            rest = tail;
        }
    }
    Err(io::Error::other("the kernel's answer does not end"))
}

/// The first message: its type and body, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEAD_BYTES..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        // The highest bits say that others are nested within.
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|of| Ipv4Addr::from(*of).into()),
        16 => bytes.first_chunk::<16>().map(|of| Ipv6Addr::from(*of).into()),
        _ => None,
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|of| u32::from_ne_bytes(*of))
}

fn address(body: &[u8]) -> Option<Address> {
    let (mut remote, mut local, mut broadcast, mut label) = (None, None, None, None);
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            1 => remote = ip(value),
            2 => local = ip(value),
            3 => label = Some(value.strip_suffix(b"\0").unwrap_or(value).to_vec()),
            4 => broadcast = ip(value),
            _ => {}
        }
    }
    Some(Address {
        interface: word(body.get(4..)?)?,
        label,
        address: local.or(remote)?,
        prefix: *body.get(1)?,
        broadcast,
        peer: remote.filter(|remote| local.is_some_and(|local| local != *remote)),
    })
}

fn route(body: &[u8]) -> Option<Route> {
    let any = if *body.first()? == 10 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut found = Route {
        destination: any,
        prefix: *body.get(1)?,
        gateway: None,
        source: None,
        flags: word(body.get(8..)?)?,
        interface: None,
        mtu: None,
        metric: None,
        kind: *body.get(7)?,
        hops: None,
    };
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            1 => found.destination = ip(value)?,
            4 => found.interface = word(value),
            5 => found.gateway = ip(value),
            6 => found.metric = word(value),
            7 => found.source = ip(value),
            8 => {
                for (kind, value) in attributes(value) {
                    match kind {
                        2 => found.mtu = word(value),
                        10 => found.hops = word(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::{address, addresses, message, route};

    #[test]
    fn this_machine_has_the_address_of_its_own() {
        let found = addresses().unwrap();
        assert!(found.iter().any(|it| it.address.to_string() == "127.0.0.1" && it.prefix == 8), "{found:?}");
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        assert_eq!(message(&[200, 0, 0, 0, 1, 0, 0, 0]), None);
        for length in 0..16 {
            assert_eq!(address(&vec![0; length]), None);
            let _ = route(&vec![255; length]);
        }
        // An attribute that says it is shorter than its own head.
        assert!(route(&[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0]).is_some());
    }
}
