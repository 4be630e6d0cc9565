//! `sensor hunt`.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use sensor_store::Store;

use super::args::{Cli, Format, HuntArgs};
use super::progress::Shown;
use super::when::{milliseconds, now};
use super::{INCOMPLETE, NOT_ALL_RAN, note, print};
use crate::answer::{Done, Sources, answer};
use crate::esql::{Progress, Settings};
use crate::file::{Hunt, HuntQuery, Language};
use crate::show::events::Author;
use crate::show::{count, events, harmless, harmless_json, machine, people};
use crate::{osquery, report};

/// Where the sensor keeps its events.
pub(super) const STORE: &str = "/var/lib/sensor/store";

pub(super) fn hunt(mut args: HuntArgs) -> Result<ExitCode, String> {
    let started = now();
    sort_out(&mut args);
    if args.paths.is_empty() && args.query.is_none() {
        let text = "a hunt is needed: name a file or a folder, or give a query with -q\n";
        Cli::command().error(ErrorKind::MissingRequiredArgument, text).exit();
    }
    let sources = sources(&args, started)?;
    let (hunts, broken) = hunts(&args)?;
    let mut done = Vec::new();
    for hunt in hunts {
        let hunt = run(hunt, &sources);
        match args.format {
            Format::Table => {
                let gap = if done.is_empty() { "" } else { "\n" };
                print(&format!("{gap}{}", people::hunt(&hunt, width())))?;
            }
            Format::Summary => print(&people::overview(&hunt))?,
            Format::Ndjson => print(&harmless_json(&machine::lines(&hunt)))?,
            Format::Csv => csv(&hunt, args.spreadsheet)?,
            Format::Events => {
                let author = Author {
                    agent: args.agent_id.clone(),
                    namespace: args.namespace.clone(),
                    time_ms: started,
                };
                print(&harmless_json(&events::documents(&hunt, &author)))?;
            }
            Format::Json => {}
        }
        done.push(hunt);
    }
    if args.format == Format::Json {
        print(&harmless_json(&format!("{}\n", machine::document(&done))))?;
    }
    if let Some(path) = &args.report {
        let page = report::page(&done, started);
        std::fs::write(path, page).map_err(|cause| format!("{}: {cause}", path.display()))?;
        note(format_args!("report: {}", path.display()));
    }
    Ok(end(&done, broken))
}

/// `--store` takes all that follows it, hunts too: a file is no store, nor is a folder that holds hunts and no store. A
/// store among the hunts is one, too.
fn sort_out(args: &mut HuntArgs) {
    let is_store = |path: &Path| path.join("MANIFEST.json").exists();
    let is_hunt = |path: &PathBuf| {
        path.is_file() || Hunt::is_named_as_one(path) || !is_store(path) && Hunt::is_folder_of_some(path)
    };
    let (hunts, mut stores): (Vec<PathBuf>, Vec<PathBuf>) = args.store.drain(..).partition(is_hunt);
    let (more, hunts): (Vec<PathBuf>, Vec<PathBuf>) =
        args.paths.drain(..).chain(hunts).partition(|path| is_store(path));
    stores.extend(more);
    (args.paths, args.store) = (hunts, stores);
}

fn sources(args: &HuntArgs, started: i64) -> Result<Sources, String> {
    let now_ms = args.now.as_deref().map_or(Ok(started), |text| milliseconds(text, started))?;
    let limit = |text: &Option<String>| text.as_deref().map(|text| milliseconds(text, now_ms)).transpose();
    let mut settings = Settings::at(now_ms);
    settings.since_ms = limit(&args.since)?;
    settings.until_ms = limit(&args.until)?;
    Ok(Sources {
        stores: stores(&args.store)?,
        settings,
        osquery: osquery::Options {
            root: args.root.clone(),
            hidden: args.hidden,
            birth_time: args.birth_time,
            docker_socket: args.docker_socket.clone(),
            time_max: Duration::from_secs(args.time_max),
            rows_max: args.rows_max,
            ..osquery::Options::default()
        },
    })
}

