//! `sensor store`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sensor_ecs::Unknown;
use sensor_store::{Options, Stat, Store, Writer};
use serde_json::json;

use super::args::{ExportArgs, ImportArgs, KeepArgs, StatArgs, StoreCommand};
use super::when::{milliseconds, now};
use super::{note, print};
use crate::esql::date_text;
use crate::show::{count, grouped, harmless, harmless_json};

pub(super) fn store(command: &StoreCommand) -> Result<ExitCode, String> {
    match command {
        StoreCommand::Import(args) => import(args),
        StoreCommand::Stat(args) => stat(args),
        StoreCommand::Export(args) => export(args),
        StoreCommand::Keep(args) => keep(args),
    }
}

const NS_PER_MS: i64 = 1_000_000;

/// Lines that are refused are told, the others are stored all the same.
fn import(args: &ImportArgs) -> Result<ExitCode, String> {
    if let Some(folder) = args.events.iter().find(|path| path.is_dir()) {
        let text = "is a folder, and events are in files; --store names the store, nothing was imported";
        return Err(format!("{} {text}", folder.display()));
    }
    let (mut writer, found) =
        Writer::open(&args.store, Options::default()).map_err(|cause| cause.to_string())?;
    found.iter().for_each(|text| note(format_args!("{}", harmless(text))));
    let mut refused = 0;
    for path in &args.events {
        let mut input: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|cause| format!("{}: {cause}", path.display()))?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        };
        let report = writer
            .import(&mut *input, &mut |_| true)
            .map_err(|cause| format!("{}: {cause}", path.display()))?;
        for problem in &report.problems {
            let place = if problem.column == 0 { String::new() } else { format!(":{}", problem.column) };
            note(format_args!("{}:{}{place}: {}", path.display(), problem.line, harmless(&problem.cause)));
        }
        refused += report.refused;
        note(format_args!(
            "{}: {} stored, {} refused, {} left out",
            path.display(),
            count(report.stored, "event"),
            count(report.refused, "line"),
            count(report.misfits, "value"),
        ));
        if report.unknown.total() > 0 {
            note(format_args!("{}: {}", path.display(), left_out(&report.unknown)));
        }
        if !report.cut.is_empty() {
            let fields = report.cut.iter().map(|(name, times)| (*name, *times)).collect();
            let (total, named) = (report.cut.values().sum(), most_frequent(fields));
            let what = format!("{} left out of fields that keep their first: {named}", count(total, "value"));
            note(format_args!("{}: {what}", path.display()));
        }
        if report.derived > 0 {
            let events = count(report.derived, "event");
            let what = "without data_stream.dataset and event.dataset stored as event.category says";
            note(format_args!("{}: {events} {what}", path.display()));
        }
    }
    writer.close(now().saturating_mul(NS_PER_MS)).map_err(|cause| cause.to_string())?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::NOT_ALL_RAN) })
}

fn left_out(unknown: &Unknown) -> String {
    let names = unknown.names.iter().map(|(name, times)| (name.as_str(), *times)).collect();
    let others = if unknown.others > 0 && unknown.names.len() <= NAMED { ", and others" } else { "" };
    let (total, named) = (count(unknown.total(), "more value"), most_frequent(names));
    format!("{total} left out, for which the store has no column: {named}{others}")
}

/// Names that are told.
const NAMED: usize = 10;

/// The most frequent names first.
fn most_frequent(mut names: Vec<(&str, u64)>) -> String {
    names.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let named: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|(name, times)| format!("{} ({})", harmless(name), grouped(*times)))
        .collect();
    let more = if names.len() > NAMED { ", and others" } else { "" };
    format!("{}{more}", named.join(", "))
}

/// What the sensor has begun gives way to whatever else the host has to do.
fn keep(args: &KeepArgs) -> Result<ExitCode, String> {
    // Where it is refused, the work is the same, only not as polite.
    let _ = rustix::process::nice(19);
    let options = Options {
        age_max: Some(Duration::from_secs(u64::from(args.days) * 86_400)),
        bytes_max: Some(args.bytes),
        ..Options::default()
    };
    let (mut writer, mut found) = Writer::open(&args.store, options).map_err(|cause| cause.to_string())?;
    found.extend(writer.keep(now().saturating_mul(NS_PER_MS)).map_err(|cause| cause.to_string())?);
    found.iter().for_each(|text| note(format_args!("sensor: {}", harmless(text))));
    Ok(ExitCode::SUCCESS)
}

