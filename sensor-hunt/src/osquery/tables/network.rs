//! `interface_addresses`, `interface_details`, `routes`, `arp_cache`, `dns_resolvers`, `etc_services`, `etc_protocols`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{below, join, number, settings, split_once, trim, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::netlink;
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, none, text};

const INTERFACES: &[u8] = b"/sys/class/net";

/// The first line of a file that describes an interface.
fn detail(context: &Context, interface: &[u8], name: &str) -> Option<Vec<u8>> {
    let path = below(&below(INTERFACES, interface), name.as_bytes());
    Some(trim(&context.host().read(&path, 4096).ok()?).to_vec())
}

fn interfaces(context: &Context) -> Vec<Vec<u8>> {
    let listed = context.host().list(INTERFACES).map(|(entries, _)| entries).unwrap_or_default();
    listed.into_iter().map(|entry| entry.name).collect()
}

fn names_by_index(context: &Context) -> HashMap<u32, Vec<u8>> {
    let all = interfaces(context).into_iter();
    all.filter_map(|name| Some((number(&detail(context, &name, "ifindex")?)?, name))).collect()
}

/// What the kernel answers, or nothing and a warning.
fn told<T>(context: &Context, table: &str, answer: std::io::Result<Vec<T>>) -> Vec<T> {
    answer.unwrap_or_else(|cause| {
        context.warn(format!("{table}: the kernel does not say ({cause}), so the table is empty"));
        Vec::new()
    })
}

pub(super) const INTERFACE_ADDRESSES: Table = Table::plain(
    "interface_addresses",
    &[
        text("interface"),
        text("address"),
        text("mask"),
        text("broadcast"),
        text("point_to_point"),
        text("type"),
        hidden(text("friendly_name")),
    ],
    interface_addresses,
);

fn interface_addresses(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("interface_addresses") {
        return none();
    }
    let names = names_by_index(context);
    let found = told(context, "interface_addresses", netlink::addresses()).into_iter();
    all(found
        .map(|it| {
            row![
                it.label.or_else(|| names.get(&it.interface).cloned()),
                it.address.to_string(),
                mask(it.address, it.prefix).to_string(),
                it.broadcast.map(|of| of.to_string()),
                it.peer.map(|of| of.to_string()),
                "unknown",
            ]
        })
        .collect())
}

fn mask(of: IpAddr, prefix: u8) -> IpAddr {
    let shifted = |width: u32| width.saturating_sub(u32::from(prefix));
    match of {
        IpAddr::V4(_) => Ipv4Addr::from(u32::MAX.checked_shl(shifted(32)).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(u128::MAX.checked_shl(shifted(128)).unwrap_or(0)).into(),
    }
}

pub(super) const INTERFACE_DETAILS: Table = Table::plain(
    "interface_details",
    &[
        text("interface"),
        text("mac"),
        integer("type"),
        integer("mtu"),
        integer("metric"),
        integer("flags"),
        bigint("ipackets"),
        bigint("opackets"),
        bigint("ibytes"),
        bigint("obytes"),
        bigint("ierrors"),
        bigint("oerrors"),
        bigint("idrops"),
        bigint("odrops"),
        bigint("collisions"),
        bigint("last_change"),
        bigint("link_speed"),
        text("pci_slot"),
        hidden(text("friendly_name")),
        hidden(text("description")),
        hidden(text("manufacturer")),
        hidden(text("connection_id")),
        hidden(text("connection_status")),
        hidden(integer("enabled")),
        hidden(integer("physical_adapter")),
        hidden(integer("speed")),
        hidden(text("service")),
        hidden(integer("dhcp_enabled")),
        hidden(text("dhcp_lease_expires")),
        hidden(text("dhcp_lease_obtained")),
        hidden(text("dhcp_server")),
        hidden(text("dns_domain")),
        hidden(text("dns_domain_suffix_search_order")),
        hidden(text("dns_host_name")),
        hidden(text("dns_server_search_order")),
    ],
    interface_details,
);

const COUNTERS: [&str; 9] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "collisions",
];

fn interface_details(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("interface_details") {
        return none();
    }
    let mut rows = Vec::new();
    for name in interfaces(context) {
        context.look()?;
        let of = |what: &str| detail(context, &name, what);
        // Beside the interfaces stands a file that bonding makes.
        let Some(flags) = of("flags") else { continue };
        let flags = std::str::from_utf8(&flags)
            .ok()
            .and_then(|it| i64::from_str_radix(it.strip_prefix("0x")?, 16).ok());
        let whole = |what: &str| of(what).and_then(|it| number::<i64>(&it));
        let mut row: Row = row![name.clone(), of("address"), whole("type"), whole("mtu"), 0_i64, flags];
        row.extend(COUNTERS.iter().map(|what| Cell::from(whole(&format!("statistics/{what}")))));
        let slot = context.host().read_link(&below(&below(INTERFACES, &name), b"device")).ok();
        let slot = slot.map(|link| super::text::base_name(&link).to_vec());
        // Of PCI, DOMAIN:BUS:DEVICE.FUNCTION; of other buses it is another thing.
        let slot = slot.filter(|it| it.len() == 12 && it.iter().filter(|byte| **byte == b':').count() == 2);
        row.extend(row![-1_i64, whole("speed").filter(|speed| *speed >= 0), slot]);
        rows.push(row);
    }
    all(rows)
}

