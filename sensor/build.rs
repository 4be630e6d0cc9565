//! Embeds what the executable carries: the shipped rules, and the eBPF object that `SENSOR_EBPF_OBJECT` names, or an
//! empty stub where it is unset: everything else builds and tests without an eBPF toolchain, and `sensor run` says
//! what is missing.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    embed_object(&out.join("sensor-ebpf.o"))?;
    embed_rules(&Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../rules"), &out.join("shipped_rules.rs"))
}

fn embed_object(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SENSOR_EBPF_OBJECT");
    match env::var_os("SENSOR_EBPF_OBJECT").filter(|value| !value.is_empty()) {
        Some(object) => {
            let object = PathBuf::from(object);
            println!("cargo::rerun-if-changed={}", object.display());
            fs::copy(&object, out).map_err(|error| format!("{}: {error}", object.display()))?;
        }
        None => fs::write(out, b"")?,
    }
    Ok(())
}

/// Writes the rule files as a slice of (path below `rules/`, text).
fn embed_rules(tree: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let tree = tree.canonicalize().map_err(|error| format!("{}: {error}", tree.display()))?;
    println!("cargo::rerun-if-changed={}", tree.display());
    let mut files = Vec::new();
    rule_files(&tree, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&tree)?.display().to_string();
        code.push_str(&format!("    ({name:?}, include_str!({:?})),\n", file.display().to_string()));
    }
    code.push_str("]\n");
    fs::write(out, code)?;
    Ok(())
}

fn rule_files(directory: &Path, into: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            rule_files(&path, into)?;
        } else if is_rule_file(&path) {
            into.push(path);
        }
    }
    Ok(())
}

/// A TOML file, but not one of the tests beside a rule.
fn is_rule_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".toml") && !name.ends_with(b".tests.toml")
}
