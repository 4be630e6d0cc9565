//! Times as rules write them, in nanoseconds since the Unix epoch. No clock: only text to number and back.

/// Parses RFC 3339 with optional parts (`2024-01-02`, `2024-01-02T03:04:05.678Z`) or integer milliseconds.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>()
        && text.len() != 4
    {
        return millis.checked_mul(1_000_000);
    }
    let mut rest = text;
    let year = take(&mut rest, 4)?;
    let month = if eat(&mut rest, '-') { take(&mut rest, 2)? } else { 1 };
    let day = if eat(&mut rest, '-') { take(&mut rest, 2)? } else { 1 };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (mut seconds, mut nanos, mut offset) = (0, 0, 0);
    if eat(&mut rest, 'T') || eat(&mut rest, 't') || eat(&mut rest, ' ') {
        seconds = take(&mut rest, 2)? * 3600;
        if eat(&mut rest, ':') {
            seconds += take(&mut rest, 2)? * 60;
        }
        if eat(&mut rest, ':') {
            seconds += take(&mut rest, 2)?;
        }
        if eat(&mut rest, '.') || eat(&mut rest, ',') {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let fraction = rest.get(..digits.min(9)).filter(|d| !d.is_empty())?;
            let scale = 10_i64.checked_pow(u32::try_from(9 - fraction.len()).ok()?)?;
            nanos = fraction.parse::<i64>().ok()? * scale;
            rest = rest.get(digits..)?;
        }
        offset = zone(&mut rest)?;
    }
    if !rest.is_empty() {
        return None;
    }
    let total = days(year, month, day).checked_mul(86_400)?.checked_add(seconds)?.checked_sub(offset)?;
    total.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn zone(rest: &mut &str) -> Option<i64> {
    if eat(rest, 'Z') || eat(rest, 'z') || rest.is_empty() {
        return Some(0);
    }
    let sign = if eat(rest, '+') {
        1
    } else if eat(rest, '-') {
        -1
    } else {
        return None;
    };
    let hours = take(rest, 2)?;
    eat(rest, ':');
    let minutes = if rest.is_empty() { 0 } else { take(rest, 2)? };
    Some(sign * (hours * 3600 + minutes * 60))
}

fn take(rest: &mut &str, digits: usize) -> Option<i64> {
    let head = rest.get(..digits).filter(|h| h.bytes().all(|b| b.is_ascii_digit()))?;
    *rest = rest.get(digits..)?;
    head.parse().ok()
}

fn eat(rest: &mut &str, c: char) -> bool {
    match rest.strip_prefix(c) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

/// Days from the epoch to a date of the Gregorian calendar, counting years from March so that the leap day is last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Parses the spans that rule files use: `5m`, `30s`, `9h`, `7d`, `2w`, `500ms`.
pub(crate) fn parse_span(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(split)?;
    let unit: i64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "w" => 604_800_000_000_000,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(unit).filter(|ns| *ns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1970-01-02", 86_400),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-03-01T00:00:00+01:00", 1_709_247_600),
            ("1969-12-31T23:59:59Z", -1),
            ("2000", 946_684_800),
            ("12000", 12),
        ] {
            assert_eq!(parse(text), Some(seconds * 1_000_000_000), "{text}");
        }
        assert_eq!(parse("2022-05-04T12:00:00.0012345678Z").unwrap() % 1_000_000_000, 1_234_567);
        for bad in ["", "2024-13-01", "2024-01-01T", "yesterday", "2024-01-01T00:00:00X"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(parse_span("5m"), Some(300_000_000_000));
        for bad in ["5", "m", "0m", "5y", "-5m", ""] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
