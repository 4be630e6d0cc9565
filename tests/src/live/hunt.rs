//! The shipped hunt over what a running sensor stored: packages are installed by dpkg and rpm, some of them an attacker's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::blinded::wait_for;
use super::tests;
use crate::ctx::{APT_DIR, Ctx, ok, shell};
use crate::doc::{Doc, parse_ndjson};
use crate::runner::Outcome;
use crate::sensor::{APT_RULE, RULES, SENSOR, Sensor, end};

tests![shipped_hunt_finds_what_packages_brought];

const HUNT: &str = "/usr/share/sensor/hunts/linux/persistence_via_rpm_dpkg_installer_packages.toml";
pub(super) const PACKAGES: &str = "/usr/share/sensor-livetest/packages";
const MANAGERS: [&str; 2] = ["dpkg", "rpm"];
const DPKG_DIR: &str = "/var/lib/dpkg";
const RPM_DIR: &str = "/var/lib/rpm";
const AGENTS: [&str; 4] = ["agent-1", "agent-2", "agent-3", "agent-4"];

/// Puts the package managers in their places, and takes them away again for the tests that put something else there.
pub(super) struct Managers;

impl Managers {
    pub(super) fn install() -> Result<Self> {
        for name in MANAGERS {
            let to = format!("/usr/bin/{name}");
            fs::copy(format!("{PACKAGES}/bin/{name}"), &to).with_context(|| to.clone())?;
        }
        for dir in [&format!("{DPKG_DIR}/info"), &format!("{DPKG_DIR}/updates"), RPM_DIR] {
            fs::create_dir_all(dir)?;
        }
        fs::create_dir_all(format!("{DPKG_DIR}/triggers"))?;
        fs::write(format!("{DPKG_DIR}/status"), "")?;
        fs::write(format!("{DPKG_DIR}/available"), "")?;
        Ok(Self)
    }

    fn add(package: &str) -> Result<()> {
        let path = format!("PATH={PACKAGES}/bin:$PATH");
        let rpm = "/usr/bin/rpm --dbpath /var/lib/rpm --force-debian --nodeps --nosignature";
        let script = format!(
            "{path} /usr/bin/dpkg --force-bad-path -i {PACKAGES}/{package}.deb && {rpm} -i {PACKAGES}/{package}.rpm"
        );
        ok(&mut shell(&script)).map(drop)
    }
}

impl Drop for Managers {
    fn drop(&mut self) {
        for name in MANAGERS {
            drop(fs::remove_file(format!("/usr/bin/{name}")));
        }
        for dir in [DPKG_DIR, RPM_DIR, "/usr/share/tidy", "/usr/share/updater"] {
            drop(fs::remove_dir_all(dir));
        }
    }
}

/// Rows of each of the hunt's queries.
fn hunt(stores: &[&Path]) -> Result<Vec<Vec<Value>>> {
    let mut command = Command::new(SENSOR);
    command.args(["hunt", HUNT, "--format", "json", "--store"]).args(stores);
    let done: Value = serde_json::from_str(&ok(&mut command)?.stdout)?;
    let queries = done.pointer("/hunts/0/queries").and_then(Value::as_array).context("no queries")?;
    let rows = |query: &Value| {
        query.get("values").and_then(Value::as_array).cloned().with_context(|| query.to_string())
    };
    queries.iter().map(rows).collect()
}

