//! Which rules an event can possibly satisfy, found without looking at the rules one by one.
//!
//! A rule that demands one of a few texts in some field is a candidate only for events that have one of them.
//! Each indexed field is a dimension; the candidates are the intersection of the dimensions. Only conjuncts that
//! must hold are used, so a rule is never missed.

use std::collections::HashMap;

use sensor_ecs::{FieldId, Record, Schema, Value};

use super::set::{LoadedRule, RuleIndex};
use crate::compile::{Plan, required_texts};

/// Values of a multi-valued field that are looked up; an event with more is a candidate in this dimension for all.
const VALUES_MAX: usize = 8;
/// Fields worth a dimension: most rules constrain them, and events differ in them.
const FIELDS: [&str; 3] = ["event.action", "event.type", "process.name"];

/// Candidate rules by event.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    dimensions: Vec<Dimension>,
    /// 64-bit words per bitmap.
    words: usize,
    /// Rules on single events; the only ones that are ever candidates.
    eligible: Box<[u64]>,
}

#[derive(Clone, Debug)]
struct Dimension {
    field: FieldId,
    by_text: HashMap<Box<[u8]>, Box<[u64]>>,
    /// Rules that demand nothing of this field.
    free: Box<[u64]>,
}

impl Index {
    pub(super) fn build(rules: &[LoadedRule], schema: &dyn Schema) -> Self {
        let words = rules.len().div_ceil(64);
        let blank = || vec![0_u64; words].into_boxed_slice();
        let mut eligible = blank();
        let mut category = Dimension { field: schema.category(), by_text: HashMap::new(), free: blank() };
        let fields = FIELDS.iter().filter_map(|name| schema.lookup(name)).map(|f| f.id);
        let mut others: Vec<Dimension> =
            fields.map(|field| Dimension { field, by_text: HashMap::new(), free: blank() }).collect();
        for (i, rule) in rules.iter().enumerate() {
            let Plan::Event { filter, .. } = rule.compiled.plan.as_ref() else { continue };
            set(&mut eligible, i);
            let named = filter.category.as_ref().map(|c| vec![c.to_vec()]);
            category.add(i, named.or_else(|| required_texts(&filter.condition, category.field)), words);
            for dimension in &mut others {
                dimension.add(i, required_texts(&filter.condition, dimension.field), words);
            }
        }
        let mut dimensions = vec![category];
        dimensions.extend(others.into_iter().filter(|d| !d.by_text.is_empty()));
        Self { dimensions, words, eligible }
    }

    /// Calls `visit` for each candidate in order; several passes over a few words, no allocation.
    pub(super) fn candidates(&self, record: &impl Record, visit: &mut impl FnMut(RuleIndex)) {
        const BLOCK: usize = 16;
        let mut start = 0;
        while start < self.words {
            let mut block = [0_u64; BLOCK];
            let eligible = self.eligible.iter().skip(start);
            block.iter_mut().zip(eligible).for_each(|(b, e)| *b = *e);
            for dimension in &self.dimensions {
                dimension.narrow(record, start, &mut block);
            }
            for (w, mut bits) in block.into_iter().enumerate() {
                while bits != 0 {
                    let rule = (start + w) * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    visit(RuleIndex(u32::try_from(rule).unwrap_or(u32::MAX)));
                }
            }
            start += BLOCK;
        }
    }
}

impl Dimension {
    fn add(&mut self, rule: usize, texts: Option<Vec<Vec<u8>>>, words: usize) {
        let Some(texts) = texts else {
            set(&mut self.free, rule);
            return;
        };
        for text in texts {
            let bits = self.by_text.entry(text.into()).or_insert_with(|| vec![0; words].into());
            set(bits, rule);
        }
    }

    fn narrow<const N: usize>(&self, record: &impl Record, start: usize, block: &mut [u64; N]) {
        let mut found: [&[u64]; VALUES_MAX] = [&[]; VALUES_MAX];
        match record.value(self.field) {
            Value::Keyword(text) => {
                if let (Some(bits), Some(slot)) = (self.by_text.get(text), found.first_mut()) {
                    *slot = bits;
                }
            }
            Value::List(items) if items.len() > VALUES_MAX => return,
            Value::List(items) => {
                for (slot, item) in found.iter_mut().zip(items) {
                    match item.as_value() {
                        Value::Keyword(text) => *slot = self.by_text.get(text).map_or(&[], |b| b),
                        // Numbers and the like may equal a text after conversion: no narrowing.
                        _ => return,
                    }
                }
            }
            Value::Absent => {}
            Value::Long(_) | Value::Double(_) | Value::Boolean(_) | Value::Date(_) => return,
        }
        for (w, word) in block.iter_mut().enumerate() {
            let at = |bits: &[u64]| bits.get(start + w).copied().unwrap_or(0);
            *word &= found.iter().fold(at(&self.free), |all, bits| all | at(bits));
        }
    }
}

fn set(bits: &mut [u64], rule: usize) {
    if let Some(word) = bits.get_mut(rule / 64) {
        *word |= 1 << (rule % 64);
    }
}
