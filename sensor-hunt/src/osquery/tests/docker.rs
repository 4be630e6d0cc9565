//! The `docker_*` tables beside an engine that answers as Docker's API says.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Options, rows, run};

const WEB: &str = "8dfafdbc3a40e2b1f1b1bb0ad2c4a6ba3c8e8ac3dbb0b35c7ac9d8a6a3bb7f10";
const JOB: &str = "9cd87474be90f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081920";
const IMAGE: &str = "ec3f0931a6e6b6855d76b2d7b0be30e81860baccd891b2e243280bf1cd8ad710";

/// What the engine answers to a request, if it knows it.
fn answer(path: &str) -> Option<Value> {
    let of_web = |what: &str| format!("/containers/{WEB}/{what}");
    let known = match path {
        "/containers/json?all=1" => json!([
            {
                "Id": WEB, "Names": ["/web", "/other/alias"], "Image": "nginx:1.27", "Created": 1_767_225_600,
                "ImageID": format!("sha256:{IMAGE}"), "Command": "/docker-entrypoint.sh nginx -g 'daemon off;'",
                "Ports": [
                    {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                    {"PrivatePort": 443, "Type": "tcp"},
                ],
                "Labels": {"com.example.tier": "front", "maintainer": "NGINX <docker-maint@nginx.com>"},
                "State": "running", "Status": "Up 3 hours (healthy)",
                "HostConfig": {"NetworkMode": "bridge"},
                "NetworkSettings": {"Networks": {"bridge": {
                    "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "7ea29fc1412292a2",
                    "EndpointID": "2cdc4edb1ded3631", "Gateway": "172.17.0.1", "IPAddress": "172.17.0.2",
                    "IPPrefixLen": 16, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
                    "MacAddress": "02:42:ac:11:00:02",
                }}},
                "Mounts": [
                    {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock",
                     "Mode": "ro", "RW": false, "Propagation": "rprivate"},
                    {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data",
                     "Destination": "/data", "Driver": "local", "Mode": "z", "RW": true, "Propagation": ""},
                ],
            },
            {
                "Id": JOB, "Names": ["/job"], "Image": "busybox", "ImageID": format!("sha256:{IMAGE}"),
                "Command": "true", "Created": 1_767_000_000, "Ports": [], "Labels": {}, "State": "exited",
                "Status": "Exited (0) 2 days ago", "NetworkSettings": {"Networks": {}}, "Mounts": [],
            },
        ]),
        "/images/json" => json!([
            {"Id": format!("sha256:{IMAGE}"), "RepoTags": ["nginx:1.27", "nginx:latest"], "Created": 1_766_000_000,
             "Size": 187_000_000, "Labels": {"maintainer": "NGINX"}},
            {"Id": "sha256:00ff", "RepoTags": null, "Created": 1_600_000_000, "Size": 1, "Labels": null},
        ]),
        "/networks" => json!([
            {"Name": "bridge", "Id": "7ea29fc1412292a2", "Created": "2026-01-01T00:00:00.5+01:00",
             "Driver": "bridge", "EnableIPv6": false, "Labels": {"env": "prod"},
             "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}},
            {"Name": "none", "Id": "e086a3893b05", "Created": "2026-01-01T00:00:00Z", "Driver": "null",
             "EnableIPv6": false, "IPAM": {"Driver": "default", "Config": null}, "Labels": {}},
        ]),
        "/volumes" => json!({"Volumes": [
            {"Name": "data", "Driver": "local", "Mountpoint": "/var/lib/docker/volumes/data/_data",
             "Labels": {"backup": "no"}, "Options": {"type": "tmpfs"}},
            {"Name": "plain", "Driver": "local", "Mountpoint": "/p", "Labels": null, "Options": null},
        ], "Warnings": null}),
        "/version" => json!({
            "Platform": {"Name": "Docker Engine - Community"}, "Version": "28.0.1", "ApiVersion": "1.48",
            "MinAPIVersion": "1.24", "GitCommit": "bbd0a17", "GoVersion": "go1.23.6", "Os": "linux",
            "Arch": "amd64", "KernelVersion": "6.12.0", "BuildTime": "2026-02-26T10:39:54.000000000+00:00",
        }),
        "/info" => json!({
            "ID": "3b2a", "Containers": 2, "ContainersRunning": 1, "ContainersPaused": 0, "ContainersStopped": 1,
            "Images": 2, "Driver": "overlay2", "MemoryLimit": true, "SwapLimit": false, "CpuCfsPeriod": true,
            "CgroupDriver": "systemd", "LoggingDriver": "json-file", "NCPU": 2, "MemTotal": 2_095_882_240,
            "OperatingSystem": "Debian GNU/Linux 13", "OSType": "linux", "Architecture": "x86_64", "Name": "host",
            "ServerVersion": "28.0.1", "DockerRootDir": "/var/lib/docker", "HttpProxy": "",
        }),
        path if path == of_web("json") => json!({
            "Id": WEB, "Path": "/docker-entrypoint.sh", "Args": ["nginx"],
            "State": {"Status": "running", "Pid": std::process::id(), "StartedAt": "2026-01-01T00:00:01Z",
                      "FinishedAt": "0001-01-01T00:00:00Z"},
            "HostConfig": {"Privileged": true, "ReadonlyRootfs": false, "SecurityOpt": ["label=disable"]},
            "Config": {"Env": ["PATH=/usr/bin", "EMPTY=", "A=b=c"], "Entrypoint": ["/docker-entrypoint.sh"]},
        }),
        path if path == of_web("changes") => json!([
            {"Path": "/etc", "Kind": 0}, {"Path": "/etc/evil", "Kind": 1}, {"Path": "/bin/ls", "Kind": 2},
        ]),
        path if path.starts_with("/containers/8dfa/top?ps_args=axwwo%20pid,") => json!({
            "Titles": ["PID", "CMD"],
            "Processes": [[
                "4021", "S", "33", "33", "0", "33", "0", "33", "5120", "11264", "0", "4000", "4021", "1", "0",
                "www-data", "00:00:07", "0.5", "1.0", "nginx", "nginx: worker process",
            ], ["too", "short"]],
        }),
        "/containers/8dfa/stats?stream=false" => json!({
            "read": "2026-01-01T00:00:02.500000000Z", "preread": "2026-01-01T00:00:01.000000000Z", "name": "/web",
            "pids_stats": {"current": 3}, "num_procs": 0,
            "blkio_stats": {"io_service_bytes_recursive": [
                {"major": 259, "minor": 0, "op": "read", "value": 4096},
                {"major": 8, "minor": 0, "op": "Read", "value": 4}, {"op": "write", "value": 12},
            ]},
            "cpu_stats": {"cpu_usage": {"total_usage": 100, "usage_in_kernelmode": 40, "usage_in_usermode": 60},
                          "system_cpu_usage": 9_000_000_000_i64, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 90}}, "memory_stats": {"usage": 6_537_216, "limit": 67_108_864},
            "networks": {"eth0": {"rx_bytes": 5, "tx_bytes": 7}, "eth5": {"rx_bytes": 10, "tx_bytes": 1}},
        }),
        path if path == format!("/images/{IMAGE}/json") => {
            json!({"RootFS": {"Type": "layers", "Layers": ["sha256:aa11", "sha256:bb22"]}})
        }
        path if path == format!("/images/{IMAGE}/history") => json!([
            {"Id": "x", "Created": 1_766_000_000, "CreatedBy": "CMD [\"nginx\"]", "Tags": ["nginx:1.27"], "Size": 0,
             "Comment": "buildkit.dockerfile.v0"},
            {"Id": "<missing>", "Created": 1_765_000_000, "CreatedBy": "ADD rootfs", "Tags": null, "Size": 77,
             "Comment": ""},
        ]),
        _ => return None,
    };
    Some(known)
}

/// An engine that listens until the test ends.
struct Engine {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

fn engine() -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let (status, body) = match answer(&path) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", json!({"message": "page not found"})),
            };
            note.lock().unwrap().push(path);
            let head =
                format!("HTTP/1.0 {status}\r\nApi-Version: 1.48\r\nContent-Type: application/json\r\n\r\n");
            // Who has heard enough may have gone.
            let _ = stream.write_all(format!("{head}{body}\n").as_bytes());
        }
    });
    Engine { _folder: folder, socket, asked }
}

