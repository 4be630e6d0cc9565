//! The tables about what runs, against `/proc`, `getent` and sockets of our own.

use std::net::{TcpListener, TcpStream, UdpSocket};

use super::{live, rows, sorted, truth};

#[test]
fn users_and_groups_are_those_of_getent() {
    let Some(passwd) = truth("getent", &["passwd"]) else { return };
    let mut expected: Vec<String> = passwd
        .lines()
        .map(|line| {
            let it: Vec<_> = line.split(':').collect();
            format!("{}|{}|{}|{}|{}|{}", it[0], it[2], it[3], it[4], it[5], it[6])
        })
        .collect();
    expected.sort();
    let ours = live("SELECT username, uid, gid, description, directory, shell FROM users").unwrap();
    assert_eq!(sorted(&ours), expected);
    let group = truth("getent", &["group"]).unwrap_or_default();
    let mut expected: Vec<String> = group
        .lines()
        .map(|line| {
            let it: Vec<_> = line.split(':').collect();
            format!("{}|{}", it[0], it[2])
        })
        .collect();
    expected.sort();
    assert_eq!(sorted(&live("SELECT groupname, gid FROM groups").unwrap()), expected);
}

#[test]
fn this_process_is_described() {
    let pid = std::process::id();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let answer = live(&format!(
        "SELECT pid, parent, uid, euid, gid, path, cwd, on_disk, name, threads > 0, start_time FROM processes \
         WHERE pid = {pid}"
    ))
    .unwrap();
    let exe = std::env::current_exe().unwrap();
    let cwd = std::env::current_dir().unwrap();
    let line = rows(&answer).remove(0);
    let (line, start) = line.rsplit_once('|').unwrap();
    let expected = format!(
        "{pid}|{}|{}|{}|{}|{}|{}|1|{}|1",
        of("PPid:"),
        of("Uid:"),
        of("Uid:"),
        of("Gid:"),
        exe.display(),
        cwd.display(),
        of("Name:")
    );
    assert_eq!(line, expected);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let start: u64 = start.parse().unwrap();
    assert!(start <= now + 1 && now - start < 3600, "{start} {now}");
    let command = rows(&live(&format!("SELECT cmdline FROM processes WHERE pid = {pid}")).unwrap()).remove(0);
    assert_eq!(command.split(' ').next(), std::env::args().next().as_deref());
}

#[test]
fn every_process_of_proc_is_listed_once() {
    let listed = || -> std::collections::BTreeSet<String> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|it| it.file_name().into_string().ok())
            .filter(|it| it.parse::<u32>().is_ok())
            .collect()
    };
    let before = listed();
    let answer = live("SELECT pid FROM processes").unwrap();
    let after = listed();
    let ours: std::collections::BTreeSet<String> = rows(&answer).into_iter().collect();
    assert_eq!(ours.len(), answer.rows.len());
    // What lived throughout must be there; what came or went may be.
    let missing: Vec<_> = before.intersection(&after).filter(|pid| !ours.contains(*pid)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(rows(&live("SELECT count(*) FROM processes WHERE pid = -1 OR pid = 4194305").unwrap()) == ["0"]);
}

#[test]
fn the_environment_of_a_process_is_listed() {
    let mut child =
        std::process::Command::new("sleep").arg("30").env_clear().env("LD_PRELOAD_X", "a=b").spawn().unwrap();
    let pid = child.id();
    // The environment is that of sleep only once it runs.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let found = loop {
        let answer = live(&format!("SELECT pid, key, value FROM process_envs WHERE pid = {pid}")).unwrap();
        let found = rows(&answer);
        if found.len() == 1 || std::time::Instant::now() > deadline {
            break found;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, [format!("{pid}|LD_PRELOAD_X|a=b")]);
}

