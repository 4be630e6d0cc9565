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

    /// Decimal, as ids and inode numbers are written.
    #[must_use]
    pub fn decimal(mut number: u64) -> Self {
        let mut text = [b'0'; Self::TEXT_BYTES_MAX];
        let mut start = Self::TEXT_BYTES_MAX;
        for (at, pair) in text.as_chunks_mut::<2>().0.iter_mut().enumerate().rev() {
            let (rest, last) = (number / 100, (number % 100) as u8);
            let (tens, ones) = (last / 10, last % 10);
            *pair = [b'0' + tens, b'0' + ones];
            number = rest;
            if number == 0 {
                start = 2 * at + usize::from(tens == 0);
                break;
            }
        }
        Self { text, start: start as u8 }
    }

    /// The permission bits of an `i_mode` in octal, four digits: `0644`, `4755`.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        let mut text = [b'0'; Self::TEXT_BYTES_MAX];
        if let Some(last) = text.last_chunk_mut() {
            *last = [9, 6, 3, 0].map(|shift| b'0' + (mode >> shift & 7) as u8);
        }
        Self { text, start: Self::TEXT_BYTES_MAX as u8 - 4 }
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
        let powers = (0..20).map(|power| 10_u64.pow(power)).flat_map(|power| [power - 1, power, power + 1]);
        for number in powers.chain([65534, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]) {
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