impl Engine {
    fn rows(&self, sql: &str) -> Vec<String> {
        let answer = run(sql, &Options { docker_socket: self.socket.clone(), ..Options::default() }).unwrap();
        assert!(answer.warnings.is_empty(), "{sql}: {:?}", answer.warnings);
        rows(&answer)
    }
}

#[test]
fn containers_are_told_with_what_inspecting_them_shows() {
    let engine = engine();
    let sql = "SELECT id, name, image, image_id, command, created, state, status, path, config_entrypoint, \
               started_at, privileged, security_options, env_variables, readonly_rootfs FROM docker_containers";
    let web = format!(
        "{WEB}|/web|nginx:1.27|{IMAGE}|/docker-entrypoint.sh nginx -g \\'daemon off;\\'|1767225600|running|\
         Up 3 hours (healthy)|/docker-entrypoint.sh|/docker-entrypoint.sh|2026-01-01T00:00:01Z|1|label=disable|\
         PATH=/usr/bin, EMPTY=, A=b=c|0"
    );
    // Nothing is known of what cannot be inspected.
    let job = format!(
        "{JOB}|/job|busybox|{IMAGE}|true|1767000000|exited|Exited (0) 2 days ago|null|null|null|null|null|null|null"
    );
    assert_eq!(engine.rows(sql), [web, job]);
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap().to_string_lossy().into_owned();
    let own = own.trim_start_matches("mnt:[").trim_end_matches(']').to_owned();
    let pid = std::process::id();
    let sql = "SELECT pid, mnt_namespace FROM docker_containers WHERE privileged = 1";
    assert_eq!(engine.rows(sql), [format!("{pid}|{own}")]);
    // As the published hunts ask.
    let recent = "SELECT name FROM docker_containers WHERE created <= strftime('%s', 'now') \
                  AND strftime('%s', '2026-01-03') - created <= (3 * 86400)";
    assert_eq!(engine.rows(recent), ["/web"]);
    let mounts = "SELECT id AS container_id, name AS container_name, source AS host_path, rw AS is_read_write \
                  FROM docker_container_mounts WHERE source IN ('/var/run/docker.sock', '/', '/etc')";
    assert_eq!(engine.rows(mounts), [format!("{WEB}|null|/var/run/docker.sock|0")]);
}

