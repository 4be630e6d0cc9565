//! A field's value as a rule or a writer sees it, borrowed from the record that holds it.
//!
//! Strings are bytes: a Linux path need not be UTF-8, and matching must see what the kernel saw. Text appears
//! only at the JSON edge.

use std::borrow::Cow;

/// Index of a field in a [`Schema`]; meaningful only together with the schema that issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u16);

/// What a field holds, as Elasticsearch would map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `keyword`, `wildcard` and `constant_keyword`; `ip` values are kept in their text form.
    Keyword,
    /// `ip`: text like a keyword, but `cidrMatch` and `==` may treat it as an address.
    Ip,
    /// `long` and the other integer types.
    Long,
    /// `double`, `float`.
    Double,
    /// `boolean`.
    Boolean,
    /// `date`, in nanoseconds since the Unix epoch.
    Date,
}

/// One field of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its index.
    pub id: FieldId,
    /// Its type.
    pub ty: FieldType,
}

/// An owned element of a multi-valued field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Keyword or IP text.
    Keyword(Cow<'static, [u8]>),
    /// Integer.
    Long(i64),
    /// Floating point.
    Double(f64),
    /// Boolean.
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    Date(i64),
}

/// What a record answers for one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The record does not have the field. Never "", "?" or 0.
    Absent,
    /// Keyword or IP text.
    Keyword(&'a [u8]),
    /// Integer.
    Long(i64),
    /// Floating point.
    Double(f64),
    /// Boolean.
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    Date(i64),
    /// A multi-valued field. A rule's leaf holds if any element satisfies it; an empty list equals `Absent`.
    List(&'a [Scalar]),
}

impl Scalar {
    /// A keyword known at compile time.
    #[must_use]
    pub const fn keyword(text: &'static str) -> Self {
        Self::Keyword(Cow::Borrowed(text.as_bytes()))
    }

    /// The element as a value.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Keyword(bytes) => Value::Keyword(bytes),
            Self::Long(n) => Value::Long(*n),
            Self::Double(n) => Value::Double(*n),
            Self::Boolean(b) => Value::Boolean(*b),
            Self::Date(ns) => Value::Date(*ns),
        }
    }
}

impl<'a> Value<'a> {
    /// Whether there is nothing to match.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::List(items) => items.is_empty(),
            Self::Keyword(_) | Self::Long(_) | Self::Double(_) | Self::Boolean(_) | Self::Date(_) => false,
        }
    }

    /// The single keyword, if it is one.
    #[must_use]
    pub fn as_keyword(&self) -> Option<&'a [u8]> {
        match self {
            Self::Keyword(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Something whose fields can be asked for: a live event, a stored document, a test case.
///
/// Implementations answer without allocating and without I/O: this is called for every leaf of every rule.
pub trait Record {
    /// The value of `field`, or [`Value::Absent`].
    fn value(&self, field: FieldId) -> Value<'_>;
}

/// How long a field keeps its value from event to event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifetime {
    /// Another event may have another one.
    Event,
    /// The same in all events of one kind that a process causes while nothing about it changes.
    Process,
    /// That, and often the same in other processes too: a name, an account. Nothing relies on it without a look.
    Program,
    /// The same in all events of one kind on one host.
    Constant,
}

/// The names that a rule may use. ECS is one; a test suite may bring its own.
pub trait Schema {
    /// Resolves a dotted field name, or `None` if the schema does not know it.
    fn lookup(&self, name: &str) -> Option<Field>;
    /// The dotted name of a field that this schema issued, for diagnostics.
    fn name(&self, id: FieldId) -> Option<Cow<'_, str>>;
    /// Every known name, for "did you mean".
    fn names(&self) -> Vec<Cow<'_, str>>;
    /// How long the field keeps its value; the shortest time if that is not certain.
    fn lifetime(&self, _id: FieldId) -> Lifetime {
        Lifetime::Event
    }
    /// Whether any event has the field.
    fn fills(&self, _id: FieldId) -> bool {
        true
    }
    /// Whether there are events of the category.
    fn records(&self, _category: &[u8]) -> bool {
        true
    }
    /// The field that `file where`, `process where` test: `event.category` in ECS.
    fn category(&self) -> FieldId;
    /// The time that orders events: `@timestamp` in ECS.
    fn timestamp(&self) -> FieldId;
    /// What breaks ties between equal times: `event.sequence` in ECS.
    fn tiebreaker(&self) -> Option<FieldId>;
}
