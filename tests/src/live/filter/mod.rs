//! The filter in the kernel: one workload, watched by a sensor with the filter and by one without. Both raise the same
//! alerts; and where a bit is taken out of the filter, the comparison says so.

mod sabotage;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::blinded::wait_for;
use super::tests;
use crate::ctx::Ctx;
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{RULES, Sensor};
use workload::Workload;

tests![filter_loses_no_alert, filter_loses_no_alert_of_a_large_set_of_rules];

/// Where `xtask` puts rules that are not part of the project.
const MORE_RULES: &str = "/usr/share/sensor-livetest/rules";
/// With fewer rules that alert, little is shown.
const ALERTING_MIN: usize = 50;
/// Begins the names of files of the second part.
const SECOND: &str = "second-";
/// How often the sabotage is tried: a sensor that only now hears of the last unmount writes its tables anew.
const SABOTAGES: usize = 10;
/// The directory that the sabotaged filter no longer knows.
const FORGOTTEN: &str = "deep04";

fn filter_loses_no_alert(ctx: &Ctx) -> Result<Outcome> {
    compare(ctx, &[RULES.to_owned()], true)
}

fn filter_loses_no_alert_of_a_large_set_of_rules(ctx: &Ctx) -> Result<Outcome> {
    if !Path::new(MORE_RULES).exists() {
        return Ok(Outcome::NoData(format!("no rules at {MORE_RULES}")));
    }
    // Some of them ask for every event of a kind: there is no directory whose loss would show.
    compare(ctx, &[RULES.to_owned(), MORE_RULES.to_owned()], false)
}

fn compare(ctx: &Ctx, more: &[String], with_sabotage: bool) -> Result<Outcome> {
    let own = ctx.dir("rules")?;
    for (name, text) in generated() {
        fs::write(own.join(name), text)?;
    }
    let mut folders: Vec<PathBuf> = more.iter().map(PathBuf::from).collect();
    folders.push(own);
    let workload = Workload::of(&folders)?;
    // After its first alert, everything of the workload would pass the filter.
    let config = ctx.scratch().join("sensor.toml");
    fs::write(&config, "[evidence]\nfollow_seconds = 0\n")?;
    let arguments = |scope: &str| {
        let rules = folders.iter().flat_map(|folder| ["--rules".to_owned(), folder.display().to_string()]);
        let config = ["--config".to_owned(), config.display().to_string()];
        [vec!["--scope".to_owned(), scope.to_owned()], config.into(), rules.collect()].concat()
    };
    let unfiltered = Sensor::start_in(&ctx.dir("unfiltered")?, &arguments("all"))?;
    // The last, so that its tables are the newest.
    let dir = ctx.dir("filtered")?;
    let filtered = Sensor::start_in(&dir, &arguments("rules"))?;
    workload.run("")?;
    workload::elsewhere(ctx, &[&unfiltered, &filtered])?;
    if with_sabotage {
        let mut lasted = false;
        for number in 0..SABOTAGES {
            let mine = sabotage::forget_directory(FORGOTTEN)?;
            workload.run(&format!("{SECOND}{number}-"))?;
            lasted = mine.lasts()?;
            if lasted {
                break;
            }
        }
        ensure!(lasted, "the filter was written anew {SABOTAGES} times");
        wait_for(&dir.join("stderr.log"), "the filter in the kernel is not what the sensor wrote")?;
    }
    let filtered = filtered.stop()?;
    let unfiltered = unfiltered.stop()?;

    let (wanted, got) = (Alerts::of(&unfiltered.alerts), Alerts::of(&filtered.alerts));
    println!(
        "{} rules alerted {} times without the filter; {} file events without, {} with it",
        wanted.rules.len(),
        wanted.first.values().sum::<usize>(),
        unfiltered.files("/").len(),
        filtered.files("/").len()
    );
    ensure!(wanted.rules.len() >= ALERTING_MIN, "only {} rules alerted", wanted.rules.len());
    ensure!(
        filtered.files("/").len() < unfiltered.files("/").len(),
        "nothing was filtered: the same is no wonder"
    );
    let lost = wanted.missing_from(&got);
    ensure!(lost.is_empty(), "the filter lost {} alerts:\n{}", lost.len(), lost.join("\n"));
    let invented = got.missing_from(&wanted);
    ensure!(invented.is_empty(), "only with the filter:\n{}", invented.join("\n"));

    let lost: Vec<&Alert> = wanted.second.keys().filter(|alert| !got.second.contains_key(*alert)).collect();
    ensure!(
        !with_sabotage || lost.iter().any(|(_, path, ..)| path.contains(FORGOTTEN)),
        "the sabotage was not noticed: {} alerts without the filter, {} with it",
        wanted.second.len(),
        got.second.len()
    );
    Ok(Outcome::Passed)
}

