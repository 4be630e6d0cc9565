//! Answers as text: for people, and for programs.

pub mod events;
pub mod machine;
pub mod people;

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::esql::Cell;

/// `1,234,567`
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `2 rows`
#[must_use]
pub fn count(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `0.42 s`
#[must_use]
pub fn seconds(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.1 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// A value as a person sees it: nothing in it moves the cursor, changes a colour or turns the direction of writing.
#[must_use]
pub fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        cell => harmless(&cell.to_string()),
    }
}

/// Text without control characters: each is written as an escape.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // The bytes of a name that is no UTF-8.
            '\u{f780}'..='\u{f7ff}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(it) - 0xf700);
            }
            _ if it.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(it));
            }
            _ if misleads(it) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(it));
            }
            _ => out.push(it),
        }
    }
    out
}

/// Marks of direction, and what has no width.
fn misleads(it: char) -> bool {
    matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// JSON that means the same, for a terminal: what JSON allows in a text, but a terminal obeys, is written as an escape.
#[must_use]
pub fn harmless_json(text: &str) -> Cow<'_, str> {
    let wrong = |it: char| it > '\u{7e}' && (it.is_control() || misleads(it));
    if !text.contains(wrong) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    for it in text.chars() {
        if wrong(it) {
            let _ = write!(out, "\\u{:04x}", u32::from(it));
        } else {
            out.push(it);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::{count, grouped, harmless, harmless_json};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([count(1, "row"), count(2, "row")], ["1 row", "2 rows"]);
    }

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(harmless("a\x1b[31m\n\u{202e}b\u{9b}\u{f7ff}"), "a\\x1b[31m\\n\\u{202e}b\\x9b\\xff");
    }

    #[test]
    fn nothing_in_json_controls_the_terminal_and_it_means_the_same() {
        let text = "a\x1b[31m\n\u{202e}b\u{9b}\u{7f}\u{2028}\u{feff}\u{f7ff}é\\";
        let json = serde_json::json!({ text: [text] }).to_string();
        let shown = harmless_json(&json);
        assert!(shown.chars().all(|it| !it.is_control() && it != '\u{202e}' && it != '\u{2028}'), "{shown}");
        let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(parsed(&shown), parsed(&json));
        assert_eq!(harmless_json("{\"a\":\"é\"}\n"), "{\"a\":\"é\"}\n");
    }
}
