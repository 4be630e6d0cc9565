//! `system_controls`, `memory_info`, `load_average`, `selinux_settings`, `apparmor_profiles`, `time`: how the kernel is
//! set up, and how it is doing.

use super::text::{below, number, settings, split_once, trim, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, none, text};

pub(super) const SYSTEM_CONTROLS: Table = Table {
    name: "system_controls",
    columns: &[
        text("name"),
        text("oid"),
        text("subsystem"),
        text("current_value"),
        text("config_value"),
        text("type"),
        hidden(text("field_name")),
    ],
    key: &["name"],
    index: &["name"],
    required: &[],
    rows: system_controls,
};

const CONTROLS: &[u8] = b"/proc/sys/";
const VALUE_BYTES_MAX: u64 = 1 << 20;
const DEPTH_MAX: usize = 16;

fn system_controls(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("system_controls") {
        return none();
    }
    let configured = context.config(b"/etc/sysctl.conf").unwrap_or_default();
    let configured: Vec<(Vec<u8>, Vec<u8>)> = settings(&configured)
        .filter_map(|line| split_once(line, b'='))
        .map(|(name, value)| (trim(name).to_vec(), trim(value).to_vec()))
        .collect();
    let mut rows = Vec::new();
    let asked: Vec<&[u8]> = query.equal(0).filter_map(Cell::text).collect();
    if asked.is_empty() {
        below_controls(context, CONTROLS, 0, &mut |path| rows.push(control(context, path, &configured)))?;
    }
    for name in asked {
        let path: Vec<u8> = name.iter().map(|byte| if *byte == b'.' { b'/' } else { *byte }).collect();
        let path = [CONTROLS, &path].concat();
        // Only what is below, whatever the name holds.
        if !path.windows(2).any(|it| it == b"..")
            && context.host().exists(&path)
            && !context.host().is_dir(&path)
        {
            rows.push(control(context, &path, &configured));
        }
    }
    all(rows)
}

fn below_controls(
    context: &Context,
    directory: &[u8],
    depth: usize,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Trouble> {
    let Ok((entries, _)) = context.host().list(directory) else { return Ok(()) };
    for entry in entries {
        context.look()?;
        let path = below(directory, &entry.name);
        if entry.kind != rustix::fs::FileType::Directory {
            take(&path);
        } else if depth < DEPTH_MAX {
            below_controls(context, &path, depth + 1, take)?;
        }
    }
    Ok(())
}

fn control(context: &Context, path: &[u8], configured: &[(Vec<u8>, Vec<u8>)]) -> Row {
    let name = path.strip_prefix(CONTROLS).unwrap_or(path);
    let name: Vec<u8> = name.iter().map(|byte| if *byte == b'/' { b'.' } else { *byte }).collect();
    let subsystem = name.split(|byte| *byte == b'.').next().map(<[u8]>::to_vec);
    let value = context.host().read(path, VALUE_BYTES_MAX).ok().map(|bytes| trim(&bytes).to_vec());
    let config = configured.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone());
    row![name, "", subsystem, value, config, "string"]
}

pub(super) const MEMORY_INFO: Table = Table::plain(
    "memory_info",
    &[
        bigint("memory_total"),
        bigint("memory_free"),
        bigint("memory_available"),
        bigint("buffers"),
        bigint("cached"),
        bigint("swap_cached"),
        bigint("active"),
        bigint("inactive"),
        bigint("swap_total"),
        bigint("swap_free"),
    ],
    memory_info,
);

const MEMORY: [&[u8]; 10] = [
    b"MemTotal:",
    b"MemFree:",
    b"MemAvailable:",
    b"Buffers:",
    b"Cached:",
    b"SwapCached:",
    b"Active:",
    b"Inactive:",
    b"SwapTotal:",
    b"SwapFree:",
];

fn memory_info(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("memory_info") {
        return none();
    }
    let bytes = context.config(b"/proc/meminfo").unwrap_or_default();
    let of = |name: &&[u8]| {
        let rest = lines(&bytes).find_map(|line| line.strip_prefix(*name))?;
        Some(number::<i64>(words(rest).next()?)? * 1024)
    };
    all(vec![MEMORY.iter().map(|name| Cell::from(of(name))).collect()])
}

pub(super) const LOAD_AVERAGE: Table =
    Table::plain("load_average", &[text("period"), text("average")], load_average);

fn load_average(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("load_average") {
        return none();
    }
    let bytes = context.config(b"/proc/loadavg").unwrap_or_default();
    all(["1m", "5m", "15m"].into_iter().zip(words(&bytes)).map(|(of, average)| row![of, average]).collect())
}

