//! Functions of dates, in UTC.

use super::{Env, Evaluated, next};
use crate::esql::value::Val;

pub(super) const DAY: i64 = 86_400_000;

/// Year, month and day of a day counted from 1970-01-01.
pub(super) fn civil(day: i64) -> (i64, i64, i64) {
    let text = sensor_ecs::time::rfc3339_of_millis(day.saturating_mul(DAY)).unwrap_or([b'0'; 30]);
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range).unwrap_or_default();
        digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit.wrapping_sub(b'0')))
    };
    (number(0..4), number(5..7), number(8..10))
}

pub(super) fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let text = format!("{year:04}-{month:02}-{day:02}");
    super::date_of(&text).map(|ms| ms.div_euclid(DAY))
}

/// The beginning of the span that the time is in.
pub(super) fn truncate(period: (i64, i64), ms: i64) -> Option<i64> {
    let (span, months) = period;
    if months > 0 {
        let (year, month, _) = civil(ms.div_euclid(DAY));
        // Spans of several months or years are counted from the year 1.
        let since = (year - 1) * 12 + month - 1;
        let first = since.div_euclid(months) * months;
        return day_of(1 + first.div_euclid(12), first.rem_euclid(12) + 1, 1)?.checked_mul(DAY);
    }
    if span <= 0 {
        return None;
    }
    // A week begins on a Monday, and 1970 began on a Thursday; several weeks are just so many days.
    let shift = if span == 7 * DAY { 3 * DAY } else { 0 };
    Some((ms + shift).div_euclid(span) * span - shift)
}

fn truncated<'a>(period: Val<'_>, date: Val<'_>) -> Evaluated<'a> {
    let (Val::Period(span, months), Val::Date(ms)) = (period, date) else { return Ok(Val::Null) };
    truncate((span, months), ms).map(Val::Date).ok_or("the span of time must be greater than 0")
}

pub(super) fn date_trunc<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (period, date) = (next(&mut args), next(&mut args));
    truncated(period, date)
}

pub(super) fn bucket<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (date, period) = (next(&mut args), next(&mut args));
    truncated(period, date)
}

/// What `date_diff` counts: so many nanoseconds, or months.
#[derive(Clone, Copy)]
enum Counted {
    Nanos(i64),
    Months(i64),
}

/// The words of `date_diff`, which are not those of a span of time: `m` is a month, `y` a day of the year.
fn counted(word: &str) -> Option<Counted> {
    const MS: i64 = 1_000_000;
    Some(match word.to_ascii_lowercase().as_str() {
        "nanosecond" | "nanoseconds" | "ns" => Counted::Nanos(1),
        "microsecond" | "microseconds" | "mcs" => Counted::Nanos(1_000),
        "millisecond" | "milliseconds" | "ms" => Counted::Nanos(MS),
        "second" | "seconds" | "ss" | "s" => Counted::Nanos(1_000 * MS),
        "minute" | "minutes" | "mi" | "n" => Counted::Nanos(60_000 * MS),
        "hour" | "hours" | "hh" => Counted::Nanos(3_600_000 * MS),
        "day" | "days" | "dd" | "d" | "dayofyear" | "dy" | "y" | "weekday" | "weekdays" | "dw" => {
            Counted::Nanos(DAY * MS)
        }
        "week" | "weeks" | "wk" | "ww" => Counted::Nanos(7 * DAY * MS),
        "month" | "months" | "mm" | "m" => Counted::Months(1),
        "quarter" | "quarters" | "qq" | "q" => Counted::Months(3),
        "year" | "years" | "yyyy" | "yy" => Counted::Months(12),
        _ => return None,
    })
}

const NO_UNIT: &str = "is not a valid unit";
const NO_PART: &str = "is not a part of a date";

/// Why the first argument of `date_diff` or `date_extract` cannot be, if it cannot.
pub(in crate::esql) fn refuse_word(function: &str, word: &str) -> Option<String> {
    let (known, what) = match function {
        "date_diff" => (counted(word).is_some(), NO_UNIT),
        _ => (part(word, 0).is_some(), NO_PART),
    };
    (!known).then(|| format!("[{word}] {what}"))
}

