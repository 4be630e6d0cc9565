//! Checksums of a sealed file's columns: a disk that changes a bit would change an event in silence.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use parquet::file::metadata::RowGroupMetaData;

/// Where the file's own metadata has them: the CRC-32 of what is stored of each column, group by group, in hexadecimal.
pub(crate) const KEY: &str = "sensor.crc32";
const READ_AT_ONCE: u64 = 256 << 10;
const DIGITS: usize = 8;

/// Of the columns of all groups.
pub(crate) fn of_groups(file: &File, groups: &[RowGroupMetaData]) -> io::Result<String> {
    let columns = groups.iter().flat_map(RowGroupMetaData::columns);
    columns.map(|column| Ok(format!("{:01$x}", of(file, column.byte_range())?, DIGITS))).collect()
}

/// Of so many bytes from a place.
pub(crate) fn of(file: &File, (start, length): (u64, u64)) -> io::Result<u32> {
    let (mut at, end) = (start, start.saturating_add(length));
    let mut piece = vec![0; usize::try_from(length.min(READ_AT_ONCE)).unwrap_or_default()];
    let mut sum = crc32fast::Hasher::new();
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
        let Some(part) = piece.get_mut(..left) else { break };
        file.read_exact_at(part, at)?;
        sum.update(part);
        at += left as u64;
    }
    Ok(sum.finalize())
}

/// What [`of_groups`] wrote.
pub(crate) fn parse(text: &str) -> Option<Vec<u32>> {
    let number = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    text.as_bytes().chunks(DIGITS).map(number).collect()
}
