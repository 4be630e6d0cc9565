//! What is wrong with a configuration, with the key's full name and the nearest known one.

use std::ops::Range;

use sensor_eql::diag::nearest;
use sensor_eql::{Diagnostic, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Turns the reader's error into one that says which key, and what it may have been meant to be.
pub(super) fn diagnose(text: &str, error: &toml::de::Error) -> Diagnostic {
    let range = error.span().unwrap_or_default();
    let span = Span::new(range.start, range.end);
    let message = error.message();
    let Ok(document) = DeTable::parse(text) else {
        return Diagnostic::error(span, "not valid TOML").because(message);
    };
    let key = key_at(document.get_ref(), &range, "").unwrap_or_default();
    let (what, known) = names(message);
    let advice = |diagnostic: Diagnostic| match nearest(what, known.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!("known here: {}", known.join(", "))),
    };
    if message.starts_with("unknown field ") {
        let full = if key.is_empty() { what } else { &key };
        advice(Diagnostic::error(span, format!("unknown key `{full}`")))
    } else if message.starts_with("unknown variant ") {
        advice(Diagnostic::error(span, format!("`{key}` cannot be `{what}`")))
    } else if key.is_empty() {
        Diagnostic::error(span, message)
    } else {
        Diagnostic::error(span, format!("`{key}` has a wrong value")).because(message)
    }
}

/// The names between backquotes: the one that is wrong, and those that are known.
fn names(message: &str) -> (&str, Vec<&str>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    (quoted.next().unwrap_or_default(), quoted.collect())
}

/// The full name of the key at `range`, or of the one whose value lies there.
fn key_at(table: &DeTable<'_>, range: &Range<usize>, prefix: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = format!("{prefix}{}", key.get_ref());
        if holds(&key.span(), range) {
            return Some(name);
        }
        value_at(value, range, &name)
    })
}

fn value_at(value: &Spanned<DeValue<'_>>, range: &Range<usize>, name: &str) -> Option<String> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => key_at(table, range, &format!("{name}.")),
        DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
            DeValue::Table(_) => value_at(item, range, name),
            _ => None,
        }),
        _ => None,
    };
    inside.or_else(|| holds(&value.span(), range).then(|| name.to_owned()))
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && outer.start < outer.end
}