pub(super) const SELINUX_SETTINGS: Table =
    Table::plain("selinux_settings", &[text("scope"), text("key"), text("value")], selinux_settings);

const SELINUX: &[u8] = b"/sys/fs/selinux";
/// What stands at the top of SELinux's file system and is a setting, not an interface.
const TOP: [&str; 5] = ["checkreqprot", "deny_unknown", "enforce", "mls", "policyvers"];

fn selinux_settings(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.host().exists(&below(SELINUX, b"enforce")) {
        context.warn("selinux_settings: SELinux is not active here, so the table is empty".into());
        return none();
    }
    let value = |path: &[u8]| {
        let bytes = context.host().read(path, VALUE_BYTES_MAX).ok()?;
        Some(trim(&bytes).to_vec())
    };
    let mut rows = Vec::new();
    for key in TOP {
        if let Some(found) = value(&below(SELINUX, key.as_bytes())) {
            rows.push(row!["", key, found]);
        }
    }
    for scope in ["booleans", "policy_capabilities"] {
        let directory = below(SELINUX, scope.as_bytes());
        let Ok((entries, _)) = context.host().list(&directory) else { continue };
        for entry in entries {
            context.look()?;
            let Some(found) = value(&below(&directory, &entry.name)) else { continue };
            // A boolean has its value and the one that is pending.
            rows.push(row![scope, entry.name, words(&found).next().unwrap_or_default()]);
        }
    }
    all(rows)
}

pub(super) const APPARMOR_PROFILES: Table = Table {
    name: "apparmor_profiles",
    columns: &[text("path"), text("name"), text("attach"), text("mode"), text("sha1"), text("sha256")],
    key: &[],
    index: &[],
    required: &[],
    rows: apparmor_profiles,
};

const PROFILES: &[u8] = b"/sys/kernel/security/apparmor/policy/profiles";

fn apparmor_profiles(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    if context.host().is_dir(PROFILES) {
        profiles(context, PROFILES, b"", 0, &mut rows)?;
    } else {
        context.warn("apparmor_profiles: AppArmor shows no profiles here, so the table is empty".into());
    }
    all(rows)
}

/// A profile below another is called by both names.
fn profiles(
    context: &Context,
    directory: &[u8],
    parent: &[u8],
    depth: usize,
    rows: &mut Vec<Row>,
) -> Result<(), Trouble> {
    let Ok((entries, _)) = context.host().list(directory) else { return Ok(()) };
    for entry in entries {
        context.look()?;
        let one = below(directory, &entry.name);
        let of = |name: &[u8]| {
            let bytes = context.host().read(&below(&one, name), VALUE_BYTES_MAX).ok()?;
            Some(trim(&bytes).to_vec())
        };
        let Some(name) = of(b"name") else { continue };
        let whole = if parent.is_empty() { name.clone() } else { [parent, b"//", &name].concat() };
        rows.push(row![whole.clone(), name, of(b"attach"), of(b"mode"), of(b"sha1"), of(b"sha256")]);
        if depth < DEPTH_MAX {
            profiles(context, &below(&one, b"profiles"), &whole, depth + 1, rows)?;
        }
    }
    Ok(())
}

pub(super) const TIME: Table = Table::plain(
    "time",
    &[
        text("weekday"),
        integer("year"),
        integer("month"),
        integer("day"),
        integer("hour"),
        integer("minutes"),
        integer("seconds"),
        text("timezone"),
        text("local_timezone"),
        integer("unix_time"),
        text("timestamp"),
        text("datetime"),
        text("iso_8601"),
        hidden(bigint("win_timestamp")),
    ],
    time,
);

fn time(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.is_live("time") {
        return none();
    }
    let now = jiff::Timestamp::now();
    let utc = now.to_zoned(jiff::tz::TimeZone::UTC);
    let iso = utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let of = |number: i8| i64::from(number);
    let local = context.host().read_link(b"/etc/localtime").ok();
    let local = local.and_then(|link| {
        let at = link.windows(10).position(|it| it == b"/zoneinfo/")?;
        Some(link.get(at + 10..)?.to_vec())
    });
    all(vec![row![
        utc.strftime("%A").to_string(),
        i64::from(utc.year()),
        of(utc.month()),
        of(utc.day()),
        of(utc.hour()),
        of(utc.minute()),
        of(utc.second()),
        "UTC",
        local.unwrap_or_else(|| b"UTC".to_vec()),
        now.as_second(),
        utc.strftime("%a %b %e %H:%M:%S %Y UTC").to_string(),
        iso.clone(),
        iso,
    ]])
}
