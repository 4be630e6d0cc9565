//! Conversions between types, by function and by `::`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Env, Evaluated, next};
use crate::esql::outcome::{Type, date_text};
use crate::esql::value::{Val, canonical_ip};

/// Reads a date: `strict_date_optional_time`, in UTC unless it says otherwise.
pub(in crate::esql) fn date_of(text: &str) -> Option<i64> {
    sensor_ecs::time::parse_strict(text)
}

pub(in crate::esql) fn boolean_of(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// One value to a type; why not, if it cannot be.
pub(in crate::esql) fn convert<'a>(value: Val<'a>, ty: Type) -> Evaluated<'a> {
    Ok(match (ty, value) {
        (_, Val::Null) => Val::Null,
        (Type::Keyword, value) => Val::text(match value {
            Val::Text(text) => return Ok(Val::Text(text)),
            Val::Boolean(value) => value.to_string(),
            Val::Long(value) => value.to_string(),
            Val::Double(value) => double_text(value),
            Val::Date(ms) => date_text(ms),
            Val::Null | Val::Period(..) | Val::List(_) => return Ok(Val::Null),
        }),
        (Type::Integer, value) => match convert(value, Type::Long)? {
            Val::Long(value) if i32::try_from(value).is_err() => return Err("out of [integer] range"),
            value => value,
        },
        (Type::Long, Val::Text(text)) => {
            let text = text.trim();
            let floating = || text.parse::<f64>().ok().and_then(whole);
            Val::Long(text.parse::<i64>().ok().or_else(floating).ok_or("Cannot parse number")?)
        }
        (Type::Long, Val::Double(number)) => Val::Long(whole(number).ok_or("out of [long] range")?),
        (Type::Long, Val::Boolean(value)) => Val::Long(i64::from(value)),
        (Type::Long, Val::Long(value) | Val::Date(value)) => Val::Long(value),
        (Type::Double, Val::Text(text)) => {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            Val::Double(number.ok_or("Cannot parse number")?)
        }
        (Type::Double, Val::Long(value) | Val::Date(value)) => Val::Double(value as f64),
        (Type::Double, Val::Double(value)) => Val::Double(value),
        (Type::Double, Val::Boolean(value)) => Val::Double(if value { 1.0 } else { 0.0 }),
        (Type::Boolean, Val::Text(text)) => Val::Boolean(boolean_of(text.trim())),
        (Type::Boolean, Val::Long(value)) => Val::Boolean(value != 0),
        (Type::Boolean, Val::Double(value)) => Val::Boolean(value != 0.0),
        (Type::Boolean, Val::Boolean(value)) => Val::Boolean(value),
        (Type::Date, Val::Text(text)) => Val::Date(date_of(&text).ok_or("failed to parse date field")?),
        (Type::Date, Val::Long(value) | Val::Date(value)) => Val::Date(value),
        (Type::Date, Val::Double(value)) => Val::Date(whole(value).ok_or("out of [long] range")?),
        (Type::Ip, Val::Text(text)) => Val::text(canonical_ip(&text).ok_or("is not an IP string literal.")?),
        _ => return Err("cannot be converted"),
    })
}

/// Rounded half up, as Java's `Math.round`: -1.5 is -1.
fn whole(number: f64) -> Option<i64> {
    let below = number.floor();
    let rounded = if number - below >= 0.5 { below + 1.0 } else { below };
    // 2^63 itself is the greatest.
    (number.abs() <= 9_223_372_036_854_775_808.0).then_some(rounded as i64)
}

/// As Java's `Double.toString`: digits from 0.001 on and below ten million, else with an exponent.
fn double_text(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) || !number.is_finite() {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

pub(super) fn to<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    convert(next(&mut args.into_iter()), env.ty)
}

/// `ip_prefix(address, bits of version 4, bits of version 6)`
pub(super) fn ip_prefix<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (address, four, six) = (next(&mut args), next(&mut args), next(&mut args));
    let Some(address) = address.as_text().and_then(|text| text.parse().ok()) else { return Ok(Val::Null) };
    let bits = |value: &Val<'_>, width: i64| {
        let bits = value.as_long().filter(|bits| (0..=width).contains(bits));
        bits.and_then(|bits| u32::try_from(width - bits).ok())
    };
    Ok(Val::text(match address {
        IpAddr::V4(address) => {
            let cut = bits(&four, 32).ok_or("Prefix length v4 must be in range [0, 32]")?;
            Ipv4Addr::from(address.to_bits() & u32::MAX.checked_shl(cut).unwrap_or(0)).to_string()
        }
        IpAddr::V6(address) => {
            let cut = bits(&six, 128).ok_or("Prefix length v6 must be in range [0, 128]")?;
            Ipv6Addr::from(address.to_bits() & u128::MAX.checked_shl(cut).unwrap_or(0)).to_string()
        }
    }))
}