fn same(rows: &[Value], wanted: &[Value]) -> Result<()> {
    let set = |rows: &[Value]| rows.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (got, wanted) = (set(rows), set(wanted));
    let (missing, more): (Vec<_>, Vec<_>) =
        (wanted.difference(&got).collect(), got.difference(&wanted).collect());
    ensure!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\nmore: {more:#?}");
    Ok(())
}

/// Name, owner, group and size; the times differ.
fn of_files(rows: &[Value]) -> Vec<Value> {
    let cell = |row: &Value, at: usize| row.get(at).cloned().unwrap_or_default();
    rows.iter().map(|row| [0, 1, 2, 3, 8].map(|at| cell(row, at)).to_vec().into()).collect()
}

fn shipped_hunt_finds_what_packages_brought(ctx: &Ctx) -> Result<Outcome> {
    let needed = ["bin/dpkg", "bin/rpm", "tidy.deb", "tidy.rpm", "updater.deb", "updater.rpm"];
    if let Some(missing) = needed.iter().find(|file| !Path::new(PACKAGES).join(file).exists()) {
        return Ok(Outcome::Skipped(format!("the guest has no {missing}")));
    }
    let managers = Managers::install()?;
    let store = ctx.scratch().join("store");
    let dropped = format!("{DPKG_DIR}/info/bash.postinst");
    let config = schedule(ctx, &dropped)?;
    let args = ["--rules", RULES, "--config", &config, "--store", &store.display().to_string()];
    let sensor = Sensor::start_with(ctx, &args)?;
    Managers::add("tidy")?;
    // Where the ordinary ends: the first event of the attack tells when.
    ok(&mut shell(&format!("echo '#!/bin/sh' >/tmp/dropped && /usr/bin/cp /tmp/dropped {dropped}")))?;
    Managers::add("updater")?;
    let hook = format!("{APT_DIR}/99hunt");
    ok(&mut shell(&format!("echo 'Dir \"/tmp\";' >{hook}")))?;
    scheduled(ctx, &dropped)?;
    let run = sensor.stop()?;
    fs::remove_file(hook)?;
    let begin = run.file(&dropped, "creation")?.text("@timestamp").context("no time")?;

    let dpkg = |name: &str| json!([1, 1, name, "/usr/bin/dpkg"]);
    let ran = |executable: &str, line: &str| json!([2, 1, executable, line]);
    let placed = [json!([1, 1, "bash.postinst", "/usr/bin/cp"]), dpkg("updater.postinst")];
    let benign = [dpkg("tidy.postinst"), dpkg("format")];
    let attack_ran = ran("/usr/bin/id", "/usr/bin/id -un");
    let benign_ran = ran("/usr/bin/uname", "/usr/bin/uname -s");
    let found = hunt(&[&store])?;
    let [files, processes, on_disk] = found.as_slice() else { bail!("not three queries: {found:?}") };
    let (of_rpm, others): (Vec<Value>, Vec<Value>) =
        files.iter().cloned().partition(|row| row.get(3).is_some_and(|by| by == "/usr/bin/rpm"));
    same(&others, &[placed.as_slice(), benign.as_slice()].concat()).context("files, one host")?;
    // Which files its database has is rpm's business.
    let names: BTreeSet<&str> = of_rpm.iter().filter_map(|row| row.get(2)?.as_str()).collect();
    let is_its = |name: &&str| *name == ".rpm.lock" || name.starts_with("rpmdb.sqlite");
    ensure!(names.contains("rpmdb.sqlite") && names.iter().all(is_its), "files of rpm: {names:?}");
    same(processes, &[attack_ran.clone(), benign_ran]).context("processes, one host")?;
    let file = |dir: &str, name: &str| -> Result<Value> {
        let path = format!("{dir}/{name}");
        let size = fs::metadata(&path).with_context(|| path.clone())?.len();
        Ok(json!([name, path, "root", "root", size]))
    };
    let mut there = Vec::new();
    for dir in [&format!("{DPKG_DIR}/info"), RPM_DIR] {
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // As in osquery, % does not match a leading dot.
            if !name.starts_with('.') {
                there.push(file(dir, &name)?);
            }
        }
    }
    same(&of_files(on_disk), &there).context("files on disk")?;
    for name in ["bash.postinst", "updater.postinst", "tidy.postinst"] {
        ensure!(there.contains(&file(&format!("{DPKG_DIR}/info"), name)?), "{name} is not there");
    }

    run.only_alert()?;
    let mut replay = Command::new(SENSOR);
    let replayed = ok(replay.arg("replay").arg("--store").arg(&store).args(["--rules", RULES]))?;
    let again = replayed.stdout.lines().filter(|line| line.starts_with(APT_RULE)).count();
    ensure!(again == 1, "the stored events raise {again} of the alert: {}", replayed.stdout);

    let fleet = fleet(ctx, &store, &begin)?;
    let found = hunt(&[&store, &fleet])?;
    let [files, processes, _] = found.as_slice() else { bail!("not three queries: {found:?}") };
    same(files, &placed).context("files, five hosts")?;
    same(processes, &[attack_ran]).context("processes, five hosts")?;
    drop(managers);
    Ok(Outcome::Passed)
}

