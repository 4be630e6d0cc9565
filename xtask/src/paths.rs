//! Where things are: the repository, the build output, the cache that outlives a clone.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository's root. Asked at run time first, since one target directory may serve several clones.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().context("xtask's own folder has no parent")?;
    Ok(root.to_path_buf())
}

/// Cargo's output directory for the workspace.
pub(crate) fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => absolute(Path::new(&dir)),
        None => Ok(root()?.join("target")),
    }
}

/// Tools and kernels live outside the repository, so that a clean clone reuses them.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("SENSOR_DEV_CACHE") {
        return absolute(Path::new(&dir));
    }
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home = env::var_os("HOME").context("neither SENSOR_DEV_CACHE nor HOME is set")?;
            PathBuf::from(home).join(".cache")
        }
    };
    absolute(&base.join("sensor-dev"))
}

/// Where cargo keeps the sources of other people's crates.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("CARGO_HOME") {
        return absolute(Path::new(&dir));
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

/// The path as seen from the current directory, without touching the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}
