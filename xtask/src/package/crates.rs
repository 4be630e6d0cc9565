//! Every crate inside the programs, as cargo knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cmd;

const TARGET: &str = "x86_64-unknown-linux-gnu";
pub(super) const SENSOR: &str = "sensor";
pub(super) const HUNT: &str = "sensor-hunt";
/// What is embedded in the sensor has a workspace of its own.
const EBPF: &str = "sensor-ebpf";

pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: Option<String>,
    /// SHA-256 of what the registry has; our own have none.
    pub(super) checksum: Option<String>,
    /// What it is built with, as package URLs.
    pub(super) on: BTreeSet<String>,
}

/// By package URL.
pub(super) type Crates = BTreeMap<String, Crate>;

pub(super) fn url(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// What is inside these programs; the sensor has what runs in the kernel inside as well.
pub(super) fn inside(source: &Path, programs: &[&str]) -> Result<Crates> {
    let mut crates = Workspace::read(source, programs, Some(TARGET))?.reachable(programs)?;
    if programs.contains(&SENSOR) {
        let mut embedded = Workspace::read(&source.join(EBPF), &[EBPF], None)?.reachable(&[EBPF])?;
        let ebpf = embedded.iter().find(|(_, one)| one.name == EBPF).map(|(url, _)| url.clone());
        if let Some(sensor) = crates.values_mut().find(|one| one.name == SENSOR) {
            sensor.on.extend(ebpf);
        }
        for (url, one) in &mut embedded {
            // What both are built with is built differently for each.
            if let Some(same) = crates.remove(url) {
                one.on.extend(same.on);
            }
        }
        crates.append(&mut embedded);
    }
    Ok(crates)
}

/// What cargo knows of a workspace.
struct Workspace {
    packages: BTreeMap<String, Value>,
    /// Which packages each one is built into a program with.
    edges: BTreeMap<String, Vec<String>>,
    checksums: BTreeMap<(String, String), String>,
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Of a line such as `aya v0.14.0 (*)`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

impl Workspace {
    fn read(dir: &Path, programs: &[&str], target: Option<&str>) -> Result<Self> {
        let mut cargo = cmd::cargo();
        cargo.args(["metadata", "--format-version", "1", "--locked"]).current_dir(dir);
        cargo.args(target.iter().flat_map(|target| ["--filter-platform", target]));
        let metadata: Value = serde_json::from_str(&cmd::stdout(&mut cargo)?).context("cargo metadata")?;
        let lock = dir.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let mut workspace = Self::new(&metadata, &lock.parse().context("Cargo.lock")?)?;
        // The graph is that of the whole workspace, with features that only others of it ask for.
        let mut cargo = cmd::cargo();
        cargo.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
        cargo.args(programs.iter().flat_map(|program| ["--package", program]));
        cargo.args(target.iter().flat_map(|target| ["--target", target])).current_dir(dir);
        let tree = cmd::stdout(&mut cargo)?;
        let built: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
        workspace.packages.retain(|_, package| {
            let named = text(package, "name").zip(text(package, "version"));
            named.is_some_and(|named| built.contains(&named))
        });
        for on in workspace.edges.values_mut() {
            on.retain(|id| workspace.packages.contains_key(id));
        }
        Ok(workspace)
    }

    fn new(metadata: &Value, lock: &toml::Table) -> Result<Self> {
        let by_id = |package: &Value| Some((text(package, "id")?.to_owned(), package.clone()));
        let packages = items(metadata, "packages").filter_map(by_id).collect();
        let resolve = metadata.get("resolve").context("cargo metadata has no graph")?;
        let mut edges = BTreeMap::new();
        for node in items(resolve, "nodes") {
            // What only tests or builds with is not inside.
            let is_inside = |dependency: &&Value| {
                items(dependency, "dep_kinds").any(|kind| kind.get("kind").is_some_and(Value::is_null))
            };
            let on =
                items(node, "deps").filter(is_inside).filter_map(|on| text(on, "pkg").map(str::to_owned));
            if let Some(id) = text(node, "id") {
                edges.insert(id.to_owned(), on.collect());
            }
        }
        let locked = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
        let checksum = |package: &toml::Value| {
            let field = |key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            Some(((field("name")?, field("version")?), field("checksum")?))
        };
        Ok(Self { packages, edges, checksums: locked.filter_map(checksum).collect() })
    }

    fn reachable(&self, roots: &[&str]) -> Result<Crates> {
        let mut waiting = Vec::new();
        for root in roots {
            let named = |(_, package): &(&String, &Value)| text(package, "name") == Some(root);
            let id = self.packages.iter().find(named).with_context(|| format!("no package {root}"))?.0;
            waiting.push(id.clone());
        }
        let (mut seen, mut found) = (BTreeSet::new(), Crates::new());
        while let Some(id) = waiting.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let one = self.describe(&id)?;
            found.insert(url(&one.name, &one.version), one);
            waiting.extend(self.edges.get(&id).into_iter().flatten().cloned());
        }
        Ok(found)
    }

    fn named(&self, id: &str) -> Result<(&Value, String, String)> {
        let package = self.packages.get(id).with_context(|| format!("no package {id}"))?;
        let named = text(package, "name").zip(text(package, "version"));
        let (name, version) = named.with_context(|| format!("{id} has no name"))?;
        Ok((package, name.to_owned(), version.to_owned()))
    }

    fn describe(&self, id: &str) -> Result<Crate> {
        let (package, name, version) = self.named(id)?;
        let edges = self.edges.get(id).into_iter().flatten();
        let on = edges.map(|id| self.named(id).map(|(_, name, version)| url(&name, &version)));
        let on = on.collect::<Result<_>>()?;
        // "MIT/Apache-2.0" is how it was written before there were expressions.
        let licence = text(package, "license").map(|licence| licence.replace('/', " OR "));
        let checksum = self.checksums.get(&(name.clone(), version.clone())).cloned();
        Ok(Crate { name, version, licence, checksum, on })
    }
}
