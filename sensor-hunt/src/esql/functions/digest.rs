//! Digests and encodings of text.

use sha2::Digest as _;

use super::{Env, Evaluated, next};
use crate::esql::value::Val;
use crate::osquery::hex;

fn one<'a>(args: Vec<Val<'a>>, of: impl FnOnce(&[u8]) -> String) -> Evaluated<'a> {
    let text = next(&mut args.into_iter());
    Ok(text.as_text().map_or(Val::Null, |text| Val::text(of(text.as_bytes()))))
}

pub(super) fn md5<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    one(args, |bytes| hex(&md5::Md5::digest(bytes)))
}

pub(super) fn sha1<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    one(args, |bytes| hex(&sha1::Sha1::digest(bytes)))
}

pub(super) fn sha256<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    one(args, |bytes| hex(&sha2::Sha256::digest(bytes)))
}

pub(super) fn hash<'a>(env: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let mut args = args.into_iter();
    let (name, text) = (next(&mut args), next(&mut args));
    let name = name.as_text().unwrap_or_default().to_ascii_lowercase().replace('-', "");
    match name.as_str() {
        "md5" => md5(env, vec![text]),
        "sha" | "sha1" => sha1(env, vec![text]),
        "sha256" => sha256(env, vec![text]),
        "sha224" => one(vec![text], |bytes| hex(&sha2::Sha224::digest(bytes))),
        "sha384" => one(vec![text], |bytes| hex(&sha2::Sha384::digest(bytes))),
        "sha512" => one(vec![text], |bytes| hex(&sha2::Sha512::digest(bytes))),
        _ => Err("is not a digest that is supported"),
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn to_base64<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    one(args, |bytes| {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for part in bytes.chunks(3) {
            let bits = part.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
                << (8 * (3 - part.len()));
            for at in 0..4 {
                let letter = LETTERS.get(bits >> (18 - 6 * at) & 63).copied().unwrap_or(b'=');
                out.push(if at > part.len() { '=' } else { char::from(letter) });
            }
        }
        out
    })
}

/// What is no UTF-8 after decoding has no value.
pub(super) fn from_base64<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let text = next(&mut args.into_iter());
    let Some(text) = text.as_text() else { return Ok(Val::Null) };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_usize, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|letter| *letter == byte).ok_or("Illegal base64 character")?;
        bits = (bits << 6 | value) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    String::from_utf8(out).map(Val::text).map_err(|_| "the decoded bytes are no UTF-8")
}
