//! The one writer of a store's sealed files: seals logs, imports, merges, removes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::coverage;
use crate::error::StoreError;
use crate::log;
use crate::manifest::{Entry, Manifest, Replaced};
use crate::merge::{self, Job, Merged};
use crate::retention;
use crate::segment::{GROUP_ROWS, SegmentWriter};
use crate::table::{Partition, Rows, Table};
use crate::wal::{self, sync_folder};

const DAY_NS: i64 = 86_400_000_000_000;
/// Rows that are turned into columns at once: few enough to stay in the processor's cache.
const PIECE_ROWS: usize = 1_024;
/// A replaced file stays so long, for hunts that began before.
const REPLACED_SECONDS: i64 = 900;

/// How a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Age at which events are removed; `None` keeps them.
    pub age_max: Option<Duration>,
    /// Whether imported events are removed for their age too.
    pub imported_too: bool,
    /// Bytes of sealed files at which the oldest are removed.
    pub bytes_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            age_max: Some(Duration::from_secs(31 * 86_400)),
            imported_too: false,
            bytes_max: Some(10 << 30),
        }
    }
}

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events sealed into files.
    pub sealed: u64,
    /// Files made of smaller ones.
    pub merges: u64,
    /// Events removed for their age or for room.
    pub expired: u64,
}

/// Writes a store's files. There is one at a time; the lock ends with the process. The sensor may write its log
/// meanwhile.
#[derive(Debug)]
pub struct Writer {
    pub(crate) root: PathBuf,
    options: Options,
    pub(crate) manifest: Manifest,
    totals: Totals,
    _lock: File,
}

impl Writer {
    /// Opens or makes a store and seals the logs that are closed. The messages are for a person: what was cut off or
    /// set aside.
    ///
    /// # Errors
    ///
    /// When another writer has it, it is of a newer version, or the disk refuses.
    pub fn open(root: &Path, options: Options) -> Result<(Self, Vec<String>), StoreError> {
        fs::create_dir_all(root).map_err(StoreError::at(root))?;
        let taken = || StoreError::new(root, "another process imports into this store or seals it");
        let lock = log::lock(&root.join("FILES.LOCK"))?.ok_or_else(taken)?;
        let mut manifest = log::make(root)?;
        let mut messages = Vec::new();
        clear_strays(root, &manifest, &mut messages);
        set_aside_damaged(root, &mut manifest, &mut messages)?;
        let mut writer =
            Self { root: root.to_owned(), options, manifest, totals: Totals::default(), _lock: lock };
        writer.seal_closed(&mut messages)?;
        Ok((writer, messages))
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Seals the logs that nobody writes any more.
    fn seal_closed(&mut self, messages: &mut Vec<String>) -> Result<(), StoreError> {
        // While no sensor runs, and none can begin, the last one is closed too.
        let held = log::lock(&log::lock_path(&self.root))?;
        let mut numbers = wal::numbers(&self.root)?;
        if held.is_none() {
            numbers.pop();
        }
        for number in numbers {
            if number < self.manifest.wal_from {
                remove(&wal::path(&self.root, number));
                continue;
            }
            let torn = self.seal_log(number)?;
            if torn > 0 {
                messages.push(format!(
                    "{}: the last {torn} bytes were being written when the sensor ended; they are lost",
                    wal::path(&self.root, number).display()
                ));
            }
        }
        Ok(())
    }

    /// Does what is due beside sealing: merges small files, removes what is too old or too much.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn keep(&mut self, now_ns: i64) -> Result<Vec<String>, StoreError> {
        let mut messages = Vec::new();
        while let Some(job) = self.next_job(now_ns.div_euclid(DAY_NS), false) {
            let merged = merge::run(&self.root, job);
            self.merged(merged, now_ns, &mut messages)?;
        }
        self.expire(now_ns)?;
        Ok(messages)
    }

    /// Merges all there is to merge, here and now: what an import ends with.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn compact(&mut self, now_ns: i64) -> Result<Vec<String>, StoreError> {
        let mut messages = Vec::new();
        while let Some(job) = self.next_job(i64::MAX, true) {
            let merged = merge::run(&self.root, job);
            self.merged(merged, now_ns, &mut messages)?;
        }
        Ok(messages)
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn close(mut self, now_ns: i64) -> Result<Totals, StoreError> {
        self.expire(now_ns)?;
        Ok(self.totals)
    }

    /// Seals a log; those before it are sealed. Returns the bytes that were torn off its end.
    fn seal_log(&mut self, number: u64) -> Result<u64, StoreError> {
        let path = wal::path(&self.root, number);
        let contents = wal::read(&path)?;
        let sealed = self.seal_rows(contents.rows, &contents.columns, false)?;
        self.manifest.wal_from = number + 1;
        self.manifest.save(&self.root)?;
        self.totals.sealed += sealed;
        remove(&path);
        Ok(contents.torn_bytes)
    }

