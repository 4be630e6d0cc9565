//! Rules for a command: found, compiled, and everything that is wrong with them said.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::bail;
use sensor_ecs::{Action, Ecs, Field, FieldId, Schema};
use sensor_eql::ast::{Pipe, Query};
use sensor_eql::diag::{Located, printable};
use sensor_eql::{Language, ListedRule, LoadedRule, Origin, Rule, RuleSet, parse, parse_kql};

use super::find::Found;
use crate::cli::say::{count, note};
use crate::config::Loaded;
use crate::pipeline::{Exceptions, Streams};

/// Which rules a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The user's beside the shipped ones.
    UserAndShipped,
    /// The user's only; the shipped ones if he names none.
    UserOrShipped,
}

/// The rules of a command, with what stands in the way of some.
pub struct Rules {
    /// Those that compiled.
    pub set: RuleSet,
    unreadable: Vec<Located>,
    disabled: usize,
    streams: Streams,
}

impl Rules {
    /// Finds and compiles rules. Broken ones are kept apart, to be reported.
    ///
    /// # Errors
    ///
    /// When a path cannot be read, or a directory has no rule file.
    pub fn load(user: &[PathBuf], choice: Choice, schema: &dyn Schema) -> anyhow::Result<Self> {
        let mut found = Found::default();
        for path in user {
            found.add(path, Origin::User)?;
        }
        if choice == Choice::UserAndShipped || user.is_empty() {
            found.add_shipped();
        }
        Ok(Self {
            set: RuleSet::load(found.sources, schema),
            unreadable: found.unreadable,
            disabled: 0,
            streams: Streams::default(),
        })
    }

    /// Takes the events that they are for to belong to these data streams.
    pub(crate) fn for_streams(&mut self, streams: Streams) {
        self.streams = streams;
    }

    /// The data streams of the events that they are for.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Everything wrong with files that were left out.
    pub fn errors(&self) -> impl Iterator<Item = &Located> {
        self.unreadable.iter().chain(self.set.errors())
    }

    /// How many files are broken.
    #[must_use]
    pub fn broken(&self) -> usize {
        let mut files: Vec<&str> = self.errors().map(|error| error.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files.len()
    }

    /// Says on stderr what is wrong, and fails if it must not go on: with `strict` on any broken rule, otherwise when
    /// the user's files are broken and nothing of them is left. A sensor without the rules that it was given would
    /// look healthy and see nothing.
    ///
    /// # Errors
    ///
    /// As said.
    pub fn vet(&self, user: &[PathBuf], strict: bool) -> anyhow::Result<()> {
        for error in self.errors() {
            note(format_args!("{error}"));
        }
        // Advice for authors is what `rules check` is for; that a rule is not the one somebody thinks is news here.
        for warning in self.set.warnings().iter().filter(|warning| is_replacement(warning)) {
            note(format_args!("{warning}"));
        }
        let broken = self.broken();
        let files =
            if broken == 1 { "1 rule file is".to_owned() } else { format!("{broken} rule files are") };
        if strict && broken > 0 {
            bail!("{files} broken, as said above, and --strict is given");
        }
        let users = self.set.rules().iter().filter(|rule| rule.origin == Origin::User).count();
        if !user.is_empty() && users == 0 && broken > 0 {
            bail!("{files} broken, as said above, and no other rule was given");
        }
        if self.set.rules().is_empty() || (!user.is_empty() && users == 0) {
            for listed in self.set.listed() {
                note(format_args!("{}", listed_line(listed)));
            }
            bail!("there is no rule to run among those that were given");
        }
        Ok(())
    }

    /// Leaves out the rules that the configuration disables, and compiles its exceptions for the rest. Says on stderr
    /// what its author should know.
    ///
    /// # Errors
    ///
    /// When an exception is broken, or no rule is left.
    pub(crate) fn configure(&mut self, loaded: &Loaded, schema: &dyn Schema) -> anyhow::Result<Exceptions> {
        let settings = &loaded.config.rules;
        self.streams = loaded.config.streams();
        for warning in self.unmatched(loaded) {
            note(format_args!("{warning}"));
        }
        let found = self.set.rules().len();
        self.set.retain(|rule| settings.disables(&rule.rule).is_none(), schema);
        self.disabled = found - self.set.rules().len();
        if self.set.rules().is_empty() && self.disabled > 0 {
            bail!("the configuration disables every rule");
        }
        match loaded.exceptions(&self.set, schema) {
            Ok((exceptions, warnings)) => {
                warnings.iter().for_each(|warning| note(format_args!("{warning}")));
                Ok(exceptions)
            }
            Err(errors) => {
                errors.iter().for_each(|error| note(format_args!("{error}")));
                bail!("the configuration's exceptions are broken, as said above")
            }
        }
    }

    /// Warns about ids and tags in the configuration that no rule has.
    #[must_use]
    pub fn unmatched(&self, loaded: &Loaded) -> Vec<Located> {
        let rules: Vec<&Rule> = self.set.rules().iter().map(|rule| &rule.rule).collect();
        let ids = rules.iter().map(|rule| rule.id.as_str());
        let listed = self.set.listed().iter().filter_map(|rule| rule.id.as_deref());
        loaded.unmatched(&rules, &ids.chain(listed).collect::<Vec<_>>())
    }

    /// Why a rule that compiled will not, or may not, match on this sensor's events.
    #[must_use]
    pub fn obstacles(&self, rule: &LoadedRule) -> Vec<String> {
        let mut obstacles = Vec::new();
        let is_asked = |action| self.streams.is_read_in_containers(&rule.rule, action);
        if !is_asked(Action::Creation) && !is_asked(Action::Exec) {
            obstacles
                .push(format!("reads {}, which this sensor does not write", rule.rule.indices.join(", ")));
        }
        if parse(&rule.rule.query).is_ok_and(|query| has_tail(&query)) {
            obstacles
                .push("asks for the last matches, and live events have no end: matched by replay".to_owned());
        }
        if !rule.compiled.can_match(&Ecs) {
            obstacles.push(cause(rule));
        } else if rule.compiled.misses_unseen(&Ecs) {
            obstacles.push("wants events to be missing that this sensor never sees".to_owned());
        }
        obstacles
    }

    /// One line: how many of what.
    #[must_use]
    pub fn summary(&self) -> String {
        let hindered = self.set.rules().iter().filter(|rule| !self.obstacles(rule).is_empty()).count();
        let loaded = count((self.set.rules().len() - hindered) as u64, "rule");
        let (listed, broken) = (self.set.listed().len() + hindered, self.broken());
        let warnings = count(self.set.warnings().len() as u64, "warning");
        let disabled = match self.disabled {
            0 => String::new(),
            disabled => format!(", {disabled} disabled"),
        };
        format!("{loaded} loaded, {listed} listed{disabled}, {broken} broken, {warnings}")
    }
}

/// Rules for live events.
pub(crate) struct ForRun {
    pub(crate) rules: RuleSet,
    pub(crate) exceptions: Exceptions,
    /// Files that were left out, and what is wrong with each.
    pub(crate) broken: BTreeMap<String, String>,
    /// One line: how many of what.
    pub(crate) summary: String,
}

/// Rules for live events: the user's beside the shipped ones, vetted, with a summary on stderr.
///
/// # Errors
///
/// One message that says why there is nothing to run, or nothing that may be run.
pub(crate) fn load_for_run(loaded: &Loaded) -> anyhow::Result<ForRun> {
    let settings = &loaded.config.rules;
    let mut rules = Rules::load(&settings.paths, Choice::UserAndShipped, &Ecs)?;
    rules.vet(&settings.paths, settings.strict)?;
    let exceptions = rules.configure(loaded, &Ecs)?;
    note(format_args!("sensor: {}", rules.summary()));
    let broken = rules.errors().map(|error| (error.file.clone(), error.to_string())).collect();
    Ok(ForRun { summary: rules.summary(), rules: rules.set, exceptions, broken })
}

fn is_replacement(warning: &Located) -> bool {
    warning.diagnostic.cause.as_deref() == Some("same rule_id")
}

/// The schema of live events that remembers what a rule asks for.
#[derive(Default)]
struct Asked(std::cell::RefCell<Vec<(String, Option<Field>)>>);

impl Schema for Asked {
    fn lookup(&self, name: &str) -> Option<Field> {
        let field = Ecs.lookup(name);
        self.0.borrow_mut().push((name.to_owned(), field));
        field
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        Ecs.name(id)
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        Ecs.names()
    }

