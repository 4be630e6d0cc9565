//! The bill of materials: every crate inside the programs, as CycloneDX lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Release;
use crate::cmd;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROGRAMS: [&str; 2] = ["sensor", "sensor-hunt"];
/// What is embedded in the sensor has a workspace of its own.
const EBPF: &str = "sensor-ebpf";

/// What cargo knows of a workspace.
struct Workspace {
    packages: BTreeMap<String, Value>,
    /// Which packages each one is built into a program with.
    edges: BTreeMap<String, Vec<String>>,
    checksums: BTreeMap<(String, String), String>,
}

pub(super) fn bill(source: &Path, release: &Release) -> Result<Vec<u8>> {
    let programs = Workspace::read(source, &["--filter-platform", TARGET])?;
    let kernel = Workspace::read(&source.join(EBPF), &[])?;
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for (workspace, roots) in [(&programs, &PROGRAMS[..]), (&kernel, &[EBPF])] {
        for id in workspace.reachable(roots)? {
            let (reference, component) = workspace.component(&id)?;
            let edges = workspace.edges.get(&id).into_iter().flatten();
            let on = edges.map(|id| workspace.reference(id)).collect::<Result<BTreeSet<_>>>()?;
            components.insert(reference.clone(), component);
            dependencies.entry(reference).or_insert_with(BTreeSet::new).extend(on);
        }
    }
    let dependencies: Vec<Value> = dependencies
        .into_iter()
        .map(|(reference, on)| json!({ "ref": reference, "dependsOn": on }))
        .collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "bom-ref": "sensor", "name": "sensor", "version": release.version },
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    let mut bytes = serde_json::to_vec_pretty(&bill)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

impl Workspace {
    fn read(dir: &Path, args: &[&str]) -> Result<Self> {
        let mut cargo = cmd::cargo();
        cargo.args(["metadata", "--format-version", "1", "--locked"]).args(args).current_dir(dir);
        let metadata: Value = serde_json::from_str(&cmd::stdout(&mut cargo)?).context("cargo metadata")?;
        let lock = dir.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        Self::new(&metadata, &lock.parse().context("Cargo.lock")?)
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

    fn reachable(&self, roots: &[&str]) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut waiting = Vec::new();
        for root in roots {
            let named = |(_, package): &(&String, &Value)| text(package, "name") == Some(root);
            let id = self.packages.iter().find(named).with_context(|| format!("no package {root}"))?.0;
            waiting.push(id.clone());
        }
        while let Some(id) = waiting.pop() {
            if found.insert(id.clone()) {
                waiting.extend(self.edges.get(&id).into_iter().flatten().cloned());
            }
        }
        Ok(found)
    }

    fn reference(&self, id: &str) -> Result<String> {
        let package = self.packages.get(id).with_context(|| format!("no package {id}"))?;
        let named = text(package, "name").zip(text(package, "version"));
        let (name, version) = named.with_context(|| format!("{id} has no name"))?;
        Ok(format!("pkg:cargo/{name}@{version}"))
    }

    fn component(&self, id: &str) -> Result<(String, Value)> {
        let reference = self.reference(id)?;
        let package = self.packages.get(id).with_context(|| format!("no package {id}"))?;
        let (name, version) = (text(package, "name"), text(package, "version"));
        // "MIT/Apache-2.0" is how it was written before there were expressions.
        let licence = text(package, "license").map(|licence| licence.replace('/', " OR "));
        let key = name.zip(version).map(|(name, version)| (name.to_owned(), version.to_owned()));
        let checksum = key.and_then(|key| self.checksums.get(&key));
        let licences: Vec<Value> = licence.into_iter().map(|text| json!({ "expression": text })).collect();
        let hashes: Vec<Value> =
            checksum.into_iter().map(|sum| json!({ "alg": "SHA-256", "content": sum })).collect();
        let component = json!({
            "type": "library", "bom-ref": reference, "purl": reference, "name": name, "version": version,
            "licenses": licences, "hashes": hashes,
        });
        Ok((reference, component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_holds_what_is_inside_and_nothing_else() {
        let release = Release { version: "1.2.3".to_owned(), epoch: "0".to_owned(), out: "/".into() };
        let bill = bill(&crate::paths::root().unwrap(), &release).unwrap();
        let bill: Value = serde_json::from_slice(&bill).unwrap();
        let names: BTreeSet<&str> = items(&bill, "components").filter_map(|one| text(one, "name")).collect();
        for inside in ["sensor", "sensor-hunt", "sensor-ebpf", "aya", "aya-ebpf", "parquet", "tokio"] {
            assert!(names.contains(inside), "{inside} is missing");
        }
        for outside in ["proptest", "xtask", "tempfile-of-tests", "sensor-tests"] {
            assert!(!names.contains(outside), "{outside} is not inside");
        }
        for component in items(&bill, "components") {
            let ours = text(component, "name").is_some_and(|name| name.starts_with("sensor"));
            assert!(ours || items(component, "hashes").count() == 1, "{component}");
            assert_eq!(items(component, "licenses").count(), 1, "{component}");
        }
        let references: BTreeSet<&str> =
            items(&bill, "components").filter_map(|one| text(one, "bom-ref")).collect();
        for dependency in items(&bill, "dependencies") {
            assert!(items(dependency, "dependsOn").all(|on| references.contains(on.as_str().unwrap())));
        }
    }
}
