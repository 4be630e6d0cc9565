//! Documents read back from JSON, as records that rules match on: replay sees what the live sensor saw.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};

use crate::escape::unescape;
use crate::fields::field;
use crate::open_schema::OpenSchema;
use crate::time::{epoch_millis, parse_date};
use crate::value::{Field, FieldId, FieldType, Record, Scalar, Value};

/// The flag that text in the document is escaped.
const ESCAPED: &str = "sensor.escaped";

/// What one line leaves for the next, at most: an extraordinary line must not cost memory for ever.
const KEPT_VALUES_MAX: usize = 1024;
const KEPT_BYTES_MAX: usize = 4096;

/// A document. Made once and filled again for each line: reading a file needs constant memory, and little of it is
/// allocated anew.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// By field.
    places: Vec<Place>,
    /// The values of each field, side by side.
    values: Vec<Scalar>,
    /// The values as they came; the elements of an array of objects come apart.
    found: Vec<Found>,
    /// Buffers of the line before.
    spare: Vec<Vec<u8>>,
    malformed: usize,
    /// Where they are wanted, the names that the schema does not have.
    unknown: Option<Unknown>,
}

/// So many names that a schema does not have are told apart; the values of others are counted together.
const UNKNOWN_NAMES_MAX: usize = 1_000;
const UNKNOWN_NAME_BYTES_MAX: usize = 512;

/// Values whose names the schema does not have, since the document was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// By dotted name, how many.
    pub names: BTreeMap<String, u64>,
    /// Those of further names.
    pub others: u64,
}

impl Unknown {
    fn add(&mut self, name: &str) {
        if let Some(count) = self.names.get_mut(name) {
            *count += 1;
        } else if self.names.len() < UNKNOWN_NAMES_MAX && name.len() <= UNKNOWN_NAME_BYTES_MAX {
            self.names.insert(name.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.names.values().sum::<u64>() + self.others
    }
}

/// Where a field's values are.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    len: u32,
    /// Whether it was written as an array, which a list of one keeps.
    list: bool,
}

#[derive(Clone, Debug)]
struct Found {
    field: FieldId,
    value: Scalar,
    in_list: bool,
}

/// Why a line is not a document.
#[derive(Debug)]
pub struct DocumentError(serde_json::Error);

impl DocumentError {
    /// The column in the line, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.0.column().max(1)
    }
}

impl std::fmt::Display for DocumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A line is parsed by itself, so the position that the parser appends would always say line 1.
        let text = self.0.to_string();
        f.write_str(text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause))
    }
}

impl std::error::Error for DocumentError {}

impl Document {
    /// An empty document.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty document that notes the names which the schema does not have.
    #[must_use]
    pub fn noting_unknown() -> Self {
        Self { unknown: Some(Unknown::default()), ..Self::default() }
    }

    /// What was left out of all lines so far, if that is noted.
    #[must_use]
    pub fn unknown(&self) -> Option<&Unknown> {
        self.unknown.as_ref()
    }

    /// Reads one JSON object, replacing what was there.
    ///
    /// # Errors
    ///
    /// When it is not one JSON object in UTF-8; the document is then empty.
    pub fn parse(&mut self, json: &[u8], schema: &OpenSchema) -> Result<(), DocumentError> {
        self.clear(schema.len());
        let mut path = String::new();
        let mut escaped = false;
        let mut parser = serde_json::Deserializer::from_slice(json);
        let root =
            Root(Node { document: self, schema, path: &mut path, escaped: &mut escaped, in_list: false });
        let parsed = parser.deserialize_map(root).and_then(|()| parser.end());
        if let Err(error) = parsed {
            self.clear(0);
            return Err(DocumentError(error));
        }
        self.settle();
        if escaped {
            self.unescape();
        }
        Ok(())
    }

    /// How many values could not be read as their field's type; they are kept as they were written, so that they can
    /// still be compared with each other.
    #[must_use]
    pub fn malformed(&self) -> usize {
        self.malformed
    }

    /// `event.id`, for reports.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.value(field::EVENT_ID).as_keyword()
    }

    fn clear(&mut self, fields: usize) {
        self.places.clear();
        self.places.resize(fields, Place::default());
        let old = self.values.drain(..).chain(self.found.drain(..).map(|found| found.value));
        for value in old {
            if let Scalar::Keyword(Cow::Owned(bytes)) = value
                && self.spare.len() < KEPT_VALUES_MAX
                && bytes.capacity() <= KEPT_BYTES_MAX
            {
                self.spare.push(bytes);
            }
        }
        self.values.shrink_to(KEPT_VALUES_MAX);
        self.found.shrink_to(KEPT_VALUES_MAX);
        self.malformed = 0;
    }

    /// Brings the values of each field together. Those of a document of ours are so already.
    fn settle(&mut self) {
        self.found.sort_by_key(|found| found.field);
        for Found { field, value, in_list } in self.found.drain(..) {
            let Some(place) = self.places.get_mut(usize::from(field.0)) else {
                continue;
            };
            if place.len == 0 {
                place.start = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
            }
            place.len += 1;
            place.list |= in_list || place.len > 1;
            self.values.push(value);
        }
    }

    fn unescape(&mut self) {
        for scalar in &mut self.values {
            if let Scalar::Keyword(bytes) = scalar
                && let Ok(text) = std::str::from_utf8(bytes)
                && let Cow::Owned(plain) = unescape(text)
            {
                *bytes = Cow::Owned(plain);
            }
        }
    }

    fn add(&mut self, field: Field, leaf: &Leaf<'_>, in_list: bool) {
        let value = coerce(leaf, field.ty, &mut self.spare).unwrap_or_else(|| {
            self.malformed += 1;
            as_written(leaf)
        });
        self.found.push(Found { field: field.id, value, in_list });
    }
}