/// A configuration that hunts for a file every few seconds, over the store and over the host.
fn schedule(ctx: &Ctx, path: &str) -> Result<String> {
    let hunt = format!(
        "[hunt]\nname = 'scheduled'\nquery = [\n\
         'from logs-endpoint.events.file-* | where file.path == \"{path}\" | keep process.executable',\n\
         'SELECT path FROM file WHERE path = \"{path}\"']\n"
    );
    fs::write(ctx.scratch().join("scheduled.toml"), hunt)?;
    let config = ctx.scratch().join("sensor.toml");
    fs::write(&config, "[hunts]\npaths = [\"scheduled.toml\"]\nhours = 0.001\n")?;
    Ok(config.display().to_string())
}

/// The rows of the hunts that the sensor ran by itself are events among its others.
fn scheduled(ctx: &Ctx, path: &str) -> Result<()> {
    let events = ctx.scratch().join("events.ndjson");
    wait_for(&events, "\"row\":{\"process.executable\"")?;
    wait_for(&events, "\"row\":{\"path\"")?;
    let mut text = fs::read_to_string(&events)?;
    text.truncate(text.rfind('\n').unwrap_or(0));
    let of_hunts: Vec<Doc> = parse_ndjson(text.as_bytes())?;
    let of_hunts = || of_hunts.iter().filter(|doc| doc.is("event.dataset", "sensor.hunt"));
    let row = |number: &str| {
        let mut rows = of_hunts().filter(|doc| doc.is("event.action", "hunt_row"));
        rows.rfind(|doc| doc.is("sensor.hunt.query", number))
            .with_context(|| format!("no row of query {number}"))
    };
    row("1")?.expect(&[
        ("sensor.hunt.name", "scheduled"),
        ("sensor.hunt.row.process.executable", "/usr/bin/cp"),
    ])?;
    row("2")?.expect(&[("data_stream.dataset", "sensor.hunt"), ("sensor.hunt.row.path", path)])?;
    let ran = of_hunts().rfind(|doc| doc.is("event.action", "hunt_ran")).context("no hunt ran")?;
    ran.expect(&[("sensor.hunt.status", "ran"), ("sensor.hunt.rows", "1")])
}

/// A store with the ordinary events as four other hosts have them.
fn fleet(ctx: &Ctx, store: &Path, until: &str) -> Result<PathBuf> {
    let mut export = Command::new(SENSOR);
    let exported = ok(export.args(["store", "export"]).arg(store).args(["--until", until]))?;
    let events = parse_ndjson(exported.stdout.as_bytes())?;
    ensure!(!events.is_empty(), "nothing was exported");
    let mut lines = String::new();
    for agent in AGENTS {
        for event in &events {
            let mut event = event.0.clone();
            let id = event.pointer_mut("/agent/id").context("no agent.id")?;
            *id = json!(agent);
            lines.push_str(&format!("{event}\n"));
        }
    }
    let (file, fleet) = (ctx.scratch().join("fleet.ndjson"), ctx.scratch().join("fleet"));
    fs::write(&file, lines)?;
    let imported = end(Command::new(SENSOR).args(["store", "import"]).arg(&file).arg("--store").arg(&fleet))?;
    ensure!(imported.status.success(), "{}", imported.stderr);
    Ok(fleet)
}
