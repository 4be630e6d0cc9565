//! An alert's document in one line, for logs that hold lines.

use serde_json::Value;

use crate::shown::shown;

/// What a log wants of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// `event.severity`: 21, 47, 73 or 99.
    pub(crate) severity: u64,
    pub(crate) time: String,
    pub(crate) event_id: String,
    pub(crate) rule_id: String,
    pub(crate) rule_name: String,
    /// What happened and who did it.
    pub(crate) what: String,
}

impl Summary {
    /// Of a document as the sensor writes it; of anything else, what can be found.
    pub(crate) fn of(document: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(document).unwrap_or_default();
        let text = |path: &str| json.pointer(path).and_then(Value::as_str).map(plain).unwrap_or_default();
        let mut what: Vec<String> = Vec::new();
        let path = text("/file/path");
        if !path.is_empty() {
            let action = json.pointer("/Events/0/event/action").and_then(Value::as_str).unwrap_or("touched");
            what.push(format!("{} {path}", plain(action)));
        }
        let executable = text("/process/executable");
        if !executable.is_empty() {
            let pid = json.pointer("/process/pid").and_then(Value::as_u64);
            what.push(format!("by {executable}{}", pid.map_or_else(String::new, |pid| format!(" [{pid}]"))));
        }
        let user = text("/user/name");
        if !user.is_empty() {
            what.push(format!("as {user}"));
        }
        let container = text("/container/id");
        if !container.is_empty() {
            what.push(format!("in container {}", container.chars().take(12).collect::<String>()));
        }
        if what.is_empty() {
            what.push(text("/message"));
        }
        Self {
            severity: json.pointer("/event/severity").and_then(Value::as_u64).unwrap_or_default(),
            time: text("/@timestamp"),
            event_id: text("/event/id"),
            rule_id: text("/rule/id"),
            rule_name: text("/rule/name"),
            what: what.join(" "),
        }
    }

    /// As people call the severity.
    pub(crate) fn severity_name(&self) -> &'static str {
        match self.severity {
            90.. => "CRITICAL",
            60.. => "HIGH",
            40.. => "MEDIUM",
            _ => "LOW",
        }
    }

    /// As logs number it.
    pub(crate) fn priority(&self) -> u8 {
        match self.severity {
            90.. => 2,
            60.. => 3,
            40.. => 4,
            _ => 5,
        }
    }

    /// All of it in a line.
    pub(crate) fn line(&self) -> String {
        format!("{} {}: {}", self.severity_name(), self.rule_name, self.what)
    }
}

/// Without anything that a terminal or a log would take for more than text.
fn plain(text: &str) -> String {
    shown(text.as_bytes())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sink) const ALERT: &str = r#"{"@timestamp":"2026-01-02T03:04:05Z","event":{"id":"e1","severity":47},"rule":{"id":"7c2e","name":"APT file"},"file":{"path":"/etc/apt/a\nb"},"process":{"executable":"/usr/bin/cp","pid":7},"user":{"name":"root"},"Events":[{"event":{"action":"creation"}}]}"#;

    #[test]
    fn an_alert_is_one_line_whatever_is_in_it() {
        let summary = Summary::of(ALERT.as_bytes());
        assert_eq!(summary.line(), "MEDIUM APT file: creation /etc/apt/a\\nb by /usr/bin/cp [7] as root");
        assert_eq!((summary.priority(), summary.event_id.as_str()), (4, "e1"));
        assert_eq!(Summary::of(b"no json").line(), "LOW : ");
        assert_eq!(
            Summary::of(br#"{"message":"12 alerts were held back"}"#).what,
            "12 alerts were held back"
        );
    }
}
