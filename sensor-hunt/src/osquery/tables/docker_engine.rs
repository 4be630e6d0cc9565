//! `docker_version`, `docker_info`, and what the engine measures of a container: `docker_container_processes`,
//! `docker_container_stats`.

use serde_json::Value;

use super::docker::{ask, asked, number_of, text_of};
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, double, integer, text};

/// What the engine says of itself, or nothing and a warning.
pub(super) fn engine(context: &Context, table: &str, path: &str) -> Option<Value> {
    if !context.is_live(table) {
        return None;
    }
    let found = ask(context, path);
    if found.is_none() {
        let socket = context.options().docker_socket.display();
        context.warn(format!("{table}: no answer from {socket}, so the table is empty"));
    }
    found
}

pub(super) const DOCKER_VERSION: Table = Table::plain(
    "docker_version",
    &[
        text("version"),
        text("api_version"),
        text("min_api_version"),
        text("git_commit"),
        text("go_version"),
        text("os"),
        text("arch"),
        text("kernel_version"),
        text("build_time"),
    ],
    |context, _| {
        let found = engine(context, "docker_version", "/version");
        let names = [
            "/Version",
            "/ApiVersion",
            "/MinAPIVersion",
            "/GitCommit",
            "/GoVersion",
            "/Os",
            "/Arch",
            "/KernelVersion",
            "/BuildTime",
        ];
        all(found
            .iter()
            .map(|found| names.iter().map(|name| Cell::from(text_of(found, name))).collect())
            .collect())
    },
);

/// `s` is text, `n` a number, `y` whether it is so.
const INFO: [(&str, char); 31] = [
    ("/ID", 's'),
    ("/Containers", 'n'),
    ("/ContainersRunning", 'n'),
    ("/ContainersPaused", 'n'),
    ("/ContainersStopped", 'n'),
    ("/Images", 'n'),
    ("/Driver", 's'),
    ("/MemoryLimit", 'y'),
    ("/SwapLimit", 'y'),
    ("/KernelMemory", 'y'),
    ("/CpuCfsPeriod", 'y'),
    ("/CpuCfsQuota", 'y'),
    ("/CPUShares", 'y'),
    ("/CPUSet", 'y'),
    ("/IPv4Forwarding", 'y'),
    ("/BridgeNfIptables", 'y'),
    ("/BridgeNfIp6tables", 'y'),
    ("/OomKillDisable", 'y'),
    ("/LoggingDriver", 's'),
    ("/CgroupDriver", 's'),
    ("/KernelVersion", 's'),
    ("/OperatingSystem", 's'),
    ("/OSType", 's'),
    ("/Architecture", 's'),
    ("/NCPU", 'n'),
    ("/MemTotal", 'n'),
    ("/HttpProxy", 's'),
    ("/HttpsProxy", 's'),
    ("/NoProxy", 's'),
    ("/Name", 's'),
    ("/ServerVersion", 's'),
];

pub(super) const DOCKER_INFO: Table = Table::plain(
    "docker_info",
    &[
        text("id"),
        integer("containers"),
        integer("containers_running"),
        integer("containers_paused"),
        integer("containers_stopped"),
        integer("images"),
        text("storage_driver"),
        integer("memory_limit"),
        integer("swap_limit"),
        integer("kernel_memory"),
        integer("cpu_cfs_period"),
        integer("cpu_cfs_quota"),
        integer("cpu_shares"),
        integer("cpu_set"),
        integer("ipv4_forwarding"),
        integer("bridge_nf_iptables"),
        integer("bridge_nf_ip6tables"),
        integer("oom_kill_disable"),
        text("logging_driver"),
        text("cgroup_driver"),
        text("kernel_version"),
        text("os"),
        text("os_type"),
        text("architecture"),
        integer("cpus"),
        bigint("memory"),
        text("http_proxy"),
        text("https_proxy"),
        text("no_proxy"),
        text("name"),
        text("server_version"),
        text("root_dir"),
    ],
    |context, _| {
        let found = engine(context, "docker_info", "/info");
        let row = |found: &Value| -> Row {
            let cell = |(pointer, kind): &(&str, char)| match kind {
                's' => Cell::from(text_of(found, pointer)),
                'n' => Cell::from(number_of(found, pointer)),
                _ => Cell::from(found.pointer(pointer).and_then(Value::as_bool)),
            };
            INFO.iter().map(cell).chain([Cell::from(text_of(found, "/DockerRootDir"))]).collect()
        };
        all(found.iter().map(row).collect())
    },
);

/// What a request about each container that a query names is answered with.
fn of_named(
    context: &Context,
    table: &str,
    query: &Query,
    what: &str,
    mut rows_of: impl FnMut(&str, &Value, &mut Vec<Row>),
) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    for id in asked(query) {
        context.look()?;
        if let Some(found) = engine(context, table, &format!("/containers/{id}/{what}")) {
            rows_of(&id, &found, &mut rows);
        }
    }
    all(rows)
}

/// Two of them may have blanks, so they stand last: the engine splits a line into as many parts as it has titles.
const TOP: &str = "top?ps_args=axwwo%20\
pid,state,uid,gid,euid,egid,suid,sgid,rss,vsz,etimes,ppid,pgrp,nlwp,nice,user,time,pcpu,pmem,comm,cmd";

