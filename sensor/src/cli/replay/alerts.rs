//! Matches as the alerts that they would have been, exceptions and caps applied.

use std::io::{self, Write};
use std::sync::Arc;

use sensor_ecs::{Action, Agent, Document, Record, Value, field};
use sensor_eql::{Match, RuleIndex, RuleSet};

use super::{Line, Taker};
use crate::alert::Author;
use crate::pipeline::{Caps, Exceptions, Kept, SeveralHit};

/// Writes them, one document a line.
pub(super) struct Alerts<W> {
    out: W,
    author: Author,
    exceptions: Exceptions,
    caps: Caps,
    line: Vec<u8>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    alerts: u64,
    held_back: u64,
    notices: u64,
}

impl<W: Write> Alerts<W> {
    pub(super) fn new(out: W, agent: Agent, exceptions: Exceptions) -> Self {
        Self {
            out,
            author: Author::new(Arc::new(agent)),
            exceptions: exceptions.for_kept_events(),
            caps: Caps::default(),
            line: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// What became of the matches.
    pub(super) fn summary(&self, rules: &RuleSet) -> String {
        let Totals { alerts, held_back, notices } = &self.totals;
        let suppressed = self.exceptions.suppressed(rules);
        let count: u64 = suppressed.iter().map(|one| one.count).sum();
        format!(
            "{alerts} alerts, {held_back} held back by max_signals ({notices} notices), {count} suppressed"
        )
    }

    fn write(&mut self, write: impl FnOnce(&mut Author, &mut Vec<u8>)) -> io::Result<()> {
        self.line.clear();
        write(&mut self.author, &mut self.line);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn tell(&mut self, rules: &RuleSet, rule: RuleIndex, count: u64, last_ns: i64) -> io::Result<()> {
        let Some(rule) = rules.get(rule) else { return Ok(()) };
        self.totals.notices += 1;
        self.write(|author, line| author.held_back(rule, count, last_ns, line))
    }
}

impl<W: Write> Taker for Alerts<W> {
    type Event = Arc<Kept>;

    fn keep(&self, line: Line<'_>, document: &Document, record: &impl Record) -> (Self::Event, usize) {
        let time_ns = match document.value(field::TIMESTAMP) {
            Value::Date(ns) => ns,
            _ => 0,
        };
        let kept = Kept {
            bytes: line.text.into(),
            text: Box::default(),
            action: action(document),
            time_ns,
            sequence: line.number,
            view: line.way,
            satisfied: self.exceptions.satisfied(record, None::<&Document>),
        };
        let weight = kept.bytes.len() + size_of::<Kept>();
        (Arc::new(kept), weight)
    }

    fn found(&mut self, rules: &RuleSet, found: &Match<'_, Self::Event>) -> io::Result<()> {
        let Some(rule) = rules.get(found.rule) else { return Ok(()) };
        let kept = || found.events.iter().flatten();
        let satisfied = kept().map(|kept| &*kept.satisfied);
        if self.exceptions.suppress_several(found.rule, rule.compiled.kind(), satisfied) {
            return Ok(());
        }
        let time_ns = kept().map(|kept| kept.time_ns).max().unwrap_or_default();
        let admission = self.caps.admit(found.rule, rule, time_ns);
        if let Some(before) = admission.before {
            self.tell(rules, before.rule, before.count, before.last_ns)?;
        }
        if !admission.admitted {
            self.totals.held_back += 1;
            return Ok(());
        }
        self.totals.alerts += 1;
        self.write(|author, line| {
            author.several(&SeveralHit { rule, events: found.events, lost_meanwhile: 0, current: None }, line)
        })
    }

    fn end(&mut self, rules: &RuleSet) -> io::Result<()> {
        let mut left = Vec::new();
        self.caps.close_until(i64::MAX, rules.rules(), &mut |held_back| left.push(held_back));
        for held_back in left {
            self.tell(rules, held_back.rule, held_back.count, held_back.last_ns)?;
        }
        self.out.flush()
    }
}

/// The document's action, or one of the same category.
fn action(document: &Document) -> Action {
    let name = document.value(field::EVENT_ACTION).as_keyword();
    let known = Action::ALL.into_iter().find(|known| Some(known.name().as_bytes()) == name);
    let is_file = !document.value(field::FILE_PATH).is_absent();
    known.unwrap_or(if is_file { Action::Creation } else { Action::Exec })
}
