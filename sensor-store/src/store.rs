//! A store as its readers see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::ArrayRef;

use crate::coverage::{self, Coverage};
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::segment::{GROUP_ROWS, Segment};
use crate::table::{Rows, Table, Texts};
use crate::wal;

/// A store that is read; a writer may be at work on it at the same time.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// By dataset, sorted by name.
    pub datasets: Vec<DatasetStat>,
    /// Events written but not yet sealed.
    pub rows_unsealed: u64,
    /// Bytes of what is not yet sealed.
    pub bytes_unsealed: u64,
    /// Events removed for their age or for room.
    pub rows_expired: u64,
    /// Events in files that were found damaged and set aside.
    pub rows_damaged: u64,
    /// Files that could not be read, and why.
    pub damaged: Vec<String>,
}

/// What a store holds of one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetStat {
    /// `endpoint.events.file`
    pub dataset: String,
    /// Sealed files.
    pub files: u64,
    /// Events in them.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
    /// Time of the first event, nanoseconds since 1970.
    pub first_ns: Option<i64>,
    /// Time of the last event.
    pub last_ns: Option<i64>,
}

/// Events of one dataset: a file, or what the log holds.
#[derive(Clone, Debug)]
pub struct Part {
    dataset: String,
    times: (i64, i64),
    rows: u64,
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Sealed(PathBuf),
    Unsealed(Vec<Arc<Table>>),
}

/// A part that can be read, in groups of rows.
#[derive(Clone, Debug)]
pub struct OpenPart {
    times: (i64, i64),
    inner: OpenInner,
}

#[derive(Clone, Debug)]
enum OpenInner {
    Sealed(Segment),
    Unsealed(Vec<Arc<Table>>),
}

impl Store {
    /// Opens a store for reading.
    ///
    /// # Errors
    ///
    /// When there is no store at `root`, or one of a newer version.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        std::fs::metadata(root).map_err(StoreError::at(root))?;
        match Manifest::load(root)? {
            Some(_) => Ok(Self { root: root.to_owned() }),
            None => Err(StoreError::new(root, "there is no event store here")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// When the sensor was watching, and what it lost.
    ///
    /// # Errors
    ///
    /// When the record of it cannot be read.
    pub fn coverage(&self) -> Result<Coverage, StoreError> {
        coverage::read(&self.root)
    }

    /// The manifest and the logs that belong to it.
    fn settled(&self) -> Result<(Manifest, Vec<wal::Contents>, u64), StoreError> {
        let gone = || StoreError::new(&self.root, "there is no event store here");
        let mut manifest = Manifest::load(&self.root)?.ok_or_else(gone)?;
        let mut tries = 0;
        loop {
            let (mut logs, mut bytes) = (Vec::new(), 0);
            for number in wal::numbers(&self.root)?.into_iter().filter(|number| *number >= manifest.wal_from)
            {
                let path = wal::path(&self.root, number);
                // One that was sealed meanwhile is in the next manifest.
                if let Ok(contents) = wal::read(&path) {
                    bytes += std::fs::metadata(&path).map_or(0, |file| file.len());
                    logs.push(contents);
                }
            }
            let now = Manifest::load(&self.root)?.ok_or_else(gone)?;
            if now.change == manifest.change {
                return Ok((manifest, logs, bytes));
            }
            tries += 1;
            if tries > 100 {
                return Err(StoreError::new(&self.root, "the store changes too fast to be read"));
            }
            manifest = now;
        }
    }

    /// What stands among the logs and is none, whose events, if it had any, are not read.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn damaged_logs(&self) -> Result<Vec<String>, StoreError> {
        let names = wal::names(&self.root)?.into_iter().filter(|path| wal::is_damaged(path));
        Ok(names.map(|path| format!("{}: damaged, nothing of it can be read", path.display())).collect())
    }

    /// Every event that is there now, in the order of the parts' first events.
    ///
    /// # Errors
    ///
    /// When the store cannot be read. A damaged file shows when it is opened.
    pub fn snapshot(&self) -> Result<Vec<Part>, StoreError> {
        let (manifest, logs, _) = self.settled()?;
        let mut parts: Vec<Part> = Vec::new();
        for entry in &manifest.segments {
            parts.push(Part {
                dataset: entry.dataset.clone(),
                times: (entry.first_ns, entry.last_ns),
                rows: entry.rows,
                inner: Inner::Sealed(self.root.join(&entry.path)),
            });
        }
        for log in logs {
            let rows = Arc::new(Rows(log.rows));
            for partition in rows.partitions(false).unwrap_or_default() {
                let chunks = partition.chunks(GROUP_ROWS);
                let tables = chunks.iter().filter_map(|c| Table::new(Arc::clone(&rows), c, &log.columns));
                parts.push(Part {
                    dataset: partition.dataset.clone(),
                    times: (partition.first_ns, partition.last_ns),
                    rows: partition.len() as u64,
                    inner: Inner::Unsealed(tables.map(Arc::new).collect()),
                });
            }
        }
        parts.sort_by_key(|part| part.times.0);
        Ok(parts)
    }

    /// Counts, without reading the events.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn stat(&self) -> Result<Stat, StoreError> {
        let (manifest, logs, bytes_unsealed) = self.settled()?;
        let mut stat = Stat {
            bytes_unsealed,
            rows_expired: manifest.expired_rows,
            rows_damaged: manifest.damaged_rows,
            ..Stat::default()
        };
        for entry in &manifest.segments {
            let path = self.root.join(&entry.path);
            if let Err(cause) = Segment::open(&path, Texts::Plain) {
                stat.damaged.push(format!("{} events are missing: {cause}", entry.rows));
                continue;
            }
            let at = match stat.datasets.iter().position(|of| of.dataset == entry.dataset) {
                Some(at) => at,
                None => {
                    stat.datasets
                        .push(DatasetStat { dataset: entry.dataset.clone(), ..DatasetStat::default() });
                    stat.datasets.len() - 1
                }
            };
            if let Some(of) = stat.datasets.get_mut(at) {
                of.files += 1;
                of.rows += entry.rows;
                of.bytes += entry.bytes;
                of.first_ns = Some(of.first_ns.map_or(entry.first_ns, |first| first.min(entry.first_ns)));
                of.last_ns = Some(of.last_ns.map_or(entry.last_ns, |last| last.max(entry.last_ns)));
            }
        }
        for log in logs {
            let partitions = Rows(log.rows).partitions(false).unwrap_or_default();
            stat.rows_unsealed += partitions.iter().map(|partition| partition.len() as u64).sum::<u64>();
        }
        stat.damaged.extend(self.damaged_logs()?);
        stat.datasets.sort_by(|a, b| a.dataset.cmp(&b.dataset));
        Ok(stat)
    }
}