/// A store that was named must be there; that there is none at the usual place matters only to ES|QL.
fn stores(named: &[PathBuf]) -> Result<Result<Vec<Store>, String>, String> {
    if named.is_empty() {
        let usual = Store::open(Path::new(STORE)).map(|store| vec![store]);
        return Ok(
            usual.map_err(|cause| format!("there is no event store to ask ({cause}); --store names one"))
        );
    }
    let opened: Result<Vec<Store>, _> = named.iter().map(|path| Store::open(path)).collect();
    opened.map(Ok).map_err(|cause| cause.to_string())
}

/// The hunts, and how many files are none.
fn hunts(args: &HuntArgs) -> Result<(Vec<Hunt>, usize), String> {
    let mut hunts = Vec::new();
    let mut broken = 0;
    if let Some(text) = &args.query {
        if Path::new(text).exists() {
            return Err(format!(
                "-q takes a query, and {} is a file or a folder: leave -q out",
                harmless(text)
            ));
        }
        hunts.push(Hunt::of_query(text, args.language.map(Language::from)));
    }
    for path in &args.paths {
        for hunt in Hunt::load(path) {
            match hunt {
                Ok(hunt) => hunts.push(hunt),
                Err(error) => {
                    broken += 1;
                    let help = if is_query(path) { "; a query is asked with -q" } else { "" };
                    note(format_args!("{}{help}", harmless(&error.to_string())));
                }
            }
        }
    }
    if let Some(only) = args.only {
        let index = only as usize - 1;
        for hunt in &mut hunts {
            hunt.queries = hunt.queries.drain(..).skip(index).take(1).collect();
        }
        hunts.retain(|hunt| !hunt.queries.is_empty());
    }
    if hunts.is_empty() {
        return Err("there is no query to run".into());
    }
    let queries: usize = hunts.iter().map(|hunt| hunt.queries.len()).sum();
    if args.format == Format::Csv && queries > 1 {
        return Err(format!("CSV holds one table, and these are {queries} queries: --only picks one"));
    }
    Ok((hunts, broken))
}

/// Whether a path is none, but what would be a query.
fn is_query(path: &Path) -> bool {
    let text = path.to_str().unwrap_or_default();
    text.contains(' ') && !path.exists() && HuntQuery::new(text, None).language != Language::Unknown
}

fn run(hunt: Hunt, sources: &Sources) -> Done {
    let outcomes = hunt
        .queries
        .iter()
        .map(|query| {
            let progress = Arc::new(Progress::default());
            let _shown = Shown::start(&progress);
            answer(query, sources, &progress)
        })
        .collect();
    Done { hunt, outcomes }
}

fn csv(done: &Done, spreadsheet: bool) -> Result<(), String> {
    for outcome in &done.outcomes {
        let table = machine::csv(outcome, spreadsheet);
        // A terminal would obey what names contain; a program gets them as they are.
        let shown = || table.split("\r\n").map(harmless).collect::<Vec<_>>().join("\r\n");
        print(&if io::stdout().is_terminal() { shown() } else { table })?;
        match outcome {
            Ok(answer) => {
                let said = answer.notes.iter().chain(&answer.warnings).chain(&answer.incomplete);
                said.for_each(|text| note(format_args!("! {}", harmless(text))));
                note(format_args!("{}", people::summary(answer)));
            }
            Err(why) => note(format_args!("not run: {}", harmless(why.reason()))),
        }
    }
    Ok(())
}

fn end(done: &[Done], broken: usize) -> ExitCode {
    let outcomes = || done.iter().flat_map(|done| &done.outcomes);
    let (all, unanswered) = (outcomes().count(), outcomes().filter(|outcome| outcome.is_err()).count());
    let incomplete = outcomes().flatten().any(|answer| answer.incomplete.is_some());
    if all > 1 || broken > 0 {
        let files =
            if broken > 0 { format!(", {} not read", count(broken as u64, "file")) } else { String::new() };
        note(format_args!(
            "{} of {} ran{files}",
            all - unanswered,
            count(all as u64, "query").replace("querys", "queries")
        ));
    }
    if unanswered == all {
        ExitCode::FAILURE
    } else if unanswered > 0 || broken > 0 {
        ExitCode::from(NOT_ALL_RAN)
    } else if incomplete {
        ExitCode::from(INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    }
}

/// How wide the terminal is; none if the reader is not one.
fn width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let found = rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col);
    Some(found.filter(|width| *width >= 20).unwrap_or(80))
}
