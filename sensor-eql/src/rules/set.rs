//! All rules of a run: those that run, those that cannot with the reason, and what is wrong with the rest.

use std::collections::HashMap;

use sensor_ecs::{Record, Schema};

use super::file::{Language, Reason, Rule, parse_rule_file};
use crate::compile::{Compiled, Kind, compile_rule};
use crate::diag::{Diagnostic, Located, SourceFile, Span};
use crate::kql::parse_kql;
use crate::matcher::{Hits, Known, Matcher, Memory, Owner};
use crate::parse::parse;

/// Where a rule file comes from; the user's wins over one of the same id that is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Part of the product.
    Shipped,
    /// Named by the user.
    User,
}

/// A rule file before it is read.
#[derive(Clone, Debug)]
pub struct RuleSource {
    /// Whose it is.
    pub origin: Origin,
    /// Its name for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A rule that runs.
#[derive(Clone, Debug)]
pub struct LoadedRule {
    /// The rule as its file states it.
    pub rule: Rule,
    /// Whose it is.
    pub origin: Origin,
    /// The file.
    pub path: String,
    /// The compiled query.
    pub compiled: Compiled,
}

/// A rule, or other file, that does not run although nothing is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRule {
    /// The file.
    pub path: String,
    /// The rule's id, if it is a rule.
    pub id: Option<String>,
    /// The rule's name, if it is a rule.
    pub name: Option<String>,
    /// Why it does not run.
    pub reason: Reason,
}

/// Position of a rule in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    fn slot(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Some rules of a [`RuleSet`]; meaningful only together with the set that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    words: Box<[u64]>,
}

impl Selection {
    /// Whether this rule is among them.
    #[must_use]
    pub fn contains(&self, rule: RuleIndex) -> bool {
        let slot = rule.slot();
        self.words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.words.iter().any(|word| *word != 0)
    }

    /// Takes a rule in, or out.
    pub(crate) fn set(&mut self, rule: RuleIndex, selected: bool) {
        let slot = rule.slot();
        if let Some(word) = self.words.get_mut(slot / 64) {
            let bit = 1 << (slot % 64);
            *word = if selected { *word | bit } else { *word & !bit };
        }
    }

    /// Calls `visit` for each rule, in order.
    pub(crate) fn each(&self, mut visit: impl FnMut(RuleIndex)) {
        for (first, word) in (0..).step_by(64).zip(&self.words) {
            let mut word = *word;
            while word != 0 {
                visit(RuleIndex(first + word.trailing_zeros()));
                word &= word - 1;
            }
        }
    }

    /// Whether a rule is in both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }
}

/// The rules of a run.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<LoadedRule>,
    listed: Vec<ListedRule>,
    errors: Vec<Located>,
    warnings: Vec<Located>,
    matcher: Matcher,
}

/// A rule that compiled, with what a duplicate warning needs.
struct Candidate {
    loaded: LoadedRule,
    id_at: Located,
}

impl RuleSet {
    /// Loads every file. A file that is broken is reported in [`Self::errors`] and stops no other.
    pub fn load(files: impl IntoIterator<Item = RuleSource>, schema: &dyn Schema) -> Self {
        let mut set = Self::default();
        let mut order: Vec<Candidate> = Vec::new();
        let mut by_id: HashMap<String, usize> = HashMap::new();
        for file in files {
            let Some(candidate) = set.load_one(file, schema) else { continue };
            match by_id.get(&candidate.loaded.rule.id).and_then(|at| order.get_mut(*at)) {
                None => {
                    by_id.insert(candidate.loaded.rule.id.clone(), order.len());
                    order.push(candidate);
                }
                Some(kept) => {
                    let newer_wins = candidate.loaded.origin >= kept.loaded.origin;
                    let loser = if newer_wins { std::mem::replace(kept, candidate) } else { candidate };
                    set.warnings.push(duplicate(&kept.loaded, loser));
                }
            }
        }
        set.rules = order.into_iter().map(|c| c.loaded).collect();
        set.build_matcher(schema);
        set
    }

    /// Leaves out the rules for which `wanted` does not hold. Positions change.
    pub fn retain(&mut self, wanted: impl FnMut(&LoadedRule) -> bool, schema: &dyn Schema) {
        self.rules.retain(wanted);
        self.build_matcher(schema);
    }

    fn build_matcher(&mut self, schema: &dyn Schema) {
        // One that cannot match, or only wrongly, costs nothing.
        let runs = |compiled: &Compiled| compiled.can_match(schema) && !compiled.misses_unseen(schema);
        let running = self.indexed().filter(|(_, loaded)| runs(&loaded.compiled));
        let filters = running.flat_map(|(rule, loaded)| {
            let stateful = loaded.compiled.kind() != Kind::Event;
            let filters = loaded.compiled.filters().enumerate();
            filters.map(move |(number, filter)| {
                let follows = loaded.compiled.plan.follows(number);
                (Owner { rule, filter: number, stateful, follows }, filter)
            })
        });
        self.matcher = Matcher::build(filters, schema);
    }

