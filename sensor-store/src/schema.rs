//! The columns of a stored event: the field table of `sensor-ecs`, and the names of ECS that documents of other
//! origin carry. A column's type never changes; a column is only ever added.

use std::collections::HashMap;
use std::sync::LazyLock;

use sensor_ecs::FieldType;
use sensor_ecs::fields::TABLE;

/// Written to every file. A reader refuses what is newer than itself.
pub const SCHEMA_VERSION: u32 = 1;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Dotted name.
    pub name: &'static str,
    /// Type of the values.
    pub ty: FieldType,
    /// Whether ECS calls the field an array: a list from the first day.
    pub list: bool,
}

/// Fields of the table that ECS calls arrays, by the end of the name.
const LISTS: [&str; 22] = [
    ".args",
    ".supplemental_groups.id",
    ".supplemental_groups.name",
    "container.image.hash.all",
    "container.image.tag",
    "event.category",
    "event.type",
    "host.ip",
    "host.mac",
    "orchestrator.resource.ip",
    "process.Ext.ancestry",
    "process.Ext.degraded",
    "process.env_vars",
    "process.previous.args_count",
    "process.previous.executable",
    "process.thread.capabilities.effective",
    "process.thread.capabilities.permitted",
    "dns.resolved_ip",
    "related.ip",
    "rule.reference",
    "tags",
    "threat.tactic.name",
];

