//! From a parsed query to something that runs.

use std::sync::Arc;

use sensor_ecs::{FieldId, Record, Schema};

use crate::ast::{Expr, Pipe, Query};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::ir::Pred;
use crate::lower::Lower;
use crate::rules::{Language, Rule};

/// A category and a condition.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) category: Option<Box<[u8]>>,
    pub(crate) category_field: FieldId,
    pub(crate) condition: Pred,
}

impl Filter {
    pub(crate) fn matches(&self, record: &impl Record) -> bool {
        self.in_category(record) && self.condition.holds(record)
    }

    pub(crate) fn in_category(&self, record: &impl Record) -> bool {
        let Some(category) = &self.category else { return true };
        match record.value(self.category_field) {
            sensor_ecs::Value::Keyword(have) => have == category.as_ref(),
            sensor_ecs::Value::List(items) => {
                items.iter().any(|i| i.as_value().as_keyword() == Some(category.as_ref()))
            }
            _ => false,
        }
    }
}

/// A key of a sequence or sample. Without a field it reads as null.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) field: Option<FieldId>,
    pub(crate) optional: bool,
}

/// One stage of a sequence, or one member of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) filter: Filter,
    pub(crate) keys: Box<[Key]>,
    pub(crate) missing: bool,
}

/// A sequence. Its terms are as written; its stages name them once per run.
#[derive(Clone, Debug)]
pub(crate) struct SequencePlan {
    pub(crate) terms: Vec<Stage>,
    /// The term of each stage.
    pub(crate) stages: Vec<usize>,
    /// The terms of the stages that must occur.
    pub(crate) positives: Vec<usize>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) until: Option<Stage>,
    pub(crate) maxspan: Option<i64>,
    pub(crate) pipes: Vec<Pipe>,
}

/// An event that must be missing, by its place among the stages that must occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) term: usize,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the first.
    Leading,
    /// Between this positive stage and the next.
    After(usize),
    /// After the last.
    Trailing,
}

/// A sample.
#[derive(Clone, Debug)]
pub(crate) struct SamplePlan {
    pub(crate) members: Vec<Stage>,
    pub(crate) pipes: Vec<Pipe>,
}

/// What a query does.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Event { filter: Filter, pipes: Vec<Pipe> },
    Sequence(SequencePlan),
    Sample(SamplePlan),
    NewTerms(NewTermsPlan),
    Threshold(ThresholdPlan),
}

/// Events with a combination of values that was not seen before.
#[derive(Clone, Debug)]
pub(crate) struct NewTermsPlan {
    pub(crate) filter: Filter,
    pub(crate) keys: Box<[Key]>,
    /// How far back "before" reaches, in nanoseconds.
    pub(crate) history: i64,
}

/// So many events in a group.
#[derive(Clone, Debug)]
pub(crate) struct ThresholdPlan {
    pub(crate) filter: Filter,
    pub(crate) keys: Box<[Key]>,
    pub(crate) value: u64,
    /// Fields that must show so many distinct values.
    pub(crate) cardinality: Vec<(Key, u64)>,
}

/// The fields that put events in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderFields {
    pub(crate) timestamp: FieldId,
    pub(crate) tiebreaker: Option<FieldId>,
}

/// The form of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Single events.
    Event,
    /// Events in order.
    Sequence,
    /// Events in any order.
    Sample,
    /// Single events with something new about them.
    NewTerms,
    /// Many events of a kind.
    Threshold,
}

/// A query ready to run against records of the schema it was compiled with.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(crate) plan: Arc<Plan>,
    pub(crate) order: OrderFields,
    warnings: Vec<Diagnostic>,
    unknown_fields: Vec<String>,
}

/// Type-checks a query against `schema` and compiles it.
///
/// # Errors
/// Every type error found, with warnings among them.
pub fn compile(query: &Query, schema: &dyn Schema) -> Result<Compiled, Diagnostics> {
    compile_with(query, schema, false, |_, plan| plan)
}

/// A bare condition, such as an exception that a user writes for a rule.
#[derive(Clone, Debug)]
pub struct Condition {
    pred: Pred,
    warnings: Vec<Diagnostic>,
}

/// Type-checks a condition against `schema` and compiles it.
///
/// # Errors
/// Every type error found, with warnings among them.
pub fn compile_condition(condition: &Expr, schema: &dyn Schema) -> Result<Condition, Diagnostics> {
    let mut lower = Lower::new(schema);
    let pred = lower.pred(condition);
    crate::lint::condition(condition, &mut lower.found);
    lower.found.sort_by_key(|d| d.span.start);
    if lower.found.iter().any(|d| d.severity == Severity::Error) {
        return Err(Diagnostics(lower.found));
    }
    Ok(Condition { pred, warnings: lower.found })
}