    fn load_one(&mut self, file: RuleSource, schema: &dyn Schema) -> Option<Candidate> {
        let RuleSource { origin, path, text } = file;
        let read = match parse_rule_file(&path, &text) {
            Ok(read) => read,
            Err(errors) => {
                self.errors.extend(errors);
                return None;
            }
        };
        self.warnings.extend(read.warnings);
        let rule = match (read.reason, read.rule) {
            (None, Some(rule)) => rule,
            (reason, rule) => {
                let (id, name) = rule.map_or((None, None), |r| (Some(r.id), Some(r.name)));
                let reason = reason.unwrap_or(Reason::NotARule);
                self.listed.push(ListedRule { path, id, name, reason });
                return None;
            }
        };
        let schema = match rule.event_fields.over(schema, read.event_field_spans) {
            Ok(over) => over,
            Err(unknown) => {
                self.errors.push(SourceFile::new(&path, &text).locate(&unknown));
                return None;
            }
        };
        let query_source = SourceFile { name: &path, text: &text, map: read.query_map };
        let parsed =
            if rule.language == Language::Kuery { parse_kql(&rule.query) } else { parse(&rule.query) };
        let compiled = match parsed.and_then(|query| compile_rule(&query, &rule, &schema)) {
            Ok(compiled) => compiled,
            Err(found) => {
                self.errors.extend(found.0.iter().map(|d| query_source.locate(d)));
                return None;
            }
        };
        self.warnings.extend(compiled.warnings().iter().map(|d| query_source.locate(d)));
        let id_at = SourceFile::new(&path, &text).locate(&Diagnostic::warning(read.id_span, ""));
        Some(Candidate { loaded: LoadedRule { rule, origin, path, compiled }, id_at })
    }

    /// The rules that run, with their positions.
    pub fn indexed(&self) -> impl Iterator<Item = (RuleIndex, &LoadedRule)> {
        (0_u32..).map(RuleIndex).zip(&self.rules)
    }

    /// The rules that run.
    #[must_use]
    pub fn rules(&self) -> &[LoadedRule] {
        &self.rules
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: RuleIndex) -> Option<&LoadedRule> {
        self.rules.get(index.slot())
    }

    /// Files that do not run, each with its reason.
    #[must_use]
    pub fn listed(&self) -> &[ListedRule] {
        &self.listed
    }

    /// What is wrong with files that were left out.
    #[must_use]
    pub fn errors(&self) -> &[Located] {
        &self.errors
    }

    /// What authors should know about rules that run.
    #[must_use]
    pub fn warnings(&self) -> &[Located] {
        &self.warnings
    }

    /// Whether any of these rules may be concerned by an event of a kind. `record` shows what all events of the kind have
    /// in common: the fields that live for ever. Others are not looked at.
    #[must_use]
    pub fn may_concern(&self, record: &impl Record, selection: &Selection) -> bool {
        let mut concerned = false;
        self.matcher.possible(record, &mut |rule| concerned |= selection.contains(rule));
        concerned
    }

    /// The rules for which `wanted` holds: those enabled, or those that read some data stream.
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&LoadedRule) -> bool) -> Selection {
        let mut words = vec![0_u64; self.rules.len().div_ceil(64)];
        for (i, rule) in self.rules.iter().enumerate() {
            if let (true, Some(word)) = (wanted(rule), words.get_mut(i / 64)) {
                *word |= 1 << (i % 64);
            }
        }
        Selection { words: words.into() }
    }

    /// What [`Self::look`] is to remember: of so many processes, a power of two.
    #[must_use]
    pub fn memory(&self, processes: usize) -> Memory {
        self.matcher.memory(processes)
    }

    /// What `record` satisfies. `memory` is one that this set has made; `known` is what earlier events have in common
    /// with this one; `under_way` is what the correlator says, or every rule.
    pub fn look<'m>(
        &self,
        record: &impl Record,
        known: Known,
        under_way: &Selection,
        memory: &'m mut Memory,
    ) -> Hits<'m> {
        self.matcher.look(record, known, under_way, memory)
    }

    /// Calls `out` for every single-event rule that `record` satisfies, in order. Sequences and samples need a
    /// [`crate::Correlator`].
    pub fn matches(&self, record: &impl Record, out: &mut impl FnMut(RuleIndex)) {
        self.matcher.single(record, out);
    }
}

fn duplicate(winner: &LoadedRule, loser: Candidate) -> Located {
    let mut at = loser.id_at;
    let (id, path) = (&winner.rule.id, &winner.path);
    at.diagnostic =
        Diagnostic::warning(Span::default(), format!("rule {id} is replaced by the one in {path}"))
            .because("same rule_id");
    at
}