#[test]
fn an_id_may_be_asked_for_by_its_beginning_and_by_nothing_else() {
    let engine = engine();
    for (sql, expected) in [
        ("SELECT id, name FROM docker_containers WHERE id = '8dfafdbc3a40'", "8dfafdbc3a40|/web"),
        ("SELECT id, destination FROM docker_container_mounts WHERE id = '8dfa' AND rw = 1", "8dfa|/data"),
        (
            "SELECT id, value FROM docker_container_labels WHERE id = '8dfa' AND key LIKE 'com.%'",
            "8dfa|front",
        ),
        ("SELECT id, value FROM docker_container_envs WHERE id = '8dfa' AND key = 'A'", "8dfa|b=c"),
        (
            "SELECT id, ip_address, ip_prefix_len FROM docker_container_networks WHERE id = '8dfa'",
            "8dfa|172.17.0.2|16",
        ),
        (
            "SELECT id, path FROM docker_container_fs_changes WHERE id = '8dfa' AND change_type = 'A'",
            "8dfa|/etc/evil",
        ),
    ] {
        assert_eq!(engine.rows(sql), [expected], "{sql}");
    }
    for strange in ["", "8dfa/../../version", "web", "8dfb"] {
        let sql = format!("SELECT id FROM docker_containers WHERE id = '{strange}'");
        assert_eq!(engine.rows(&sql), [""; 0], "{strange:?}");
        assert_eq!(
            engine.rows(&format!("SELECT id FROM docker_container_fs_changes WHERE id = '{strange}'")),
            [""; 0]
        );
    }
    assert!(!engine.asked.lock().unwrap().iter().any(|path| path.contains("..")));
}

#[test]
fn the_other_tables_tell_what_the_engine_lists() {
    let engine = engine();
    for (sql, expected) in [
        (
            "SELECT type, port, host_ip, host_port FROM docker_container_ports",
            &["tcp|80|0.0.0.0|8080", "tcp|443|null|null"][..],
        ),
        (
            "SELECT substr(id, 1, 4), created, size_bytes, tags FROM docker_images",
            &["ec3f|1766000000|187000000|nginx:1.27,nginx:latest", "00ff|1600000000|1|null"],
        ),
        ("SELECT key, value FROM docker_image_labels", &["maintainer|NGINX"]),
        ("SELECT layer_id, layer_order FROM docker_image_layers", &["aa11|1", "bb22|2"]),
        (
            "SELECT created, size, created_by, tags, comment FROM docker_image_history",
            &[
                "1766000000|0|CMD [\\\"nginx\\\"]|nginx:1.27|buildkit.dockerfile.v0",
                "1765000000|77|ADD rootfs|null|",
            ],
        ),
        (
            "SELECT id, name, driver, created, enable_ipv6, subnet, gateway FROM docker_networks",
            &[
                "7ea29fc1412292a2|bridge|bridge|1767222000|0|172.17.0.0/16|172.17.0.1",
                "e086a3893b05|none|null|1767225600|0|null|null",
            ],
        ),
        ("SELECT * FROM docker_network_labels", &["7ea29fc1412292a2|env|prod"]),
        (
            "SELECT * FROM docker_volumes",
            &["data|local|/var/lib/docker/volumes/data/_data|tmpfs", "plain|local|/p|null"],
        ),
        ("SELECT * FROM docker_volume_labels", &["data|backup|no"]),
        (
            "SELECT version, api_version, min_api_version, go_version, arch FROM docker_version",
            &["28.0.1|1.48|1.24|go1.23.6|amd64"],
        ),
        (
            "SELECT id, containers, containers_stopped, storage_driver, memory_limit, swap_limit, kernel_memory, cpus, \
             memory, root_dir FROM docker_info",
            &["3b2a|2|1|overlay2|1|0|null|2|2095882240|/var/lib/docker"],
        ),
        (
            "SELECT id, pid, name, cmdline, uid, euid, resident_size, parent, user, cpu FROM docker_container_processes \
             WHERE id = '8dfa' AND pid > 0",
            &["8dfa|4021|nginx|nginx: worker process|33|0|5120000|4000|www-data|0.5"],
        ),
        (
            "SELECT id, name, pids, read, interval, disk_read, disk_write, cpu_total_usage, pre_cpu_total_usage, \
             memory_usage, memory_max_usage, network_rx_bytes FROM docker_container_stats WHERE id = '8dfa'",
            &["8dfa|/web|3|1767225602|1500000000|4100|12|100|90|6537216|null|15"],
        ),
    ] {
        assert_eq!(engine.rows(sql), expected, "{sql}");
    }
}
