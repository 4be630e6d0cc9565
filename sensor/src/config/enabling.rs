//! Which rules run. What is said of a rule's id beats what is said of its tags, which beats the default; where both
//! are said on one level, disabling wins.

use std::fmt;

use sensor_eql::diag::{Located, nearest};
use sensor_eql::{Diagnostic, Rule, Span};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Loaded, RuleSettings};

/// `[rules.enable]`, `[rules.disable]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Named {
    /// Ids of rules.
    pub ids: Vec<Spanned<String>>,
    /// Tags, as rules write them.
    pub tags: Vec<Spanned<String>>,
}

/// What decided that a rule does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// Its id.
    ById,
    /// One of its tags.
    ByTag(String),
    /// Nothing was said of it.
    ByDefault,
}

impl fmt::Display for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ById => write!(f, "disabled by its id"),
            Self::ByTag(tag) => write!(f, "disabled by its tag \"{tag}\""),
            Self::ByDefault => write!(f, "not enabled"),
        }
    }
}

impl Named {
    fn has_id(&self, rule: &Rule) -> bool {
        self.ids.iter().any(|id| *id.get_ref() == rule.id)
    }

    fn tag_of(&self, rule: &Rule) -> Option<&String> {
        self.tags.iter().map(Spanned::get_ref).find(|tag| rule.tags.contains(tag))
    }
}

impl RuleSettings {
    /// Why a rule does not run, if it does not.
    #[must_use]
    pub fn disables(&self, rule: &Rule) -> Option<Disabled> {
        if self.disable.has_id(rule) {
            Some(Disabled::ById)
        } else if self.enable.has_id(rule) {
            None
        } else if let Some(tag) = self.disable.tag_of(rule) {
            Some(Disabled::ByTag(tag.clone()))
        } else if self.enabled_by_default || self.enable.tag_of(rule).is_some() {
            None
        } else {
            Some(Disabled::ByDefault)
        }
    }
}

impl Loaded {
    /// Warns about ids and tags in the configuration that no rule has. `ids` are those of all rules that were found.
    #[must_use]
    pub fn unmatched(&self, rules: &[&Rule], ids: &[&str]) -> Vec<Located> {
        let RuleSettings { enable, disable, .. } = &self.config.rules;
        let tags = || rules.iter().flat_map(|rule| &rule.tags).map(String::as_str);
        let of_exceptions = self.config.exceptions.iter().flat_map(|exception| exception.rules.ids());
        let mut warnings = Vec::new();
        for id in enable.ids.iter().chain(&disable.ids).chain(of_exceptions) {
            if !ids.contains(&id.get_ref().as_str()) {
                warnings.push(self.nothing(
                    "rule has this id",
                    id,
                    nearest(id.get_ref(), ids.iter().copied()),
                ));
            }
        }
        for tag in enable.tags.iter().chain(&disable.tags) {
            if !tags().any(|known| known == tag.get_ref()) {
                warnings.push(self.nothing("rule has this tag", tag, nearest(tag.get_ref(), tags())));
            }
        }
        warnings
    }

    fn nothing(&self, what: &str, named: &Spanned<String>, near: Option<&str>) -> Located {
        let span = Span::new(named.span().start, named.span().end);
        let mut warning = Diagnostic::warning(span, format!("no {what}: {}", named.get_ref()));
        if let Some(near) = near {
            warning = warning.help(format!("did you mean \"{near}\"?"));
        }
        self.locate(&warning)
    }
}
