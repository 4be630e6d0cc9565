//! Which rules an event can possibly satisfy, found without looking at the rules one by one.
//!
//! Rules are divided by category. Within one, a rule that demands one of a few texts or beginnings in some field is a
//! candidate only for events that have one of them. Each indexed field is a dimension; the candidates are the
//! intersection of the dimensions. Only conjuncts that must hold are used, so a rule is never missed.

use std::collections::{HashMap, HashSet};

use aho_corasick::Input;
use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::dfa::DFA;
use sensor_ecs::{FieldId, Record, Value};

use super::set::RuleIndex;
use super::trie::{Bits, Trie, Wanted, set};
use crate::ast::CompareOp;
use crate::compile::{Filter, required_texts};
use crate::func::Func;
use crate::ir::{Pred, Test};
use crate::value::Out;
use crate::wild::Wildcard;

/// Most fields that are looked at per category.
const DIMENSIONS_MAX: usize = 10;
/// A dimension that can drop at most so many candidates costs more than it saves.
const DROPPED_FEW: u32 = 1;
/// A shorter text is inside most values.
const INSIDE_BYTES_MIN: usize = 3;
/// Texts of one automaton, which takes memory by their length; a field with more is not indexed.
const INSIDE_BYTES_MAX: usize = 64 << 10;
/// Rules per block: the bitmaps of one block stay on the stack.
const BLOCK: usize = 16;

/// The categories that a rule is limited to.
type Names = HashSet<Vec<u8>>;

/// Candidate rules by event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    category: Option<FieldId>,
    by_category: HashMap<Box<[u8]>, Part>,
    /// For events without a category of any rule: the rules on any category.
    other: Part,
    /// For events of several categories: all rules.
    all: Part,
}

/// The rules of one category, numbered anew.
#[derive(Clone, Debug, Default)]
struct Part {
    rules: Box<[RuleIndex]>,
    dimensions: Vec<Dimension>,
    words: usize,
}

#[derive(Clone, Debug)]
struct Dimension {
    field: FieldId,
    /// Rules that demand nothing of this field.
    free: Bits,
    /// Exact texts and beginnings.
    heads: Trie,
    /// Endings, reversed.
    tails: Trie,
    /// Texts that must occur somewhere.
    inside: Option<Inside>,
}

/// An automaton over texts that must occur somewhere in a value.
#[derive(Clone, Debug)]
struct Inside {
    automaton: DFA,
    /// For each text, the rules that want it.
    rules: Box<[Bits]>,
}

impl Index {
    /// Indexes filters; those of one rule stand together.
    pub(crate) fn build<'f>(
        wanted: impl Iterator<Item = (RuleIndex, &'f Filter)>,
        category: FieldId,
    ) -> Self {
        let mut filters: Vec<(RuleIndex, &Filter, Option<Names>)> = Vec::new();
        for (index, filter) in wanted {
            let named = filter.category.as_ref().map(|c| HashSet::from([c.to_vec()]));
            let demanded = || required_texts(&filter.condition, category).map(|t| t.into_iter().collect());
            filters.push((index, filter, named.or_else(demanded)));
        }
        let names: HashSet<&Vec<u8>> =
            filters.iter().filter_map(|(.., names)| names.as_ref()).flatten().collect();
        let part = |wanted: &dyn Fn(Option<&Names>) -> bool| {
            let members = filters.iter().filter(|(.., names)| wanted(names.as_ref()));
            Part::build(members.map(|(index, filter, _)| (*index, *filter)).collect())
        };
        let by_category = names
            .iter()
            .map(|name| (name.as_slice().into(), part(&|names| names.is_none_or(|n| n.contains(*name)))))
            .collect();
        Self {
            category: Some(category),
            by_category,
            other: part(&|names| names.is_none()),
            all: part(&|_| true),
        }
    }

    /// Calls `visit` for each candidate in order, once per filter; no allocation.
    pub(crate) fn candidates(
        &self,
        record: &impl Record,
        selected: Option<&[u64]>,
        visit: &mut impl FnMut(RuleIndex),
    ) {
        let Some(category) = self.category else { return };
        let named = |text: &[u8]| self.by_category.get(text).unwrap_or(&self.other);
        let part = match record.value(category) {
            Value::Keyword(text) => named(text),
            Value::List([one]) => one.as_value().as_keyword().map_or(&self.all, named),
            Value::Absent | Value::List([]) => &self.other,
            _ => &self.all,
        };
        part.candidates(record, selected, visit);
    }
}

