//! What a sensor left behind, and what a test wants of it.

use std::process::ExitStatus;

use anyhow::{Result, bail};

use crate::doc::Doc;

/// The APT rule's id.
pub const APT_RULE: &str = "7c2e1297-7664-42bc-af11-6d5d35220b6b";

/// The outputs of a sensor for the time of one test.
#[derive(Debug)]
pub struct Run {
    /// How it ended; nothing while it is shared and goes on.
    pub status: Option<ExitStatus>,
    /// Every event, in order.
    pub events: Vec<Doc>,
    /// Every alert, in order.
    pub alerts: Vec<Doc>,
    /// What it said.
    pub stderr: String,
}

impl Run {
    /// File events whose path begins so, of one action or of any.
    #[must_use]
    pub fn files(&self, prefix: &str) -> Vec<&Doc> {
        let wanted = |doc: &&Doc| {
            doc.is("event.category", "file")
                && doc.text("file.path").is_some_and(|path| path.starts_with(prefix))
        };
        self.events.iter().filter(wanted).collect()
    }

    /// The one file event with this path and action.
    pub fn file(&self, path: &str, action: &str) -> Result<&Doc> {
        let of_path = |doc: &&Doc| doc.is("event.category", "file") && doc.is("file.path", path);
        let found: Vec<&Doc> = self.events.iter().filter(of_path).collect();
        match found.as_slice() {
            [doc] if doc.is("event.action", action) => Ok(doc),
            _ => bail!("wanted one {action} of {path}, got {}", self.show(&found)),
        }
    }

    /// The one alert of the shipped APT rule.
    pub fn only_alert(&self) -> Result<&Doc> {
        match self.apt_alerts().as_slice() {
            [alert] => Ok(alert),
            found => bail!("wanted one alert, got {}", self.show(found)),
        }
    }

    /// Alerts of the shipped APT rule.
    #[must_use]
    pub fn apt_alerts(&self) -> Vec<&Doc> {
        self.alerts.iter().filter(|alert| alert.is("rule.id", APT_RULE)).collect()
    }

    /// Fails if there is any alert of the shipped APT rule.
    pub fn no_alert(&self) -> Result<()> {
        let found = self.apt_alerts();
        if !found.is_empty() {
            bail!("wanted no alert, got {}", self.show(&found));
        }
        Ok(())
    }

    /// Documents for a failure's text, with what the sensor said.
    #[must_use]
    pub fn show(&self, docs: &[&Doc]) -> String {
        let lines: Vec<String> = docs.iter().map(|doc| doc.0.to_string()).collect();
        let files: Vec<String> = self
            .files("/")
            .iter()
            .map(|doc| {
                format!(
                    "{} {}",
                    doc.text("event.action").unwrap_or_default(),
                    doc.text("file.path").unwrap_or_default()
                )
            })
            .collect();
        format!(
            "{}:\n{}\nall file events:\n{}\nthe sensor said:\n{}",
            docs.len(),
            lines.join("\n"),
            files.join("\n"),
            self.stderr
        )
    }
}
