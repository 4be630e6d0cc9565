//! Foreign text on a terminal: names and arguments are chosen by whoever is being watched.

use std::fmt::Write as _;

/// Longer values are cut; the document has them whole.
const SHOWN_CHARS_MAX: usize = 400;

/// The text with everything escaped that a terminal would obey or that would make it read otherwise than it is: control
/// characters as `\x1b`, bytes that are no UTF-8 as `\xff`, marks that reorder or hide text as `\u{202e}`, and the
/// backslash itself as `\\`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut chars = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            chars += 1;
            if chars > SHOWN_CHARS_MAX {
                // Writing to a string cannot fail.
                let _ = write!(text, "... ({} bytes in all)", bytes.len());
                return text;
            }
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                _ if character.is_ascii_control() => {
                    let _ = write!(text, "\\x{:02x}", character as u32);
                }
                _ if character.is_control() || misleads(character) => {
                    let _ = write!(text, "\\u{{{:x}}}", character as u32);
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            chars += 1;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a text of several lines can be shown as it is, to be copied from a terminal.
pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(|character| character == '\n' || !character.is_control() && !misleads(character))
}

/// Invisible and direction-changing characters, and those that end a line.
fn misleads(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_is_plain_text_of_one_line(bytes: Vec<u8>, text: String) {
            for bytes in [&bytes[..], text.as_bytes()] {
                let shown = shown(bytes);
                let plain = |character: char| !character.is_control() && !misleads(character);
                prop_assert!(shown.chars().all(plain), "{shown:?}");
            }
        }
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        for (bytes, expected) in [
            (&b"/etc/apt/99evil"[..], "/etc/apt/99evil"),
            (b"\x1b]0;owned\x07\r\n\t", "\\x1b]0;owned\\x07\\x0d\\n\\t"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{9b}31m\u{202e}fdp.exe\u{200b}".as_bytes(), "\\u{9b}31m\\u{202e}fdp.exe\\u{200b}"),
            (b"a\\x1b", "a\\\\x1b"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
        ] {
            assert_eq!(shown(bytes), expected);
        }
    }

    #[test]
    fn long_values_are_cut() {
        let text = shown(&[b'x'; 5000]);
        assert!(text.ends_with("... (5000 bytes in all)") && text.len() < 500, "{text}");
    }
}
