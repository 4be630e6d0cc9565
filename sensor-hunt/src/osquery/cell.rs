//! Values and rows, as the tables make them and SQLite hands them back.

/// One value. Text is bytes: a file name need not be UTF-8, and becomes text only where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not known, or not applicable.
    Null,
    /// INTEGER, BIGINT.
    Int(i64),
    /// DOUBLE, and what SQL arithmetic makes.
    Real(f64),
    /// TEXT, valid UTF-8 or not.
    Text(Vec<u8>),
}

/// The values of one row, in the order of the columns.
pub type Row = Vec<Cell>;

impl Cell {
    /// The bytes of a text.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) => Some(bytes),
            Self::Null | Self::Int(_) | Self::Real(_) => None,
        }
    }

    /// An integer, also one that was written as text.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
            #[expect(clippy::cast_possible_truncation, reason = "compared with the original just before")]
            Self::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            Self::Null | Self::Real(_) => None,
        }
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Cell {
    /// BIGINT is signed; what does not fit is bit for bit the same number.
    fn from(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Cell {
    fn from(yes: bool) -> Self {
        Self::Int(i64::from(yes))
    }
}

impl From<&[u8]> for Cell {
    fn from(bytes: &[u8]) -> Self {
        Self::Text(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Cell {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Text(bytes)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text.into_bytes())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of values that can each become a [`Cell`].
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::osquery::cell::Cell::from($value)),*] };
}
pub(crate) use row;
