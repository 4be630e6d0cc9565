//! The data streams that events belong to: which rules are asked about which.

use sensor_ecs::{Action, Integration};
use sensor_eql::Rule;

/// The data streams of this sensor's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    namespace: String,
    /// Events of containers also belong to the streams of Elastic's integration for containers.
    cloud_defend: bool,
}

impl Streams {
    pub(crate) fn new(namespace: &str, cloud_defend: bool) -> Self {
        Self { namespace: namespace.to_owned(), cloud_defend }
    }

    fn name(&self, integration: Integration, action: Action) -> String {
        format!("logs-{}-{}", integration.dataset(action), self.namespace)
    }

    /// Whether the rule is asked about events of this action outside of containers.
    pub(crate) fn is_read(&self, rule: &Rule, action: Action) -> bool {
        rule.reads(&self.name(Integration::Endpoint, action))
    }

    /// Whether it is asked about those in containers.
    pub(crate) fn is_read_in_containers(&self, rule: &Rule, action: Action) -> bool {
        self.is_read(rule, action)
            || self.cloud_defend && rule.reads(&self.name(Integration::CloudDefend, action))
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new("default", false)
    }
}
