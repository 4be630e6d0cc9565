//! Rows turned into columns: what is sealed into a file, and what a reader sees of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, builder::ArrayBuilder, new_null_array};
use arrow_schema::{DataType, Field, TimeUnit};
use sensor_ecs::FieldType;

use crate::read::Reader;
use crate::schema::{self, Column};

const DAY_NS: i64 = 86_400_000_000_000;

/// How text is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// As dictionaries, for evaluating once for each text.
    Dictionary,
    /// As they are, for writing.
    Plain,
}

/// Bytes of rows, one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows(pub(crate) Vec<u8>);

/// Where the rows of one partition are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    pub(crate) dataset: String,
    /// Days since 1970; 0 where days are not told apart.
    pub(crate) day: i64,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    rows: Vec<(u32, u32)>,
}

impl Rows {
    /// The rows by dataset and, if wanted, by day. `None` if the bytes are not rows.
    pub(crate) fn partitions(&self, by_day: bool) -> Option<Vec<Partition>> {
        let mut found: BTreeMap<(&[u8], i64), Partition> = BTreeMap::new();
        let mut reader = Reader { bytes: &self.0, at: 0 };
        while reader.at < self.0.len() {
            let len = reader.u32()? as usize;
            let end = reader.at.checked_add(len)?;
            let time = i64::from_le_bytes(reader.eight()?);
            let name_len = usize::from(*reader.take(1)?.first()?);
            let name = reader.take(name_len)?;
            let day = if by_day { time.div_euclid(DAY_NS) } else { 0 };
            let partition = found.entry((name, day)).or_insert_with(|| Partition {
                dataset: String::from_utf8_lossy(name).into_owned(),
                day,
                first_ns: time,
                last_ns: time,
                rows: Vec::new(),
            });
            partition.first_ns = partition.first_ns.min(time);
            partition.last_ns = partition.last_ns.max(time);
            partition.rows.push((u32::try_from(reader.at).ok()?, u32::try_from(end).ok()?));
            reader.at = end;
        }
        Some(found.into_values().collect())
    }
}

impl Partition {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    /// The same in pieces of so many rows.
    pub(crate) fn chunks(&self, rows: usize) -> Vec<Self> {
        self.rows
            .chunks(rows)
            .map(|chunk| Self { rows: chunk.to_vec(), ..self.clone_without_rows() })
            .collect()
    }

    fn clone_without_rows(&self) -> Self {
        Self { dataset: self.dataset.clone(), rows: Vec::new(), ..*self }
    }
}

/// What follows one value of a column.
fn skip<'b>(rest: &'b [u8], column: &Column) -> Option<&'b [u8]> {
    match (column.list, column.ty, rest) {
        (false, FieldType::Keyword | FieldType::Ip, [len @ 0..0x80, text @ ..]) => {
            text.get(usize::from(*len)..)
        }
        (false, FieldType::Long | FieldType::Double | FieldType::Date, _) => rest.get(8..),
        _ => {
            let mut reader = Reader { bytes: rest, at: 0 };
            reader.skip(column)?;
            rest.get(reader.at..)
        }
    }
}

/// A partition with its values found, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    bytes: Arc<Rows>,
    rows: usize,
    /// For each column that has values: of each row up to the last with one, the place of its value or 0.
    values: Vec<Vec<u32>>,
}

impl Table {
    /// Finds the values. `columns` says which column each number of the rows means; `None` for one that is gone.
    pub(crate) fn new(bytes: Arc<Rows>, partition: &Partition, columns: &[Option<usize>]) -> Option<Self> {
        let all = schema::columns();
        let mut values: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
        let known: Vec<Option<(usize, &Column)>> =
            columns.iter().map(|column| Some(((*column)?, all.get((*column)?)?))).collect();
        for (row, (start, end)) in partition.rows.iter().enumerate() {
            let end = *end as usize;
            let mut rest = bytes.0.get(*start as usize..end)?;
            while let [low, high, tail @ ..] = rest {
                let at = usize::from(u16::from_le_bytes([*low, *high]));
                // A type never changes, so an unknown column cannot be passed over and nothing after it read.
                let Some((place, column)) = known.get(at).copied().flatten() else { break };
                let places = values.get_mut(place)?;
                if places.len() <= row {
                    if places.len() < row {
                        places.reserve_exact(partition.rows.len() - places.len());
                        places.resize(row, 0);
                    }
                    places.push((end - tail.len()) as u32);
                }
                rest = skip(tail, column)?;
            }
        }
        Some(Self { bytes, rows: partition.rows.len(), values })
    }

    /// Which columns have values.
    pub(crate) fn used(&self) -> impl Iterator<Item = usize> {
        self.values.iter().enumerate().filter(|(_, places)| !places.is_empty()).map(|(at, _)| at)
    }

