//! A sealed file: Parquet.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, StringArray};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use sensor_ecs::FieldType;
use zstd::bulk::Compressor;

use crate::checksum;
use crate::error::StoreError;
use crate::schema::{self, Column, SCHEMA_VERSION};
use crate::table::{DISTINCT, Table, Texts, field, nulls};
use crate::text_chunk::TextChunk;

/// Rows of a group: what a hunt works on at once, and what has one dictionary.
pub(crate) const GROUP_ROWS: usize = 131_072;
/// A dictionary that grows beyond it is given up for the rest of the group.
const DICTIONARY_BYTES_MAX: usize = 8 << 20;
const VERSION_KEY: &str = "sensor.schema_version";
/// Columns whose least and greatest value are kept.
const MEASURED: [&str; 4] = ["@timestamp", "agent.id", "event.action", "host.id"];

const ZSTD_LEVEL: i32 = 1;

fn compression() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default())
}

fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(compression())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_data_page_row_count_limit(GROUP_ROWS)
        .set_data_page_size_limit(1 << 20)
        .set_write_batch_size(8_192)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_offset_index_disabled(true)
        .set_created_by(format!("sensor {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            VERSION_KEY.to_owned(),
            SCHEMA_VERSION.to_string(),
        )]));
    for name in MEASURED {
        let path = ColumnPath::new(vec![name.to_owned()]);
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
    }
    // Every value is another one: a dictionary would only stand beside them.
    let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let grows = |column: &&Column| column.ty == FieldType::Date || column.name == "event.sequence";
    for column in schema::columns().iter().filter(grows) {
        builder = builder
            .set_column_dictionary_enabled(path(column.name), false)
            .set_column_encoding(path(column.name), Encoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}

/// A column of a group that is being written.
enum ColumnWriter {
    Text(Box<TextChunk>),
    Other(Box<ArrowColumnWriter>),
}

impl ColumnWriter {
    fn new(column: &Column, other: ArrowColumnWriter) -> Self {
        match column.ty {
            FieldType::Keyword | FieldType::Ip if !column.list => {
                let (measured, distinct) = (MEASURED.contains(&column.name), column.name == DISTINCT);
                Self::Text(Box::new(TextChunk::new(measured, distinct)))
            }
            _ => Self::Other(Box::new(other)),
        }
    }

    fn write(
        &mut self,
        field: &Field,
        array: &ArrayRef,
        packer: &mut Compressor<'static>,
    ) -> Result<(), ParquetError> {
        match self {
            Self::Other(writer) => {
                compute_leaves(field, array)?.iter().try_for_each(|leaf| writer.write(leaf))
            }
            Self::Text(chunk) => {
                let as_any = array.as_any();
                if array.null_count() == array.len() {
                    chunk.extend(std::iter::once((None, array.len() as u32)), packer)
                } else if let Some(texts) = as_any.downcast_ref::<DictionaryArray<Int32Type>>() {
                    extend_keyed(chunk, texts, packer)
                } else if let Some(texts) = as_any.downcast_ref::<StringArray>() {
                    chunk.extend(texts.iter().map(|text| (text.map(str::as_bytes), 1)), packer)
                } else {
                    Err(ParquetError::General(format!("text that comes as {}", array.data_type())))
                }
            }
        }
    }

    fn close(
        self,
        of: ColumnDescPtr,
        group: &mut SerializedRowGroupWriter<'_, File>,
        packer: &mut Compressor<'static>,
    ) -> Result<(), ParquetError> {
        match self {
            Self::Other(writer) => writer.close()?.append_to_row_group(group),
            Self::Text(chunk) => {
                let (bytes, result) = chunk.finish(of, compression(), packer)?;
                group.append_column(&bytes, result)
            }
        }
    }
}

/// What repeats has the key of the row before: it is not compared.
fn extend_keyed(
    chunk: &mut TextChunk,
    texts: &DictionaryArray<Int32Type>,
    packer: &mut Compressor<'static>,
) -> Result<(), ParquetError> {
    let (keys, values) = (texts.keys(), texts.values());
    let values = values.as_any().downcast_ref::<StringArray>();
    let values = values.ok_or_else(|| ParquetError::General("a dictionary of no texts".to_owned()))?;
    let text = |key: i32| {
        let key = usize::try_from(key).ok().filter(|key| *key < values.len())?;
        values.is_valid(key).then(|| values.value(key).as_bytes())
    };
    if keys.null_count() == 0 {
        let runs = keys.values().chunk_by(|one, next| one == next);
        chunk.extend(runs.map(|run| (run.first().and_then(|key| text(*key)), run.len() as u32)), packer)
    } else {
        chunk.extend(keys.iter().map(|key| (key.and_then(text), 1)), packer)
    }
}

/// A file that is being written.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: SerializedFileWriter<File>,
    factory: ArrowRowGroupWriterFactory,
    schema: Arc<Schema>,
    columns: Vec<usize>,
    groups: usize,
    packer: Compressor<'static>,
}

