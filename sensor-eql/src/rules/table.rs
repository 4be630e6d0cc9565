//! Reading TOML tables with a positioned finding for every value of the wrong kind.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diag::{Diagnostic, Span};
use crate::time;

pub(super) type Findings = Vec<Diagnostic>;

/// A TOML table with its position.
#[derive(Clone, Copy)]
pub(super) struct Table<'t, 'i> {
    pub(super) table: &'t DeTable<'i>,
    pub(super) span: Span,
}

pub(super) fn span_of(value: &Spanned<DeValue<'_>>) -> Span {
    let range = value.span();
    Span::new(range.start, range.end)
}

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    pub(super) fn of(value: &'t Spanned<DeValue<'i>>, what: &str, found: &mut Findings) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self { table, span: span_of(value) }),
            _ => {
                found.push(Diagnostic::error(span_of(value), format!("`{what}` must be a table")));
                None
            }
        }
    }

    pub(super) fn text(&self, key: &str, found: &mut Findings) -> Option<String> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            found.push(Diagnostic::error(span_of(value), format!("`{key}` must be a string")));
        }
        text.map(str::to_owned)
    }

    pub(super) fn required(&self, key: &str, found: &mut Findings) -> String {
        let text = self.text(key, found);
        if self.get(key).is_none() {
            let span = Span { start: self.span.start, end: self.span.start };
            found.push(Diagnostic::error(span, format!("`{key}` is missing")));
        } else if text.as_ref().is_some_and(|t| t.trim().is_empty()) {
            found.push(Diagnostic::error(self.span_at(key), format!("`{key}` is empty")));
        }
        text.unwrap_or_default()
    }

    pub(super) fn span_at(&self, key: &str) -> Span {
        self.get(key).map_or(self.span, span_of)
    }

    pub(super) fn integer(&self, key: &str, found: &mut Findings) -> Option<i64> {
        let value = self.get(key)?;
        let number =
            value.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        if number.is_none() {
            found.push(Diagnostic::error(span_of(value), format!("`{key}` must be an integer")));
        }
        number
    }

    pub(super) fn items(&self, key: &str, found: &mut Findings) -> &'t [Spanned<DeValue<'i>>] {
        match self.get(key) {
            None => &[],
            Some(value) => match value.get_ref().as_array() {
                Some(items) => items,
                None => {
                    found.push(Diagnostic::error(span_of(value), format!("`{key}` must be a list")));
                    &[]
                }
            },
        }
    }

    pub(super) fn texts(&self, key: &str, found: &mut Findings) -> Vec<String> {
        let mut texts = Vec::new();
        for item in self.items(key, found) {
            match item.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => found.push(Diagnostic::error(span_of(item), format!("`{key}` must hold strings"))),
            }
        }
        texts
    }

    pub(super) fn span_ns(&self, key: &str, prefix: &str, default: i64, found: &mut Findings) -> i64 {
        let Some(text) = self.text(key, found) else { return default };
        match text.strip_prefix(prefix).and_then(time::parse_span) {
            Some(ns) => ns,
            None => {
                let example = format!("write \"{prefix}5m\" or the like: ms, s, m, h, d, w");
                found.push(
                    Diagnostic::error(self.span_at(key), format!("`{key}` is not a time span")).help(example),
                );
                default
            }
        }
    }
}
