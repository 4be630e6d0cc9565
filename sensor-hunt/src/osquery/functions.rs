//! The SQL functions that osquery adds to SQLite's and that hunts use.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use regex_automata::meta::Regex;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use sha2::Digest as _;

use crate::base64;

const COMPILED_BYTES_MAX: usize = 8 << 20;
type OfOne = fn(f64) -> f64;

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

pub(super) fn add(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("md5", 1, PURE, |call| {
        Ok(bytes(call, 0)?.map(|it| hex(&md5::Md5::digest(it))))
    })?;
    connection.create_scalar_function("sha1", 1, PURE, |call| {
        Ok(bytes(call, 0)?.map(|it| hex(&sha1::Sha1::digest(it))))
    })?;
    connection.create_scalar_function("sha256", 1, PURE, |call| {
        Ok(bytes(call, 0)?.map(|it| hex(&sha2::Sha256::digest(it))))
    })?;
    connection.create_scalar_function("inet_aton", 1, PURE, |call| {
        Ok(text(call, 0)?.and_then(|it| it.parse::<Ipv4Addr>().ok()).map(|it| i64::from(it.to_bits())))
    })?;
    connection.create_scalar_function("in_cidr_block", 2, PURE, |call| {
        let (Some(block), Some(address)) = (text(call, 0)?, text(call, 1)?) else { return Ok(None) };
        in_block(&block, &address).map(Some).map_err(|cause| Error::UserFunctionError(cause.into()))
    })?;
    connection.create_scalar_function("split", 3, PURE, |call| {
        let (Some(whole), Some(tokens)) = (text(call, 0)?, text(call, 1)?) else { return Ok(None) };
        let index = usize::try_from(call.get::<i64>(2)?).unwrap_or(usize::MAX);
        let part = whole.split(|it| tokens.contains(it)).filter(|part| !part.is_empty()).nth(index);
        Ok(part.map(str::to_owned))
    })?;
    expressions(connection)?;
    encodings(connection)?;
    numbers(connection)
}

/// `regex_match(text, pattern, group)` and `regex_split(text, pattern, index)`, in linear time: what looks around or back
/// is refused.
fn expressions(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("regex_match", 3, PURE, |call| {
        let (Some(whole), Some(regex)) = (text(call, 0)?, expression(call)?) else { return Ok(None) };
        let mut captures = regex.create_captures();
        regex.captures(&whole, &mut captures);
        let group = usize::try_from(call.get::<i64>(2)?).ok().and_then(|group| captures.get_group(group));
        Ok(group.and_then(|span| whole.get(span.range()).map(str::to_owned)))
    })?;
    connection.create_scalar_function("regex_split", 3, PURE, |call| {
        let (Some(whole), Some(regex)) = (text(call, 0)?, expression(call)?) else { return Ok(None) };
        let Ok(index) = usize::try_from(call.get::<i64>(2)?) else { return Ok(None) };
        let part = regex.split(&whole).nth(index);
        Ok(part.and_then(|span| whole.get(span.range()).map(str::to_owned)))
    })
}

/// The pattern of a call, compiled once for a statement.
fn expression(call: &Context<'_>) -> Result<Option<Arc<Regex>>> {
    if matches!(call.get_raw(1), ValueRef::Null) {
        return Ok(None);
    }
    let compiled = call.get_or_create_aux(1, |pattern| {
        let pattern = pattern.as_str().map_err(|cause| cause.to_string())?;
        let config = Regex::config().nfa_size_limit(Some(COMPILED_BYTES_MAX));
        Regex::builder().configure(config).build(pattern).map_err(|cause| {
            let why = cause.syntax_error().map_or_else(|| cause.to_string(), ToString::to_string);
            format!(
                "the pattern {pattern} is wrong or not supported: {}",
                why.lines().last().unwrap_or_default()
            )
        })
    });
    compiled.map(Some)
}

fn encodings(connection: &Connection) -> Result<()> {
    connection.create_scalar_function(
        "to_base64",
        1,
        PURE,
        |call| Ok(bytes(call, 0)?.map(base64::encode)),
    )?;
    connection.create_scalar_function("conditional_to_base64", 1, PURE, |call| {
        let printable = |it: &[u8]| it.iter().all(|byte| (b' '..=b'~').contains(byte));
        Ok(bytes(call, 0)?.map(|it| {
            if printable(it) { String::from_utf8_lossy(it).into_owned() } else { base64::encode(it) }
        }))
    })?;
    connection.create_scalar_function("from_base64", 1, PURE, |call| {
        let decoded = bytes(call, 0)?.map(|it| base64::decode(it).unwrap_or_default());
        Ok(decoded.map(|it| String::from_utf8_lossy(&it).into_owned()))
    })
}

