//! Which filters an event can possibly satisfy, found without looking at the filters one by one.
//!
//! Of each filter a few clauses are indexed. A field's texts are looked up once for all clauses that demand something
//! of it; a filter of which some clause found none of its alternatives is dropped as soon as the last field of that
//! clause was looked at.

use std::collections::{BTreeMap, HashMap, HashSet};

use sensor_ecs::{FieldId, Record, Value};

use super::clause::{Clause, Demand, breadth, clause, says_little};
use super::set::{FILTERS_MAX, Set};
use crate::inside::Inside;
use crate::ir::Pred;
use crate::texts::Texts;
use crate::trie::{Id, Trie, Wanted};

/// Most clauses of a filter that are indexed.
const CLAUSES_MAX: usize = 3;
/// So few filters are rather looked at one by one.
const FEW: u32 = 4;
/// A field that so few filters want is not worth a look.
const FEW_WANTING: u32 = 2;
/// Bytes of the texts that must occur somewhere in one field.
const INSIDE_BYTES_MAX: usize = 64 << 10;

// An id names a clause of a filter.
const _: () = assert!(CLAUSES_MAX * FILTERS_MAX <= Id::MAX as usize);

/// The indexed clauses of a segment's filters.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    fields: Box<[Field]>,
}

#[derive(Clone, Debug)]
struct Field {
    field: FieldId,
    /// Filters with a clause that demands something of this field, by the clause's number.
    wanted: [Set; CLAUSES_MAX],
    wanted_by: Set,
    /// Filters whose clause has its last field here.
    decided: [Set; CLAUSES_MAX],
    /// Exact texts, and who wants each.
    exact: Texts,
    exactly: Box<[Wants]>,
    heads: Trie,
    tails: Trie,
    /// Texts that must occur somewhere, and who wants each.
    inside: Option<Inside>,
    somewhere: Box<[Wants]>,
}

/// The clauses that want a text.
#[derive(Clone, Debug)]
enum Wants {
    Few(Box<[Id]>),
    Many(Box<Found>),
}

/// So many are one by one as fast as all at once.
const FEW_WANTS: usize = 6;

impl Wants {
    fn new(ids: Vec<Id>) -> Self {
        if ids.len() <= FEW_WANTS {
            return Self::Few(ids.into());
        }
        let mut found = Found::default();
        ids.into_iter().for_each(|id| found.add(id));
        Self::Many(Box::new(found))
    }
}

/// Clauses that found an alternative.
#[derive(Clone, Debug, Default)]
struct Found([Set; CLAUSES_MAX]);

impl Found {
    fn add(&mut self, id: Id) {
        let (number, position) = (usize::from(id) / FILTERS_MAX, usize::from(id) % FILTERS_MAX);
        if let Some(set) = self.0.get_mut(number) {
            set.insert(position);
        }
    }

    /// Takes for found whatever is demanded of a field.
    fn take(&mut self, field: &Field) {
        self.0.iter_mut().zip(&field.wanted).for_each(|(found, wanted)| *found |= *wanted);
    }

    fn add_all(&mut self, wants: Option<&Wants>) {
        match wants {
            Some(Wants::Few(ids)) => ids.iter().for_each(|id| self.add(*id)),
            Some(Wants::Many(many)) => {
                self.0.iter_mut().zip(&many.0).for_each(|(found, wants)| *found |= *wants);
            }
            None => {}
        }
    }
}

impl Narrow {
    /// Indexes conditions by their positions in the segment.
    pub(super) fn build<'p>(conditions: impl Iterator<Item = (usize, &'p Pred)>) -> Self {
        let mut filters: Vec<(usize, Vec<Clause>)> =
            conditions.map(|(position, condition)| (position, clauses(condition))).collect();
        let mut popular: HashMap<&(FieldId, Demand), usize> = HashMap::new();
        for (_, clauses) in &filters {
            for alternative in clauses.iter().flatten().collect::<HashSet<_>>() {
                *popular.entry(alternative).or_default() += 1;
            }
        }
        let most: HashMap<(FieldId, Demand), usize> =
            popular.into_iter().map(|(demand, uses)| (demand.clone(), uses)).collect();
        // What most want, such as an operating system, tells no filter from another.
        let common = filters.len() / 2;
        let tells_nothing = |clause: &Clause| clause.iter().any(|a| most.get(a).is_some_and(|n| *n > common));
        for (_, clauses) in &mut filters {
            clauses
                .sort_by_cached_key(|clause| (says_little(clause), tells_nothing(clause), breadth(clause)));
            // That a value must be there is worth a look only if nothing else is demanded.
            let useful = clauses.iter().position(says_little).unwrap_or(clauses.len());
            clauses.truncate(useful.clamp(1, CLAUSES_MAX));
        }
        Self { fields: fields(&filters) }
    }

    /// Takes away from `candidates` what the record cannot satisfy.
    pub(super) fn narrow(&self, record: &impl Record, candidates: &mut Set) {
        if candidates.is_at_most(FEW) {
            return;
        }
        let mut found = Found::default();
        for field in &self.fields {
            let wanting = field.wanted_by & *candidates;
            if wanting.is_empty() {
                continue;
            }
            if wanting.is_at_most(FEW_WANTING) {
                found.take(field);
                continue;
            }
            field.look(record.value(field.field), &mut found);
            for (decided, found) in field.decided.iter().zip(&found.0) {
                *candidates = *candidates - (*decided - *found);
            }
            if candidates.is_at_most(FEW) {
                return;
            }
        }
    }
}