pub(super) fn date_diff<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (word, start, end) = (next(&mut args), next(&mut args), next(&mut args));
    let (Some(word), Some(start), Some(end)) = (word.as_text(), start.as_long(), end.as_long()) else {
        return Ok(Val::Null);
    };
    let count = match counted(word).ok_or(NO_UNIT)? {
        Counted::Nanos(span) => {
            let nanos = (i128::from(end) - i128::from(start)) * 1_000_000;
            i64::try_from(nanos / i128::from(span)).unwrap_or(i64::MAX)
        }
        Counted::Months(span) => whole_months(start, end) / span,
    };
    Ok(Val::Long(count))
}

fn whole_months(start: i64, end: i64) -> i64 {
    let since = |ms: i64| {
        let (year, month, day) = civil(ms.div_euclid(DAY));
        (year * 12 + month, day * DAY + ms.rem_euclid(DAY))
    };
    let ((from, from_rest), (to, to_rest)) = (since(start), since(end));
    let months = to - from;
    if months > 0 && to_rest < from_rest {
        months - 1
    } else if months < 0 && to_rest > from_rest {
        months + 1
    } else {
        months
    }
}

pub(super) fn date_extract<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (word, date) = (next(&mut args), next(&mut args));
    let (Some(word), Some(ms)) = (word.as_text(), date.as_long()) else { return Ok(Val::Null) };
    part(word, ms).map(Val::Long).ok_or(NO_PART)
}

/// A part of a date, by the name that it has in Java's `ChronoField`.
fn part(word: &str, ms: i64) -> Option<i64> {
    let day = ms.div_euclid(DAY);
    let of_day = ms.rem_euclid(DAY);
    let (year, month, of_month) = civil(day);
    let of_year = day - day_of(year, 1, 1).unwrap_or(day) + 1;
    Some(match word.to_ascii_lowercase().as_str() {
        "year" | "year_of_era" => year,
        "month_of_year" => month,
        "day_of_month" => of_month,
        "day_of_week" => (day + 3).rem_euclid(7) + 1,
        "day_of_year" => of_year,
        "aligned_week_of_month" => (of_month - 1) / 7 + 1,
        "aligned_week_of_year" => (of_year - 1) / 7 + 1,
        "aligned_day_of_week_in_month" => (of_month - 1) % 7 + 1,
        "aligned_day_of_week_in_year" => (of_year - 1) % 7 + 1,
        "proleptic_month" => year * 12 + month - 1,
        "era" => 1,
        "epoch_day" => day,
        "instant_seconds" => ms.div_euclid(1_000),
        "offset_seconds" => 0,
        "ampm_of_day" => of_day / 43_200_000,
        "hour_of_day" => of_day / 3_600_000,
        "clock_hour_of_day" => (of_day / 3_600_000 + 23) % 24 + 1,
        "hour_of_ampm" => of_day / 3_600_000 % 12,
        "clock_hour_of_ampm" => (of_day / 3_600_000 + 11) % 12 + 1,
        "minute_of_hour" => of_day / 60_000 % 60,
        "minute_of_day" => of_day / 60_000,
        "second_of_minute" => of_day / 1_000 % 60,
        "second_of_day" => of_day / 1_000,
        "milli_of_second" => of_day % 1_000,
        "milli_of_day" => of_day,
        "micro_of_second" => of_day % 1_000 * 1_000,
        "micro_of_day" => of_day * 1_000,
        "nano_of_second" => of_day % 1_000 * 1_000_000,
        "nano_of_day" => of_day * 1_000_000,
        _ => return None,
    })
}

/// A date and a span of time.
pub(in crate::esql) fn shift(ms: i64, span: i64, months: i64) -> Option<i64> {
    let mut ms = ms;
    if months != 0 {
        let (year, month, day) = civil(ms.div_euclid(DAY));
        let since = year * 12 + month - 1 + months;
        let (year, month) = (since.div_euclid(12), since.rem_euclid(12) + 1);
        // The last day of a shorter month.
        let moved = (0..4).find_map(|less| day_of(year, month, day - less))?;
        ms = moved.checked_mul(DAY)?.checked_add(ms.rem_euclid(DAY))?;
    }
    ms.checked_add(span)
}
