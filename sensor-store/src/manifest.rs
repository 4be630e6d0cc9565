//! Which files make up the store: replaced as a whole, so that a reader sees every event once.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::schema::SCHEMA_VERSION;
use crate::wal::sync_folder;

const NAME: &str = "MANIFEST.json";

/// A sealed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Under the store's folder.
    pub(crate) path: String,
    pub(crate) dataset: String,
    /// Days since 1970.
    pub(crate) day: i64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Bytes of the rows before they were compressed: what reading them may take.
    #[serde(default)]
    pub(crate) raw_bytes: u64,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    /// Imported events keep their times and are not removed for their age.
    #[serde(default)]
    pub(crate) imported: bool,
}

/// A file that was replaced; a reader may still have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) path: String,
    /// Seconds since 1970.
    pub(crate) since: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    /// Grows with every change.
    pub(crate) change: u64,
    /// Number of the next file.
    pub(crate) next: u64,
    /// The first log that is not sealed.
    pub(crate) wal_from: u64,
    pub(crate) segments: Vec<Entry>,
    #[serde(default)]
    pub(crate) replaced: Vec<Replaced>,
    /// Events removed for their age or for room.
    #[serde(default)]
    pub(crate) expired_rows: u64,
    /// Events in files that were damaged.
    #[serde(default)]
    pub(crate) damaged_rows: u64,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            change: 0,
            next: 1,
            wal_from: 1,
            segments: Vec::new(),
            replaced: Vec::new(),
            expired_rows: 0,
            damaged_rows: 0,
        }
    }
}

impl Manifest {
    /// Reads it; `None` where there is none.
    pub(crate) fn load(root: &Path) -> Result<Option<Self>, StoreError> {
        let path = root.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(StoreError::new(&path, cause)),
        };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|cause| StoreError::new(&path, format!("the list of files is damaged: {cause}")))?;
        if manifest.schema_version > SCHEMA_VERSION {
            let version = manifest.schema_version;
            let cause =
                format!("the store is of version {version}, this program knows {SCHEMA_VERSION} at most");
            return Err(StoreError::new(&path, cause));
        }
        Ok(Some(manifest))
    }

    /// Replaces it, durably.
    pub(crate) fn save(&mut self, root: &Path) -> Result<(), StoreError> {
        self.change += 1;
        let (path, temporary) = (root.join(NAME), root.join("MANIFEST.json.tmp"));
        let text = serde_json::to_vec(self).map_err(|cause| StoreError::new(&path, cause))?;
        let write = |file: &mut File| file.write_all(&text).and_then(|()| file.sync_all());
        File::create(&temporary).and_then(|mut file| write(&mut file)).map_err(StoreError::at(&temporary))?;
        fs::rename(&temporary, &path).map_err(StoreError::at(&path))?;
        sync_folder(root)
    }
}
