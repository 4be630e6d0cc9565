//! What a condition demands of texts: clauses, each a list of alternatives of which one must be met.
//!
//! Only what must hold is used, so that an event which meets no alternative of some clause cannot satisfy the
//! condition. Case is folded, which can only let more through; the condition itself decides afterwards.

use sensor_ecs::FieldId;

use crate::ast::CompareOp;
use crate::func::Func;
use crate::ir::{Pred, Test};
use crate::regex::Ends;
use crate::value::Out;
use crate::wild::Wildcard;

/// A shorter text is inside most values.
const INSIDE_BYTES_MIN: usize = 3;

/// What a text must look like, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Demand {
    Exact(Vec<u8>),
    Head(Vec<u8>),
    Tail(Vec<u8>),
    Inside(Vec<u8>),
}

/// Alternatives, of which one must be met.
pub(super) type Clause = Vec<(FieldId, Demand)>;

/// A shorter value is an option such as `-c`, or an account's number, and many have it.
const EXACT_BYTES_MIN: usize = 3;

/// How little a clause tells, roughly: the best has the least.
pub(super) fn breadth(clause: &Clause) -> (usize, usize) {
    let width = |demand: &Demand| match demand {
        Demand::Exact(text) if text.len() < EXACT_BYTES_MIN => 3,
        Demand::Exact(_) => 0,
        Demand::Head(text) | Demand::Tail(text) if !text.is_empty() => 1,
        Demand::Inside(_) => 2,
        Demand::Head(_) | Demand::Tail(_) => 3,
    };
    (clause.iter().map(|(_, demand)| width(demand)).max().unwrap_or_default(), clause.len())
}

/// Whether any value will do.
pub(super) fn says_little(clause: &Clause) -> bool {
    clause.iter().any(|(_, demand)| *demand == ANYTHING)
}

/// The tightest clause that `pred` implies, if there is one.
pub(super) fn clause(pred: &Pred) -> Option<Clause> {
    match pred {
        Pred::And(items) => items.iter().filter_map(clause).min_by_key(breadth),
        Pred::Or(items) => items.iter().map(clause).collect::<Option<Vec<_>>>().map(|all| all.concat()),
        Pred::Field(field, test) => Some(demands(test).into_iter().map(|demand| (*field, demand)).collect()),
        Pred::Const(_) | Pred::Not(_) | Pred::Script(_) => None,
    }
}

/// No test holds where there is no value, so that each demands one at least.
fn demands(test: &Test) -> Vec<Demand> {
    let lower = |text: &[u8]| text.to_ascii_lowercase();
    let mut demands: Vec<Demand> = match test {
        Test::OneOf(set) if set.only_texts => {
            set.texts.iter().map(|text| Demand::Exact(lower(text))).collect()
        }
        Test::Compare(CompareOp::Eq, Out::Text(text)) => vec![Demand::Exact(lower(text))],
        Test::Like(patterns) => patterns.iter().map(of_pattern).collect(),
        Test::Part { func: Func::StartsWith, part, .. } => vec![Demand::Head(lower(part))],
        Test::Part { func: Func::EndsWith, part, .. } => vec![Demand::Tail(lower(part))],
        Test::Part { func: Func::StringContains, part, .. } if part.len() >= INSIDE_BYTES_MIN => {
            vec![Demand::Inside(lower(part))]
        }
        Test::Regex(regex) => match regex.ends() {
            Ends::Heads(heads) => heads.iter().cloned().map(Demand::Head).collect(),
            Ends::Tails(tails) => tails.iter().cloned().map(Demand::Tail).collect(),
            Ends::Unknown => vec![ANYTHING],
        },
        _ => vec![ANYTHING],
    };
    demands.sort_unstable();
    demands.dedup();
    demands
}

const ANYTHING: Demand = Demand::Head(Vec::new());

fn of_pattern(pattern: &Wildcard) -> Demand {
    let lower = |text: &[u8]| text.to_ascii_lowercase();
    if let Some(text) = pattern.exact() {
        return Demand::Exact(lower(text));
    }
    let (head, tail, witness) = (pattern.head(), pattern.tail(), pattern.witness());
    match (head, tail) {
        ([], []) if witness.len() >= INSIDE_BYTES_MIN => Demand::Inside(lower(witness)),
        ([], []) => ANYTHING,
        // Many begin with `/home/`; what comes later tells more.
        _ if witness.len() > 2 * head.len().max(tail.len()) => Demand::Inside(lower(witness)),
        _ if tail.len() > head.len() => Demand::Tail(lower(tail)),
        _ => Demand::Head(lower(head)),
    }
}
