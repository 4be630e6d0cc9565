//! Numbers whose document form is text: ids, inode and mode are keywords, and a JSON number would be mapped as `long`.

/// A number as text, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    text: [u8; Self::TEXT_BYTES_MAX],
    start: u8,
}

/// What has no more than eight digits is less.
const EIGHT_DIGITS: u64 = 100_000_000;
const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);

/// The values of eight digits, the first in the lowest byte: halves, quarters and eighths are divided side by side.
const fn eight_digits(number: u32) -> u64 {
    let number = number as u64;
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x7f_0000_007f;
    let quarters = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((quarters - 10 * tens) << 8)
}

impl Digits {
    /// `u64::MAX` in decimal.
    const TEXT_BYTES_MAX: usize = 20;

    /// Decimal, as ids and inode numbers are written.
    #[must_use]
    pub fn decimal(number: u64) -> Self {
        let mut text = [b'0'; Self::TEXT_BYTES_MAX];
        let (mut rest, mut start) = (number, Self::TEXT_BYTES_MAX);
        for (at, eight) in text.as_rchunks_mut::<8>().1.iter_mut().enumerate().rev() {
            let digits = eight_digits((rest % EIGHT_DIGITS) as u32);
            *eight = (digits | ZEROS).to_le_bytes();
            rest /= EIGHT_DIGITS;
            if rest == 0 {
                // The last digit stands, be it a zero.
                start = 4 + 8 * at + (digits.trailing_zeros() as usize / 8).min(7);
                break;
            }
        }
        for place in text.iter_mut().take(4).rev() {
            if rest == 0 {
                break;
            }
            start = start.min(4) - 1;
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
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
        let near = (0..120_000).chain(99_900_000..100_100_000);
        for number in powers.chain([65534, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]).chain(near) {
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
