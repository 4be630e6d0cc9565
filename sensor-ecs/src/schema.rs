//! ECS as the schema that rules compile against.

use std::borrow::Cow;

use crate::fields::{TABLE, field, find, row};
use crate::value::{Field, FieldId, Lifetime, Schema};

/// Written to `ecs.version`: the first release in which every field used here is generally available.
pub const ECS_VERSION: &str = "8.16.0";

/// The fields of the [table](crate::fields::TABLE).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ecs;

impl Schema for Ecs {
    fn lookup(&self, name: &str) -> Option<Field> {
        find(name)
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        row(id).map(|row| Cow::Borrowed(row.name))
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        TABLE.iter().map(|row| Cow::Borrowed(row.name)).collect()
    }

    fn lifetime(&self, id: FieldId) -> Lifetime {
        row(id).map_or(Lifetime::Event, |row| lifetime_of(row.name))
    }

    /// A rule that needs another one cannot match on live events.
    fn fills(&self, id: FieldId) -> bool {
        row(id).is_some_and(|row| row.filled)
    }

    fn records(&self, category: &[u8]) -> bool {
        matches!(category, b"file" | b"process")
    }

    fn category(&self) -> FieldId {
        field::EVENT_CATEGORY
    }

    fn timestamp(&self) -> FieldId {
        field::TIMESTAMP
    }

    fn tiebreaker(&self) -> Option<FieldId> {
        Some(field::EVENT_SEQUENCE)
    }
}

/// A kind of event is an [`Action`](crate::Action).
fn lifetime_of(name: &str) -> Lifetime {
    const CONSTANT: [&str; 6] =
        ["event.action", "event.category", "event.dataset", "event.kind", "event.module", "event.type"];
    // Members of a process that tell programs apart rather than processes. Not its capabilities: root's forty names
    // would be most of what is compared.
    const PROGRAM: [&str; 8] =
        ["executable", "id", "interactive", "major", "minor", "name", "same_as_process", "type"];
    let member = name.rsplit('.').next().unwrap_or(name);
    match name.split('.').next().unwrap_or(name) {
        "agent" | "data_stream" | "ecs" | "elastic" | "host" | "message" => Lifetime::Constant,
        "event" if CONSTANT.contains(&name) => Lifetime::Constant,
        // The image before an exec is of that exec.
        "process" if name.starts_with("process.previous.") => Lifetime::Event,
        "process" | "user" | "group" | "container" | "orchestrator" if PROGRAM.contains(&member) => {
            Lifetime::Program
        }
        "process" | "user" | "group" | "container" | "orchestrator" => Lifetime::Process,
        _ => Lifetime::Event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_share_is_short() {
        for name in ["process.name", "process.parent.executable", "user.id", "process.user.name"] {
            assert_eq!(lifetime_of(name), Lifetime::Program, "{name}");
        }
        for name in ["process.args", "process.command_line", "process.thread.capabilities.effective"] {
            assert_eq!(lifetime_of(name), Lifetime::Process, "{name}");
        }
    }
}