impl Condition {
    /// Whether it holds for `record`, of whatever category.
    #[must_use]
    pub fn holds(&self, record: &impl Record) -> bool {
        self.pred.holds(record)
    }

    /// What its author should know although it works.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
}

/// Compiles the query of a rule, with what its type adds to it.
pub(crate) fn compile_rule(query: &Query, rule: &Rule, schema: &dyn Schema) -> Result<Compiled, Diagnostics> {
    compile_with(query, schema, rule.language == Language::Kuery, |lower, plan| {
        let Plan::Event { filter, pipes } = plan else { return plan };
        match (&rule.new_terms, &rule.threshold) {
            (Some(terms), _) => {
                let keys = terms.fields.iter().map(|name| lower.named_key(name)).collect();
                Plan::NewTerms(NewTermsPlan { filter, keys, history: terms.history_ns })
            }
            (_, Some(threshold)) => Plan::Threshold(ThresholdPlan {
                filter,
                keys: threshold.fields.iter().map(|name| lower.named_key(name)).collect(),
                value: threshold.value,
                cardinality: threshold.cardinality.iter().map(|(f, n)| (lower.named_key(f), *n)).collect(),
            }),
            (None, None) => Plan::Event { filter, pipes },
        }
    })
}

fn compile_with(
    query: &Query,
    schema: &dyn Schema,
    kql: bool,
    shape: impl FnOnce(&mut Lower<'_>, Plan) -> Plan,
) -> Result<Compiled, Diagnostics> {
    let mut lower = Lower::new(schema);
    lower.kql = kql;
    let plan = lower.query(query);
    let plan = shape(&mut lower, plan);
    crate::lint::query(query, &mut lower.found);
    lower.found.sort_by_key(|d| d.span.start);
    if lower.found.iter().any(|d| d.severity == Severity::Error) {
        return Err(Diagnostics(lower.found));
    }
    let order = OrderFields { timestamp: schema.timestamp(), tiebreaker: schema.tiebreaker() };
    Ok(Compiled { plan: Arc::new(plan), order, warnings: lower.found, unknown_fields: lower.unknown })
}

impl Compiled {
    /// Whether one record satisfies a single-event query. Pipes do not apply; other forms never match here, they
    /// need a [`crate::Stream`].
    #[must_use]
    pub fn matches(&self, record: &impl Record) -> bool {
        match self.plan.as_ref() {
            Plan::Event { filter, .. } => filter.matches(record),
            Plan::Sequence(_) | Plan::Sample(_) | Plan::NewTerms(_) | Plan::Threshold(_) => false,
        }
    }

    /// The longest time from the first to the last event of a sequence, in nanoseconds.
    #[must_use]
    pub fn maxspan_ns(&self) -> Option<i64> {
        match self.plan.as_ref() {
            Plan::Sequence(plan) => plan.maxspan,
            Plan::Event { .. } | Plan::Sample(_) | Plan::NewTerms(_) | Plan::Threshold(_) => None,
        }
    }

    /// Whether the query is on single events, a sequence or a sample.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match *self.plan {
            Plan::Event { .. } => Kind::Event,
            Plan::Sequence(_) => Kind::Sequence,
            Plan::Sample(_) => Kind::Sample,
            Plan::NewTerms(_) => Kind::NewTerms,
            Plan::Threshold(_) => Kind::Threshold,
        }
    }

    /// What the author should know although the query runs.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Fields that the schema does not know and that were not marked optional: they read as null.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.unknown_fields
    }

    /// The categories that can match; `None` if any can.
    #[must_use]
    pub fn categories(&self) -> Option<Vec<&[u8]>> {
        self.filters().map(|f| f.category.as_deref()).collect()
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.plan.filters()
    }
}

impl Plan {
    /// Every filter in it: an event that satisfies none of them does not concern the query.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        let (one, many, until) = match self {
            Plan::Event { filter, .. } => (Some(filter), &[][..], None),
            Plan::Sequence(s) => (None, s.terms.as_slice(), s.until.as_ref()),
            Plan::Sample(s) => (None, s.members.as_slice(), None),
            Plan::NewTerms(p) => (Some(&p.filter), &[][..], None),
            Plan::Threshold(p) => (Some(&p.filter), &[][..], None),
        };
        one.into_iter().chain(many.iter().chain(until).map(|s| &s.filter))
    }

    /// Whether an event that satisfies this filter, by its place among them, changes nothing unless a match is under
    /// way. `until` is none of these: it ends what the same event has begun.
    pub(crate) fn follows(&self, filter: usize) -> bool {
        let Plan::Sequence(plan) = self else { return false };
        let leads = |missing: &Missing| missing.place == Place::Leading && missing.term == filter;
        filter < plan.terms.len()
            && plan.positives.first() != Some(&filter)
            && !plan.missing.iter().any(leads)
    }
}