pub(super) const CONTAINER_PROCESSES: Table = Table {
    name: "docker_container_processes",
    columns: &[
        text("id"),
        bigint("pid"),
        text("name"),
        text("cmdline"),
        text("state"),
        bigint("uid"),
        bigint("gid"),
        bigint("euid"),
        bigint("egid"),
        bigint("suid"),
        bigint("sgid"),
        bigint("wired_size"),
        bigint("resident_size"),
        bigint("total_size"),
        bigint("start_time"),
        bigint("parent"),
        bigint("pgroup"),
        integer("threads"),
        integer("nice"),
        text("user"),
        text("time"),
        double("cpu"),
        double("mem"),
    ],
    key: &[],
    index: &["id"],
    required: &["id"],
    rows: container_processes,
};

fn container_processes(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let uptime = context.config(b"/proc/uptime").and_then(|text| {
        let text = String::from_utf8(text).ok()?;
        text.split('.').next()?.parse::<i64>().ok()
    });
    of_named(context, "docker_container_processes", query, TOP, |id, found, rows| {
        let processes = found.pointer("/Processes").and_then(Value::as_array);
        for process in processes.into_iter().flatten().filter_map(Value::as_array).filter(|it| it.len() == 21)
        {
            let said = |at: usize| process.get(at).and_then(Value::as_str);
            let number = |at: usize| said(at)?.trim().parse::<i64>().ok();
            // `ps` counts KiB; osquery takes them for 1000 bytes.
            let bytes = |at: usize| number(at)?.checked_mul(1000);
            let share = |at: usize| said(at)?.trim().parse::<f64>().ok();
            rows.push(row![
                id,
                number(0),
                said(19),
                said(20),
                said(1),
                number(2),
                number(3),
                number(4),
                number(5),
                number(6),
                number(7),
                0_i64,
                bytes(8),
                bytes(9),
                uptime.zip(number(10)).map(|(uptime, elapsed)| uptime - elapsed),
                number(11),
                number(12),
                number(13),
                number(14),
                said(15),
                said(16),
                share(17),
                share(18),
            ]);
        }
    })
}

pub(super) const CONTAINER_STATS: Table = Table {
    name: "docker_container_stats",
    columns: &[
        text("id"),
        text("name"),
        integer("pids"),
        bigint("read"),
        bigint("preread"),
        bigint("interval"),
        bigint("disk_read"),
        bigint("disk_write"),
        integer("num_procs"),
        bigint("cpu_total_usage"),
        bigint("cpu_kernelmode_usage"),
        bigint("cpu_usermode_usage"),
        bigint("system_cpu_usage"),
        integer("online_cpus"),
        bigint("pre_cpu_total_usage"),
        bigint("pre_cpu_kernelmode_usage"),
        bigint("pre_cpu_usermode_usage"),
        bigint("pre_system_cpu_usage"),
        integer("pre_online_cpus"),
        bigint("memory_usage"),
        bigint("memory_max_usage"),
        bigint("memory_limit"),
        bigint("network_rx_bytes"),
        bigint("network_tx_bytes"),
    ],
    key: &[],
    index: &["id"],
    required: &["id"],
    rows: container_stats,
};

fn container_stats(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    of_named(context, "docker_container_stats", query, "stats?stream=false", |id, found, rows| {
        let number = |pointer: &str| number_of(found, pointer);
        let time = |pointer: &str| sensor_ecs::time::parse(&text_of(found, pointer)?);
        let seconds = |ns: i64| ns.div_euclid(1_000_000_000);
        let (read, before) = (time("/read"), time("/preread"));
        let disk = |op: &str| {
            let all = found.pointer("/blkio_stats/io_service_bytes_recursive")?.as_array()?;
            let of_op = |it: &&Value| text_of(it, "/op").is_some_and(|name| name.eq_ignore_ascii_case(op));
            Some(all.iter().filter(of_op).filter_map(|it| number_of(it, "/value")).sum::<i64>())
        };
        let network = |name: &str| {
            let all = found.pointer("/networks")?.as_object()?;
            Some(all.values().filter_map(|it| number_of(it, name)).sum::<i64>())
        };
        rows.push(row![
            id,
            text_of(found, "/name"),
            number("/pids_stats/current"),
            read.map(seconds),
            before.map(seconds),
            read.zip(before).and_then(|(read, before)| read.checked_sub(before)),
            disk("read"),
            disk("write"),
            number("/num_procs"),
            number("/cpu_stats/cpu_usage/total_usage"),
            number("/cpu_stats/cpu_usage/usage_in_kernelmode"),
            number("/cpu_stats/cpu_usage/usage_in_usermode"),
            number("/cpu_stats/system_cpu_usage"),
            number("/cpu_stats/online_cpus"),
            number("/precpu_stats/cpu_usage/total_usage"),
            number("/precpu_stats/cpu_usage/usage_in_kernelmode"),
            number("/precpu_stats/cpu_usage/usage_in_usermode"),
            number("/precpu_stats/system_cpu_usage"),
            number("/precpu_stats/online_cpus"),
            number("/memory_stats/usage"),
            number("/memory_stats/max_usage"),
            number("/memory_stats/limit"),
            network("/rx_bytes"),
            network("/tx_bytes"),
        ]);
    })
}