impl SegmentWriter {
    /// Starts a file with these columns.
    pub(crate) fn create(path: &Path, columns: Vec<usize>) -> Result<Self, StoreError> {
        let all = schema::columns();
        let fields = columns.iter().filter_map(|index| all.get(*index)).map(|c| field(c, Texts::Plain));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut options = File::options();
        // What was written is read again for its checksums.
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path).map_err(StoreError::at(path))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()));
        let wrong = |cause| StoreError::new(path, cause);
        let (file, factory) = writer.and_then(ArrowWriter::into_serialized_writer).map_err(wrong)?;
        let packer = Compressor::new(ZSTD_LEVEL).map_err(StoreError::at(path))?;
        Ok(Self { path: path.to_owned(), file, factory, schema, columns, groups: 0, packer })
    }

    fn writers(&mut self) -> Result<Vec<ColumnWriter>, ParquetError> {
        let others = self.factory.create_column_writers(self.groups)?;
        self.groups += 1;
        let columns = self.columns.iter().filter_map(|at| schema::columns().get(*at));
        Ok(columns.zip(others).map(|(column, other)| ColumnWriter::new(column, other)).collect())
    }

    /// Writes a group of rows that come in pieces, each with all of its columns: what is made of a piece is written
    /// while it is in the processor's cache.
    pub(crate) fn group_of_pieces(&mut self, pieces: &[Table]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let wrong = |cause: ParquetError| StoreError::new(&path, cause);
        let mut writers = self.writers().map_err(wrong)?;
        for piece in pieces {
            for ((writer, field), column) in writers.iter_mut().zip(self.schema.fields()).zip(&self.columns) {
                let written = match writer {
                    ColumnWriter::Text(chunk) => chunk.extend(piece.texts(*column), &mut self.packer),
                    ColumnWriter::Other(_) => {
                        let array = piece.array(*column, Texts::Plain);
                        let array = array.unwrap_or_else(|| nulls(*column, piece.rows()));
                        writer.write(field, &array, &mut self.packer)
                    }
                };
                written.map_err(wrong)?;
            }
        }
        let descriptions = self.file.schema_descr().columns().to_vec();
        let mut group = self.file.next_row_group().map_err(wrong)?;
        for (writer, of) in writers.into_iter().zip(descriptions) {
            writer.close(of, &mut group, &mut self.packer).map_err(wrong)?;
        }
        group.close().map_err(wrong)?;
        Ok(())
    }

    /// Writes a group of rows column by column, so that memory holds one column at a time; `arrays` is asked for each
    /// column in turn and calls back with its pieces.
    pub(crate) fn group(
        &mut self,
        mut arrays: impl FnMut(
            usize,
            &mut dyn FnMut(&ArrayRef) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        let wrong = |cause: ParquetError| StoreError::new(&path, cause);
        let writers = self.writers().map_err(wrong)?;
        let descriptions = self.file.schema_descr().columns().to_vec();
        let mut group = self.file.next_row_group().map_err(wrong)?;
        let places = self.schema.fields().iter().zip(&self.columns).zip(descriptions);
        for (mut writer, ((field, column), of)) in writers.into_iter().zip(places) {
            arrays(*column, &mut |array| writer.write(field, array, &mut self.packer).map_err(wrong))?;
            writer.close(of, &mut group, &mut self.packer).map_err(wrong)?;
        }
        group.close().map_err(wrong)?;
        Ok(())
    }

    /// Ends the file and makes it durable; returns its size.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        self.file.flush().map_err(StoreError::at(&self.path))?;
        let sums = checksum::of_groups(self.file.inner(), self.file.flushed_row_groups());
        let sums = sums.map_err(StoreError::at(&self.path))?;
        self.file.append_key_value_metadata(KeyValue::new(checksum::KEY.to_owned(), sums));
        self.file.finish().map_err(|cause| StoreError::new(&self.path, cause))?;
        let file = self.file.inner();
        file.sync_all().map_err(StoreError::at(&self.path))?;
        Ok(file.metadata().map_err(StoreError::at(&self.path))?.len())
    }
}