/// The clauses that a condition implies, one for each of its conjuncts that has one.
fn clauses(condition: &Pred) -> Vec<Clause> {
    match condition {
        Pred::And(items) => items.iter().filter_map(clause).collect(),
        single => clause(single).into_iter().collect(),
    }
}

/// A field being indexed.
#[derive(Default)]
struct Building {
    wanted: [Set; CLAUSES_MAX],
    exact: BTreeMap<Vec<u8>, Vec<Id>>,
    heads: Vec<Wanted>,
    tails: Vec<Wanted>,
    inside: BTreeMap<Vec<u8>, Vec<Id>>,
}

fn fields(filters: &[(usize, Vec<Clause>)]) -> Box<[Field]> {
    let mut building: HashMap<FieldId, Building> = HashMap::new();
    for (position, clauses) in filters {
        for (number, clause) in clauses.iter().enumerate() {
            let Ok(id) = Id::try_from(number * FILTERS_MAX + position) else { continue };
            for (field, demand) in clause {
                let field = building.entry(*field).or_default();
                if let Some(wanted) = field.wanted.get_mut(number) {
                    wanted.insert(*position);
                }
                field.demand(demand.clone(), id);
            }
        }
    }
    let mut order: Vec<(FieldId, Building)> = building.into_iter().collect();
    // What tells most comes first.
    order.sort_by_key(|(id, field)| {
        let all = field.wanted.iter().fold(Set::default(), |all, set| all | *set);
        (std::cmp::Reverse(all.len()), *id)
    });
    let mut later = [Set::default(); CLAUSES_MAX];
    let mut fields: Vec<Field> = Vec::with_capacity(order.len());
    for (id, field) in order.into_iter().rev() {
        let mut decided = field.wanted;
        for (decided, later) in decided.iter_mut().zip(&mut later) {
            let wanted = *decided;
            *decided = wanted - *later;
            *later |= wanted;
        }
        fields.push(field.done(id, decided));
    }
    fields.reverse();
    fields.into()
}

impl Building {
    fn demand(&mut self, demand: Demand, id: Id) {
        let want = |texts: &mut BTreeMap<Vec<u8>, Vec<Id>>, text| {
            let ids = texts.entry(text).or_default();
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        };
        match demand {
            Demand::Exact(text) => want(&mut self.exact, text),
            Demand::Head(text) => self.heads.push((text, id)),
            Demand::Tail(text) => self.tails.push((text, id)),
            Demand::Inside(text) => want(&mut self.inside, text),
        }
    }

    fn done(mut self, field: FieldId, decided: [Set; CLAUSES_MAX]) -> Field {
        let inside = Inside::build(self.inside.keys().map(Vec::as_slice), INSIDE_BYTES_MAX);
        if inside.is_none() {
            // Too much for an automaton: whoever wants it counts as found.
            let all = self.inside.values().flatten();
            self.heads.extend(all.map(|id| (Vec::new(), *id)));
        }
        Field {
            field,
            wanted: self.wanted,
            wanted_by: self.wanted.iter().fold(Set::default(), |all, set| all | *set),
            decided,
            // Sorted, as the set of texts is.
            exact: Texts::new(self.exact.keys().map(Vec::as_slice), true),
            exactly: self.exact.into_values().map(Wants::new).collect(),
            heads: Trie::heads(self.heads),
            tails: Trie::tails(self.tails),
            inside,
            somewhere: self.inside.into_values().map(Wants::new).collect(),
        }
    }
}

impl Field {
    fn look(&self, value: Value<'_>, found: &mut Found) {
        match value {
            Value::Absent => {}
            Value::Keyword(text) => self.look_up(text, found),
            Value::List(items) => {
                for item in items {
                    match item.as_value() {
                        Value::Keyword(text) => self.look_up(text, found),
                        other => self.look(other, found),
                    }
                }
            }
            // Numbers and the like may equal a text after conversion.
            Value::Long(_) | Value::Double(_) | Value::Boolean(_) | Value::Date(_) => found.take(self),
        }
    }

    fn look_up(&self, text: &[u8], found: &mut Found) {
        if let Some(position) = self.exact.position(text) {
            found.add_all(self.exactly.get(position));
        }
        let mut add = |id| found.add(id);
        self.heads.find(text, &mut add);
        self.tails.find(text, &mut add);
        if let Some(inside) = &self.inside {
            inside.find(text, |number| {
                found.add_all(self.somewhere.get(number));
                false
            });
        }
    }
}
