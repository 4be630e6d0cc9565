//! `sensor coverage`: which fields of the table recorded events have, by kind of event.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use sensor_ecs::fields::{Documents, Row, TABLE};
use sensor_ecs::{Action, Document, FieldId, OpenSchema, Record as _, Value, field};

use super::args::CoverageArgs;
use super::events::Events;
use super::say::{count, note, print};

/// Counts of one kind of event.
struct Kind {
    events: u64,
    present: Vec<u64>,
}

/// Prints which fields are always, sometimes and never there.
///
/// # Errors
///
/// When the events cannot be read.
pub(super) fn coverage(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let mut events = Events::open(&args.events)?;
    let kinds = counted(&mut events).with_context(|| format!("events {}", events.name()))?;
    let mut text = String::new();
    for (action, kind) in &kinds {
        report(action, kind, &mut text);
    }
    print(&text).context("standard output")?;
    note(format_args!("{} not an event", count(events.bad_lines(), "line")));
    Ok(ExitCode::SUCCESS)
}

fn rows() -> impl Iterator<Item = (FieldId, &'static Row)> {
    (0..).map(FieldId).zip(&TABLE)
}

fn counted(events: &mut Events<'_>) -> std::io::Result<BTreeMap<String, Kind>> {
    let schema = OpenSchema::new();
    let mut document = Document::new();
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    while events.next(&mut document, &schema)?.is_some() {
        let Some(action) = action(&document) else { continue };
        let kind = kinds
            .entry(action.name().to_owned())
            .or_insert_with(|| Kind { events: 0, present: vec![0; TABLE.len()] });
        kind.events += 1;
        for ((id, _), present) in rows().zip(&mut kind.present) {
            *present += u64::from(!document.value(id).is_absent());
        }
    }
    Ok(kinds)
}

/// Only the actions of this sensor: other names could be without end.
fn action(document: &Document) -> Option<Action> {
    let Value::Keyword(name) = document.value(field::EVENT_ACTION) else { return None };
    Action::ALL.into_iter().find(|action| action.name().as_bytes() == name)
}

fn report(action: &str, kind: &Kind, text: &mut String) {
    let is_file = Action::ALL.iter().any(|known| known.name() == action && known.is_file());
    let documents = if is_file { Documents::FILE } else { Documents::PROCESS };
    let (mut always, mut sometimes, mut never) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, row), present) in
        rows().zip(&kind.present).filter(|((_, row), _)| row.documents.meets(documents))
    {
        match *present {
            0 if row.filled => never.push(row.name.to_owned()),
            0 => never.push(format!("{} (source {:?}: not filled)", row.name, row.source)),
            present if present == kind.events => always.push(row.name.to_owned()),
            present => sometimes.push(format!("{} {present}/{}", row.name, kind.events)),
        }
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{action}: {}", count(kind.events, "event"));
    for (label, names) in [("always", always), ("sometimes", sometimes), ("never", never)] {
        let _ = writeln!(text, "  {label} ({}): {}", names.len(), names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_by_kind() {
        let lines = [
            r#"{"event":{"action":"exec"},"process":{"pid":1,"name":"a"}}"#,
            r#"{"event":{"action":"exec"},"process":{"pid":2}}"#,
            r#"{"event":{"action":"something else"}}"#,
        ];
        let mut events = Events::new(std::io::Cursor::new(lines.join("\n")), "events".to_owned());
        let kinds = counted(&mut events).unwrap();
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["exec"]);
        let mut text = String::new();
        report("exec", &kinds["exec"], &mut text);
        assert!(text.starts_with("exec: 2 events\n  always (2): event.action, process.pid\n"), "{text}");
        assert!(text.contains("  sometimes (1): process.name 1/2\n"), "{text}");
        assert!(text.contains("process.Ext.trusted (source Unobtainable: not filled)"), "{text}");
        assert!(!text.contains("file.path"), "{text}");
    }
}
