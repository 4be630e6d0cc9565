//! What a program was built of, inside the program itself: the section `.dep-v0` that `rust-audit-info`, `cargo audit
//! bin` and scanners of images read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use object::{Object as _, ObjectSection as _};
use serde_json::{Value, json};

use super::crates;
use crate::cmd;

const SECTION: &str = ".dep-v0";
/// What the format calls the registry; in pieces, since it is also a host's name.
const REGISTRY: &str = concat!("crates", ".io");

/// Puts the list of its crates into the program, reads it back, and returns how many there are.
pub(super) fn embed(source: &Path, name: &str, program: &Path) -> Result<usize> {
    let list = list(source, name)?;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&serde_json::to_vec(&list)?)?;
    let mut section = tempfile::NamedTempFile::new()?;
    section.write_all(&packed.finish()?)?;
    let mut objcopy = Command::new("objcopy");
    objcopy.arg("--add-section").arg(format!("{SECTION}={}", section.path().display()));
    cmd::run(objcopy.arg("--set-section-flags").arg(format!("{SECTION}=noload,readonly")).arg(program))?;
    ensure!(read(program)? == list, "{} does not hold the list of its crates", program.display());
    Ok(list.get("packages").and_then(Value::as_array).map_or(0, Vec::len))
}

fn read(program: &Path) -> Result<Value> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let file = object::File::parse(bytes.as_slice())?;
    let section = file.section_by_name(SECTION).context("there is no list of crates")?;
    let mut text = Vec::new();
    ZlibDecoder::new(section.data()?).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn list(source: &Path, program: &str) -> Result<Value> {
    let crates = crates::inside(source, &[program])?;
    let places: BTreeMap<&str, usize> =
        crates.keys().enumerate().map(|(at, url)| (url.as_str(), at)).collect();
    let packages = crates.values().map(|one| {
        let on: Vec<usize> = one.on.iter().filter_map(|url| places.get(url.as_str()).copied()).collect();
        let from = if one.checksum.is_some() { REGISTRY } else { "local" };
        let mut package =
            json!({ "name": one.name, "version": one.version, "source": from, "dependencies": on });
        if one.name == program
            && let Some(package) = package.as_object_mut()
        {
            package.insert("root".to_owned(), json!(true));
        }
        package
    });
    Ok(json!({ "packages": packages.collect::<Vec<_>>() }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// By the reader that `rust-audit-info` is made of.
    #[test]
    fn others_read_what_a_program_was_built_of() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("program");
        fs::copy("/bin/true", &program).unwrap();
        let count = embed(&crate::paths::root().unwrap(), crates::SENSOR, &program).unwrap();
        let found = auditable_info::audit_info_from_file(&program, Default::default()).unwrap();
        assert_eq!(found.packages.len(), count);
        let named = |name: &str| found.packages.iter().find(|one| one.name == name);
        assert!(named("sensor").is_some_and(|one| one.root));
        assert!(named("aya-ebpf").is_some() && named("rustls").is_some() && named("arrow-array").is_none());
        // The program still runs.
        assert!(Command::new(PathBuf::from(&program)).status().unwrap().success());
    }
}