/// The stores, which may be named with `--store` as for every other command.
fn named<'a>(positional: &'a [PathBuf], option: &'a [PathBuf]) -> &'a [PathBuf] {
    if option.is_empty() { positional } else { option }
}

fn stat(args: &StatArgs) -> Result<ExitCode, String> {
    let mut told = Vec::new();
    for path in named(&args.stores, &args.named) {
        let stat = Store::open(path).and_then(|store| store.stat()).map_err(|cause| cause.to_string())?;
        if args.json {
            told.push(as_json(path, &stat));
        } else {
            print(&as_text(path, &stat))?;
        }
    }
    if args.json {
        print(&format!("{}\n", json!({ "stores": told })))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time(ns: Option<i64>) -> String {
    ns.map_or_else(|| "-".into(), |ns| date_text(ns / NS_PER_MS))
}

fn as_text(path: &Path, stat: &Stat) -> String {
    let mut out = format!("{}\n", path.display());
    for set in &stat.datasets {
        out.push_str(&format!(
            "  {}: {} in {}, {} bytes ({} an event), {} to {}\n",
            harmless(&set.dataset),
            count(set.rows, "event"),
            count(set.files, "file"),
            grouped(set.bytes),
            set.bytes.checked_div(set.rows).unwrap_or(0),
            time(set.first_ns),
            time(set.last_ns),
        ));
    }
    let unsealed = count(stat.rows_unsealed, "event");
    out.push_str(&format!("  not yet sealed: {unsealed}, {} bytes\n", grouped(stat.bytes_unsealed)));
    out.push_str(&format!("  removed for age or room: {}\n", count(stat.rows_expired, "event")));
    if stat.rows_damaged > 0 || !stat.damaged.is_empty() {
        out.push_str(&format!("  damaged: {}\n", count(stat.rows_damaged, "event")));
    }
    stat.damaged.iter().for_each(|text| out.push_str(&format!("  ! {}\n", harmless(text))));
    out
}

fn as_json(path: &Path, stat: &Stat) -> serde_json::Value {
    let sets: Vec<_> = stat
        .datasets
        .iter()
        .map(|set| {
            json!({
                "dataset": set.dataset, "events": set.rows, "files": set.files, "bytes": set.bytes,
                "first": set.first_ns.map(|ns| date_text(ns / NS_PER_MS)),
                "last": set.last_ns.map(|ns| date_text(ns / NS_PER_MS)),
            })
        })
        .collect();
    json!({
        "path": path.display().to_string(), "datasets": sets,
        "unsealed_events": stat.rows_unsealed, "unsealed_bytes": stat.bytes_unsealed,
        "expired_events": stat.rows_expired, "damaged_events": stat.rows_damaged, "damaged": stat.damaged,
    })
}

/// In the order of time over all stores; a reader that has gone away has seen enough.
fn export(args: &ExportArgs) -> Result<ExitCode, String> {
    let at = |text: &Option<String>, other: i64| {
        text.as_deref()
            .map_or(Ok(other), |text| milliseconds(text, now()).map(|ms| ms.saturating_mul(NS_PER_MS)))
    };
    let (since, until) = (at(&args.since, i64::MIN)?, at(&args.until, i64::MAX)?);
    let terminal = io::stdout().is_terminal();
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let (mut parts, mut damaged) = (Vec::new(), Vec::new());
    for path in named(&args.stores, &args.named) {
        let store = Store::open(path).map_err(|cause| cause.to_string())?;
        parts.extend(store.snapshot().map_err(|cause| cause.to_string())?);
        damaged.extend(store.damaged_logs().map_err(|cause| cause.to_string())?);
    }
    let (mut events, mut written) = (0_u64, Ok(()));
    damaged.extend(sensor_store::export(&parts, since, until, &mut |line| {
        // A terminal would obey what names contain.
        let shown = terminal.then(|| str::from_utf8(line).map(harmless_json).ok()).flatten();
        written = out.write_all(shown.as_ref().map_or(line, |shown| shown.as_bytes()));
        events += u64::from(written.is_ok());
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }));
    damaged.iter().for_each(|text| note(format_args!("{}", harmless(text))));
    match written.and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => {
            return Err(format!("standard output: {cause}"));
        }
        _ => note(format_args!("{}", count(events, "event"))),
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(super::NOT_ALL_RAN) })
}
