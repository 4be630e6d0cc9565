//! Matches as lines: the rule's id, a tab, and the ids of the events in the order of the rule's stages.

use std::io::{self, Write};
use std::sync::Arc;

use sensor_ecs::{Document, Record};
use sensor_eql::{Match, RuleSet};

use super::{Line, Taker};

/// What remembering an event costs beside its name.
const NAME_BYTES_EXTRA: usize = 64;

/// Writes them.
pub(in crate::cli) struct Pairs<W> {
    pub(in crate::cli) out: W,
}

impl<W: Write> Taker for Pairs<W> {
    /// The event's id, ready to be printed.
    type Event = Arc<[u8]>;

    fn keep(&self, line: Line<'_>, document: &Document, _record: &impl Record) -> (Self::Event, usize) {
        let name = event_name(line.number, document.id());
        let weight = name.len() + NAME_BYTES_EXTRA;
        (name, weight)
    }

    fn found(&mut self, rules: &RuleSet, found: &Match<'_, Self::Event>) -> io::Result<()> {
        let Some(rule) = rules.get(found.rule) else { return Ok(()) };
        self.out.write_all(rule.rule.id.as_bytes())?;
        for (position, name) in found.events.iter().flatten().enumerate() {
            self.out.write_all(if position == 0 { b"\t" } else { b"," })?;
            self.out.write_all(name)?;
        }
        self.out.write_all(b"\n")
    }

    fn end(&mut self, _rules: &RuleSet) -> io::Result<()> {
        self.out.flush()
    }
}

/// The event's id, in which nothing may end the line or the column; an event without one is named by its line.
fn event_name(number: u64, id: Option<&[u8]>) -> Arc<[u8]> {
    match id {
        None => format!("line {number}").into_bytes().into(),
        Some(id) if id.iter().any(u8::is_ascii_control) => id.escape_ascii().to_string().into_bytes().into(),
        Some(id) => id.into(),
    }
}
