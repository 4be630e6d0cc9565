//! Events to JSON: a writer of our own for the one shape there is.
//!
//! Nested objects in the order of the field table, no intermediate tree, nothing allocated but the output. Which
//! objects to close and to open between two neighbouring fields is worked out once for each kind of document.

use std::io::Write as _;
use std::sync::LazyLock;

use crate::digits::Digits;
use crate::escape::write_json_string;
use crate::event::Event;
use crate::fields::{Documents, Row, TABLE};
use crate::time::write_json_date;
use crate::value::{FieldId, Scalar, Value};

/// One field of a kind of document.
struct Step {
    field: FieldId,
    /// Objects open around the field.
    depth: usize,
    /// How many of them are also around the field of the step before.
    shared: usize,
    /// `"a":{"b":{"key":`, and where each level begins in it.
    open: Vec<u8>,
    open_at: Vec<usize>,
    /// `}}`, innermost first, and where each level's end is in it, by the number of levels that stay open.
    close: Vec<u8>,
    close_at: Vec<usize>,
}

impl Step {
    fn new(field: FieldId, row: &Row, previous: &str) -> Self {
        let (parents, key) = row
            .name
            .rsplit_once('.')
            .map_or((vec![], row.name), |(parents, key)| (parents.split('.').collect::<Vec<_>>(), key));
        let shared = parents
            .iter()
            .zip(previous.rsplit_once('.').map_or("", |(parents, _)| parents).split('.'))
            .take_while(|(left, right)| *left == right)
            .count();
        let (mut open, mut open_at) = (Vec::new(), Vec::new());
        for parent in &parents {
            open_at.push(open.len());
            write_json_string(parent.as_bytes(), &mut open);
            open.extend_from_slice(if *parent == "previous" { b":[{" } else { b":{" });
        }
        open_at.push(open.len());
        write_json_string(key.as_bytes(), &mut open);
        open.push(b':');
        let (mut close, mut close_at) = (Vec::new(), vec![0; parents.len() + 1]);
        for (level, parent) in parents.iter().enumerate().rev() {
            // The one array of objects there is: the images that a process ran before.
            close.extend_from_slice(if *parent == "previous" { b"}]" } else { b"}" });
            if let Some(end) = close_at.get_mut(level) {
                *end = close.len();
            }
        }
        Self { field, depth: parents.len(), shared, open, open_at, close, close_at }
    }

    fn opening(&self, from: usize) -> &[u8] {
        self.open_at.get(from).and_then(|start| self.open.get(*start..)).unwrap_or_default()
    }

    fn closing(&self, keep: usize) -> &[u8] {
        self.close_at.get(keep).and_then(|end| self.close.get(..*end)).unwrap_or_default()
    }
}

/// The fields of a kind of document, in the order of writing.
struct Plan(Vec<Step>);

impl Plan {
    fn new(carries: impl Fn(&Row) -> bool) -> Self {
        let mut previous = "";
        let mut steps = Vec::new();
        for (position, row) in TABLE.iter().enumerate() {
            if let Ok(position) = u16::try_from(position)
                && carries(row)
            {
                steps.push(Step::new(FieldId(position), row, previous));
                previous = row.name;
            }
        }
        Self(steps)
    }

    /// Writes the members of the outermost object, without its braces.
    fn write(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        let mut escaped = false;
        let mut last: Option<&Step> = None;
        let mut shared = usize::MAX;
        for step in &self.0 {
            shared = shared.min(step.shared);
            let value = event.any_value(step.field);
            if value.is_absent() || matches!(value, Value::Double(number) if !number.is_finite()) {
                continue;
            }
            let keep = match last {
                None => 0,
                Some(last) => {
                    let keep = shared.min(last.depth);
                    out.extend_from_slice(last.closing(keep));
                    out.push(b',');
                    keep
                }
            };
            out.extend_from_slice(step.opening(keep));
            escaped |= write_value(value, out);
            last = Some(step);
            shared = usize::MAX;
        }
        if let Some(last) = last {
            out.extend_from_slice(last.closing(0));
        }
        escaped
    }
}

static FILE: LazyLock<Plan> = LazyLock::new(|| Plan::new(|row| row.documents.meets(Documents::FILE)));
static PROCESS: LazyLock<Plan> = LazyLock::new(|| Plan::new(|row| row.documents.meets(Documents::PROCESS)));
static FACTS: LazyLock<Plan> = LazyLock::new(|| {
    Plan::new(|row| {
        !["event.", "data_stream."].iter().any(|prefix| row.name.starts_with(prefix))
            && !["@timestamp", "message"].contains(&row.name)
    })
});

/// Appends the event as one JSON object, without a line end.
pub fn write_json(event: &Event<'_>, out: &mut Vec<u8>) {
    let plan = if event.meta.action.is_file() { &FILE } else { &PROCESS };
    out.push(b'{');
    if plan.write(event, out) {
        write_escaped_flag(out);
    }
    out.push(b'}');
}

/// Appends everything known of the event's host, agent, file and process as members of an object: `"agent":{...},...`
/// without braces. An alert carries it, beside an `event`, a `data_stream`, a `message` and a time of its own. Returns
/// whether the object must be flagged with [`write_escaped_flag`].
pub fn write_facts(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    FACTS.write(event, out)
}

/// Appends the flag of a document in which text was escaped, as a further member.
pub fn write_escaped_flag(out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"sensor\":{\"escaped\":true}");
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Absent => out.extend_from_slice(b"null"),
        Value::Keyword(bytes) => return write_json_string(bytes, out),
        Value::Long(number) => write_long(number, out),
        Value::Double(number) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Date(ns) => write_json_date(ns, out),
        Value::List(items) => return write_list(items, out),
    }
    false
}

fn write_long(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(Digits::decimal(number.unsigned_abs()).as_bytes());
}

fn write_list(items: &[Scalar], out: &mut Vec<u8>) -> bool {
    let mut escaped = false;
    for (position, item) in items.iter().enumerate() {
        out.push(if position == 0 { b'[' } else { b',' });
        escaped |= write_value(item.as_value(), out);
    }
    out.push(b']');
    escaped
}