    /// Writes rows into files, which are in the manifest when it is next saved.
    pub(crate) fn seal_rows(
        &mut self,
        rows: Vec<u8>,
        columns: &[Option<usize>],
        imported: bool,
    ) -> Result<u64, StoreError> {
        let rows = Arc::new(Rows(rows));
        let damaged = || StoreError::new(&self.root, "the log holds what is no row");
        let before = self.manifest.segments.len();
        let mut sealed = 0;
        for partition in rows.partitions(true).ok_or_else(damaged)? {
            match self.write_partition(&rows, &partition, columns, imported) {
                Ok(entry) => {
                    sealed += entry.rows;
                    self.manifest.segments.push(entry);
                }
                Err(cause) => {
                    // All or nothing; on a full disk, what is begun must not keep it full.
                    for entry in self.manifest.segments.drain(before..) {
                        remove(&self.root.join(&entry.path));
                    }
                    return Err(cause);
                }
            }
        }
        Ok(sealed)
    }

    fn write_partition(
        &mut self,
        rows: &Arc<Rows>,
        partition: &Partition,
        columns: &[Option<usize>],
        imported: bool,
    ) -> Result<Entry, StoreError> {
        let root = self.root.clone();
        let damaged = || StoreError::new(&root, "the log holds what is no row");
        let chunks = partition.chunks(GROUP_ROWS);
        let tables = |chunk: &Partition| {
            let pieces = chunk.chunks(PIECE_ROWS);
            let table = |piece| Table::new(Arc::clone(rows), piece, columns);
            pieces.iter().map(table).collect::<Option<Vec<Table>>>().ok_or_else(damaged)
        };
        // All but a log of very many small rows is one group, whose values are found once.
        let (mut used, mut only) = (BTreeSet::new(), None);
        for chunk in &chunks {
            let pieces = tables(chunk)?;
            pieces.iter().for_each(|piece| used.extend(piece.used()));
            only = (chunks.len() == 1).then_some(pieces);
        }
        let path = self.next_path(&partition.dataset, partition.day)?;
        let temporary = self.root.join(format!("{path}.tmp"));
        let write = || {
            let mut writer = SegmentWriter::create(&temporary, used.into_iter().collect())?;
            match &only {
                Some(pieces) => writer.group_of_pieces(pieces)?,
                None => chunks.iter().try_for_each(|chunk| writer.group_of_pieces(&tables(chunk)?))?,
            }
            let bytes = writer.finish()?;
            self.publish(&temporary, &path)?;
            Ok(bytes)
        };
        let bytes = write().inspect_err(|_| remove(&temporary))?;
        Ok(Entry {
            path,
            dataset: partition.dataset.clone(),
            day: partition.day,
            rows: partition.len() as u64,
            bytes,
            raw_bytes: partition.bytes(),
            first_ns: partition.first_ns,
            last_ns: partition.last_ns,
            imported,
        })
    }

    /// The next file of a partition, under the root.
    fn next_path(&mut self, dataset: &str, day: i64) -> Result<String, StoreError> {
        let number = self.manifest.next;
        self.manifest.next += 1;
        let date = sensor_ecs::time::rfc3339(day.saturating_mul(DAY_NS));
        let date = String::from_utf8_lossy(date.get(..10).unwrap_or_default()).into_owned();
        let folder = format!("dataset={dataset}/day={date}");
        let whole = self.root.join(&folder);
        if !whole.is_dir() {
            fs::create_dir_all(&whole).map_err(StoreError::at(&whole))?;
            sync_folder(&self.root)?;
            sync_folder(&self.root.join(format!("dataset={dataset}")))?;
        }
        Ok(format!("{folder}/{number:06}.parquet"))
    }