pub(super) const ROUTES: Table = Table::plain(
    "routes",
    &[
        text("destination"),
        integer("netmask"),
        text("gateway"),
        text("source"),
        integer("flags"),
        text("interface"),
        integer("mtu"),
        integer("metric"),
        text("type"),
        integer("hopcount"),
    ],
    routes,
);

fn routes(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("routes") {
        return none();
    }
    let names = names_by_index(context);
    let mut rows = Vec::new();
    for it in told(context, "routes", netlink::routes()) {
        context.look()?;
        let kind = match it.kind {
            1 => "gateway",
            2 => "local",
            3 => "broadcast",
            4 => "anycast",
            _ => "other",
        };
        rows.push(row![
            it.destination.to_string(),
            i64::from(it.prefix),
            it.gateway.map(|of| of.to_string()),
            it.source.map(|of| of.to_string()),
            it.flags,
            it.interface.and_then(|of| names.get(&of).cloned()),
            it.mtu,
            it.metric.unwrap_or(0),
            kind,
            it.hops,
        ]);
    }
    all(rows)
}

pub(super) const ARP_CACHE: Table = Table::plain(
    "arp_cache",
    &[text("address"), text("mac"), text("interface"), text("permanent")],
    arp_cache,
);

fn arp_cache(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("arp_cache") {
        return none();
    }
    let bytes = context.config(b"/proc/net/arp").unwrap_or_default();
    all(lines(&bytes).skip(1).filter_map(neighbour).collect())
}

/// `address hardware-type flags mac mask device`
fn neighbour(line: &[u8]) -> Option<Row> {
    let fields: Vec<&[u8]> = words(line).collect();
    let [address, _, flags, mac, _, interface] = fields.as_slice() else { return None };
    Some(row![*address, *mac, *interface, if *flags == b"0x6" { "1" } else { "0" }])
}

pub(super) const DNS_RESOLVERS: Table = Table::plain(
    "dns_resolvers",
    &[
        integer("id"),
        text("type"),
        text("address"),
        text("netmask"),
        bigint("options"),
        hidden(integer("pid_with_namespace")),
    ],
    dns_resolvers,
);

/// `RES_INIT`, `RES_RECURSE`, `RES_DEFNAMES` and `RES_DNSRCH` of resolver(3), which hold unless the file says otherwise.
const RESOLVER_OPTIONS: i64 = 0x2c1;

fn dns_resolvers(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = context.config(b"/etc/resolv.conf").unwrap_or_default();
    let mut rows = Vec::new();
    for (word, kind) in [("nameserver", "nameserver"), ("sortlist", "sortlist"), ("search", "search")] {
        let mut id = 0_i64;
        for line in settings(&bytes) {
            let mut parts = words(line);
            if parts.next() != Some(word.as_bytes()) {
                continue;
            }
            for part in parts.take(if kind == "nameserver" { 1 } else { usize::MAX }) {
                let (address, netmask) = split_once(part, b'/').unwrap_or((part, b""));
                rows.push(row![id, kind, address, netmask, RESOLVER_OPTIONS]);
                id += 1;
            }
        }
    }
    all(rows)
}

pub(super) const ETC_SERVICES: Table = Table::plain(
    "etc_services",
    &[text("name"), integer("port"), text("protocol"), text("aliases"), text("comment")],
    |context, _| {
        let bytes = context.config(b"/etc/services").unwrap_or_default();
        all(settings(&bytes).filter_map(service).collect())
    },
);

fn with_comment(line: &[u8]) -> (&[u8], &[u8]) {
    split_once(line, b'#').map_or((line, b"".as_slice()), |(line, comment)| (line, trim(comment)))
}

fn service(line: &[u8]) -> Option<Row> {
    let (line, comment) = with_comment(line);
    let mut parts = words(line);
    let name = parts.next()?;
    let (port, protocol) = split_once(parts.next()?, b'/')?;
    Some(row![name, number::<i64>(port), protocol, join(parts), comment])
}

pub(super) const ETC_PROTOCOLS: Table = Table::plain(
    "etc_protocols",
    &[text("name"), integer("number"), text("alias"), text("comment")],
    |context, _| {
        let bytes = context.config(b"/etc/protocols").unwrap_or_default();
        all(settings(&bytes).filter_map(protocol).collect())
    },
);

fn protocol(line: &[u8]) -> Option<Row> {
    let (line, comment) = with_comment(line);
    let mut parts = words(line);
    Some(row![parts.next()?, number::<i64>(parts.next()?), parts.next().unwrap_or_default(), comment])
}
