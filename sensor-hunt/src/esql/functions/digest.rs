//! Digests and encodings of text.

use sha2::Digest as _;

use super::{Env, Evaluated, next};
use crate::base64;
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

pub(super) fn to_base64<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    one(args, base64::encode)
}

/// What is no UTF-8 after decoding has no value.
pub(super) fn from_base64<'a>(_: Env, args: Vec<Val<'a>>) -> Evaluated<'a> {
    let text = next(&mut args.into_iter());
    let Some(text) = text.as_text() else { return Ok(Val::Null) };
    let bytes = base64::decode(text.as_bytes()).ok_or("Illegal base64 character")?;
    String::from_utf8(bytes).map(Val::text).map_err(|_| "the decoded bytes are no UTF-8")
}