    fn publish(&self, temporary: &Path, path: &str) -> Result<(), StoreError> {
        let path = self.root.join(path);
        fs::rename(temporary, &path).map_err(StoreError::at(&path))?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    fn next_job(&mut self, today: i64, all: bool) -> Option<Job> {
        let inputs = merge::choose(&self.manifest.segments, today, all)?;
        let first = inputs.first()?;
        let path = self.next_path(&first.dataset.clone(), first.day).ok()?;
        Some(Job { output: self.root.join(format!("{path}.tmp")), inputs })
    }

    fn merged(&mut self, merged: Merged, now_ns: i64, messages: &mut Vec<String>) -> Result<(), StoreError> {
        match merged {
            Merged::Failed(cause) => return Err(cause),
            Merged::Damaged(entry, cause) => {
                self.manifest.segments.retain(|other| other.path != entry.path);
                self.manifest.damaged_rows += entry.rows;
                self.manifest.save(&self.root)?;
                messages.push(set_aside(&self.root, &entry, &cause.to_string()));
            }
            Merged::Done(job, bytes) => {
                let gone = |entry: &Entry| job.inputs.iter().any(|input| input.path == entry.path);
                let inputs: Vec<Entry> = self.manifest.segments.iter().filter(|e| gone(e)).cloned().collect();
                let Some(first) = inputs.first().cloned() else { return Ok(()) };
                let name = job.output.strip_prefix(&self.root).unwrap_or(&job.output).to_string_lossy();
                let path = name.trim_end_matches(".tmp").to_owned();
                self.publish(&job.output, &path)?;
                self.manifest.segments.retain(|entry| !gone(entry));
                let since = now_ns.div_euclid(1_000_000_000);
                let replaced = inputs.iter().map(|entry| Replaced { path: entry.path.clone(), since });
                self.manifest.replaced.extend(replaced);
                self.manifest.segments.push(Entry {
                    path,
                    rows: inputs.iter().map(|entry| entry.rows).sum(),
                    bytes,
                    raw_bytes: inputs.iter().map(|entry| entry.raw_bytes).sum(),
                    first_ns: inputs.iter().map(|entry| entry.first_ns).min().unwrap_or(first.first_ns),
                    last_ns: inputs.iter().map(|entry| entry.last_ns).max().unwrap_or(first.last_ns),
                    ..first
                });
                self.manifest.save(&self.root)?;
                self.totals.merges += 1;
            }
        }
        Ok(())
    }

    /// Removes what is too old or too much, and files that were replaced a while ago.
    ///
    /// # Errors
    ///
    /// When the manifest cannot be written.
    pub fn expire(&mut self, now_ns: i64) -> Result<(), StoreError> {
        let age = self.options.age_max.and_then(|age| i64::try_from(age.as_nanos()).ok());
        let before = age.map(|age| now_ns.saturating_sub(age));
        let Options { imported_too, bytes_max, .. } = self.options;
        let gone = retention::expire(&mut self.manifest, before, imported_too, bytes_max);
        let now = now_ns.div_euclid(1_000_000_000);
        let late: Vec<Replaced> =
            self.manifest.replaced.extract_if(.., |file| now - file.since > REPLACED_SECONDS).collect();
        if gone.is_empty() && late.is_empty() {
            return Ok(());
        }
        self.totals.expired += gone.iter().map(|entry| entry.rows).sum::<u64>();
        self.manifest.save(&self.root)?;
        for path in gone.iter().map(|entry| &entry.path).chain(late.iter().map(|file| &file.path)) {
            remove(&self.root.join(path));
        }
        let removed = gone.iter().filter(|entry| !entry.imported).map(|entry| entry.last_ns).max();
        removed.map_or(Ok(()), |last| coverage::shorten(&self.root, last.saturating_add(1)))
    }
}

/// A file that is in no manifest any more. What cannot be removed now is found again when the store is next opened.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Removes files that no manifest names: what was being written when the power went, what was replaced.
fn clear_strays(root: &Path, manifest: &Manifest, messages: &mut Vec<String>) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for dataset in entries(root).filter(|entry| entry.file_name().to_string_lossy().starts_with("dataset=")) {
        for file in entries(&dataset.path()).flat_map(|day| entries(&day.path()).collect::<Vec<_>>()) {
            let path = file.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let ours = path.extension().is_some_and(|end| end == "parquet" || end == "tmp");
            if ours && !manifest.segments.iter().any(|entry| entry.path == name) {
                remove(&path);
                if path.exists() {
                    messages.push(format!("{}: cannot be removed, though nothing needs it", path.display()));
                }
            }
        }
    }
}

/// Takes files that are gone or have another size out of the manifest.
fn set_aside_damaged(
    root: &Path,
    manifest: &mut Manifest,
    messages: &mut Vec<String>,
) -> Result<(), StoreError> {
    let damage = |entry: &Entry| match fs::metadata(root.join(&entry.path)) {
        Err(cause) => Some(cause.to_string()),
        Ok(file) if file.len() != entry.bytes => {
            Some(format!("it has {} bytes, not {}", file.len(), entry.bytes))
        }
        Ok(_) => None,
    };
    let damaged: Vec<(Entry, String)> =
        manifest.segments.iter().filter_map(|entry| Some((entry.clone(), damage(entry)?))).collect();
    for (entry, cause) in damaged {
        manifest.segments.retain(|other| other.path != entry.path);
        manifest.damaged_rows += entry.rows;
        messages.push(set_aside(root, &entry, &cause));
    }
    manifest.save(root)
}

fn set_aside(root: &Path, entry: &Entry, cause: &str) -> String {
    let folder = root.join("quarantine");
    let to = folder.join(entry.path.replace('/', "_"));
    let moved = fs::create_dir_all(&folder).and_then(|()| fs::rename(root.join(&entry.path), &to));
    let place = if moved.is_ok() { format!("; it is now {}", to.display()) } else { String::new() };
    format!("{}: {} events are lost, the file is damaged: {cause}{place}", entry.path, entry.rows)
}
