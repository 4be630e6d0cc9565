//! Small files made into large ones. Runs beside the writer: it reads sealed files and writes a new one.

use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::manifest::Entry;
use crate::segment::{GROUP_ROWS, Segment, SegmentWriter};
use crate::table::Texts;

/// A file with fewer events is small.
pub(crate) const SMALL_ROWS: u64 = 100_000;
/// Rows of a file, before compression: it is one group, which a hunt reads a column of at once.
const RAW_BYTES_MAX: u64 = 512 << 20;
/// So many small files of a day are merged while the day is not over.
const SMALL_FILES: usize = 8;

/// Files of one partition to become one.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) inputs: Vec<Entry>,
    pub(crate) output: PathBuf,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Merged {
    /// The new file is whole; its size.
    Done(Job, u64),
    /// One of the inputs is damaged.
    Damaged(Box<Entry>, StoreError),
    /// It could not be written.
    Failed(StoreError),
}

/// Files worth merging, oldest first. `today` in days since 1970; `all` merges whatever makes fewer files.
pub(crate) fn choose(segments: &[Entry], today: i64, all: bool) -> Option<Vec<Entry>> {
    let is_small = |entry: &&Entry| entry.rows < SMALL_ROWS && entry.raw_bytes < RAW_BYTES_MAX / 2;
    let mut small: Vec<&Entry> = segments.iter().filter(is_small).collect();
    small.sort_by_key(|entry| (&entry.dataset, entry.day, entry.imported, entry.first_ns));
    for group in small.chunk_by(|a, b| (&a.dataset, a.day, a.imported) == (&b.dataset, b.day, b.imported)) {
        let over = all || group.first().is_some_and(|entry| entry.day < today);
        let (mut rows, mut raw_bytes) = (0, 0);
        let chosen: Vec<Entry> = group
            .iter()
            .take_while(|entry| {
                rows += entry.rows;
                raw_bytes += entry.raw_bytes;
                rows <= GROUP_ROWS as u64 && raw_bytes <= RAW_BYTES_MAX
            })
            .map(|entry| (*entry).clone())
            .collect();
        let full = chosen.len() < group.len();
        if chosen.len() >= 2 && (over || full || chosen.len() >= SMALL_FILES) {
            return Some(chosen);
        }
    }
    None
}

/// Merges, column by column.
pub(crate) fn run(root: &Path, job: Job) -> Merged {
    let mut inputs = Vec::new();
    for entry in &job.inputs {
        match Segment::open(&root.join(&entry.path), Texts::Repeated) {
            Ok(segment) => inputs.push(segment),
            Err(cause) => return Merged::Damaged(Box::new(entry.clone()), cause),
        }
    }
    let mut columns: Vec<usize> = inputs.iter().flat_map(Segment::columns).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut broken = None;
    let written = SegmentWriter::create(&job.output, columns).and_then(|mut writer| {
        writer.group(|column, take| {
            for (at, input) in inputs.iter().enumerate() {
                let mut writing = Ok(());
                let read = input.pieces(column, &mut |array| {
                    writing = take(array);
                    match &writing {
                        Ok(()) => Ok(()),
                        Err(cause) => Err(StoreError::new(&job.output, cause)),
                    }
                });
                writing?;
                read.inspect_err(|_| broken = Some(at))?;
            }
            Ok(())
        })?;
        writer.finish()
    });
    match (written, broken.and_then(|at| job.inputs.get(at))) {
        (Ok(bytes), _) => Merged::Done(job, bytes),
        (Err(cause), Some(entry)) => Merged::Damaged(Box::new(entry.clone()), cause),
        (Err(cause), None) => Merged::Failed(cause),
    }
}
