//! `replace`: `$1` in the replacement is a group, `\$` a dollar.

use regex_automata::meta::Regex;

const MADE_BYTES_MAX: usize = 1 << 20;

pub(super) fn replace_all(regex: &Regex, text: &str, by: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get_match() else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        last = whole.end();
        let mut chars = by.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => out.extend(chars.next()),
                '$' => {
                    let mut group =
                        chars.next().and_then(|c| c.to_digit(10)).ok_or("Illegal group reference")?;
                    // More digits belong to the number as long as there is such a group.
                    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                        let longer = group * 10 + digit;
                        if longer as usize >= captures.group_len() {
                            break;
                        }
                        group = longer;
                        chars.next();
                    }
                    if group as usize >= captures.group_len() {
                        return Err("there is no such group");
                    }
                    if let Some(span) = captures.get_group(group as usize) {
                        out.push_str(text.get(span.range()).unwrap_or_default());
                    }
                }
                c => out.push(c),
            }
        }
        if out.len() > MADE_BYTES_MAX {
            return Err("the text would be longer than a mebibyte");
        }
    }
    out.push_str(text.get(last..).unwrap_or_default());
    Ok(out)
}
