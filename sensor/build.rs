//! Embeds the eBPF object that `SENSOR_EBPF_OBJECT` names, or an empty stub where it is unset: everything else
//! builds and tests without an eBPF toolchain, and `sensor run` says what is missing.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SENSOR_EBPF_OBJECT");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("sensor-ebpf.o");
    match env::var_os("SENSOR_EBPF_OBJECT").filter(|value| !value.is_empty()) {
        Some(object) => {
            let object = PathBuf::from(object);
            println!("cargo::rerun-if-changed={}", object.display());
            fs::copy(&object, &out).map_err(|error| format!("{}: {error}", object.display()))?;
        }
        None => fs::write(&out, b"")?,
    }
    Ok(())
}
