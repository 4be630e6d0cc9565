//! The sensor's documents as a test reads them: by dotted field names, with failures that show the whole document.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One event or alert.
#[derive(Clone, Debug)]
pub struct Doc(pub Value);

impl Doc {
    /// The value of a field, whether objects are nested or keys are dotted.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        lookup(&self.0, field)
    }

    /// The field as text; numbers and booleans as JSON writes them, of a list the first element.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<String> {
        fn text(value: &Value) -> Option<String> {
            match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(truth) => Some(truth.to_string()),
                Value::Array(items) => items.first().and_then(text),
                Value::Null | Value::Object(_) => None,
            }
        }
        self.get(field).and_then(text)
    }

    /// Whether the field has this text.
    #[must_use]
    pub fn is(&self, field: &str, wanted: &str) -> bool {
        self.text(field).as_deref() == Some(wanted)
    }

    /// Fails, naming every field that differs.
    pub fn expect(&self, wanted: &[(&str, &str)]) -> Result<()> {
        let wrong: Vec<String> = wanted
            .iter()
            .filter(|(field, value)| !self.is(field, value))
            .map(|(field, value)| format!("{field} is {:?}, not {value:?}", self.get(field)))
            .collect();
        if !wrong.is_empty() {
            bail!("{}\nin {}", wrong.join("\n"), self.0);
        }
        Ok(())
    }

    /// Fails if one of the fields is there.
    pub fn expect_absent(&self, fields: &[&str]) -> Result<()> {
        for field in fields {
            if let Some(value) = self.get(field) {
                bail!("{field} must be absent, but is {value}\nin {}", self.0);
            }
        }
        Ok(())
    }
}

fn lookup<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    if let Some(found) = object.get(field) {
        return Some(found);
    }
    field.match_indices('.').find_map(|(at, _)| {
        let (head, rest) = (field.get(..at)?, field.get(at + 1..)?);
        lookup(object.get(head)?, rest)
    })
}

/// Reads one document a line.
pub fn parse_ndjson(bytes: &[u8]) -> Result<Vec<Doc>> {
    let text = std::str::from_utf8(bytes).context("the output is not UTF-8")?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map(Doc).with_context(|| format!("line {}: not JSON: {line}", number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(text: &str) -> Doc {
        Doc(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn nested_dotted_and_mixed_keys_are_found() {
        let doc = doc(r#"{"file":{"path":"/a","Ext":{"original.path":"/b"}},"process.pid":7}"#);
        assert!(doc.is("file.path", "/a"));
        assert!(doc.is("file.Ext.original.path", "/b"));
        assert!(doc.is("process.pid", "7"));
        assert_eq!(doc.get("file.name"), None);
    }

    #[test]
    fn a_failed_expectation_names_every_wrong_field() {
        let error = doc(r#"{"a":1,"b":"x"}"#).expect(&[("a", "2"), ("b", "x"), ("c", "3")]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("a is") && text.contains("c is") && !text.contains("b is"), "{text}");
    }
}
