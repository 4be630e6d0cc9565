//! `dissect`: text taken apart at fixed delimiters.

use super::value::Val;

#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// The column, or none for a part that is skipped.
    column: Option<usize>,
    /// Where it stands among what is appended to the column: `%{+name/2}`.
    order: u32,
    /// `->`: repeated delimiters after it are one.
    padded: bool,
    /// What follows it; empty for the last.
    delimiter: String,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dissect {
    /// What the text begins with.
    head: String,
    parts: Vec<Part>,
    names: Vec<String>,
    separator: String,
}

impl Dissect {
    /// Parses a pattern; an error says what is wrong.
    pub(super) fn new(pattern: &str, separator: &str) -> Result<Self, String> {
        let Some((head, mut rest)) = pattern.split_once("%{") else {
            return Err("the pattern names no column: write %{name}".to_owned());
        };
        let mut dissect = Self {
            head: head.to_owned(),
            parts: Vec::new(),
            names: Vec::new(),
            separator: separator.to_owned(),
        };
        loop {
            let (key, after) = rest.split_once('}').ok_or("`%{` is never closed")?;
            let (delimiter, next) = match after.split_once("%{") {
                Some((delimiter, next)) => (delimiter, Some(next)),
                None => (after, None),
            };
            if delimiter.is_empty() && next.is_some() {
                return Err("two columns need a delimiter between them".to_owned());
            }
            let (key, padded) = key.strip_suffix("->").map_or((key, false), |key| (key, true));
            let (column, order) = dissect.column(key)?;
            dissect.parts.push(Part { column, order, padded, delimiter: delimiter.to_owned() });
            match next {
                Some(next) => rest = next,
                None => return Ok(dissect),
            }
        }
    }

    /// The column of a key, and its place among what is appended.
    fn column(&mut self, key: &str) -> Result<(Option<usize>, u32), String> {
        if key.is_empty() || key.starts_with('?') {
            return Ok((None, 0));
        }
        if key.starts_with(['*', '&']) {
            return Err("columns named by the text, %{*a} and %{&a}, are not supported".to_owned());
        }
        let (name, appended) = key.strip_prefix('+').map_or((key, false), |name| (name, true));
        let (name, order) = match name.split_once('/') {
            Some((name, order)) if appended => {
                let order = order.parse().map_err(|_| format!("`{order}` is no place to append at"))?;
                (name, order)
            }
            _ => (name, 0),
        };
        match self.names.iter().position(|known| known == name) {
            Some(at) if appended => Ok((Some(at), order)),
            Some(_) => Err(format!("`{name}` is there twice; append with %{{+{name}}}")),
            None => {
                self.names.push(name.to_owned());
                Ok((Some(self.names.len() - 1), order))
            }
        }
    }

    /// The columns that it makes.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// One value for each column; all null if the text is of another shape.
    pub(super) fn run(&self, text: &str) -> Vec<Val<'static>> {
        match self.split(text) {
            Some(values) => values.into_iter().map(|value| value.map_or(Val::Null, Val::text)).collect(),
            None => vec![Val::Null; self.names.len()],
        }
    }

    fn split(&self, text: &str) -> Option<Vec<Option<String>>> {
        let mut rest = text.strip_prefix(self.head.as_str())?;
        let mut found = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let value = if part.delimiter.is_empty() {
                std::mem::take(&mut rest)
            } else {
                let (value, after) = rest.split_once(part.delimiter.as_str())?;
                rest = after;
                if part.padded {
                    rest = rest.trim_start_matches(part.delimiter.as_str());
                }
                value
            };
            if let Some(column) = part.column {
                found.push((part.order, column, value));
            }
        }
        found.sort_by_key(|(order, ..)| *order);
        let mut values: Vec<Option<String>> = vec![None; self.names.len()];
        for (_, column, value) in found {
            if let Some(place) = values.get_mut(column) {
                match place {
                    Some(before) => {
                        before.push_str(&self.separator);
                        before.push_str(value);
                    }
                    None => *place = Some(value.to_owned()),
                }
            }
        }
        Some(values)
    }
}
