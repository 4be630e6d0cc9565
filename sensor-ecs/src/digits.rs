//! Numbers whose document form is text: ids, inode and mode are keywords, and a JSON number would be mapped as `long`.

/// A number as text, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    text: [u8; Self::TEXT_BYTES_MAX],
    start: u8,
}

impl Digits {
    /// `u64::MAX` in decimal.
    const TEXT_BYTES_MAX: usize = 20;

    /// The base is a constant so that nothing is divided.
    fn in_base<const BASE: u64>(mut number: u64, width_min: usize) -> Self {
        let mut text = [b'0'; Self::TEXT_BYTES_MAX];
        let mut start = Self::TEXT_BYTES_MAX;
        for (at, place) in text.iter_mut().enumerate().rev() {
            if number == 0 && Self::TEXT_BYTES_MAX - start >= width_min {
                break;
            }
            *place = b'0' + (number % BASE) as u8;
            number /= BASE;
            start = at;
        }
        Self { text, start: start as u8 }
    }

    /// Decimal, as ids and inode numbers are written.
    #[must_use]
    pub fn decimal(number: u64) -> Self {
        Self::in_base::<10>(number, 1)
    }

    /// The permission bits of an `i_mode` in octal, four digits: `0644`, `4755`.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self::in_base::<8>(u64::from(mode & 0o7777), 4)
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(usize::from(self.start)..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn decimal_is_what_display_prints() {
        for number in [0, 1, 9, 10, 65534, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Digits::decimal(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn mode_has_four_octal_digits() {
        for (mode, expected) in
            [(0o100_644, "0644"), (0o104_755, "4755"), (0o100_000, "0000"), (0o041_777, "1777")]
        {
            assert_eq!(Digits::mode(mode).as_bytes(), expected.as_bytes());
        }
    }
}