impl Part {
    fn build(filters: Vec<(RuleIndex, &Filter)>) -> Self {
        let words = filters.len().div_ceil(64);
        let mut fields: HashMap<FieldId, usize> = HashMap::new();
        for (_, filter) in &filters {
            let mut seen = HashSet::new();
            demanded_fields(&filter.condition, &mut seen);
            for field in seen {
                *fields.entry(field).or_default() += 1;
            }
        }
        // A field that few rules constrain narrows little; the widest-used come first.
        let least = 1 + filters.len() / 20;
        let mut fields: Vec<(FieldId, usize)> =
            fields.into_iter().filter(|(_, uses)| *uses >= least).collect();
        fields.sort_by_key(|(field, uses)| (std::cmp::Reverse(*uses), *field));
        let mut dimensions: Vec<(usize, Dimension)> = fields
            .iter()
            .filter_map(|(field, _)| Dimension::build(*field, &filters, words))
            .filter(|(drops, _)| *drops > 0)
            .collect();
        dimensions.sort_by_key(|(drops, _)| std::cmp::Reverse(*drops));
        dimensions.truncate(DIMENSIONS_MAX);
        let rules = filters.iter().map(|(index, _)| *index).collect();
        Self { rules, dimensions: dimensions.into_iter().map(|(_, d)| d).collect(), words }
    }

    fn candidates(&self, record: &impl Record, selected: Option<&[u64]>, visit: &mut impl FnMut(RuleIndex)) {
        let mut start = 0;
        while start < self.words {
            let mut block = [0_u64; BLOCK];
            let left = self.rules.len().saturating_sub(start * 64);
            for (w, word) in block.iter_mut().enumerate() {
                let rules = left.saturating_sub(w * 64).min(64);
                *word = if rules == 64 { u64::MAX } else { (1 << rules) - 1 };
            }
            let used = (self.words - start).min(BLOCK);
            let (block, _) = block.split_at_mut(used);
            for dimension in &self.dimensions {
                let free = dimension.free.iter().skip(start);
                let droppable: u32 = block.iter().zip(free).map(|(b, f)| (b & !f).count_ones()).sum();
                if droppable <= DROPPED_FEW {
                    continue;
                }
                dimension.narrow(record, start, block);
            }
            for (w, bits) in block.iter().enumerate() {
                let mut bits = *bits;
                while bits != 0 {
                    let position = (start + w) * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let Some(index) = self.rules.get(position) else { continue };
                    let slot = usize::try_from(index.0).unwrap_or(usize::MAX);
                    let wanted = |s: &[u64]| s.get(slot / 64).is_some_and(|w| w >> (slot % 64) & 1 == 1);
                    if selected.is_none_or(wanted) {
                        visit(*index);
                    }
                }
            }
            start += BLOCK;
        }
    }
}

impl Dimension {
    /// The dimension, and how many rules it drops at least for the text that most rules want: fields such as the
    /// operating system, where all want the same, tell no rule from another and drop none. `None` if no rule
    /// demands anything.
    fn build(field: FieldId, filters: &[(RuleIndex, &Filter)], words: usize) -> Option<(usize, Self)> {
        let mut free = vec![0; words].into_boxed_slice();
        let (mut heads, mut tails) = (Vec::new(), Vec::new());
        let mut pieces: HashMap<Vec<u8>, Bits> = HashMap::new();
        let mut wanted_by: HashMap<Demand, usize> = HashMap::new();
        let mut constrained = 0;
        for (rule, (_, filter)) in filters.iter().enumerate() {
            let Some(demands) = demands(&filter.condition, field) else {
                set(&mut free, rule);
                continue;
            };
            constrained += 1;
            for demand in demands.iter().collect::<HashSet<_>>() {
                *wanted_by.entry(demand.clone()).or_default() += 1;
            }
            for demand in demands {
                match demand {
                    Demand::Exact(text) => heads.push(Wanted { text, open: false, rule }),
                    Demand::Head(text) => heads.push(Wanted { text, open: true, rule }),
                    Demand::Tail(mut text) => {
                        text.reverse();
                        tails.push(Wanted { text, open: true, rule });
                    }
                    Demand::Inside(text) => {
                        set(pieces.entry(text).or_insert_with(|| vec![0; words].into()), rule);
                    }
                }
            }
        }
        // A single rule is dropped by whatever it demands.
        let most = if filters.len() == 1 { 0 } else { wanted_by.values().copied().max()? };
        let inside = if pieces.is_empty() { None } else { Some(Inside::build(pieces)?) };
        let (heads, tails) = (Trie::build(heads, words), Trie::build(tails, words));
        let dimension = Self { field, free, heads, tails, inside };
        Some((constrained - most, dimension))
    }

