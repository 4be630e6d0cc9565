//! Whether a query can match at all where some fields are never filled, and some events never come.

use sensor_ecs::{FieldId, Record, Schema, Value};

use crate::compile::{Compiled, Filter, Key, Plan, Stage};
use crate::ir::Pred;

/// An event without any field.
struct Nothing;

impl Record for Nothing {
    fn value(&self, _: FieldId) -> Value<'_> {
        Value::Absent
    }
}

impl Compiled {
    /// Whether some events of `schema` could match. Errs on the side of yes: that two conditions exclude each other is
    /// not seen.
    #[must_use]
    pub fn can_match(&self, schema: &dyn Schema) -> bool {
        let stage = |stage: &Stage| stage.filter.can_match(schema) && all_filled(&stage.keys, schema);
        match self.plan.as_ref() {
            Plan::Event { filter, .. } => filter.can_match(schema),
            Plan::Sequence(plan) => plan.positives.iter().filter_map(|i| plan.terms.get(*i)).all(stage),
            Plan::Sample(plan) => plan.members.iter().all(stage),
            Plan::NewTerms(plan) => plan.filter.can_match(schema) && all_filled(&plan.keys, schema),
            Plan::Threshold(plan) => {
                let mut counted = plan.cardinality.iter().filter(|(_, least)| *least > 0).map(|(key, _)| key);
                plan.filter.can_match(schema)
                    && all_filled(&plan.keys, schema)
                    && counted.all(|key| is_filled(key, schema))
            }
        }
    }

    /// Whether it wants an event to be missing that `schema` never has: it would match for want of eyes.
    #[must_use]
    pub fn misses_unseen(&self, schema: &dyn Schema) -> bool {
        let Plan::Sequence(plan) = self.plan.as_ref() else { return false };
        let mut missing = plan.missing.iter().filter_map(|missing| plan.terms.get(missing.term));
        missing.any(|term| !term.filter.can_match(schema))
    }
}

fn all_filled(keys: &[Key], schema: &dyn Schema) -> bool {
    keys.iter().all(|key| is_filled(key, schema))
}

fn is_filled(key: &Key, schema: &dyn Schema) -> bool {
    key.optional || key.field.is_some_and(|field| schema.fills(field))
}

impl Filter {
    fn can_match(&self, schema: &dyn Schema) -> bool {
        let is_of_some = |category: &[u8]| schema.fills(self.category_field) && schema.records(category);
        self.category.as_deref().is_none_or(is_of_some) && self.condition.without(schema) != Some(false)
    }
}

impl Pred {
    /// What it comes to whatever the event, if that is known.
    fn without(&self, schema: &dyn Schema) -> Option<bool> {
        match self {
            Self::Const(value) => Some(*value),
            Self::And(items) => decided(items, schema, false),
            Self::Or(items) => decided(items, schema, true),
            Self::Not(inner) => inner.without(schema).map(|value| !value),
            Self::Field(field, _) => (!schema.fills(*field)).then_some(false),
            Self::Script(script) => {
                (!script.fields.iter().any(|field| schema.fills(*field))).then(|| script.holds(&Nothing))
            }
        }
    }
}

/// One item that comes to `decisive` decides; otherwise all must be known.
fn decided(items: &[Pred], schema: &dyn Schema, decisive: bool) -> Option<bool> {
    let mut all = Some(!decisive);
    for item in items {
        match item.without(schema) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => all = None,
        }
    }
    all
}
