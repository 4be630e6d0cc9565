//! The host as documents describe it: os-release, uname, machine id, addresses.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sensor_ecs::{Host, Scalar, Text};

/// Reads what there is; what is missing stays absent. `root` is `/` except in a container that watches its host.
pub(crate) fn read(root: &Path) -> Host {
    let uname = rustix::system::uname();
    // A container has a name of its own, and what the host's init is called cannot be read from there.
    let named = if root == Path::new("/") { None } else { first_line(root, "etc/hostname") };
    let hostname = named.as_deref().unwrap_or(uname.nodename().to_bytes());
    let release = OsRelease::parse(
        &std::fs::read(root.join("etc/os-release"))
            .or_else(|_| std::fs::read(root.join("usr/lib/os-release")))
            .unwrap_or_default(),
    );
    let full = match (&release.name, &release.version) {
        (Some(name), Some(version)) => Some([name, b" ".as_slice(), version].concat()),
        (Some(name), None) => Some(name.clone()),
        (None, _) => None,
    };
    Host {
        id: first_line(root, "etc/machine-id").or_else(|| first_line(root, "var/lib/dbus/machine-id")),
        hostname: hostname.into(),
        name: hostname.to_ascii_lowercase().into(),
        architecture: uname.machine().to_bytes().into(),
        kernel: [uname.release().to_bytes(), b" ", uname.version().to_bytes()].concat().into(),
        os_name: release.name.map(Text::from),
        os_id: release.id.map(Text::from),
        os_version: release.version.map(Text::from),
        os_full: full.map(Text::from),
        ip: addresses(root),
        mac: hardware_addresses(root),
        boot_id: first_line(root, "proc/sys/kernel/random/boot_id"),
        pid_ns: pid_namespace(root),
    }
}

/// Tells boots apart in entity ids: FNV-1a over the boot id.
pub(crate) fn boot_hash(host: &Host) -> u32 {
    host.boot_id
        .iter()
        .flat_map(|id| id.iter())
        .fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn first_line(root: &Path, file: &str) -> Option<Text> {
    let text = std::fs::read(root.join(file)).ok()?;
    let line = text.split(|&byte| byte == b'\n').next()?.trim_ascii();
    (!line.is_empty()).then(|| line.into())
}

/// `pid:[4026531836]`: the number alone.
fn pid_namespace(root: &Path) -> Option<Text> {
    let link = std::fs::read_link(root.join("proc/1/ns/pid")).ok()?;
    let digits: Vec<u8> = link.as_os_str().as_bytes().iter().copied().filter(u8::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| digits.into())
}

#[derive(Default)]
struct OsRelease {
    name: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    version: Option<Vec<u8>>,
}

impl OsRelease {
    fn parse(text: &[u8]) -> Self {
        let mut release = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(at) = line.iter().position(|&byte| byte == b'=') else { continue };
            let (key, value) = line.split_at(at);
            let value = unquote(value.get(1..).unwrap_or_default().trim_ascii());
            let place = match key.trim_ascii() {
                b"NAME" => &mut release.name,
                b"ID" => &mut release.id,
                b"VERSION_ID" => &mut release.version,
                _ => continue,
            };
            *place = (!value.is_empty()).then_some(value);
        }
        release
    }
}

/// Shell quoting as os-release allows it.
fn unquote(value: &[u8]) -> Vec<u8> {
    let inner = match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        bare => bare,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(byte);
    }
    out
}

/// A table of the network namespace of init, or where that cannot be read, of ours.
fn network(root: &Path, table: &str) -> String {
    let read = |folder: &str| std::fs::read_to_string(root.join(folder).join(table));
    read("proc/1/net").or_else(|_| read("proc/net")).unwrap_or_default()
}

/// Every address of the host, from the kernel's own tables.
fn addresses(root: &Path) -> Vec<Scalar> {
    let mut found: Vec<String> = Vec::new();
    // Local addresses are the /32 hosts of the local table, each followed by its kind.
    let trie = network(root, "fib_trie");
    let mut candidate: Option<&str> = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            candidate = Some(address);
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = candidate
            && !found.iter().any(|known| known == address)
        {
            found.push(address.to_owned());
        }
    }
    let v6 = network(root, "if_inet6");
    for line in v6.lines() {
        if let Some(bits) = line.split_whitespace().next().and_then(|hex| u128::from_str_radix(hex, 16).ok())
        {
            found.push(std::net::Ipv6Addr::from_bits(bits).to_string());
        }
    }
    found.into_iter().map(|text| Scalar::Keyword(text.into_bytes().into())).collect()
}

/// Hardware addresses as ECS writes them: `02-B6-64-F1-A5-F0`.
fn hardware_addresses(root: &Path) -> Vec<Scalar> {
    let Ok(interfaces) = std::fs::read_dir(root.join("sys/class/net")) else { return Vec::new() };
    let mut found: Vec<String> = interfaces
        .filter_map(Result::ok)
        .filter_map(|interface| std::fs::read_to_string(interface.path().join("address")).ok())
        .map(|text| text.trim().to_uppercase().replace(':', "-"))
        .filter(|mac| mac.len() == 17 && mac != "00-00-00-00-00-00")
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|text| Scalar::Keyword(text.into_bytes().into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn facts_come_from_the_host_files() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/os-release", "NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian\n");
        write(root.path(), "etc/hostname", "Node-7\n");
        write(root.path(), "etc/machine-id", "48c1b3f1ac5da4e0057fc9f60f4d1d5d\n");
        write(root.path(), "sys/class/net/eth0/address", "02:b6:64:f1:a5:f0\n");
        write(root.path(), "sys/class/net/lo/address", "00:00:00:00:00:00\n");
        write(
            root.path(),
            "proc/net/fib_trie",
            "Local:\n  |-- 10.0.2.0\n     /24 link UNICAST\n  |-- 10.0.2.15\n     /32 host LOCAL\n",
        );
        write(root.path(), "proc/1/net/if_inet6", "fe800000000000000000000000000001 02 40 20 80 eth0\n");
        let host = read(root.path());
        assert_eq!(host.id.as_deref(), Some(b"48c1b3f1ac5da4e0057fc9f60f4d1d5d".as_slice()));
        assert_eq!(host.os_full.as_deref(), Some(b"Debian GNU/Linux 12".as_slice()));
        assert_eq!(host.os_id.as_deref(), Some(b"debian".as_slice()));
        assert_eq!(host.mac, [Scalar::keyword("02-B6-64-F1-A5-F0")]);
        assert_eq!(host.ip, [Scalar::keyword("10.0.2.15"), Scalar::keyword("fe80::1")]);
        assert_eq!((&*host.hostname, &*host.name), (b"Node-7".as_slice(), b"node-7".as_slice()));
        assert!(!host.architecture.is_empty());
        assert!(!read(Path::new("/")).hostname.is_empty());
    }

    #[test]
    fn nothing_is_made_up() {
        let root = tempfile::tempdir().unwrap();
        let host = read(root.path());
        assert!(host.id.is_none() && host.os_full.is_none() && host.ip.is_empty() && host.boot_id.is_none());
    }

    #[test]
    fn boots_are_told_apart() {
        let boot = |id: &[u8]| boot_hash(&Host { boot_id: Some(id.into()), ..Host::default() });
        assert_ne!(boot(b"a"), boot(b"b"));
    }
}