/// A file that several threads read: each read says where, so that no position is shared.
#[derive(Clone, Debug)]
struct Shared {
    file: Arc<File>,
    len: u64,
}

/// Reads on from a place.
struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Shared {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(From { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.len {
            return Err(ParquetError::EOF("the file ends too early".to_owned()));
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        Ok(Bytes::from(buffer))
    }
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: Shared,
    metadata: ArrowReaderMetadata,
    /// For each column of the schema, which of the file it is.
    columns: Arc<Vec<Option<usize>>>,
    /// For each column of the file, group by group. Files of earlier versions have none.
    checksums: Arc<Vec<u32>>,
}

impl Segment {
    /// Opens a file; what is damaged or of a newer version is an error.
    pub(crate) fn open(path: &Path, texts: Texts) -> Result<Self, StoreError> {
        let wrong = |cause: ParquetError| StoreError::new(path, cause);
        let file = File::open(path).map_err(StoreError::at(path))?;
        let len = file.metadata().map_err(StoreError::at(path))?.len();
        let file = Shared { file: Arc::new(file), len };
        let options = ArrowReaderOptions::new();
        let found = ArrowReaderMetadata::load(&file, options.clone()).map_err(wrong)?;
        let pairs = found.metadata().file_metadata().key_value_metadata();
        let value = |key: &str| {
            let pair = pairs.into_iter().flatten().find(|pair| pair.key == key)?;
            pair.value.as_deref()
        };
        let version = value(VERSION_KEY).and_then(|version| version.parse::<u32>().ok());
        let checksums = checksum::parse(value(checksum::KEY).unwrap_or_default());
        let checksums = checksums.ok_or_else(|| StoreError::new(path, "its checksums are damaged"))?;
        if version.is_none_or(|version| version > SCHEMA_VERSION) {
            return Err(StoreError::new(
                path,
                "the file was written by a newer version, or by another program",
            ));
        }
        let mut columns = vec![None; schema::columns().len()];
        let mut hinted = Vec::new();
        for (position, of_file) in found.schema().fields().iter().enumerate() {
            let known = schema::find(of_file.name());
            let column = known.and_then(|at| schema::columns().get(at));
            let Some((at, column)) = known.zip(column) else {
                hinted.push(of_file.as_ref().clone());
                continue;
            };
            if *of_file.data_type() != *field(column, Texts::Plain).data_type() {
                return Err(StoreError::new(path, format!("the column {} has another type", column.name)));
            }
            if let Some(place) = columns.get_mut(at) {
                *place = Some(position);
            }
            hinted.push(field(column, texts));
        }
        let options = options.with_schema(Arc::new(Schema::new(hinted)));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
            columns: Arc::new(columns),
            checksums: Arc::new(checksums),
        })
    }

    pub(crate) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    pub(crate) fn rows(&self, group: usize) -> usize {
        let groups = self.metadata.metadata().row_groups();
        groups.get(group).and_then(|group| usize::try_from(group.num_rows()).ok()).unwrap_or(0)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter_map(|(at, place)| place.map(|_| at))
    }

    /// Least and greatest time of a group.
    pub(crate) fn times(&self, group: usize) -> Option<(i64, i64)> {
        let position = self.columns.get(schema::find("@timestamp")?).copied().flatten()?;
        let group = self.metadata.metadata().row_groups().get(group)?;
        // Columns that are lists have one leaf each, so that positions of columns and leaves agree.
        match group.columns().get(position)?.statistics()? {
            Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
            _ => None,
        }
    }

    /// Compares a column of a group, by their places in the file, with its checksum.
    fn check(&self, group: usize, position: usize) -> Result<(), StoreError> {
        let Some(of_group) = self.metadata.metadata().row_groups().get(group) else { return Ok(()) };
        let Some(column) = of_group.columns().get(position) else { return Ok(()) };
        let Some(wanted) = self.checksums.get(group * of_group.num_columns() + position) else {
            return Ok(());
        };
        let found = checksum::of(&self.file.file, column.byte_range()).map_err(StoreError::at(&self.path))?;
        if found != *wanted {
            return Err(StoreError::new(&self.path, "it is damaged: a column is not what was written"));
        }
        Ok(())
    }

    fn reader(
        &self,
        column: usize,
        groups: Vec<usize>,
        batch_rows: usize,
    ) -> Result<Option<ParquetRecordBatchReader>, StoreError> {
        let Some(position) = self.columns.get(column).copied().flatten() else { return Ok(None) };
        let wrong = |cause: ParquetError| StoreError::new(&self.path, cause);
        groups.iter().try_for_each(|group| self.check(*group, position))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), [position]);
        let builder =
            builder.with_projection(mask).with_row_groups(groups).with_batch_size(batch_rows.max(1));
        builder.build().map(Some).map_err(wrong)
    }

    /// A column of a group at once; `None` if the file does not have it.
    pub(crate) fn array(&self, group: usize, column: usize) -> Result<Option<ArrayRef>, StoreError> {
        let Some(mut reader) = self.reader(column, vec![group], self.rows(group))? else { return Ok(None) };
        let wrong = |cause: arrow_schema::ArrowError| StoreError::new(&self.path, cause);
        match reader.next() {
            None => Ok(None),
            Some(batch) => Ok(batch.map_err(wrong)?.columns().first().map(Arc::clone)),
        }
    }

    /// A column of the whole file in small pieces. Where the file does not have it, nulls.
    pub(crate) fn pieces(
        &self,
        column: usize,
        take: &mut dyn FnMut(&ArrayRef) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        const PIECE_ROWS: usize = 8_192;
        let groups: Vec<usize> = (0..self.groups()).collect();
        let rows: usize = groups.iter().map(|group| self.rows(*group)).sum();
        match self.reader(column, groups, PIECE_ROWS)? {
            Some(reader) => {
                for batch in reader {
                    let batch = batch.map_err(|cause| StoreError::new(&self.path, cause))?;
                    batch.columns().iter().try_for_each(&mut *take)?;
                }
                Ok(())
            }
            None => take(&nulls(column, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More different texts than a dictionary holds: the rest of the column stands without one.
    #[test]
    fn a_column_whose_dictionary_is_given_up_is_read_whole() {
        let texts: Vec<Option<String>> = (0..12_000)
            .map(|row| {
                (row % 7 != 3).then(|| format!("{:01$}", row / 2, if row % 5 == 0 { 3 } else { 2_000 }))
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.parquet");
        let column = schema::find("file.path").unwrap();
        let mut writer = SegmentWriter::create(&path, vec![column]).unwrap();
        let pieces: Vec<ArrayRef> = texts
            .chunks(1_000)
            .map(|piece| Arc::new(StringArray::from(piece.to_vec())) as ArrayRef)
            .collect();
        writer.group(|_, take| pieces.iter().try_for_each(&mut *take)).unwrap();
        // A group in which the column has no value.
        writer.group(|_, take| take(&nulls(column, 3))).unwrap();
        writer.finish().unwrap();
        let segment = Segment::open(&path, Texts::Plain).unwrap();
        let group = segment.metadata.metadata().row_group(0).column(0);
        let encodings: Vec<_> = group.encodings().collect();
        assert!(encodings.contains(&Encoding::RLE_DICTIONARY) && encodings.contains(&Encoding::PLAIN));
        let read = segment.array(0, column).unwrap().unwrap();
        let read = read.as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(read.len(), texts.len());
        assert!(read.iter().zip(&texts).all(|(read, text)| read == text.as_deref()));
        assert_eq!(segment.array(1, column).unwrap().unwrap().null_count(), 3);
        // Any bit of it that a disk changes is noticed.
        let (start, length) = segment.metadata.metadata().row_group(1).column(0).byte_range();
        let whole = std::fs::read(&path).unwrap();
        for at in start..start + length {
            let mut changed = whole.clone();
            changed[at as usize] ^= 4;
            std::fs::write(&path, &changed).unwrap();
            let segment = Segment::open(&path, Texts::Plain).unwrap();
            assert!(segment.array(0, column).is_ok());
            assert!(segment.array(1, column).is_err(), "byte {at}");
        }
    }
}
