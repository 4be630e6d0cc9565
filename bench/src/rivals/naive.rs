//! The reference evaluator: every rule's syntax tree on every event.

use sensor_ecs::Ecs;
use sensor_eql::ast::{EventFilter, Query};
use sensor_eql::{RuleSet, parse, reference};

use super::{Outcome, best_of};
use crate::workload::Case;

pub(super) fn run(set: &RuleSet, events: &[Case<'_>]) -> Outcome {
    let filters: Vec<EventFilter> = set
        .rules()
        .iter()
        .filter_map(|loaded| match parse(&loaded.rule.query) {
            Ok(Query::Event(query)) => Some(query.filter),
            _ => None,
        })
        .collect();
    let (ns, matches) = best_of(2, events.len(), || {
        let mut matches = 0;
        for case in events {
            let seen = reference::by_name(&Ecs, &case.event);
            matches += filters.iter().filter(|filter| reference::matches(filter, &Ecs, &seen)).count() as u64;
        }
        matches
    });
    Outcome { rules: filters.len(), ns, matches }
}