impl Part {
    /// Whose events these are.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// How many there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The times of the first and the last, nanoseconds since 1970.
    #[must_use]
    pub fn times(&self) -> (i64, i64) {
        self.times
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// When the file is damaged, gone, or of a newer version.
    pub fn open(&self) -> Result<OpenPart, StoreError> {
        let inner = match &self.inner {
            Inner::Sealed(path) => OpenInner::Sealed(Segment::open(path, Texts::Dictionary)?),
            Inner::Unsealed(tables) => OpenInner::Unsealed(tables.clone()),
        };
        Ok(OpenPart { times: self.times, inner })
    }
}

impl OpenPart {
    /// Groups of rows; each is read by itself.
    #[must_use]
    pub fn groups(&self) -> usize {
        match &self.inner {
            OpenInner::Sealed(segment) => segment.groups(),
            OpenInner::Unsealed(tables) => tables.len(),
        }
    }

    /// Rows of a group.
    #[must_use]
    pub fn rows(&self, group: usize) -> usize {
        match &self.inner {
            OpenInner::Sealed(segment) => segment.rows(group),
            OpenInner::Unsealed(tables) => tables.get(group).map_or(0, |table| table.rows()),
        }
    }

    /// Times between which a group's events lie, nanoseconds since 1970.
    #[must_use]
    pub fn times(&self, group: usize) -> (i64, i64) {
        match &self.inner {
            OpenInner::Sealed(segment) => segment.times(group).unwrap_or(self.times),
            OpenInner::Unsealed(_) => self.times,
        }
    }

    /// A column of a group by its position in [`crate::schema::columns`]: text as a dictionary, lists as lists. `None`
    /// if no row has it.
    ///
    /// # Errors
    ///
    /// When the file is damaged or cannot be read.
    pub fn read(&self, group: usize, column: usize) -> Result<Option<ArrayRef>, StoreError> {
        match &self.inner {
            OpenInner::Sealed(segment) => segment.array(group, column),
            OpenInner::Unsealed(tables) => {
                Ok(tables.get(group).and_then(|table| table.array(column, Texts::Dictionary)))
            }
        }
    }
}
