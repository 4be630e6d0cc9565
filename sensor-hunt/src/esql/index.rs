//! Index patterns and datasets: `logs-endpoint.events.file-*` is `endpoint.events.file`.

use sensor_ecs::FieldType;
use sensor_eql::pattern::Wildcard;

use super::outcome::Type;

/// Datasets that this sensor records.
pub(super) const RECORDED: [&str; 2] = ["endpoint.events.file", "endpoint.events.process"];

/// How the names of indices begin that public hunts and rules ask: those of data streams, of alerts and of Beats.
const FAMILIES: [&str; 11] = [
    "logs-",
    "metrics-",
    "traces-",
    "synthetics-",
    ".alerts-",
    "auditbeat-",
    "filebeat-",
    "heartbeat-",
    "metricbeat-",
    "packetbeat-",
    "winlogbeat-",
];

/// Whether a pattern names what a store may have, now or after an import.
pub(super) fn is_known(pattern: &str) -> bool {
    let name = pattern.rsplit(':').next().unwrap_or(pattern);
    FAMILIES.iter().any(|family| name.starts_with(family))
        || RECORDED.iter().any(|dataset| matches(name, dataset))
}

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
        for known in [
            "*",
            "logs*",
            "*:logs-x-*",
            "logs-system.auth-*",
            "auditbeat-*",
            ".alerts-security.*",
            "metrics-*",
        ] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["nosuch-*", "log-endpoint.events.*", "endpoint.events.file", "other:nosuch", ""] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