#[test]
fn sockets_of_our_own_are_listed_with_their_ends() {
    let pid = std::process::id();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let client_port = client.local_addr().unwrap().port();
    let _server = listener.accept().unwrap();
    let six = TcpListener::bind("[::1]:0").ok();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = udp.local_addr().unwrap().port();
    let sql = format!(
        "SELECT family, protocol, local_address, local_port, remote_address, remote_port, state \
         FROM process_open_sockets WHERE pid = {pid} AND protocol IN (6, 17)"
    );
    let found = rows(&live(&sql).unwrap());
    for expected in [
        format!("2|6|127.0.0.1|{port}|0.0.0.0|0|LISTEN"),
        format!("2|6|127.0.0.1|{client_port}|127.0.0.1|{port}|ESTABLISHED"),
        format!("2|6|127.0.0.1|{port}|127.0.0.1|{client_port}|ESTABLISHED"),
        format!("2|17|127.0.0.1|{udp_port}|0.0.0.0|0|"),
    ] {
        assert_eq!(found.iter().filter(|it| **it == expected).count(), 1, "{expected} in {found:?}");
    }
    if let Some(six) = six {
        let port = six.local_addr().unwrap().port();
        assert!(found.contains(&format!("10|6|::1|{port}|::|0|LISTEN")), "{found:?}");
    }
    let sql = format!("SELECT pid, address, protocol, family FROM listening_ports WHERE port = {port}");
    assert_eq!(rows(&live(&sql).unwrap()), [format!("{pid}|127.0.0.1|6|2")]);
}

#[test]
fn a_bound_unix_socket_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s k");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let sql = format!("SELECT pid, port, family FROM listening_ports WHERE path = '{}'", path.display());
    assert_eq!(rows(&live(&sql).unwrap()), [format!("{}|0|1", std::process::id())]);
}

#[test]
fn the_kernel_is_described() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    assert_eq!(rows(&live("SELECT version FROM kernel_info").unwrap()), [release]);
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    let names: Vec<_> =
        modules.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(rows(&live("SELECT name FROM kernel_modules").unwrap()), names);
    let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    assert_eq!(live("SELECT * FROM kernel_keys").unwrap().rows.len(), keys.lines().count());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(rows(&live("SELECT hostname FROM system_info").unwrap()), [host]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert_eq!(live("SELECT path FROM mounts").unwrap().rows.len(), mounts.lines().count());
}

#[test]
fn memory_and_namespaces_of_a_process_are_those_of_proc() {
    let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
    let pid = child.id();
    let sql = format!("SELECT start, permissions, pseudo, path FROM process_memory_map WHERE pid = {pid}");
    // Until the program has loaded what it needs, its memory changes.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let (starts, found) = loop {
        let lines = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let starts: Vec<String> =
            lines.lines().map(|line| format!("0x{}", line.split('-').next().unwrap())).collect();
        let found = rows(&live(&sql).unwrap());
        let same =
            found.iter().map(|row| row.split('|').next().unwrap()).eq(starts.iter().map(String::as_str));
        let loaded = found.iter().any(|row| row.ends_with("/sleep") || row.ends_with("/coreutils"));
        if same && loaded || std::time::Instant::now() > deadline {
            break (starts, found);
        }
    };
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    let inode =
        rows(&live(&format!("SELECT mnt_namespace FROM process_namespaces WHERE pid = {pid}")).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.iter().any(|row| row.ends_with("|1|[stack]")), "{found:?}");
    assert_eq!(found.iter().map(|row| row.split('|').next().unwrap()).collect::<Vec<_>>(), starts);
    assert_eq!([format!("mnt:[{}]", inode[0])], [namespace.to_str().unwrap()]);
}