/// Rule, path, action, path before.
type Alert = (String, String, String, String);

/// Alerts on files, with how often each was raised.
#[derive(Default)]
struct Alerts {
    rules: BTreeSet<String>,
    first: BTreeMap<Alert, usize>,
    second: BTreeMap<Alert, usize>,
}

impl Alerts {
    fn of(alerts: &[Doc]) -> Self {
        let mut all = Self::default();
        for doc in alerts {
            let text = |field| doc.text(field).unwrap_or_default();
            let alert =
                (text("rule.id"), text("file.path"), text("event.action"), text("file.Ext.original.path"));
            if [workload::PROBE, workload::NAMED_PROBE].iter().any(|probe| alert.1.ends_with(probe)) {
                continue;
            }
            all.rules.insert(alert.0.clone());
            let is_second = alert.1.contains(SECOND) || alert.3.contains(SECOND);
            let part = if is_second { &mut all.second } else { &mut all.first };
            *part.entry(alert).or_default() += 1;
        }
        all
    }

    fn missing_from(&self, other: &Self) -> Vec<String> {
        let fewer = |(alert, count): &(&Alert, &usize)| other.first.get(*alert).unwrap_or(&0) < *count;
        self.first.iter().filter(fewer).map(|(alert, count)| format!("{alert:?} {count} times")).collect()
    }
}

/// Rules of every form that the filter understands, and of one that it does not.
fn generated() -> Vec<(String, String)> {
    (0..64).map(|number| (format!("generated-{number}.toml"), rule(number, &query(number)))).collect()
}

fn query(number: usize) -> String {
    let n = format!("{number:02}");
    let condition = match number % 10 {
        0 => format!("file.path : \"/srv/watched/dir{n}.d/*\""),
        1 => format!("file.path == \"/srv/watched/exact{n}\""),
        2 => format!("file.name : \"Name{n}.CONF\""),
        3 => format!("file.extension == \"ext{n}\""),
        4 => format!("file.path like \"/srv/*/deep{n}/*\""),
        5 => format!(
            "event.action == \"rename\" and file.Ext.original.path : \"/srv/watched/from{n}/*\" and not \
             file.name == \"none\""
        ),
        6 => format!("file.path : \"*/of{n}.service\" and event.action != \"deletion\""),
        7 => {
            format!("file.path like~ \"/SRV/WATCHED/Fold{n}/*\" or file.name in~ (\"Either{n}\", \"or{n}\")")
        }
        8 => format!("startsWith(file.path, \"/srv/watched/start{n}/\") and host.os.type == \"linux\""),
        _ => format!(
            "event.action == \"creation\" and file.path : (\"/srv/watched/list{n}/?.x\", \"/none/*\")"
        ),
    };
    format!("file where {condition}")
}

fn rule(number: usize, query: &str) -> String {
    format!(
        "[rule]\nauthor = [\"sensor\"]\ndescription = \"One of many.\"\nindex = [\"logs-endpoint.events.file*\"]\n\
         language = \"eql\"\nlicense = \"Apache-2.0\"\nname = \"Generated {number}\"\nmax_signals = 100000\n\
         risk_score = 1\nrule_id = \"00000000-0000-4000-9000-{number:012}\"\nseverity = \"low\"\ntype = \"eql\"\n\
         query = '''\n{query}\n'''\n"
    )
}

/// The rule files below the folders.
fn rule_files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut waiting = folders.to_vec();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
            for entry in entries {
                waiting.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
