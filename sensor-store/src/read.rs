//! Reading the rows that [`crate::Encoder`] wrote; `None` where the bytes end too early, which a checksum rules out.

use sensor_ecs::FieldType;

use crate::schema::Column;

/// A place in rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        let (mut value, mut shift) = (0_usize, 0);
        loop {
            let byte = *self.take(1)?.first()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 28 {
                return None;
            }
        }
    }

    pub(crate) fn bytes_of_text(&mut self) -> Option<&'a [u8]> {
        let len = self.length()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes_of_text()?).ok()
    }

    /// Passes over one value of a column.
    pub(crate) fn skip(&mut self, column: &Column) -> Option<()> {
        let count = if column.list { self.length()? } else { 1 };
        for _ in 0..count {
            match column.ty {
                FieldType::Keyword | FieldType::Ip => {
                    let len = self.length()?;
                    self.take(len)?;
                }
                FieldType::Boolean => {
                    self.take(1)?;
                }
                FieldType::Long | FieldType::Double | FieldType::Date => {
                    self.take(8)?;
                }
            }
        }
        Some(())
    }
}