impl Record for Document {
    fn value(&self, field: FieldId) -> Value<'_> {
        let Some(place) = self.places.get(usize::from(field.0)) else {
            return Value::Absent;
        };
        let start = place.start as usize;
        match self.values.get(start..start.saturating_add(place.len as usize)) {
            None | Some([]) => Value::Absent,
            Some([one]) if !place.list => one.as_value(),
            Some(values) => Value::List(values),
        }
    }
}

/// A scalar as JSON has it.
enum Leaf<'a> {
    Text(&'a str),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
}

/// A value as its field's type, by the rules of Elasticsearch's `coerce`; `None` if it cannot be.
fn coerce(leaf: &Leaf<'_>, ty: FieldType, spare: &mut Vec<Vec<u8>>) -> Option<Scalar> {
    let float = || match leaf {
        Leaf::Text(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        Leaf::Float(number) => Some(*number),
        Leaf::Signed(number) => Some(*number as f64),
        Leaf::Unsigned(number) => Some(*number as f64),
        Leaf::Boolean(_) => None,
    };
    // The cast is exact for the accepted range: below 2^63 and truncated as `coerce` does.
    let truncated = |number: f64| (number.abs() < 9.2e18).then_some(number as i64);
    let long = || match leaf {
        Leaf::Text(text) => text.trim().parse::<i64>().ok().or_else(|| float().and_then(truncated)),
        Leaf::Signed(number) => Some(*number),
        Leaf::Unsigned(number) => i64::try_from(*number).ok(),
        Leaf::Float(number) => truncated(*number),
        Leaf::Boolean(_) => None,
    };
    match ty {
        FieldType::Keyword | FieldType::Ip => Some(Scalar::Keyword(Cow::Owned(match leaf {
            Leaf::Text(text) => {
                let mut bytes = spare.pop().unwrap_or_default();
                bytes.clear();
                bytes.extend_from_slice(text.as_bytes());
                bytes
            }
            Leaf::Signed(number) => number.to_string().into_bytes(),
            Leaf::Unsigned(number) => number.to_string().into_bytes(),
            Leaf::Float(number) => number.to_string().into_bytes(),
            Leaf::Boolean(value) => value.to_string().into_bytes(),
        }))),
        FieldType::Long => long().map(Scalar::Long),
        FieldType::Double => float().map(Scalar::Double),
        FieldType::Boolean => match leaf {
            Leaf::Boolean(value) => Some(Scalar::Boolean(*value)),
            Leaf::Text("true") => Some(Scalar::Boolean(true)),
            Leaf::Text("false" | "") => Some(Scalar::Boolean(false)),
            Leaf::Text(_) | Leaf::Signed(_) | Leaf::Unsigned(_) | Leaf::Float(_) => None,
        },
        FieldType::Date => match leaf {
            Leaf::Text(text) => parse_date(text),
            Leaf::Signed(_) | Leaf::Unsigned(_) | Leaf::Float(_) | Leaf::Boolean(_) => {
                long().and_then(epoch_millis)
            }
        }
        .map(Scalar::Date),
    }
}

fn as_written(leaf: &Leaf<'_>) -> Scalar {
    match leaf {
        Leaf::Text(text) => Scalar::Keyword(Cow::Owned(text.as_bytes().to_vec())),
        Leaf::Signed(number) => Scalar::Long(*number),
        Leaf::Unsigned(number) => Scalar::Double(*number as f64),
        Leaf::Float(number) => Scalar::Double(*number),
        Leaf::Boolean(value) => Scalar::Boolean(*value),
    }
}

/// Walks a JSON value, noting leaves by their dotted path.
struct Node<'n> {
    document: &'n mut Document,
    schema: &'n OpenSchema,
    path: &'n mut String,
    escaped: &'n mut bool,
    in_list: bool,
}

impl Node<'_> {
    fn leaf(self, leaf: &Leaf<'_>) {
        if let Some(field) = self.schema.find(self.path) {
            self.document.add(field, leaf, self.in_list);
        } else if self.path == ESCAPED && matches!(leaf, Leaf::Boolean(true)) {
            *self.escaped = true;
        } else if let Some(unknown) = &mut self.document.unknown {
            unknown.add(self.path);
        }
    }

    fn members<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parent = self.path.len();
        while let Some(()) = map.next_key_seed(Key(self.path))? {
            map.next_value_seed(Node {
                document: self.document,
                schema: self.schema,
                path: self.path,
                escaped: self.escaped,
                in_list: false,
            })?;
            self.path.truncate(parent);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf(&Leaf::Boolean(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(&Leaf::Signed(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.leaf(&Leaf::Unsigned(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.leaf(&Leaf::Float(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.leaf(&Leaf::Text(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(()) = items.next_element_seed(Node {
            document: self.document,
            schema: self.schema,
            path: self.path,
            escaped: self.escaped,
            in_list: true,
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.members(map)
    }
}

/// Appends a key to the path.
struct Key<'n>(&'n mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(key);
        Ok(())
    }
}

/// The document itself, which must be an object.
struct Root<'n>(Node<'n>);

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.members(map)
    }
}
