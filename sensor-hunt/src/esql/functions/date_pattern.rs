//! `date_format` and `date_parse`: patterns of dates as Java has them, in UTC and in English.

use super::date::{DAY, civil, day_of};
use super::{Env, Evaluated, next};
use crate::esql::outcome::date_text;
use crate::esql::value::Val;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A letter, and how often it stands there.
    Field(char, usize),
}

/// Letters with the greatest count that is understood.
const LETTERS: [(char, usize); 13] = [
    ('y', 4),
    ('u', 4),
    ('M', 4),
    ('d', 2),
    ('H', 2),
    ('h', 2),
    ('m', 2),
    ('s', 2),
    ('S', 9),
    ('a', 1),
    ('E', 4),
    ('X', 3),
    ('Z', 3),
];

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut chars = pattern.chars().peekable();
    let literal = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
        Some(Part::Literal(text)) => text.push(c),
        _ => parts.push(Part::Literal(c.to_string())),
    };
    while let Some(c) = chars.next() {
        if c == '\'' {
            if chars.next_if_eq(&'\'').is_some() {
                literal(&mut parts, '\'');
                continue;
            }
            loop {
                match chars.next() {
                    None => return Err("the quote `'` is never closed".to_owned()),
                    Some('\'') if chars.next_if_eq(&'\'').is_none() => break,
                    Some(c) => literal(&mut parts, c),
                }
            }
        } else if c.is_ascii_alphabetic() {
            let mut count = 1;
            while chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            if !LETTERS.iter().any(|(letter, most)| *letter == c && count <= *most) {
                return Err(format!(
                    "`{}` in a pattern of dates is not supported",
                    c.to_string().repeat(count)
                ));
            }
            parts.push(Part::Field(c, count));
        } else {
            literal(&mut parts, c);
        }
    }
    Ok(parts)
}

/// Why a pattern cannot be used, if it cannot.
pub(in crate::esql) fn refuse(pattern: &str) -> Option<String> {
    parts(pattern).err()
}

pub(super) fn date_format<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (pattern, date) = (next(&mut args), next(&mut args));
    let (Some(pattern), Some(ms)) = (pattern.as_text(), date.as_long()) else { return Ok(Val::Null) };
    if pattern.is_empty() {
        return Ok(Val::text(date_text(ms)));
    }
    let parts = parts(pattern).map_err(|_| "is not a pattern of dates that is supported")?;
    let (day, of_day) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, of_month) = civil(day);
    let hour = of_day / 3_600_000;
    let month_name = name(&MONTHS, month - 1);
    let day_name = name(&DAYS, (day + 3).rem_euclid(7));
    let mut out = String::new();
    for part in &parts {
        let (letter, count) = match part {
            Part::Literal(text) => {
                out.push_str(text);
                continue;
            }
            Part::Field(letter, count) => (*letter, *count),
        };
        let number = |number: i64| format!("{number:0count$}");
        out.push_str(&match (letter, count) {
            ('y' | 'u', 2) => format!("{:02}", year.rem_euclid(100)),
            ('y' | 'u', _) => number(year),
            ('M', 1 | 2) => number(month),
            ('M', 3) => short(month_name).to_owned(),
            ('M', _) => month_name.to_owned(),
            ('d', _) => number(of_month),
            ('H', _) => number(hour),
            ('h', _) => number((hour + 11) % 12 + 1),
            ('m', _) => number(of_day / 60_000 % 60),
            ('s', _) => number(of_day / 1_000 % 60),
            ('S', _) => format!("{:03}000000", of_day % 1_000).chars().take(count).collect(),
            ('a', _) => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            ('E', 4) => day_name.to_owned(),
            ('E', _) => short(day_name).to_owned(),
            ('X', _) => "Z".to_owned(),
            _ => "+0000".to_owned(),
        });
    }
    Ok(Val::text(out))
}

fn name(names: &[&'static str], at: i64) -> &'static str {
    usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or("")
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

pub(super) fn day_name<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let date = next(&mut args.into_iter());
    Ok(date.as_long().map_or(Val::Null, |ms| Val::text(name(&DAYS, (ms.div_euclid(DAY) + 3).rem_euclid(7)))))
}

pub(super) fn month_name<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let date = next(&mut args.into_iter());
    Ok(date.as_long().map_or(Val::Null, |ms| Val::text(name(&MONTHS, civil(ms.div_euclid(DAY)).1 - 1))))
}

const NOT_PARSED: &str = "Failed to parse date";

pub(super) fn date_parse<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (pattern, text) = (next(&mut args), next(&mut args));
    let (Some(pattern), Some(text)) = (pattern.as_text(), text.as_text()) else { return Ok(Val::Null) };
    let found = if pattern.is_empty() { super::date_of(text) } else { parse(pattern, text) };
    found.map(Val::Date).ok_or(NOT_PARSED)
}

