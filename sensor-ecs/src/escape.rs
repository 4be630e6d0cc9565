//! Text at the JSON edge: bytes that JSON cannot hold are escaped so that reading gives the same bytes back.
//!
//! JSON is text, a Linux path need not be. The escape, in full:
//!
//! 1. The bytes are read as UTF-8. Each byte `b` that is not part of a valid sequence (such a byte is always 0x80 or
//!    greater) is written as the one character U+F700 + `b`, that is U+F780 to U+F7FF, from the private use area.
//! 2. So that this has one meaning, a genuine character of U+F780 to U+F7FF is taken for three invalid bytes.
//! 3. Everything else is written as it is; control characters (C0, DEL, C1), quotes and backslashes by JSON's own
//!    escapes, which any JSON reader undoes.
//! 4. A document in which 1 or 2 happened carries `"sensor": {"escaped": true}`. Reading undoes the escape only there,
//!    since those characters may be genuine in a document of another origin.
//!
//! To decode: replace each character U+F780 to U+F7FF by the byte that is its code less 0xF700, and encode every other
//! character in UTF-8.

use std::borrow::Cow;

/// U+F700, to which the byte is added.
const BASE: u32 = 0xF700;

const HEX: &[u8; 16] = b"0123456789abcdef";

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}

/// Appends a JSON string with its quotes. Returns whether the escape was needed, so that the document must say so.
pub fn write_json_string(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    // One pass without a branch per byte: nearly every string is plain, and this compiles to vector instructions.
    let plain = bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    let mut escaped = false;
    if plain {
        out.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                escaped |= write_character(character, out);
            }
            for byte in chunk.invalid() {
                write_byte(*byte, out);
                escaped = true;
            }
        }
    }
    out.push(b'"');
    escaped
}

fn write_utf8(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn write_byte(byte: u8, out: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(BASE + u32::from(byte)) {
        write_utf8(character, out);
    }
}

fn is_escape(character: char) -> bool {
    ('\u{f780}'..='\u{f7ff}').contains(&character)
}

fn write_character(character: char, out: &mut Vec<u8>) -> bool {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // C1 controls too: a terminal that shows the file would obey them.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
            let digit = |shift: u32| HEX.get((character as usize) >> shift & 15).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(4), digit(0)]);
        }
        _ if is_escape(character) => {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write_byte(byte, out);
            }
            return true;
        }
        _ => write_utf8(character, out),
    }
    false
}

/// The bytes as text, escaped where needed, which an owned result tells: for other edges than JSON.
#[must_use]
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(is_escape)
    {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_escape(character) {
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| write_byte(byte, &mut out));
            } else {
                write_utf8(character, &mut out);
            }
        }
        chunk.invalid().iter().for_each(|byte| write_byte(*byte, &mut out));
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Undoes the escape in the text of a document that says it was escaped.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.chars().any(is_escape) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from((character as u32).wrapping_sub(BASE)) {
            Ok(byte) if byte >= 0x80 => bytes.push(byte),
            _ => write_utf8(character, &mut bytes),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> (String, bool) {
        let mut out = Vec::new();
        let escaped = write_json_string(bytes, &mut out);
        (String::from_utf8(out).expect("JSON is UTF-8"), escaped)
    }

    #[test]
    fn plain_text_is_copied() {
        assert_eq!(written(b"/etc/apt/apt.conf.d/99evil"), ("\"/etc/apt/apt.conf.d/99evil\"".into(), false));
        assert_eq!(written("/home/jos\u{e9}/\u{65e5}".as_bytes()).0, "\"/home/jos\u{e9}/\u{65e5}\"");
    }

    #[test]
    fn controls_are_escaped_without_the_flag() {
        assert_eq!(
            written(b"a\n\r\t\x1b[31m\x00\x7f\"\\"),
            ("\"a\\n\\r\\t\\u001b[31m\\u0000\\u007f\\\"\\\\\"".into(), false)
        );
        assert_eq!(written("\u{9b}31m".as_bytes()), ("\"\\u009b31m\"".into(), false));
    }

    #[test]
    fn an_invalid_byte_is_one_private_character() {
        assert_eq!(written(b"x\xffy\x80"), ("\"x\u{f7ff}y\u{f780}\"".into(), true));
    }

    #[test]
    fn a_genuine_private_character_is_three_bytes() {
        assert_eq!(written("\u{f7ff}".as_bytes()), ("\"\u{f7ef}\u{f79f}\u{f7bf}\"".into(), true));
        assert_eq!(&*unescape("\u{f7ef}\u{f79f}\u{f7bf}"), "\u{f7ff}".as_bytes());
    }

    #[test]
    fn neighbours_of_the_range_stay() {
        assert_eq!(written("\u{f77f}\u{f800}".as_bytes()), ("\"\u{f77f}\u{f800}\"".into(), false));
        assert_eq!(&*unescape("\u{f77f}\u{f800}"), "\u{f77f}\u{f800}".as_bytes());
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            (0xf770u32..0xf810).prop_map(|code| char::from_u32(code).unwrap_or('x').to_string().into_bytes()),
            Just(b"\xed\xa0\x80".to_vec()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in hostile()) {
            let (json, escaped) = written(&bytes);
            prop_assert!(json.chars().all(|character| !character.is_control()));
            let text: String = serde_json::from_str(&json).unwrap();
            if escaped {
                prop_assert_eq!(&*unescape(&text), &bytes[..]);
                let text = escape(&bytes);
                prop_assert_eq!(&*unescape(&text), &bytes[..]);
            } else {
                prop_assert!(matches!(escape(&bytes), Cow::Borrowed(_)));
                prop_assert_eq!(text.as_bytes(), &bytes[..]);
            }
        }
    }
}
