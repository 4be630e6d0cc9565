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

/// Every value of it is another one.
pub(crate) const DISTINCT: &str = "event.id";
const DAY_NS: i64 = 86_400_000_000_000;

/// How text is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// As dictionaries, for evaluating once for each text.
    Dictionary,
    /// As they are, for writing.
    Plain,
    /// As dictionaries where most repeat, but for lists: for writing again.
    Repeated,
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

/// How many bytes two rows begin with that are the same.
fn shared(one: &[u8], other: &[u8]) -> usize {
    let ((ones, _), (others, _)) = (one.as_chunks::<16>(), other.as_chunks::<16>());
    let same = ones.iter().zip(others).take_while(|(one, other)| one == other).count() * 16;
    let (one, other) = (one.get(same..).unwrap_or_default(), other.get(same..).unwrap_or_default());
    same + one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// A value of a row.
#[derive(Clone, Copy, Debug)]
struct Found {
    column: usize,
    /// In all of the bytes.
    place: u32,
    /// In the row.
    end: usize,
    /// Whether it is the row's first of its column.
    counts: bool,
}

/// A partition with its values found, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    bytes: Arc<Rows>,
    rows: usize,
    /// For each column that has values: of each row up to the last with one, the place of its value or 0. Rows with one
    /// place have one value.
    values: Vec<Vec<u32>>,
}

