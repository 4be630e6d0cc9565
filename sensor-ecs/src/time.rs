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

/// Days since 1970-01-01 of a day of the calendar (`days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year.rem_euclid(400);
    year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2026-01-02T03:04:05.123456789Z`. The range of `i64` nanoseconds has four-digit years only.
#[must_use]
pub fn rfc3339(ns: i64) -> [u8; 30] {
    written(ns.div_euclid(NANOS_PER_SECOND), ns.rem_euclid(NANOS_PER_SECOND))
}

/// [`rfc3339`] of milliseconds, for the years 0 to 9999, which are more than nanoseconds reach.
#[must_use]
pub fn rfc3339_of_millis(millis: i64) -> Option<[u8; 30]> {
    let first = days(0, 1, 1) * SECONDS_PER_DAY;
    let end = days(10_000, 1, 1) * SECONDS_PER_DAY;
    let seconds = millis.div_euclid(1_000);
    (first..end).contains(&seconds).then(|| written(seconds, millis.rem_euclid(1_000) * 1_000_000))
}

fn written(seconds: i64, nanos: i64) -> [u8; 30] {
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
        (20, 9, nanos),
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

/// Reads a date as Elasticsearch's `strict_date_optional_time||epoch_millis` does, UTC unless it says otherwise; and, as
/// events from elsewhere have them, other forms of RFC 3339, such as one with a space for the `T`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    if let Some(ns) = text.as_bytes().try_into().ok().and_then(parse_ours) {
        return Some(ns);
    }
    if let Some((seconds, nanos)) = strict(text) {
        return seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos);
    }
    if let Ok(millis) = text.parse() {
        return epoch_millis(millis);
    }
    let ns = if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        timestamp.as_nanosecond()
    } else {
        let local = text.parse::<jiff::civil::DateTime>().ok()?;
        local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond()
    };
    i64::try_from(ns).ok()
}

/// Reads a date as text: RFC 3339 with or without its last parts, or milliseconds since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    parse_date(text)
}

/// Reads a date as Elasticsearch's `strict_date_optional_time` does, to milliseconds since 1970: a year, and as many of
/// the other parts as follow it without a gap.
#[must_use]
pub fn parse_strict(text: &str) -> Option<i64> {
    let (seconds, nanos) = strict(text)?;
    Some(seconds * 1_000 + nanos / 1_000_000)
}

/// Seconds since 1970, and nanoseconds.
fn strict(text: &str) -> Option<(i64, i64)> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let (mut month, mut day, mut of_day, mut nanos) = (1, 1, 0, 0);
    if skip(&mut rest, b"-") {
        month = digits(&mut rest, 2)?;
        if skip(&mut rest, b"-") {
            day = digits(&mut rest, 2)?;
        }
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    if skip(&mut rest, b"T") && !rest.is_empty() {
        (of_day, nanos) = time(&mut rest)?;
    }
    rest.is_empty().then_some((days(year, month, day) * SECONDS_PER_DAY + of_day, nanos))
}

/// The time of a day and its zone: seconds, less those of the zone, and nanoseconds.
fn time(rest: &mut &[u8]) -> Option<(i64, i64)> {
    let below = |number: i64, end: i64| (number < end).then_some(number);
    let mut of_day = below(digits(rest, 2)?, 24)? * 3600;
    let mut nanos = 0;
    if skip(rest, b":") {
        of_day += below(digits(rest, 2)?, 60)? * 60;
        if skip(rest, b":") {
            of_day += below(digits(rest, 2)?, 60)?;
            if skip(rest, b".,") {
                let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let scale = u32::try_from(count).ok().filter(|count| (1..=9).contains(count))?;
                nanos = digits(rest, count)? * 10_i64.pow(9 - scale);
            }
        }
    }
    let sign = match rest.first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => {
            skip(rest, b"Z");
            return Some((of_day, nanos));
        }
    };
    skip(rest, b"+-");
    let mut offset = below(digits(rest, 2)?, 19)? * 3600;
    if skip(rest, b":") || !rest.is_empty() {
        offset += below(digits(rest, 2)?, 60)? * 60;
    }
    Some((of_day - sign * offset, nanos))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    *rest = after;
    number
        .iter()
        .try_fold(0, |so_far: i64, byte| byte.is_ascii_digit().then(|| so_far * 10 + i64::from(byte - b'0')))
}

fn skip(rest: &mut &[u8], one_of: &[u8]) -> bool {
    match rest.split_first() {
        Some((first, after)) if one_of.contains(first) => {
            *rest = after;
            true
        }
        _ => false,
    }
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
    let ns = days(year, month, day)
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

    #[test]
    fn a_strict_date_may_end_early_and_is_nothing_else() {
        let ms = |text: &str| parse_strict(text);
        for (text, same) in [
            ("2027", "2027-01-01T00:00:00.000Z"),
            ("2026-11", "2026-11-01T00:00:00.000Z"),
            ("2026-11-12", "2026-11-12T00:00:00.000Z"),
            ("2026-11-12T", "2026-11-12T00:00:00.000Z"),
            ("2026-11-12T10", "2026-11-12T10:00:00.000Z"),
            ("2026-11-12T10Z", "2026-11-12T10:00:00.000Z"),
            ("2026-11-12T10:30+02:00", "2026-11-12T08:30:00.000Z"),
            ("2026-11-12T10:30:15-0130", "2026-11-12T12:00:15.000Z"),
            ("2026-11-12T10:30:15,5+01", "2026-11-12T09:30:15.500Z"),
            ("2024-02-29T23:59:59.999999999Z", "2024-02-29T23:59:59.999Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("9999-12-31", "9999-12-31T00:00:00.000Z"),
            ("1500-03-01", "1500-03-01T00:00:00.000Z"),
        ] {
            assert!(ms(text).is_some(), "{text}");
            assert_eq!(ms(text), ms(same), "{text}");
            let written = String::from_utf8(rfc3339_of_millis(ms(text).unwrap()).unwrap().to_vec()).unwrap();
            assert_eq!(format!("{}Z", &written[..23]), same, "{text}");
        }
        assert_eq!((ms("2026-01-01"), ms("1970")), (Some(1_767_225_600_000), Some(0)));
        for wrong in [
            "",
            "26",
            "20261",
            "2026-",
            "2026-1",
            "2026-11-1",
            "2026-13",
            "2026-02-29",
            "2026-11-12 10:00:00",
            "2026-11-12t10",
            "2026-11-12T24:00",
            "2026-11-12T10:60",
            "2026-11-12T10:30:15.",
            "2026-11-12Z",
            "2026-11-12T10:30:15.1234567890Z",
            "2026-11-12T1",
            "1767323045000",
            "-1",
            "2026-11-12T10+1",
            "2026x",
            "2026-11-12T10+01:",
            "2026-11-12T10ZZ",
            "２０２６",
        ] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339_of_millis(i64::MAX), None);
        assert_eq!(rfc3339_of_millis(i64::MIN), None);
        // A document's date is a year first, and milliseconds where it cannot be.
        assert_eq!(parse_date("2026"), Some(1_767_225_600_000_000_000));
        assert_eq!(parse_date("20261122"), Some(20_261_122_000_000));
        assert_eq!(parse_date("2026-01-02 03:04:05Z"), Some(1_767_323_045_000_000_000));
    }

    proptest! {
        #[test]
        fn every_date_agrees_with_the_library(ns: i64) {
            let timestamp = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            prop_assert_eq!(text(ns), format!("{timestamp:.9}"));
            prop_assert_eq!(parse_date(&text(ns)), Some(ns));
            prop_assert_eq!(strict(&text(ns)), Some((ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))));
        }
    }
}