/// Names that documents of network, authentication, audit, log and alert data streams carry beside the field table.
const OTHERS: [(&str, FieldType); 142] = {
    use FieldType::{Boolean, Date, Ip, Keyword, Long};
    [
        ("agent.name", Keyword),
        ("auditd.data.a0", Keyword),
        ("auditd.data.a1", Keyword),
        ("auditd.data.a2", Keyword),
        ("auditd.data.a3", Keyword),
        ("auditd.data.acct", Keyword),
        ("auditd.data.addr", Keyword),
        ("auditd.data.arch", Keyword),
        ("auditd.data.class", Keyword),
        ("auditd.data.cmd", Keyword),
        ("auditd.data.exit", Keyword),
        ("auditd.data.family", Keyword),
        ("auditd.data.grantors", Keyword),
        ("auditd.data.hostname", Keyword),
        ("auditd.data.id", Keyword),
        ("auditd.data.key", Keyword),
        ("auditd.data.list", Keyword),
        ("auditd.data.mode", Keyword),
        ("auditd.data.name", Keyword),
        ("auditd.data.new", Keyword),
        ("auditd.data.old", Keyword),
        ("auditd.data.op", Keyword),
        ("auditd.data.path", Keyword),
        ("auditd.data.res", Keyword),
        ("auditd.data.result", Keyword),
        ("auditd.data.socket", Keyword),
        ("auditd.data.syscall", Keyword),
        ("auditd.data.terminal", Keyword),
        ("auditd.data.tty", Keyword),
        ("auditd.message_type", Keyword),
        ("auditd.paths.name", Keyword),
        ("auditd.result", Keyword),
        ("auditd.sequence", Long),
        ("auditd.session", Keyword),
        ("auditd.summary.actor.primary", Keyword),
        ("auditd.summary.actor.secondary", Keyword),
        ("auditd.summary.how", Keyword),
        ("auditd.summary.object.primary", Keyword),
        ("auditd.summary.object.secondary", Keyword),
        ("auditd.summary.object.type", Keyword),
        ("auditd.user.audit.id", Keyword),
        ("auditd.user.audit.name", Keyword),
        ("client.ip", Ip),
        ("client.port", Long),
        ("container.security_context.privileged", Boolean),
        ("destination.address", Keyword),
        ("destination.as.number", Long),
        ("destination.as.organization.name", Keyword),
        ("destination.bytes", Long),
        ("destination.domain", Keyword),
        ("destination.geo.city_name", Keyword),
        ("destination.geo.country_iso_code", Keyword),
        ("destination.geo.country_name", Keyword),
        ("destination.ip", Ip),
        ("destination.packets", Long),
        ("destination.port", Long),
        ("dll.name", Keyword),
        ("dll.path", Keyword),
        ("dns.question.name", Keyword),
        ("dns.question.registered_domain", Keyword),
        ("dns.question.type", Keyword),
        ("dns.resolved_ip", Ip),
        ("dns.response_code", Keyword),
        ("error.message", Keyword),
        ("event.code", Keyword),
        ("event.duration", Long),
        ("event.end", Date),
        ("event.ingested", Date),
        ("event.original", Keyword),
        ("event.provider", Keyword),
        ("event.reason", Keyword),
        ("event.risk_score", FieldType::Double),
        ("event.severity", Long),
        ("event.start", Date),
        ("event.timezone", Keyword),
        ("file.accessed", Date),
        ("file.created", Date),
        ("file.directory", Keyword),
        ("file.hash.md5", Keyword),
        ("file.hash.sha1", Keyword),
        ("file.mime_type", Keyword),
        ("http.request.method", Keyword),
        ("http.response.status_code", Long),
        ("log.file.path", Keyword),
        ("log.level", Keyword),
        ("log.syslog.priority", Long),
        ("network.bytes", Long),
        ("network.community_id", Keyword),
        ("network.direction", Keyword),
        ("network.packets", Long),
        ("network.protocol", Keyword),
        ("network.transport", Keyword),
        ("network.type", Keyword),
        ("observer.name", Keyword),
        ("process.code_signature.exists", Boolean),
        ("process.code_signature.subject_name", Keyword),
        ("process.code_signature.trusted", Boolean),
        ("process.io.bytes_skipped", Long),
        ("process.io.text", Keyword),
        ("process.parent.group_leader.entity_id", Keyword),
        ("process.parent.group_leader.pid", Long),
        ("process.parent.hash.sha256", Keyword),
        ("process.parent.thread.capabilities.effective", Keyword),
        ("process.parent.thread.capabilities.permitted", Keyword),
        ("process.pgid", Long),
        ("process.title", Keyword),
        ("process.uptime", Long),
        ("related.hosts", Keyword),
        ("related.ip", Ip),
        ("related.user", Keyword),
        ("rule.description", Keyword),
        ("rule.id", Keyword),
        ("rule.name", Keyword),
        ("rule.reference", Keyword),
        ("rule.ruleset", Keyword),
        ("rule.version", Keyword),
        ("source.address", Keyword),
        ("source.as.number", Long),
        ("source.as.organization.name", Keyword),
        ("source.bytes", Long),
        ("source.domain", Keyword),
        ("source.geo.country_iso_code", Keyword),
        ("source.geo.country_name", Keyword),
        ("source.ip", Ip),
        ("source.packets", Long),
        ("source.port", Long),
        ("system.auth.ssh.event", Keyword),
        ("system.auth.ssh.method", Keyword),
        ("tags", Keyword),
        ("threat.framework", Keyword),
        ("threat.tactic.id", Keyword),
        ("threat.tactic.name", Keyword),
        ("threat.technique.id", Keyword),
        ("threat.technique.name", Keyword),
        ("url.domain", Keyword),
        ("url.original", Keyword),
        ("url.path", Keyword),
        ("user.domain", Keyword),
        ("user.effective.name", Keyword),
        ("user.email", Keyword),
        ("user.target.name", Keyword),
        ("user_agent.original", Keyword),
    ]
};

/// Text of the document is escaped as `sensor_ecs::escape` says.
pub const ESCAPED: &str = "sensor.escaped";

struct Schema {
    columns: Vec<Column>,
    by_name: HashMap<&'static str, usize>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let column = |name: &'static str, ty| {
        let list =
            LISTS.iter().any(|end| if end.starts_with('.') { name.ends_with(end) } else { name == *end });
        Column { name, ty, list }
    };
    let mut columns: Vec<Column> = TABLE.iter().map(|row| column(row.name, row.ty)).collect();
    columns.extend(OTHERS.iter().map(|(name, ty)| column(name, *ty)));
    columns.push(column(ESCAPED, FieldType::Boolean));
    columns.sort_by_key(|column| column.name);
    columns.dedup_by_key(|column| column.name);
    let by_name = columns.iter().enumerate().map(|(index, column)| (column.name, index)).collect();
    Schema { columns, by_name }
});

/// Every column, sorted by name.
#[must_use]
pub fn columns() -> &'static [Column] {
    &SCHEMA.columns
}

/// The position of a column.
#[must_use]
pub fn find(name: &str) -> Option<usize> {
    SCHEMA.by_name.get(name).copied()
}
