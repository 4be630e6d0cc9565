//! Times on the command line.

use jiff::Timestamp;

/// Milliseconds since 1970 of a time as a person writes it: RFC 3339, a day of UTC, or how long before `now`.
pub(super) fn milliseconds(text: &str, now: i64) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(start) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(start.timestamp().as_millisecond());
    }
    ago(text).and_then(|span| now.checked_sub(span)).ok_or_else(|| {
        format!(
            "no time: {text} (write 2026-01-31T12:00:00Z, 2026-01-31, or how long ago: 90s 15m 12h 7d 4w)"
        )
    })
}

fn ago(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let number: i64 = text.strip_suffix(unit)?.trim().parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    number.checked_mul(seconds)?.checked_mul(1_000)
}

pub(super) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_are_read_as_they_are_written() {
        let now = 1_000_000_000_000;
        assert_eq!(milliseconds("1970-01-01T00:00:01Z", now), Ok(1_000));
        assert_eq!(milliseconds("1970-01-01T02:00:01+02:00", now), Ok(1_000));
        assert_eq!(milliseconds("1970-01-02", now), Ok(86_400_000));
        assert_eq!(milliseconds("7d", now), Ok(now - 7 * 86_400_000));
        for text in ["", "d", "-1d", "7y", "yesterday", "99999999999999999d", "2026-13-01"] {
            assert!(milliseconds(text, now).is_err(), "{text}");
        }
    }
}