    fn category(&self) -> FieldId {
        Ecs.category()
    }

    fn timestamp(&self) -> FieldId {
        Ecs.timestamp()
    }

    fn tiebreaker(&self) -> Option<FieldId> {
        Ecs.tiebreaker()
    }
}

/// Why no live event can match.
fn cause(rule: &LoadedRule) -> String {
    let categories = rule.compiled.categories().unwrap_or_default();
    let foreign: BTreeSet<Cow<'_, str>> = categories
        .into_iter()
        .filter(|category| !Ecs.records(category))
        .map(String::from_utf8_lossy)
        .collect();
    if !foreign.is_empty() {
        let foreign: Vec<&str> = foreign.iter().map(AsRef::as_ref).collect();
        return format!("needs {} events, which this sensor does not record", foreign.join(" and "));
    }
    match unfilled(rule) {
        none if none.is_empty() => "no event can satisfy it".to_owned(),
        fields => format!("needs {}, which this sensor never fills", fields.join(", ")),
    }
}

/// What a rule asks for that no live event has: each reads as null.
#[must_use]
pub(super) fn unfilled(rule: &LoadedRule) -> Vec<String> {
    let asked = Asked::default();
    // It compiled before; this is only to hear what it asks for.
    let query = &rule.rule.query;
    let parsed = if rule.rule.language == Language::Kuery { parse_kql(query) } else { parse(query) };
    let _ = parsed.and_then(|query| sensor_eql::compile(&query, &asked));
    let terms = rule.rule.new_terms.iter().flat_map(|terms| &terms.fields);
    let groups = rule.rule.threshold.iter().flat_map(|threshold| &threshold.fields);
    for name in terms.chain(groups) {
        let _ = asked.lookup(name);
    }
    let unfilled =
        asked.0.into_inner().into_iter().filter(|(_, field)| field.is_none_or(|f| !Ecs.fills(f.id)));
    unfilled.map(|(name, _)| name).collect::<BTreeSet<_>>().into_iter().collect()
}

fn has_tail(query: &Query) -> bool {
    let pipes = match query {
        // A single event is matched for itself, whatever comes after it.
        Query::Event(_) => return false,
        Query::Sequence(sequence) => &sequence.pipes,
        Query::Sample(sample) => &sample.pipes,
    };
    pipes.iter().any(|pipe| matches!(pipe, Pipe::Tail(_)))
}

/// A listed rule as one line.
#[must_use]
pub(super) fn listed_line(rule: &ListedRule) -> String {
    let name = rule.name.as_deref().unwrap_or("-");
    let id = rule.id.as_deref().unwrap_or("-");
    format!("listed  {}  {} ({}): {}", printable(id), printable(name), printable(&rule.path), rule.reason)
}