/// What the pattern does not say is that of the beginning of 1970.
fn parse(pattern: &str, text: &str) -> Option<i64> {
    let mut rest = text;
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut half, mut minute, mut second, mut ms, mut zone) = (0, None, 0, 0, 0, 0);
    for part in parts(pattern).ok()? {
        match part {
            Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
            Part::Field('M', 3) => month = word(&mut rest, &MONTHS.map(short))? + 1,
            Part::Field('M', 4) => month = word(&mut rest, &MONTHS)? + 1,
            Part::Field('E', 4) => drop(word(&mut rest, &DAYS)?),
            Part::Field('E', _) => drop(word(&mut rest, &DAYS.map(short))?),
            Part::Field('a', _) => half = Some(word(&mut rest, &["AM", "PM"])?),
            Part::Field('X' | 'Z', _) => zone = offset(&mut rest)?,
            Part::Field('S', count) => {
                let fraction = digits(&mut rest, count, count)?;
                ms = fraction * 1_000 / 10_i64.checked_pow(u32::try_from(count).ok()?)?;
            }
            Part::Field(letter, count) => {
                let most = match (letter, count) {
                    ('y' | 'u', 1 | 3 | 4) => 4,
                    _ => 2,
                };
                let number = digits(&mut rest, count.min(most), most)?;
                match letter {
                    'y' | 'u' => year = if count == 2 { 2000 + number } else { number },
                    'M' => month = number,
                    'd' => day = number,
                    'H' => hour = number,
                    'h' => {
                        hour = number % 12;
                        half = half.or(Some(0));
                    }
                    'm' => minute = number,
                    _ => second = number,
                }
            }
        }
    }
    if !rest.is_empty() || hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
        return None;
    }
    hour += half.map_or(0, |half| 12 * half);
    let date = day_of(year, month, day)?;
    // A day that the month does not have is not the next month's.
    (civil(date) == (year, month, day)).then_some(())?;
    date.checked_mul(DAY)?.checked_add(((hour * 60 + minute) * 60 + second) * 1_000 + ms - zone)
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i64> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, tail) = rest.split_at_checked(count).filter(|_| count >= least)?;
    *rest = tail;
    number.parse().ok()
}

fn word(rest: &mut &str, words: &[&str]) -> Option<i64> {
    let starts = |word: &&str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let at = words.iter().position(starts)?;
    *rest = rest.get(words.get(at)?.len()..)?;
    i64::try_from(at).ok()
}

/// `Z`, `+01`, `+0100`, `+01:00`; in milliseconds.
fn offset(rest: &mut &str) -> Option<i64> {
    if let Some(tail) = rest.strip_prefix('Z') {
        *rest = tail;
        return Some(0);
    }
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.strip_prefix(['+', '-'])?;
    let hours = digits(rest, 2, 2)?;
    let tail = rest.strip_prefix(':').unwrap_or(rest);
    *rest = tail;
    let minutes = if rest.starts_with(|c: char| c.is_ascii_digit()) { digits(rest, 2, 2)? } else { 0 };
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// The spans that `bucket` with bounds may take, from coarse to fine: milliseconds and months.
const SPANS: [(i64, i64); 19] = [
    (0, 12),
    (0, 1),
    (7 * DAY, 0),
    (DAY, 0),
    (DAY / 2, 0),
    (DAY / 8, 0),
    (3_600_000, 0),
    (1_800_000, 0),
    (600_000, 0),
    (300_000, 0),
    (60_000, 0),
    (30_000, 0),
    (10_000, 0),
    (5_000, 0),
    (1_000, 0),
    (100, 0),
    (50, 0),
    (10, 0),
    (1, 0),
];

/// `bucket(date, count, from, to)`: the finest span of which no more than so many cover the range.
pub(super) fn bucket_range<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (date, count, from, to) = (next(&mut args), next(&mut args), next(&mut args), next(&mut args));
    let (Some(ms), Some(count), Some(from), Some(to)) =
        (date.as_long(), count.as_long(), from.as_long(), to.as_long())
    else {
        return Ok(Val::Null);
    };
    let enough = |(span, months): &&(i64, i64)| {
        let start = super::date::truncate((*span, *months), from)?;
        let end = super::date::shift(start, span.checked_mul(count)?, months.checked_mul(count)?)?;
        Some(end >= to)
    };
    let fine = SPANS.iter().skip(1).take_while(|span| enough(span) == Some(true)).last();
    let span = fine.or(SPANS.first()).copied().unwrap_or((DAY, 0));
    super::date::truncate(span, ms).map(Val::Date).ok_or("the range of a bucket is too large")
}
