//! A column of text in a Parquet file, written from its runs.
//!
//! Most text of events repeats from one to the next: the host's, the program's, the kind's. What equals the value before
//! costs one comparison here; the general writer would copy it, hash it and look it up.
//!
//! ```text
//! dictionary page   each value once, PLAIN
//! data page         which rows have a value (RLE), and the numbers of their values (RLE_DICTIONARY)
//! data pages        PLAIN, from where the dictionary grew too large on
//! ```

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// A dictionary that grows beyond it is given up for the rest of the column.
const DICTIONARY_BYTES_MAX: usize = 8 << 20;
/// Of a page without a dictionary.
const PAGE_BYTES: usize = 1 << 20;
/// Stands for the number of a value that is in no dictionary.
const PLAIN: u32 = 0;

/// Numbers, each with how often it follows upon itself.
#[derive(Debug, Default)]
struct Runs(Vec<(u32, u32)>);

impl Runs {
    fn push(&mut self, number: u32, times: u32) {
        match self.0.last_mut() {
            Some((last, count)) if *last == number => *count += times,
            _ => self.0.push((number, times)),
        }
    }
}

/// A page that waits for those before it.
#[derive(Debug)]
struct Waiting {
    body: Vec<u8>,
    raw_bytes: usize,
    rows: u32,
    encoding: Encoding,
}

/// A column of a row group.
#[derive(Debug, Default)]
pub(crate) struct TextChunk {
    /// Each value once: its length and its bytes.
    dictionary: Vec<u8>,
    known: HashMap<Box<[u8]>, u32, RandomState>,
    /// Where in the dictionary each is.
    places: Vec<Range<usize>>,
    /// The number of the value before, where it is, and how often it was there again.
    last: u32,
    last_place: Range<usize>,
    again: u32,
    /// Of the page that is being filled.
    present: Runs,
    numbers: Runs,
    plain: Vec<u8>,
    rows: u32,
    given_up: bool,
    pages: Vec<Waiting>,
    rows_before: u64,
    range: Option<(Vec<u8>, Vec<u8>)>,
    measured: bool,
}

impl TextChunk {
    /// `measured` keeps the least and the greatest value; `distinct` says that hardly any value comes twice.
    pub(crate) fn new(measured: bool, distinct: bool) -> Self {
        Self { measured, given_up: distinct, ..Self::default() }
    }

    /// Each value comes with the number of rows that have it one after the other.
    pub(crate) fn extend<'a>(
        &mut self,
        mut values: impl Iterator<Item = (Option<&'a [u8]>, u32)>,
        packer: &mut Compressor<'static>,
    ) -> Result<()> {
        // Internal iteration: the rows with values and those without come one after the other.
        values.try_for_each(|(value, times)| {
            let Some(value) = value else {
                self.rows(None, times);
                return Ok(());
            };
            if self.given_up {
                for _ in 0..times {
                    let there = self.add_plain(value);
                    self.rows(there.then_some(PLAIN), 1);
                    if self.plain.len() >= PAGE_BYTES {
                        self.end_page(packer)?;
                    }
                }
                return Ok(());
            }
            if !self.last_place.is_empty() && self.dictionary.get(self.last_place.clone()) == Some(value) {
                self.again += times;
                return Ok(());
            }
            let number = self.number_of(value);
            self.rows(number, times);
            if self.dictionary.len() > DICTIONARY_BYTES_MAX {
                self.end_page(packer)?;
                self.given_up = true;
            }
            Ok(())
        })
    }

    /// Notes so many more rows, with the number of their value, after those that repeat the one before.
    fn rows(&mut self, number: Option<u32>, times: u32) {
        self.repeat();
        self.present.push(u32::from(number.is_some()), times);
        self.rows += times;
        if let Some(number) = number
            && !self.given_up
        {
            self.numbers.push(number, times);
        }
    }

