//! The SQL functions that osquery adds to SQLite's and that hunts use.

use std::net::{IpAddr, Ipv4Addr};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use sha2::Digest as _;

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
    })
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