impl Table {
    /// Finds the values. `columns` says which column each number of the rows means; `None` for one that is gone.
    ///
    /// Most rows begin as the one before: with what is the same in all of a kind, and of a process. What they share is not
    /// looked through again; the places are those of the row before, so that who reads them sees that it is the same.
    pub(crate) fn new(bytes: Arc<Rows>, partition: &Partition, columns: &[Option<usize>]) -> Option<Self> {
        let all = schema::columns();
        let mut values: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
        let known: Vec<Option<(usize, &Column)>> =
            columns.iter().map(|column| Some(((*column)?, all.get((*column)?)?))).collect();
        // Those that go on are noted when they end: of a column that a row has twice, the first counts.
        let mut goes_on = vec![false; all.len()];
        let ended = |values: &mut Vec<Vec<u32>>, goes_on: &mut Vec<bool>, row: usize, value: &Found| {
            if value.counts {
                values.get_mut(value.column)?.resize(row, value.place);
                *goes_on.get_mut(value.column)? = false;
            }
            Some(())
        };
        let (mut found, mut before): (Vec<Found>, &[u8]) = (Vec::new(), &[]);
        for (row, (start, end)) in partition.rows.iter().enumerate() {
            let end = *end as usize;
            let whole = bytes.0.get(*start as usize..end)?;
            let shared = shared(before, whole);
            let kept = found.partition_point(|value| value.end <= shared);
            found.drain(kept..).try_for_each(|value| ended(&mut values, &mut goes_on, row, &value))?;
            let mut rest = whole.get(found.last().map_or(0, |value| value.end)..)?;
            while let [low, high, tail @ ..] = rest {
                let at = usize::from(u16::from_le_bytes([*low, *high]));
                // A type never changes, so an unknown column cannot be passed over and nothing after it read.
                let Some((column, of)) = known.get(at).copied().flatten() else { break };
                rest = skip(tail, of)?;
                let counts = !std::mem::replace(goes_on.get_mut(column)?, true);
                let places = values.get_mut(column)?;
                if counts && places.len() < row {
                    places.reserve_exact(partition.rows.len() - places.len());
                    places.resize(row, 0);
                }
                let (place, end) = ((end - tail.len()) as u32, whole.len() - rest.len());
                found.push(Found { column, place, end, counts });
            }
            before = whole;
        }
        let rows = partition.rows.len();
        found.iter().try_for_each(|value| ended(&mut values, &mut goes_on, rows, value))?;
        Some(Self { rows, values, bytes })
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

    /// The values of a column of text that is no list, each with the number of rows that have it one after the other.
    pub(crate) fn texts(&self, index: usize) -> impl Iterator<Item = (Option<&[u8]>, u32)> {
        let text = |at| Reader { bytes: &self.bytes.0, at }.bytes_of_text();
        let places = self.values.get(index).map(Vec::as_slice).unwrap_or_default();
        let runs = places.chunk_by(|one, next| one == next).map(move |run| {
            let place = run.first().filter(|place| **place > 0);
            (place.and_then(|place| text(*place as usize)), run.len() as u32)
        });
        let without = (self.rows - places.len()) as u32;
        runs.chain((without > 0).then_some((None, without)))
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a column; `None` if there are none.
    pub(crate) fn array(&self, index: usize, texts: Texts) -> Option<ArrayRef> {
        let column = schema::columns().get(index)?;
        self.values.get(index).filter(|places| !places.is_empty())?;
        Some(match (column.ty, texts) {
            (FieldType::Keyword | FieldType::Ip, Texts::Plain | Texts::Repeated) => self.build(
                column,
                index,
                StringBuilder::new(),
                Reader::text,
                |builder, text| {
                    builder.append_value(text);
                    Some(())
                },
                StringBuilder::append_null,
            ),
            (FieldType::Keyword | FieldType::Ip, Texts::Dictionary) => self.build(
                column,
                index,
                StringDictionaryBuilder::<Int32Type>::new(),
                Reader::text,
                |builder, text| builder.append(text).ok().map(|_| ()),
                StringDictionaryBuilder::append_null,
            ),
            (FieldType::Long, _) => self.build(
                column,
                index,
                Int64Builder::new(),
                |reader| reader.eight().map(i64::from_le_bytes),
                |builder, number| {
                    builder.append_value(number);
                    Some(())
                },
                Int64Builder::append_null,
            ),
            (FieldType::Double, _) => self.build(
                column,
                index,
                Float64Builder::new(),
                |reader| reader.eight().map(f64::from_le_bytes),
                |builder, number| {
                    builder.append_value(number);
                    Some(())
                },
                Float64Builder::append_null,
            ),
            (FieldType::Boolean, _) => self.build(
                column,
                index,
                BooleanBuilder::new(),
                |reader| reader.take(1).map(|byte| byte == [1]),
                |builder, truth| {
                    builder.append_value(truth);
                    Some(())
                },
                BooleanBuilder::append_null,
            ),
            (FieldType::Date, _) => self.build(
                column,
                index,
                TimestampNanosecondBuilder::new().with_timezone("UTC"),
                |reader| reader.eight().map(i64::from_le_bytes),
                |builder, number| {
                    builder.append_value(number);
                    Some(())
                },
                TimestampNanosecondBuilder::append_null,
            ),
        })
    }

    fn build<'s, B: ArrayBuilder, V: Copy>(
        &'s self,
        column: &Column,
        index: usize,
        mut builder: B,
        read: impl Fn(&mut Reader<'s>) -> Option<V>,
        append: impl Fn(&mut B, V) -> Option<()>,
        null: impl Fn(&mut B),
    ) -> ArrayRef {
        let reader = |at| Reader { bytes: &self.bytes.0, at };
        if !column.list {
            for at in self.places(index) {
                let value = at.and_then(|at| read(&mut reader(at)));
                if value.and_then(|value| append(&mut builder, value)).is_none() {
                    null(&mut builder);
                }
            }
            return builder.finish();
        }
        let item = Field::new("item", item_type(column.ty, &builder), true);
        let mut lists = ListBuilder::new(builder).with_field(item);
        // Many rows have the list of the row before: it is read once.
        let (mut last, mut list) = (0, Vec::new());
        for at in self.places(index) {
            let Some(at) = at else {
                lists.append(false);
                continue;
            };
            if at != last {
                let mut reader = reader(at);
                let count = reader.length().unwrap_or(0);
                list.clear();
                list.extend((0..count).map_while(|_| read(&mut reader)));
                last = at;
            }
            // What cannot be appended ends the list.
            let _ = list.iter().try_for_each(|value| append(lists.values(), *value));
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
    let texts = match texts {
        Texts::Repeated if column.list || column.name == DISTINCT => Texts::Plain,
        Texts::Repeated => Texts::Dictionary,
        texts => texts,
    };
    let value = value_type(column.ty, texts);
    let ty = if column.list { DataType::List(Arc::new(Field::new("item", value, true))) } else { value };
    Field::new(column.name, ty, true)
}

/// A column in which no row has a value.
pub(crate) fn nulls(column: usize, rows: usize) -> ArrayRef {
    let ty = schema::columns().get(column).map(|column| field(column, Texts::Plain).data_type().clone());
    new_null_array(&ty.unwrap_or(DataType::Null), rows)
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;

    use super::*;

    /// Rows that begin alike now and then, some of which end with a column that is not known, or have one twice.
    fn rows() -> Vec<u8> {
        let place = |name| schema::find(name).unwrap();
        let (name, list, pid) = (place("process.name"), place("process.args"), place("process.pid"));
        let mut seed = 1_u32;
        let mut any = move |of: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % of
        };
        let long = "x".repeat(200);
        let texts = ["cp".as_bytes(), b"", b"\xff", long.as_bytes()];
        let mut rows = Vec::new();
        for _ in 0..1_000 {
            let mut row = [0; 8].to_vec();
            row.extend(b"\x01a");
            for column in
                [name, list, pid, place("file.path"), name, schema::columns().len(), place("user.name")]
            {
                // Mostly the first of the values.
                let value = any(12).saturating_sub(7);
                let is_known = column < schema::columns().len();
                if value == 4 || (!is_known && value == 0) {
                    continue;
                }
                row.extend((column as u16).to_le_bytes());
                match column {
                    _ if column == pid => row.extend(u64::from(value).to_le_bytes()),
                    _ if column == list => {
                        length(value as usize, &mut row);
                        (0..value).for_each(|at| put(texts[at as usize], &mut row));
                    }
                    _ => put(texts[value as usize], &mut row),
                }
            }
            rows.extend((row.len() as u32).to_le_bytes());
            rows.append(&mut row);
        }
        rows
    }

    fn length(len: usize, row: &mut Vec<u8>) {
        row.extend(if len < 0x80 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] });
    }

    fn put(text: &[u8], row: &mut Vec<u8>) {
        length(text.len(), row);
        row.extend(text);
    }

    #[test]
    fn what_a_row_shares_with_the_one_before_is_as_it_is_alone() {
        let bytes = Arc::new(Rows(rows()));
        let columns: Vec<Option<usize>> = (0..schema::columns().len()).map(Some).collect();
        let partition = bytes.partitions(false).unwrap().remove(0);
        let table = |of: &Partition| Table::new(Arc::clone(&bytes), of, &columns).unwrap();
        let whole = table(&partition);
        let alone: Vec<Table> = partition.chunks(1).iter().map(table).collect();
        assert_eq!(whole.used().count(), 5);
        let shares = |places: &[u32]| places.windows(2).any(|two| two[0] > 0 && two[0] == two[1]);
        for column in whole.used() {
            assert!(shares(&whole.values[column]), "{column}");
            let is_text =
                schema::columns()[column].ty == FieldType::Keyword && !schema::columns()[column].list;
            let texts: Vec<_> = whole
                .texts(column)
                .flat_map(|(text, times)| std::iter::repeat_n(text, times as usize))
                .collect();
            assert_eq!(texts.len(), whole.rows());
            let array = whole.array(column, Texts::Plain).unwrap();
            for (row, of) in alone.iter().enumerate() {
                let one = of.array(column, Texts::Plain).unwrap_or_else(|| nulls(column, 1));
                assert_eq!(array.slice(row, 1).to_data(), one.to_data(), "{column} {row}");
                assert!(
                    !is_text || of.texts(column).map(|(text, _)| text).eq([texts[row]]),
                    "{column} {row}"
                );
            }
        }
    }
}
