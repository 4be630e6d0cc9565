//! ECS with every other name allowed: what rules compile against when they run on documents of any origin.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::fields::{TABLE, find, row};
use crate::schema::Ecs;
use crate::value::{Field, FieldId, FieldType, Lifetime, Schema};

/// Names beyond the field table, noted when a rule asks for them.
///
/// Reading a document never adds a name, so memory is bounded by the rules and not by the documents.
#[derive(Debug, Default)]
pub struct OpenSchema {
    others: RwLock<Others>,
}

#[derive(Debug, Default)]
struct Others {
    by_name: HashMap<String, Field>,
    names: Vec<String>,
}

impl OpenSchema {
    /// A schema without further names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A name that the field table has or a rule asked for.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Field> {
        if let Some(field) = find(name) {
            return Some(field);
        }
        self.others.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).copied()
    }

    /// One more than the greatest field.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        TABLE.len() + self.others.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }
}

impl Schema for OpenSchema {
    fn lookup(&self, name: &str) -> Option<Field> {
        if let Some(field) = find(name) {
            return Some(field);
        }
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(field) = others.by_name.get(name) {
            return Some(*field);
        }
        let id = u16::try_from(TABLE.len() + others.names.len()).ok()?;
        let field = Field { id: FieldId(id), ty: type_of(name) };
        others.by_name.insert(name.to_owned(), field);
        others.names.push(name.to_owned());
        Some(field)
    }

    fn name(&self, id: FieldId) -> Option<Cow<'_, str>> {
        if let Some(row) = row(id) {
            return Some(Cow::Borrowed(row.name));
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let position = usize::from(id.0).checked_sub(TABLE.len())?;
        others.names.get(position).map(|name| Cow::Owned(name.clone()))
    }

    fn names(&self) -> Vec<Cow<'_, str>> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let known = TABLE.iter().map(|row| Cow::Borrowed(row.name));
        known.chain(others.names.iter().map(|name| Cow::Owned(name.clone()))).collect()
    }

    fn lifetime(&self, id: FieldId) -> Lifetime {
        Ecs.lifetime(id)
    }

    fn category(&self) -> FieldId {
        Ecs.category()
    }

    fn timestamp(&self) -> FieldId {
        Ecs.timestamp()
    }

    fn tiebreaker(&self) -> Option<FieldId> {
        Ecs.tiebreaker()
    }
}

/// The type of a name that the field table does not have, by the conventions of ECS: the last part of a name tells.
fn type_of(name: &str) -> FieldType {
    match name.rsplit('.').next().unwrap_or(name) {
        "ip" | "resolved_ip" => FieldType::Ip,
        "port" | "pid" | "ppid" | "pgid" | "bytes" | "packets" | "count" | "args_count" | "size"
        | "length" | "severity" | "sequence" | "duration" | "status_code" | "exit_code" | "uptime"
        | "major" | "minor" | "number" | "ttl" | "answers_count" => FieldType::Long,
        "risk_score" | "risk_score_norm" | "entropy" | "lat" | "lon" | "score" => FieldType::Double,
        "privileged" | "interactive" | "same_as_process" | "exists" | "trusted" | "valid" | "established"
        | "is_directory" => FieldType::Boolean,
        "start" | "end" | "created" | "ingested" | "accessed" | "mtime" | "ctime" | "modified"
        | "timestamp" | "not_after" | "not_before" => FieldType::Date,
        _ if matches!(name, "process.thread.id" | "process.parent.thread.id") => FieldType::Long,
        _ => FieldType::Keyword,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::field;

    #[test]
    fn a_rule_adds_a_name_and_a_document_does_not() {
        let schema = OpenSchema::new();
        assert_eq!(schema.find("dns.question.name"), None);
        let field = schema.lookup("dns.question.name").unwrap();
        assert_eq!(field.ty, FieldType::Keyword);
        assert_eq!(schema.find("dns.question.name"), Some(field));
        assert_eq!(schema.lookup("dns.question.name"), Some(field));
        assert_eq!(schema.name(field.id).as_deref(), Some("dns.question.name"));
        assert_eq!(schema.len(), TABLE.len() + 1);
    }

    #[test]
    fn names_of_the_table_keep_their_numbers() {
        let schema = OpenSchema::new();
        assert_eq!(schema.lookup("file.path").unwrap().id, field::FILE_PATH);
        assert_eq!(schema.lookup("destination.port").unwrap().ty, FieldType::Long);
        assert_eq!(schema.lookup("destination.ip").unwrap().ty, FieldType::Ip);
        assert_eq!(schema.lookup("container.security_context.privileged").unwrap().ty, FieldType::Boolean);
    }
}