    fn repeat(&mut self) {
        let again = std::mem::take(&mut self.again);
        if again > 0 {
            self.present.push(1, again);
            self.numbers.push(self.last, again);
            self.rows += again;
        }
    }

    /// The number of a value; `None` if it is no text.
    fn number_of(&mut self, value: &[u8]) -> Option<u32> {
        // Those that repeat the one before are noted under its number.
        self.repeat();
        self.last = match self.known.get(value) {
            Some(number) => *number,
            None => {
                std::str::from_utf8(value).ok()?;
                self.measure(value);
                let number = self.known.len() as u32;
                self.known.insert(value.into(), number);
                self.dictionary.extend_from_slice(&(value.len() as u32).to_le_bytes());
                let start = self.dictionary.len();
                self.dictionary.extend_from_slice(value);
                self.places.push(start..self.dictionary.len());
                number
            }
        };
        self.last_place = self.places.get(self.last as usize).cloned().unwrap_or_default();
        Some(self.last)
    }

    fn add_plain(&mut self, value: &[u8]) -> bool {
        if std::str::from_utf8(value).is_err() {
            return false;
        }
        self.measure(value);
        self.plain.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.plain.extend_from_slice(value);
        true
    }

    fn measure(&mut self, value: &[u8]) {
        if !self.measured {
            return;
        }
        let (least, greatest) = self.range.get_or_insert_with(|| (value.to_vec(), value.to_vec()));
        if value < least.as_slice() {
            *least = value.to_vec();
        }
        if value > greatest.as_slice() {
            *greatest = value.to_vec();
        }
    }

    fn end_page(&mut self, packer: &mut Compressor<'static>) -> Result<()> {
        self.repeat();
        let mut body = vec![0; 4];
        hybrid(&self.present.0, 1, &mut body);
        let levels = u32::try_from(body.len() - 4).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = body.get_mut(..4) {
            place.copy_from_slice(&levels);
        }
        let encoding = if self.given_up || self.known.is_empty() {
            body.append(&mut self.plain);
            Encoding::PLAIN
        } else {
            let greatest = self.known.len().saturating_sub(1) as u32;
            let width = (u32::BITS - greatest.leading_zeros()).max(1);
            body.push(width as u8);
            hybrid(&self.numbers.0, width, &mut body);
            Encoding::RLE_DICTIONARY
        };
        let packed = packer.compress(&body)?;
        self.pages.push(Waiting { raw_bytes: body.len(), body: packed, rows: self.rows, encoding });
        self.rows_before += u64::from(self.rows);
        self.rows = 0;
        self.present.0.clear();
        self.numbers.0.clear();
        self.plain.clear();
        Ok(())
    }