#[test]
fn a_pipe_between_two_processes_has_both_ends() {
    let mut child =
        std::process::Command::new("sleep").arg("30").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let sql = format!(
        "SELECT fd, mode, type, partner_pid, partner_mode FROM process_open_pipes WHERE pid = {pid} AND fd = 0"
    );
    let found = rows(&live(&sql).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let ours = format!("0|r|anonymous|{}|w", std::process::id());
    assert!(found.contains(&ours), "{found:?}");
}

#[test]
fn the_network_is_that_of_proc() {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    let of_main = routes.lines().skip(1).count();
    let found =
        rows(&live("SELECT type FROM routes WHERE destination NOT LIKE '%:%' AND type = 'gateway'").unwrap());
    assert!(found.len() >= of_main, "{found:?}\n{routes}");
    let names = sorted(&live("SELECT interface FROM interface_details").unwrap());
    let mut listed: Vec<String> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| std::path::Path::new("/sys/class/net").join(name).is_dir())
        .collect();
    listed.sort();
    assert_eq!(names, listed);
    let sql = "SELECT current_value FROM system_controls WHERE name = 'kernel.ostype'";
    assert_eq!(rows(&live(sql).unwrap()), ["Linux"]);
    let total = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = total.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    assert_eq!(rows(&live("SELECT memory_total FROM memory_info").unwrap()), [total.to_string()]);
}

#[test]
fn set_id_files_are_those_that_find_sees() {
    let arguments =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "-type", "f", "-perm", "/6000"];
    let Some(found) = truth("find", &arguments) else { return };
    let mut expected: Vec<_> = found.lines().map(str::to_owned).collect();
    expected.sort();
    let mut ours = sorted(&live("SELECT path FROM suid_bin WHERE path LIKE '/usr/%'").unwrap());
    // A link to such a file is listed beside it.
    ours.retain(|path| !std::fs::symlink_metadata(path).unwrap().is_symlink());
    assert_eq!(ours, expected);
}

#[test]
fn packages_are_those_of_dpkg() {
    let Some(listed) =
        truth("dpkg-query", &["-W", "-f", "${Package}|${Version}|${Architecture}|${Status}\n"])
    else {
        return;
    };
    let mut expected: Vec<_> = listed.lines().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(sorted(&live("SELECT name, version, arch, status FROM deb_packages").unwrap()), expected);
}

#[test]
fn what_is_not_there_is_an_empty_table_and_a_warning() {
    if std::path::Path::new("/var/run/docker.sock").exists() {
        eprintln!("skipped: docker runs here");
        return;
    }
    for (table, _) in crate::osquery::tables().filter(|(name, _)| name.starts_with("docker_")) {
        let table = format!("{table}{}", limit(table));
        let answer = live(&format!("SELECT * FROM {table}")).unwrap();
        assert!(answer.rows.is_empty(), "{table}");
        assert!(answer.warnings.iter().any(|it| it.contains("docker.sock")), "{:?}", answer.warnings);
    }
}

/// What a query must say of a table.
fn limit(table: &str) -> &'static str {
    match table {
        "file" | "hash" | "extended_attributes" => " WHERE path = '/etc/passwd'",
        "docker_container_fs_changes" | "docker_container_processes" | "docker_container_stats" => {
            " WHERE id = 'ab'"
        }
        _ => "",
    }
}

/// A table asked for twice in one statement, and every column of every table.
#[test]
fn every_table_can_be_read_whole() {
    for (name, columns) in crate::osquery::tables() {
        let limit = limit(name);
        let answer = live(&format!("SELECT * FROM {name}{limit}")).unwrap();
        let visible = columns.iter().filter(|column| !column.hidden).count();
        assert_eq!(answer.columns.len(), visible, "{name}");
        for column in columns {
            let sql = format!("SELECT \"{}\" FROM {name}{limit} LIMIT 1", column.name);
            let answer = live(&sql).unwrap();
            if let Some(cell) = answer.rows.first().and_then(|row| row.first()) {
                use crate::osquery::{Cell, Type};
                let fits = match cell {
                    Cell::Null => true,
                    Cell::Int(_) => column.kind != Type::Text,
                    Cell::Text(_) => column.kind == Type::Text,
                    Cell::Real(_) => column.kind == Type::Double,
                };
                assert!(fits, "{name}.{} is {cell:?}", column.name);
            }
        }
    }
}
