//! Values as bytes, to tell whether they are the same: each a tag, and its content with a length. Case-sensitive, and of
//! one type: 5 and "5" are different.

use sensor_ecs::Value;

const NULL: u8 = b'0';

/// Adds a value; whether there is one.
pub(crate) fn encode(value: Value<'_>, key: &mut Vec<u8>) -> bool {
    let mut fixed = |tag: u8, [a, b, c, d, e, f, g, h]: [u8; 8]| {
        key.extend_from_slice(&[tag, a, b, c, d, e, f, g, h]);
    };
    let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes();
    match value {
        Value::Absent | Value::List([]) => {
            key.push(NULL);
            return false;
        }
        Value::Boolean(b) => fixed(b'b', u64::from(b).to_be_bytes()),
        Value::Long(n) => fixed(b'l', n.to_be_bytes()),
        Value::Double(n) => fixed(b'f', n.to_bits().to_be_bytes()),
        Value::Date(ns) => fixed(b'd', ns.to_be_bytes()),
        Value::Keyword(text) => {
            fixed(b't', size(text.len()));
            key.extend_from_slice(text);
        }
        Value::List(items) => {
            fixed(b'a', size(items.len()));
            for item in items {
                encode(item.as_value(), key);
            }
        }
    }
    true
}

/// Whether the bytes, which come from elsewhere, are single values.
pub(crate) fn is_key(mut bytes: &[u8]) -> bool {
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        if *tag == NULL {
            continue;
        }
        let Some((fixed, rest)) = rest.split_first_chunk::<8>() else { return false };
        bytes = match tag {
            b'b' | b'l' | b'f' | b'd' => rest,
            b't' => match usize::try_from(u64::from_be_bytes(*fixed)).ok().and_then(|len| rest.get(len..)) {
                Some(rest) => rest,
                None => return false,
            },
            _ => return false,
        };
    }
    true
}