    /// The bytes of the column and what the file says of them.
    pub(crate) fn finish(
        mut self,
        of: ColumnDescPtr,
        compression: Compression,
        packer: &mut Compressor<'static>,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        if self.rows + self.again > 0 {
            self.end_page(packer)?;
        }
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let (mut raw, mut packed) = (0, 0);
        let mut write = |page, raw_bytes| -> Result<u64> {
            let spec = writer.write_page(CompressedPage::new(page, raw_bytes))?;
            raw += spec.uncompressed_size;
            packed += spec.compressed_size;
            Ok(spec.bytes_written)
        };
        let mut dictionary_bytes = 0;
        if !self.known.is_empty() {
            let page = Page::DictionaryPage {
                buf: packer.compress(&self.dictionary)?.into(),
                num_values: self.known.len() as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            dictionary_bytes = write(page, self.dictionary.len())?;
        }
        let mut encodings = vec![Encoding::PLAIN, Encoding::RLE];
        for page in self.pages {
            if page.encoding == Encoding::RLE_DICTIONARY {
                encodings.push(page.encoding);
            }
            let data = Page::DataPage {
                buf: page.body.into(),
                num_values: page.rows,
                encoding: page.encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            write(data, page.raw_bytes)?;
        }
        let signed =
            |number: u64| i64::try_from(number).map_err(|cause| ParquetError::External(cause.into()));
        let mut metadata = ColumnChunkMetaData::builder(of)
            .set_compression(compression)
            .set_encodings(encodings)
            .set_num_values(signed(self.rows_before)?)
            .set_total_uncompressed_size(signed(raw as u64)?)
            .set_total_compressed_size(signed(packed as u64)?)
            .set_dictionary_page_offset((dictionary_bytes > 0).then_some(0))
            .set_data_page_offset(signed(dictionary_bytes)?);
        if let Some((least, greatest)) = self.range {
            let (least, greatest) = (ByteArray::from(least), ByteArray::from(greatest));
            let statistics = Statistics::byte_array(Some(least), Some(greatest), None, None, false);
            metadata = metadata.set_statistics(statistics);
        }
        let bytes = Bytes::from(sink.into_inner()?);
        let result = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows_before,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok((bytes, result))
    }
}

/// Parquet's hybrid of run lengths and packed bits: a run of eight and more is said once, others come eight at a time.
fn hybrid(runs: &[(u32, u32)], width: u32, out: &mut Vec<u8>) {
    let mut group: Vec<u32> = Vec::with_capacity(8);
    let mut packed = Vec::new();
    for (number, count) in runs {
        let mut left = *count;
        while left > 0 {
            if group.is_empty() && left >= 8 {
                end_packed(&mut packed, width, out);
                variable(u64::from(left) << 1, out);
                let bytes = number.to_le_bytes();
                out.extend_from_slice(bytes.get(..width.div_ceil(8) as usize).unwrap_or(&bytes));
                break;
            }
            group.push(*number);
            left -= 1;
            if group.len() == 8 {
                pack(&group, width, &mut packed);
                group.clear();
            }
        }
    }
    if !group.is_empty() {
        group.resize(8, 0);
        pack(&group, width, &mut packed);
    }
    end_packed(&mut packed, width, out);
}

/// Eight numbers of so many bits, the lowest first.
fn pack(group: &[u32], width: u32, packed: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0);
    for number in group {
        bits |= u64::from(*number) << count;
        count += width;
        while count >= 8 {
            packed.push((bits & 0xff) as u8);
            bits >>= 8;
            count -= 8;
        }
    }
}

/// Ends a series of packed groups: how many there are, then their bits.
fn end_packed(packed: &mut Vec<u8>, width: u32, out: &mut Vec<u8>) {
    if !packed.is_empty() {
        let groups = packed.len() as u64 / u64::from(width);
        variable(groups << 1 | 1, out);
        out.append(packed);
    }
}

fn variable(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::hybrid;

    fn encoded(runs: &[(u32, u32)], width: u32) -> Vec<u8> {
        let mut out = Vec::new();
        hybrid(runs, width, &mut out);
        out
    }

    /// The example of Parquet's own description: the numbers 0 to 7 of three bits.
    #[test]
    fn bits_are_packed_lowest_first() {
        let runs: Vec<(u32, u32)> = (0..8).map(|number| (number, 1)).collect();
        assert_eq!(encoded(&runs, 3), [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
    }

    #[test]
    fn long_runs_are_said_once_and_short_ones_are_packed() {
        assert_eq!(encoded(&[(1, 100)], 1), [200, 1, 1]);
        assert_eq!(encoded(&[(300, 8)], 9), [16, 0x2c, 1]);
        // One of five is filled up from the run that follows, which goes on as a run.
        assert_eq!(encoded(&[(0, 5), (1, 11)], 1), [3, 0b1110_0000, 16, 1]);
        // What is left over is filled up with zeros, which no row asks for.
        assert_eq!(encoded(&[(1, 3)], 1), [3, 0b0000_0111]);
        assert_eq!(encoded(&[], 1), [0_u8; 0]);
    }
}
