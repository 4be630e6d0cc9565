//! Functions of text. Positions and lengths count characters.

use std::borrow::Cow;

use super::{Env, Evaluated, next};
use crate::esql::value::Val;

/// Bytes of a text that a function makes.
const MADE_BYTES_MAX: usize = 1 << 20;
const TOO_LONG: &str = "the text would be longer than a mebibyte";

fn string<'a>(value: Val<'a>) -> Cow<'a, str> {
    match value {
        Val::Text(text) => text,
        _ => Cow::Borrowed(""),
    }
}

fn one<'a>(args: Vec<Val<'a>>) -> Cow<'a, str> {
    string(next(&mut args.into_iter()))
}

fn two<'a>(args: Vec<Val<'a>>) -> (Cow<'a, str>, Cow<'a, str>) {
    let mut args = args.into_iter();
    (string(next(&mut args)), string(next(&mut args)))
}

fn with_count<'a>(args: Vec<Val<'a>>) -> (Cow<'a, str>, i64) {
    let mut args = args.into_iter();
    (string(next(&mut args)), next(&mut args).as_long().unwrap_or(0))
}

fn count(len: usize) -> Val<'static> {
    Val::Long(i64::try_from(len).unwrap_or(i64::MAX))
}

pub(super) fn byte_length<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(count(one(args).len()))
}

pub(super) fn bit_length<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(count(one(args).len() * 8))
}

pub(super) fn length<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(count(one(args).chars().count()))
}

pub(super) fn concat<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let all: String = args.into_iter().map(string).collect();
    if all.len() > MADE_BYTES_MAX { Err(TOO_LONG) } else { Ok(Val::text(all)) }
}

pub(super) fn contains<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, part) = two(args);
    Ok(Val::Boolean(text.contains(&*part)))
}

pub(super) fn starts_with<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, part) = two(args);
    Ok(Val::Boolean(text.starts_with(&*part)))
}

pub(super) fn ends_with<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, part) = two(args);
    Ok(Val::Boolean(text.ends_with(&*part)))
}

fn characters(text: &str, skip: usize, take: usize) -> Val<'static> {
    Val::text(text.chars().skip(skip).take(take).collect::<String>())
}

pub(super) fn left<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, count) = with_count(args);
    Ok(characters(&text, 0, usize::try_from(count).unwrap_or(0)))
}

pub(super) fn right<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, count) = with_count(args);
    let skip = text.chars().count().saturating_sub(usize::try_from(count).unwrap_or(0));
    Ok(characters(&text, skip, usize::MAX))
}

/// Begins at 1; a negative start counts from the end; 0 is the same as 1.
pub(super) fn substring<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let text = string(next(&mut args));
    let start = next(&mut args).as_long().unwrap_or(1);
    let take = match args.next() {
        None => usize::MAX,
        Some(len) => usize::try_from(len.as_long().unwrap_or(0)).map_err(|_| "the length is negative")?,
    };
    let skip = if start < 0 {
        let back = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
        text.chars().count().saturating_sub(back)
    } else {
        usize::try_from(start.saturating_sub(1)).unwrap_or(0)
    };
    Ok(characters(&text, skip, take))
}

/// The first place at or after `start`, from 1; 0 if there is none.
pub(super) fn locate<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (text, part) = (string(next(&mut args)), string(next(&mut args)));
    let start = next(&mut args).as_long().unwrap_or(1);
    let skip = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
    let from = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    let found = text.get(from..).and_then(|rest| rest.find(&*part)).map(|at| at + from);
    Ok(found.map_or(Val::Long(0), |at| count(text.get(..at).unwrap_or_default().chars().count() + 1)))
}

pub(super) fn to_lower<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).to_lowercase()))
}

pub(super) fn to_upper<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).to_uppercase()))
}

pub(super) fn trim<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).trim().to_owned()))
}

pub(super) fn ltrim<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).trim_start().to_owned()))
}

pub(super) fn rtrim<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).trim_end().to_owned()))
}

pub(super) fn reverse<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(one(args).chars().rev().collect::<String>()))
}

pub(super) fn repeat<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, count) = with_count(args);
    let count = usize::try_from(count).map_err(|_| "the number is negative")?;
    if text.len().saturating_mul(count) > MADE_BYTES_MAX {
        return Err(TOO_LONG);
    }
    Ok(Val::text(text.repeat(count)))
}

pub(super) fn space<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let count = next(&mut args.into_iter()).as_long().and_then(|n| usize::try_from(n).ok());
    let count = count.ok_or("the number is negative")?;
    if count > MADE_BYTES_MAX { Err(TOO_LONG) } else { Ok(Val::text(" ".repeat(count))) }
}

pub(super) fn split<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let (text, separator) = two(args);
    if separator.is_empty() {
        return Ok(Val::Text(text));
    }
    Ok(Val::from_items(text.split(&*separator).map(|part| Val::text(part.to_owned())).collect()))
}

pub(super) fn url_decode<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let text = one(args);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(), digit());
                let (Some(high), Some(low)) = (high, low) else { return Err("the text is not URL-encoded") };
                out.push((high * 16 + low) as u8);
            }
            byte => out.push(byte),
        }
    }
    Ok(Val::text(String::from_utf8_lossy(&out).into_owned()))
}

pub(super) fn url_encode<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(percent_encoded(&one(args), "+")))
}

pub(super) fn url_encode_component<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    Ok(Val::text(percent_encoded(&one(args), "%20")))
}

fn percent_encoded(text: &str, space: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(space),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