    fn narrow(&self, record: &impl Record, start: usize, block: &mut [u64]) {
        let mut found = [0_u64; BLOCK];
        let (found, _) = found.split_at_mut(block.len().min(BLOCK));
        let mut add = |bits: &[u64]| {
            found.iter_mut().zip(bits.iter().skip(start)).for_each(|(f, b)| *f |= *b);
        };
        add(&self.free);
        let mut look = |text: &[u8]| {
            self.heads.find(text, &mut add);
            if !self.tails.is_empty() {
                self.tails.find_reversed(text, &mut add);
            }
            if let Some(inside) = &self.inside {
                inside.find(text, &mut add);
            }
        };
        match record.value(self.field) {
            Value::Absent => {}
            Value::Keyword(text) => look(text),
            Value::List(items) => {
                for item in items {
                    match item.as_value() {
                        Value::Keyword(text) => look(text),
                        // Numbers and the like may equal a text after conversion: no narrowing.
                        _ => return,
                    }
                }
            }
            Value::Long(_) | Value::Double(_) | Value::Boolean(_) | Value::Date(_) => return,
        }
        block.iter_mut().zip(found).for_each(|(b, f)| *b &= *f);
    }
}

impl Inside {
    /// `None` if the automaton would be too large.
    fn build(pieces: HashMap<Vec<u8>, Bits>) -> Option<Self> {
        if pieces.keys().map(Vec::len).sum::<usize>() > INSIDE_BYTES_MAX {
            return None;
        }
        let (texts, rules): (Vec<Vec<u8>>, Vec<Bits>) = pieces.into_iter().unzip();
        let automaton = DFA::builder().ascii_case_insensitive(true).build(texts).ok()?;
        Some(Self { automaton, rules: rules.into() })
    }

    fn find<'t>(&'t self, text: &[u8], add: &mut impl FnMut(&'t [u64])) {
        let input = Input::new(text);
        let mut state = OverlappingState::start();
        loop {
            // An unanchored search of an automaton built for it cannot fail.
            if self.automaton.try_find_overlapping(&input, &mut state).is_err() {
                self.rules.iter().for_each(|bits| add(bits));
                return;
            }
            let Some(hit) = state.get_match() else { return };
            if let Some(bits) = self.rules.get(hit.pattern().as_usize()) {
                add(bits);
            }
        }
    }
}

/// What a text must look like for a rule to hold, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Demand {
    Exact(Vec<u8>),
    Head(Vec<u8>),
    Tail(Vec<u8>),
    Inside(Vec<u8>),
}

fn demanded_fields(pred: &Pred, seen: &mut HashSet<FieldId>) {
    match pred {
        Pred::And(items) | Pred::Or(items) => items.iter().for_each(|p| demanded_fields(p, seen)),
        Pred::Field(field, _) => {
            seen.insert(*field);
        }
        Pred::Const(_) | Pred::Not(_) | Pred::Script(_) => {}
    }
}

/// Alternatives of which `field` must satisfy one for `pred` to hold; `None` if it demands nothing so plain.
fn demands(pred: &Pred, field: FieldId) -> Option<Vec<Demand>> {
    match pred {
        // The tightest conjunct: exact texts before beginnings, few before many.
        Pred::And(items) => items.iter().filter_map(|p| demands(p, field)).min_by_key(|d| {
            let open = d.iter().filter(|d| !matches!(d, Demand::Exact(_))).count();
            (open.min(1), d.len())
        }),
        Pred::Or(items) => {
            let all: Option<Vec<Vec<Demand>>> = items.iter().map(|p| demands(p, field)).collect();
            all.map(|lists| lists.concat())
        }
        Pred::Field(f, test) if *f == field => match test {
            Test::OneOf(set) if set.texts.len() == set.all.len() => {
                Some(set.texts.iter().map(|t| Demand::Exact(t.to_ascii_lowercase())).collect())
            }
            Test::Compare(CompareOp::Eq, Out::Text(text)) => {
                Some(vec![Demand::Exact(text.to_ascii_lowercase())])
            }
            Test::Like(patterns) => patterns.iter().map(of_pattern).collect(),
            Test::Part { func: Func::StartsWith, part, .. } => {
                Some(vec![Demand::Head(part.to_ascii_lowercase())])
            }
            Test::Part { func: Func::EndsWith, part, .. } => {
                Some(vec![Demand::Tail(part.to_ascii_lowercase())])
            }
            _ => None,
        },
        Pred::Field(..) | Pred::Const(_) | Pred::Not(_) | Pred::Script(_) => None,
    }
}

fn of_pattern(pattern: &Wildcard) -> Option<Demand> {
    if let Some(text) = pattern.exact() {
        return Some(Demand::Exact(text.to_ascii_lowercase()));
    }
    match (pattern.head(), pattern.tail()) {
        ([], []) if pattern.witness().len() >= INSIDE_BYTES_MIN => {
            Some(Demand::Inside(pattern.witness().to_ascii_lowercase()))
        }
        ([], []) => None,
        ([], tail) => Some(Demand::Tail(tail.to_ascii_lowercase())),
        (head, _) => Some(Demand::Head(head.to_ascii_lowercase())),
    }
}
