//! Whole queries: event filters, stages of sequences, members of samples, and their keys.

use sensor_ecs::FieldId;

use super::{Known, Lower};
use crate::ast::{EventFilter, Expr, ExprKind, Query, Sample, Sequence, Term};
use crate::compile::{Filter, Key, Missing, Place, Plan, SamplePlan, SequencePlan, Stage};
use crate::diag::Span;

impl Lower<'_> {
    pub(crate) fn query(&mut self, query: &Query) -> Plan {
        match query {
            Query::Event(q) => Plan::Event { filter: self.filter(&q.filter), pipes: q.pipes.clone() },
            Query::Sequence(q) => Plan::Sequence(self.sequence(q)),
            Query::Sample(q) => Plan::Sample(self.sample(q)),
        }
    }

    fn filter(&mut self, filter: &EventFilter) -> Filter {
        Filter {
            category: filter.category.as_ref().map(|c| c.as_bytes().into()),
            category_field: self.schema.category(),
            condition: self.pred(&filter.condition),
        }
    }

    fn sequence(&mut self, q: &Sequence) -> SequencePlan {
        let terms: Vec<Stage> = q.terms.iter().map(|t| self.stage(&q.by, t)).collect();
        let mut stages = Vec::new();
        let mut positives = Vec::new();
        let mut missing = Vec::new();
        let last = q.terms.iter().rposition(|t| !t.missing);
        for (i, term) in q.terms.iter().enumerate() {
            for _ in 0..term.runs {
                stages.push(i);
                if !term.missing {
                    positives.push(i);
                }
            }
            if term.missing {
                let place = match positives.len().checked_sub(1) {
                    None => Place::Leading,
                    Some(_) if last.is_some_and(|last| last < i) => Place::Trailing,
                    Some(before) => Place::After(before),
                };
                missing.push(Missing { term: i, place });
            }
        }
        let until = q.until.as_ref().map(|t| self.stage(&q.by, t));
        SequencePlan { terms, stages, positives, missing, until, maxspan: q.maxspan, pipes: q.pipes.clone() }
    }

    fn sample(&mut self, q: &Sample) -> SamplePlan {
        let members = q.terms.iter().map(|t| self.stage(&q.by, t)).collect();
        SamplePlan { members, pipes: q.pipes.clone() }
    }

    fn stage(&mut self, shared: &[Expr], term: &Term) -> Stage {
        let keys = shared.iter().chain(&term.by).map(|e| self.key(e)).collect();
        Stage { filter: self.filter(&term.filter), keys, missing: term.missing }
    }

    /// A key that is named outside the query; it has no position in it.
    pub(crate) fn named_key(&mut self, name: &str) -> Key {
        let name = name.to_owned();
        let kind = ExprKind::Field { name, optional: false };
        self.key(&Expr { kind, span: Span::default() })
    }

    fn key(&mut self, e: &Expr) -> Key {
        let ExprKind::Field { name, optional } = &e.kind else { return Key { field: None, optional: true } };
        match self.resolve(name, *optional, e.span) {
            Known::Field(field) => Key { field: Some(field.id), optional: *optional },
            Known::Nothing => Key { field: None::<FieldId>, optional: *optional },
        }
    }
}
