//! The bill of materials: every crate inside the programs, as CycloneDX lists them.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::Release;
use super::crates::{self, Crate};

pub(super) fn bill(source: &Path, release: &Release) -> Result<Vec<u8>> {
    let crates = crates::inside(source, &[crates::SENSOR, crates::HUNT])?;
    let dependencies = crates.iter().map(|(url, one)| json!({ "ref": url, "dependsOn": one.on }));
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "bom-ref": "sensor", "name": "sensor", "version": release.version },
        },
        "components": crates.iter().map(|(url, one)| component(url, one)).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    let mut bytes = serde_json::to_vec_pretty(&bill)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn component(url: &str, one: &Crate) -> Value {
    let licences: Vec<Value> = one.licence.iter().map(|text| json!({ "expression": text })).collect();
    let hashes: Vec<Value> =
        one.checksum.iter().map(|sum| json!({ "alg": "SHA-256", "content": sum })).collect();
    json!({
        "type": "library", "bom-ref": url, "purl": url, "name": one.name, "version": one.version,
        "licenses": licences, "hashes": hashes,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::crates::{items, text};
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
