//! The fields that a rule names in place of the schema's own: what its categories test, what puts events in order.

use std::borrow::Cow;

use sensor_ecs::{Field, FieldId, FieldType, Lifetime, Schema};

use super::table::{Findings, Table};
use crate::diag::{Diagnostic, Span, nearest};

/// `event_category_override`, `timestamp_field` and `tiebreaker_field` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFields {
    /// Instead of `event.category`.
    pub category: Option<String>,
    /// Instead of `@timestamp`.
    pub timestamp: Option<String>,
    /// Instead of `event.sequence`.
    pub tiebreaker: Option<String>,
}

/// Where they stand in the file.
pub(super) type Spans = [Span; 3];

const KEYS: [&str; 3] = ["event_category_override", "timestamp_field", "tiebreaker_field"];

impl EventFields {
    pub(super) fn read(table: Table<'_, '_>, found: &mut Findings) -> (Self, Spans) {
        let [category, timestamp, tiebreaker] = KEYS.map(|key| table.text(key, found));
        (Self { category, timestamp, tiebreaker }, KEYS.map(|key| table.span_at(key)))
    }

    /// The schema as the rule sees it.
    pub(super) fn over<'s>(&self, schema: &'s dyn Schema, spans: Spans) -> Result<Over<'s>, Diagnostic> {
        let mut fields = [None; 3];
        let wanted: [(&Option<String>, &[FieldType], &str); 3] = [
            (&self.category, &[FieldType::Keyword], "a keyword"),
            (&self.timestamp, &[FieldType::Date], "a date"),
            (&self.tiebreaker, &[FieldType::Long], "a whole number"),
        ];
        for (((name, types, kind), span), field) in wanted.into_iter().zip(spans).zip(&mut fields) {
            let Some(name) = name else { continue };
            let Some(known) = schema.lookup(name) else {
                let names = schema.names();
                let unknown = Diagnostic::error(span, format!("unknown field `{name}`"));
                return Err(match nearest(name, names.iter().map(AsRef::as_ref)) {
                    Some(close) => unknown.help(format!("did you mean `{close}`?")),
                    None => unknown,
                });
            };
            if !types.contains(&known.ty) {
                return Err(Diagnostic::error(span, format!("`{name}` is not {kind}")));
            }
            *field = Some(known.id);
        }
        let [category, timestamp, tiebreaker] = fields;
        Ok(Over { schema, category, timestamp, tiebreaker })
    }
}

/// A schema but for these fields.
pub(super) struct Over<'s> {
    schema: &'s dyn Schema,
    category: Option<FieldId>,
    timestamp: Option<FieldId>,
    tiebreaker: Option<FieldId>,
}

impl Schema for Over<'_> {
    fn lookup(&self, name: &str) -> Option<Field> {
        self.schema.lookup(name)
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        self.schema.name(id)
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        self.schema.names()
    }

    fn lifetime(&self, id: FieldId) -> Lifetime {
        self.schema.lifetime(id)
    }

    fn fills(&self, id: FieldId) -> bool {
        self.schema.fills(id)
    }

    fn category(&self) -> FieldId {
        self.category.unwrap_or_else(|| self.schema.category())
    }

    fn timestamp(&self) -> FieldId {
        self.timestamp.unwrap_or_else(|| self.schema.timestamp())
    }

    fn tiebreaker(&self) -> Option<FieldId> {
        self.tiebreaker.or_else(|| self.schema.tiebreaker())
    }
}
