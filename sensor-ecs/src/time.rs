//! Dates in documents: RFC 3339 in UTC with nine digits.

use crate::escape::write_json_string;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + year_of_era + era * 400, month, of_month)
}

/// `2026-01-02T03:04:05.123456789Z`. The range of `i64` nanoseconds has four-digit years only.
#[must_use]
pub fn rfc3339(ns: i64) -> [u8; 30] {
    let seconds = ns.div_euclid(NANOS_PER_SECOND);
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let parts: [(usize, usize, i64); 7] = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, second_of_day / 3600),
        (14, 2, second_of_day / 60 % 60),
        (17, 2, second_of_day % 60),
        (20, 9, ns.rem_euclid(NANOS_PER_SECOND)),
    ];
    for (start, digits, mut number) in parts {
        for place in text.iter_mut().skip(start).take(digits).rev() {
            *place = b'0' + number.rem_euclid(10) as u8;
            number /= 10;
        }
    }
    text
}

pub(crate) fn write_json_date(ns: i64, out: &mut Vec<u8>) {
    write_json_string(&rfc3339(ns), out);
}

/// Reads a date as Elasticsearch's `strict_date_optional_time||epoch_millis` does, UTC unless it says otherwise.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    if let Some(ns) = text.as_bytes().try_into().ok().and_then(parse_ours) {
        return Some(ns);
    }
    let ns = if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        timestamp.as_nanosecond()
    } else if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond()
    } else {
        return epoch_millis(text.parse().ok()?);
    };
    i64::try_from(ns).ok()
}

/// Reads a date as text: RFC 3339 with or without its last parts, or milliseconds since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    parse_date(text)
}

/// Reads the form that [`rfc3339`] writes, which is nearly every date there is.
fn parse_ours(text: &[u8; 30]) -> Option<i64> {
    let number = |start: usize, digits: usize| {
        text.iter().skip(start).take(digits).try_fold(0, |number: i64, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let days = {
        let year = if month <= 2 { year - 1 } else { year };
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let of_era = year.rem_euclid(400);
        year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    };
    let ns = days
        .checked_mul(SECONDS_PER_DAY)?
        .checked_add(hour * 3600 + minute * 60 + second)?
        .checked_mul(NANOS_PER_SECOND)?
        .checked_add(number(20, 9)?)?;
    // Anything that is not exactly what would have been written, such as a 30th of February, is for the library.
    (rfc3339(ns) == *text).then_some(ns)
}

pub(crate) fn epoch_millis(millis: i64) -> Option<i64> {
    millis.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(ns: i64) -> String {
        String::from_utf8(rfc3339(ns).to_vec()).unwrap()
    }

    #[test]
    fn dates_have_nine_digits() {
        assert_eq!(text(1_767_323_045_123_456_789), "2026-01-02T03:04:05.123456789Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(1_709_164_800_000_000_000), "2024-02-29T00:00:00.000000000Z");
    }

    #[test]
    fn dates_are_read_in_every_usual_form() {
        let expected = Some(1_767_323_045_000_000_000);
        for form in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000Z",
            "2026-01-02T04:04:05+01:00",
            "2026-01-02T03:04:05",
            "1767323045000",
        ] {
            assert_eq!(parse_date(form), expected, "{form}");
        }
        assert_eq!(parse_date("2026-01-02"), Some(1_767_312_000_000_000_000));
        for form in [
            "2026-02-30T00:00:00.000000000Z",
            "2026-01-02T25:00:00.000000000Z",
            "",
            "yesterday",
            "2026-13-01",
            "99999999999999999",
        ] {
            assert_eq!(parse_date(form), None, "{form}");
        }
    }

    proptest! {
        #[test]
        fn every_date_agrees_with_the_library(ns: i64) {
            let timestamp = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            prop_assert_eq!(text(ns), format!("{timestamp:.9}"));
            prop_assert_eq!(parse_date(&text(ns)), Some(ns));
        }
    }
}
