//! Index patterns and datasets: `logs-endpoint.events.file-*` is `endpoint.events.file`.

use sensor_ecs::FieldType;
use sensor_eql::pattern::Wildcard;

use super::outcome::Type;

/// The name that the dataset's data stream has.
pub(super) fn name_of(dataset: &str) -> String {
    format!("logs-{dataset}-default")
}

/// Whether a pattern of `from` names the dataset. `*` is the only wildcard.
pub(super) fn matches(pattern: &str, dataset: &str) -> bool {
    // What stands before a colon is a cluster.
    let pattern = pattern.rsplit(':').next().unwrap_or(pattern);
    if pattern.contains('?') {
        return false;
    }
    Wildcard::new(pattern).matches(name_of(dataset).as_bytes())
}

/// The type in a query.
pub(super) fn type_of(ty: FieldType) -> Type {
    match ty {
        FieldType::Keyword => Type::Keyword,
        FieldType::Ip => Type::Ip,
        FieldType::Long => Type::Long,
        FieldType::Double => Type::Double,
        FieldType::Boolean => Type::Boolean,
        FieldType::Date => Type::Date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_datasets() {
        assert!(matches("logs-endpoint.events.file-*", "endpoint.events.file"));
        assert!(matches("logs-endpoint.events.process*", "endpoint.events.process"));
        assert!(matches("logs-*", "system.auth"));
        assert!(matches("*", "system.auth"));
        assert!(matches("other:logs-endpoint.events.*", "endpoint.events.file"));
        assert!(!matches("logs-endpoint.events.file-*", "endpoint.events.process"));
        assert!(!matches("metrics-*", "endpoint.events.file"));
    }
}
