//! One value while it is computed, borrowed from the batch where it can be.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::outcome::{Cell, Type};

/// A value. Two or more values of a field are a list; a list of one does not occur.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val<'a> {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    /// A keyword, or an address in its shortest form.
    Text(Cow<'a, str>),
    /// Milliseconds since 1970.
    Date(i64),
    /// A span of time: milliseconds and months.
    Period(i64, i64),
    List(Vec<Val<'a>>),
}

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn into_owned(self) -> Val<'static> {
        match self {
            Self::Null => Val::Null,
            Self::Boolean(value) => Val::Boolean(value),
            Self::Long(value) => Val::Long(value),
            Self::Double(value) => Val::Double(value),
            Self::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
            Self::Date(ms) => Val::Date(ms),
            Self::Period(ms, months) => Val::Period(ms, months),
            Self::List(items) => Val::List(items.into_iter().map(Val::into_owned).collect()),
        }
    }

    /// None, one or several.
    pub(super) fn from_items(mut items: Vec<Self>) -> Self {
        match items.len() {
            0 => Self::Null,
            1 => items.pop().unwrap_or(Self::Null),
            _ => Self::List(items),
        }
    }

    pub(super) fn items(self) -> Vec<Self> {
        match self {
            Self::Null => Vec::new(),
            Self::List(items) => items,
            one => vec![one],
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_long(&self) -> Option<i64> {
        match self {
            Self::Long(value) | Self::Date(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn as_double(&self) -> Option<f64> {
        match self {
            Self::Long(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn into_cell(self) -> Cell {
        match self {
            Self::Null | Self::Period(..) => Cell::Null,
            Self::Boolean(value) => Cell::Boolean(value),
            Self::Long(value) => Cell::Long(value),
            Self::Double(value) => Cell::Double(value),
            Self::Text(text) => Cell::Text(text.into_owned()),
            Self::Date(ms) => Cell::Date(ms),
            Self::List(items) => Cell::List(items.into_iter().map(Val::into_cell).collect()),
        }
    }

    /// Bytes on the heap, roughly.
    pub(super) fn held_bytes(&self) -> usize {
        let inner = match self {
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(Val::held_bytes).sum(),
            _ => 0,
        };
        inner + size_of::<Self>()
    }
}

/// The order of two single values of one type; numbers of two types are compared as numbers.
pub(super) fn order(left: &Val<'_>, right: &Val<'_>, ty: Type) -> Option<Ordering> {
    Some(match (left, right) {
        (Val::Boolean(a), Val::Boolean(b)) => a.cmp(b),
        (Val::Long(a), Val::Long(b)) | (Val::Date(a), Val::Date(b)) => a.cmp(b),
        (Val::Text(a), Val::Text(b)) if ty == Type::Ip => address(a).cmp(&address(b)),
        (Val::Text(a), Val::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Val::Long(_) | Val::Double(_), Val::Long(_) | Val::Double(_)) => {
            left.as_double()?.total_cmp(&right.as_double()?)
        }
        _ => return None,
    })
}

/// As Elasticsearch orders addresses: all as version 6.
fn address(text: &str) -> Option<u128> {
    Some(match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    })
}

/// An address in its shortest form.
pub(super) fn canonical_ip(text: &str) -> Option<String> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

/// A key of a group or a set: values that are the same, whatever bits a floating number has.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Val<'static>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Val::Double(a), Val::Double(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

/// Feeds a single value to a hasher.
pub(super) fn hash_value<H: Hasher>(value: &Val<'_>, state: &mut H) {
    match value {
        Val::Null | Val::Period(..) => state.write_u8(0),
        Val::Boolean(value) => state.write_u8(1 + u8::from(*value)),
        Val::Long(value) | Val::Date(value) => state.write_i64(*value),
        Val::Double(value) => state.write_u64(value.to_bits()),
        Val::Text(text) => state.write(text.as_bytes()),
        Val::List(items) => items.iter().for_each(|item| hash_value(item, state)),
    }
}