/// osquery's functions of numbers, as it has them: `log` is the natural logarithm, `ceil` and `floor` give whole numbers.
fn numbers(connection: &Connection) -> Result<()> {
    const OF_ONE: [(&str, OfOne); 14] = [
        ("sqrt", f64::sqrt),
        ("acos", f64::acos),
        ("asin", f64::asin),
        ("atan", f64::atan),
        ("cos", f64::cos),
        ("sin", f64::sin),
        ("tan", f64::tan),
        ("cot", |it| it.tan().recip()),
        ("exp", f64::exp),
        ("log", f64::ln),
        ("log10", f64::log10),
        ("degrees", f64::to_degrees),
        ("radians", f64::to_radians),
        ("pi", |_| std::f64::consts::PI),
    ];
    for (name, of) in OF_ONE {
        let arguments = i32::from(name != "pi");
        connection.create_scalar_function(name, arguments, PURE, move |call| {
            let it = if arguments == 0 { Some(0.0) } else { number(call, 0) };
            it.map(of).map_or(Ok(None), |it| {
                if it.is_finite() {
                    Ok(Some(it))
                } else {
                    Err(Error::UserFunctionError("out of range".into()))
                }
            })
        })?;
    }
    connection.create_scalar_function("power", 2, PURE, |call| {
        Ok(number(call, 0).zip(number(call, 1)).map(|(base, exponent)| base.powf(exponent)))
    })?;
    for (name, of) in [("ceil", f64::ceil as OfOne), ("floor", f64::floor)] {
        connection
            .create_scalar_function(name, 1, PURE, move |call| Ok(number(call, 0).map(|it| of(it) as i64)))?;
    }
    Ok(())
}

/// A number, as SQLite takes text for one: by what it begins with, else 0.
fn number(call: &Context<'_>, index: usize) -> Option<f64> {
    match call.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(it) => Some(it as f64),
        ValueRef::Real(it) => Some(it),
        ValueRef::Text(it) | ValueRef::Blob(it) => {
            let text = String::from_utf8_lossy(it);
            let text = text.trim_start();
            let digits =
                text.find(|it: char| !(it.is_ascii_digit() || matches!(it, '.' | '-' | '+' | 'e' | 'E')));
            Some(text.get(..digits.unwrap_or(text.len())).and_then(|it| it.parse().ok()).unwrap_or(0.0))
        }
    }
}

fn bytes<'a>(call: &'a Context<'_>, index: usize) -> Result<Option<&'a [u8]>> {
    match call.get_raw(index) {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Some(bytes)),
        ValueRef::Null => Ok(None),
        ValueRef::Integer(_) | ValueRef::Real(_) => {
            Err(Error::UserFunctionError("the argument is a number; use CAST(... AS TEXT)".into()))
        }
    }
}

fn text(call: &Context<'_>, index: usize) -> Result<Option<String>> {
    Ok(bytes(call, index)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn in_block(block: &str, address: &str) -> std::result::Result<bool, String> {
    let bad = || format!("not a block of addresses: {block}");
    let (network, length) = block.split_once('/').ok_or_else(bad)?;
    let (network, length) =
        (network.parse::<IpAddr>().map_err(|_| bad())?, length.parse::<u32>().map_err(|_| bad())?);
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(false) };
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return Ok(false),
    };
    if length > width {
        return Err(bad());
    }
    Ok((network ^ address).checked_shr(width - length).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::in_block;

    #[test]
    fn addresses_are_in_their_blocks() {
        assert_eq!(in_block("10.0.0.0/8", "10.255.0.1"), Ok(true));
        assert_eq!(in_block("10.0.0.0/8", "11.0.0.1"), Ok(false));
        assert_eq!(in_block("0.0.0.0/0", "11.0.0.1"), Ok(true));
        assert_eq!(in_block("fe80::/10", "fe80::1"), Ok(true));
        assert_eq!(in_block("::/0", "fe80::1"), Ok(true));
        assert_eq!(in_block("10.0.0.0/8", "::1"), Ok(false));
        assert!(in_block("10.0.0.0/33", "10.0.0.1").is_err());
    }
}