    /// Where the value of each row is.
    fn places(&self, index: usize) -> impl Iterator<Item = Option<usize>> {
        let places = self.values.get(index).map(Vec::as_slice).unwrap_or_default();
        let found = places.iter().map(|place| (*place > 0).then_some(*place as usize));
        found.chain(std::iter::repeat_n(None, self.rows - places.len()))
    }

    /// The values of a column of text that is no list.
    pub(crate) fn texts(&self, index: usize) -> impl Iterator<Item = Option<&[u8]>> {
        let text = |at| Reader { bytes: &self.bytes.0, at }.bytes_of_text();
        self.places(index).map(move |place| place.and_then(text))
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a column; `None` if there are none.
    pub(crate) fn array(&self, index: usize, texts: Texts) -> Option<ArrayRef> {
        let column = schema::columns().get(index)?;
        self.values.get(index).filter(|places| !places.is_empty())?;
        Some(match (column.ty, texts) {
            (FieldType::Keyword | FieldType::Ip, Texts::Plain) => self.build(
                column,
                index,
                StringBuilder::new(),
                |builder, reader| {
                    builder.append_value(reader.text()?);
                    Some(())
                },
                StringBuilder::append_null,
            ),
            (FieldType::Keyword | FieldType::Ip, Texts::Dictionary) => self.build(
                column,
                index,
                StringDictionaryBuilder::<Int32Type>::new(),
                |builder, reader| builder.append(reader.text()?).ok().map(|_| ()),
                StringDictionaryBuilder::append_null,
            ),
            (FieldType::Long, _) => self.build(
                column,
                index,
                Int64Builder::new(),
                |builder, reader| {
                    builder.append_value(i64::from_le_bytes(reader.eight()?));
                    Some(())
                },
                Int64Builder::append_null,
            ),
            (FieldType::Double, _) => self.build(
                column,
                index,
                Float64Builder::new(),
                |builder, reader| {
                    builder.append_value(f64::from_le_bytes(reader.eight()?));
                    Some(())
                },
                Float64Builder::append_null,
            ),
            (FieldType::Boolean, _) => self.build(
                column,
                index,
                BooleanBuilder::new(),
                |builder, reader| {
                    builder.append_value(reader.take(1)? == [1]);
                    Some(())
                },
                BooleanBuilder::append_null,
            ),
            (FieldType::Date, _) => self.build(
                column,
                index,
                TimestampNanosecondBuilder::new().with_timezone("UTC"),
                |builder, reader| {
                    builder.append_value(i64::from_le_bytes(reader.eight()?));
                    Some(())
                },
                TimestampNanosecondBuilder::append_null,
            ),
        })
    }

    fn build<B: ArrayBuilder>(
        &self,
        column: &Column,
        index: usize,
        mut builder: B,
        append: impl Fn(&mut B, &mut Reader<'_>) -> Option<()>,
        null: impl Fn(&mut B),
    ) -> ArrayRef {
        if !column.list {
            for at in self.places(index) {
                let done = at.and_then(|at| append(&mut builder, &mut Reader { bytes: &self.bytes.0, at }));
                if done.is_none() {
                    null(&mut builder);
                }
            }
            return builder.finish();
        }
        let item = Field::new("item", item_type(column.ty, &builder), true);
        let mut lists = ListBuilder::new(builder).with_field(item);
        for at in self.places(index) {
            let Some(at) = at else {
                lists.append(false);
                continue;
            };
            let mut reader = Reader { bytes: &self.bytes.0, at };
            for _ in 0..reader.length().unwrap_or(0) {
                if append(lists.values(), &mut reader).is_none() {
                    break;
                }
            }
            lists.append(true);
        }
        Arc::new(lists.finish())
    }
}

fn item_type<B: ArrayBuilder>(ty: FieldType, builder: &B) -> DataType {
    let dictionary = builder.as_any().is::<StringDictionaryBuilder<Int32Type>>();
    value_type(ty, if dictionary { Texts::Dictionary } else { Texts::Plain })
}

/// The type of one value.
fn value_type(ty: FieldType, texts: Texts) -> DataType {
    match ty {
        FieldType::Keyword | FieldType::Ip if texts == Texts::Dictionary => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        FieldType::Keyword | FieldType::Ip => DataType::Utf8,
        FieldType::Long => DataType::Int64,
        FieldType::Double => DataType::Float64,
        FieldType::Boolean => DataType::Boolean,
        FieldType::Date => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
    }
}

/// The column as a field of a file.
pub(crate) fn field(column: &Column, texts: Texts) -> Field {
    let value = value_type(column.ty, texts);
    let ty = if column.list { DataType::List(Arc::new(Field::new("item", value, true))) } else { value };
    Field::new(column.name, ty, true)
}

/// A column in which no row has a value.
pub(crate) fn nulls(column: usize, rows: usize) -> ArrayRef {
    let ty = schema::columns().get(column).map(|column| field(column, Texts::Plain).data_type().clone());
    new_null_array(&ty.unwrap_or(DataType::Null), rows)
}
