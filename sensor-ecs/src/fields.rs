//! The field table: every name that a document may carry, its type, where it comes from and how an event answers it.
//!
//! One row is the whole truth about a field. Rows are sorted by name, which the compiler checks: each name is there
//! once, and since a dot sorts before every other character used, the members of an object are neighbours and
//! the table's order is the order of the JSON document.
//!
//! A row: `CONSTANT = "name", type, documents, source, filled, |event| value;`. `documents` says in which documents
//! the field appears (`file`, `process` or `both`); on the others it is absent, for rules as in JSON, so that a replayed
//! document and the live event agree. `filled` is `no` for a field that this sensor never fills: the rule loader
//! reports rules which need one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use crate::event::{Event, Outcome};
use crate::schema::ECS_VERSION;
use crate::value::{Field, FieldId, FieldType, Record, Value};
use crate::who::{constant, constant_opt, long, text, text_opt};

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel record.
    Kernel,
    /// User space, once at start, or a counter.
    Sensor,
    /// A pure function of other fields.
    Derived,
    /// The process table and the account caches.
    ProcessTable,
    /// Reading the file after the event.
    FileRead,
    /// A container runtime's metadata.
    Runtime,
    /// The orchestrator.
    Orchestrator,
    /// The cloud's metadata service.
    Cloud,
    /// Not obtainable on a stand-alone host.
    Unobtainable,
}

/// The kinds of document a field appears in, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documents(u8);

impl Documents {
    /// File events.
    pub const FILE: Self = Self(1);
    /// Process events.
    pub const PROCESS: Self = Self(2);
    /// Every document.
    pub const BOTH: Self = Self(3);

    /// Whether the two sets share a kind.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Dotted name.
    pub name: &'static str,
    /// Type in the index.
    pub ty: FieldType,
    /// Documents that carry it.
    pub documents: Documents,
    /// Where it comes from.
    pub source: Source,
    /// Whether this sensor ever fills it.
    pub filled: bool,
}

macro_rules! documents {
    (file) => {
        Documents::FILE
    };
    (process) => {
        Documents::PROCESS
    };
    (both) => {
        Documents::BOTH
    };
}

macro_rules! filled {
    (yes) => {
        true
    };
    (no) => {
        false
    };
}

macro_rules! fields {
    ($($constant:ident = $name:literal, $ty:ident, $documents:ident, $source:ident, $filled:ident, |$event:ident| $get:expr;)+) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "only counts the rows")]
        #[derive(Clone, Copy)]
        enum Position { $($constant),+ }

        /// The fields by name.
        pub mod field {
            use super::{FieldId, Position};
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: FieldId = FieldId(Position::$constant as u16);
            )+
        }

        /// Every row, sorted by name; a [`FieldId`] is the position.
        pub static TABLE: [Row; [$($name),+].len()] = [$(Row {
            name: $name,
            ty: FieldType::$ty,
            documents: documents!($documents),
            source: Source::$source,
            filled: filled!($filled),
        }),+];

        impl Event<'_> {
            /// The value of a field without regard to the kind of document: what an alert carries.
            #[must_use]
            pub fn any_value(&self, field: FieldId) -> Value<'_> {
                match field {
                    $(field::$constant => {
                        let $event = self;
                        let _ = $event;
                        $get
                    })+
                    _ => Value::Absent,
                }
            }
        }
    };
}

fields! {
    TIMESTAMP = "@timestamp", Date, both, Kernel, yes, |e| Value::Date(e.meta.time_ns);
    AGENT_ID = "agent.id", Keyword, both, Sensor, yes, |e| text(&e.agent.id);
    AGENT_TYPE = "agent.type", Keyword, both, Sensor, yes, |e| constant(e.meta.integration.agent_type());
    AGENT_VERSION = "agent.version", Keyword, both, Sensor, yes, |e| text(&e.agent.version);
    CLOUD_ACCOUNT_ID = "cloud.account.id", Keyword, process, Cloud, no, |e| Value::Absent;
    CLOUD_INSTANCE_NAME = "cloud.instance.name", Keyword, process, Cloud, no, |e| Value::Absent;
    CLOUD_PROJECT_ID = "cloud.project.id", Keyword, process, Cloud, no, |e| Value::Absent;
    CLOUD_PROVIDER = "cloud.provider", Keyword, process, Cloud, no, |e| Value::Absent;
    CLOUD_REGION = "cloud.region", Keyword, process, Cloud, no, |e| Value::Absent;
    CONTAINER_ID = "container.id", Keyword, both, Kernel, yes, |e| e.container().id();
    CONTAINER_IMAGE_HASH_ALL = "container.image.hash.all", Keyword, process, Runtime, yes, |e| e.container().image_hashes();
    CONTAINER_IMAGE_NAME = "container.image.name", Keyword, process, Runtime, yes, |e| e.container().image_name();
    CONTAINER_IMAGE_TAG = "container.image.tag", Keyword, process, Runtime, yes, |e| e.container().image_tags();
    CONTAINER_NAME = "container.name", Keyword, process, Runtime, yes, |e| e.container().name();
    CONTAINER_RUNTIME = "container.runtime", Keyword, both, Kernel, yes, |e| e.container().runtime();
    DATA_STREAM_DATASET = "data_stream.dataset", Keyword, both, Sensor, yes, |e| constant(e.meta.dataset());
    DATA_STREAM_NAMESPACE = "data_stream.namespace", Keyword, both, Sensor, yes, |e| text(&e.agent.namespace);
    DATA_STREAM_TYPE = "data_stream.type", Keyword, both, Sensor, yes, |e| constant("logs");
    ECS_VERSION = "ecs.version", Keyword, both, Sensor, yes, |e| constant(ECS_VERSION);
    ELASTIC_AGENT_ID = "elastic.agent.id", Keyword, both, Sensor, yes, |e| text(&e.agent.id);
    EVENT_ACTION = "event.action", Keyword, both, Kernel, yes, |e| constant(e.meta.action.name());
    EVENT_CATEGORY = "event.category", Keyword, both, Sensor, yes, |e| Value::List(e.meta.action.category());
    EVENT_CREATED = "event.created", Date, both, Sensor, yes, |e| Value::Date(e.meta.time_ns);
    EVENT_DATASET = "event.dataset", Keyword, both, Sensor, yes, |e| constant(e.meta.dataset());
    EVENT_ID = "event.id", Keyword, both, Sensor, yes, |e| Value::Keyword(e.meta.id.as_bytes());
    EVENT_KIND = "event.kind", Keyword, both, Sensor, yes, |e| constant("event");
    EVENT_MODULE = "event.module", Keyword, both, Sensor, yes, |e| constant(e.meta.integration.module());
    EVENT_OUTCOME = "event.outcome", Keyword, both, Kernel, yes, |e| constant_opt(e.meta.outcome.map(Outcome::name));
    EVENT_SEQUENCE = "event.sequence", Long, both, Sensor, yes, |e| long(e.meta.sequence);
    EVENT_TYPE = "event.type", Keyword, both, Sensor, yes, |e| Value::List(e.meta.action.event_type());
    FILE_EXT_ENTROPY = "file.Ext.entropy", Double, file, FileRead, no, |e| e.file().entropy();
    FILE_EXT_FILE_SYSTEM_PATH = "file.Ext.file_system_path", Keyword, file, Kernel, yes, |e| e.file().file_system_path();
    FILE_EXT_HEADER_BYTES = "file.Ext.header_bytes", Keyword, file, FileRead, no, |e| e.file().header_bytes();
    FILE_EXT_HOST_PATH = "file.Ext.host_path", Keyword, file, Kernel, yes, |e| e.file().host_path();
    FILE_EXT_LINKED_PATH = "file.Ext.linked_path", Keyword, file, Kernel, yes, |e| e.file().linked_path();
    FILE_EXT_OPERATION = "file.Ext.operation", Keyword, file, Kernel, yes, |e| e.file().operation();
    FILE_EXT_ORIGINAL_EXTENSION = "file.Ext.original.extension", Keyword, file, Derived, yes, |e| e.file().original_extension();
    FILE_EXT_ORIGINAL_FILE_SYSTEM_PATH = "file.Ext.original.file_system_path", Keyword, file, Kernel, yes, |e| e.file().original_file_system_path();
    FILE_EXT_ORIGINAL_HOST_PATH = "file.Ext.original.host_path", Keyword, file, Kernel, yes, |e| e.file().original_host_path();
    FILE_EXT_ORIGINAL_NAME = "file.Ext.original.name", Keyword, file, Derived, yes, |e| e.file().original_name();
    FILE_EXT_ORIGINAL_PATH = "file.Ext.original.path", Keyword, file, Kernel, yes, |e| e.file().original_path();
    FILE_EXT_ORIGINAL_UPPER_PATH = "file.Ext.original.upper_path", Keyword, file, Kernel, yes, |e| e.file().original_upper_path();
    FILE_EXT_OUTSIDE_ROOT = "file.Ext.outside_root", Boolean, file, Kernel, yes, |e| e.file().outside_root();
    FILE_EXT_PATH_INCOMPLETE = "file.Ext.path_incomplete", Boolean, file, Kernel, yes, |e| e.file().path_incomplete();
    FILE_EXT_UPPER_PATH = "file.Ext.upper_path", Keyword, file, Kernel, yes, |e| e.file().upper_path();
    FILE_CTIME = "file.ctime", Date, file, Kernel, yes, |e| e.file().ctime();
    FILE_EXTENSION = "file.extension", Keyword, file, Derived, yes, |e| e.file().extension();
    FILE_GID = "file.gid", Keyword, file, Kernel, yes, |e| e.file().gid();
    FILE_GROUP = "file.group", Keyword, file, ProcessTable, yes, |e| e.file().group();
    FILE_HASH_SHA256 = "file.hash.sha256", Keyword, file, FileRead, yes, |e| e.file().sha256();
    FILE_INODE = "file.inode", Keyword, file, Kernel, yes, |e| e.file().inode();
    FILE_MODE = "file.mode", Keyword, file, Kernel, yes, |e| e.file().mode();
    FILE_MTIME = "file.mtime", Date, file, Kernel, yes, |e| e.file().mtime();
    FILE_NAME = "file.name", Keyword, file, Derived, yes, |e| e.file().name();
    FILE_OWNER = "file.owner", Keyword, file, ProcessTable, yes, |e| e.file().owner();
    FILE_PATH = "file.path", Keyword, file, Kernel, yes, |e| e.file().path();
    FILE_SIZE = "file.size", Long, file, FileRead, yes, |e| e.file().size();
    FILE_TARGET_PATH = "file.target_path", Keyword, file, Kernel, yes, |e| e.file().target_path();
    FILE_TYPE = "file.type", Keyword, file, Kernel, yes, |e| e.file().file_type();
    FILE_UID = "file.uid", Keyword, file, Kernel, yes, |e| e.file().uid();
    GROUP_EXT_REAL_ID = "group.Ext.real.id", Keyword, both, Kernel, yes, |e| e.actor().real_group_id();
    GROUP_EXT_REAL_NAME = "group.Ext.real.name", Keyword, both, ProcessTable, yes, |e| e.actor().real_group_name();
    GROUP_ID = "group.id", Keyword, both, Kernel, yes, |e| e.actor().group_id();
    GROUP_NAME = "group.name", Keyword, both, ProcessTable, yes, |e| e.actor().group_name();
    HOST_ARCHITECTURE = "host.architecture", Keyword, both, Sensor, yes, |e| text(&e.host.architecture);
    HOST_BOOT_ID = "host.boot.id", Keyword, both, Sensor, yes, |e| text_opt(e.host.boot_id.as_ref());
    HOST_HOSTNAME = "host.hostname", Keyword, both, Sensor, yes, |e| text(&e.host.hostname);
    HOST_ID = "host.id", Keyword, both, Sensor, yes, |e| text_opt(e.host.id.as_ref());
    HOST_IP = "host.ip", Ip, both, Sensor, yes, |e| Value::List(&e.host.ip);
    HOST_MAC = "host.mac", Keyword, both, Sensor, yes, |e| Value::List(&e.host.mac);
    HOST_NAME = "host.name", Keyword, both, Sensor, yes, |e| text(&e.host.name);
    HOST_OS_EXT_VARIANT = "host.os.Ext.variant", Keyword, both, Sensor, yes, |e| text_opt(e.host.os_name.as_ref());
    HOST_OS_FAMILY = "host.os.family", Keyword, both, Sensor, yes, |e| text_opt(e.host.os_id.as_ref());
    HOST_OS_FULL = "host.os.full", Keyword, both, Sensor, yes, |e| text_opt(e.host.os_full.as_ref());
    HOST_OS_KERNEL = "host.os.kernel", Keyword, both, Sensor, yes, |e| text(&e.host.kernel);
    HOST_OS_NAME = "host.os.name", Keyword, both, Sensor, yes, |e| constant("Linux");
    HOST_OS_PLATFORM = "host.os.platform", Keyword, both, Sensor, yes, |e| text_opt(e.host.os_id.as_ref());
    HOST_OS_TYPE = "host.os.type", Keyword, both, Sensor, yes, |e| constant("linux");
    HOST_OS_VERSION = "host.os.version", Keyword, both, Sensor, yes, |e| text_opt(e.host.os_version.as_ref());
    HOST_PID_NS_INO = "host.pid_ns_ino", Keyword, both, Kernel, yes, |e| text_opt(e.host.pid_ns.as_ref());
    MESSAGE = "message", Keyword, both, Sensor, yes, |e| constant(e.meta.action.message());
    ORCHESTRATOR_CLUSTER_ID = "orchestrator.cluster.id", Keyword, process, Orchestrator, no, |e| Value::Absent;
    ORCHESTRATOR_CLUSTER_NAME = "orchestrator.cluster.name", Keyword, process, Orchestrator, no, |e| Value::Absent;
    ORCHESTRATOR_NAMESPACE = "orchestrator.namespace", Keyword, process, Orchestrator, yes, |e| e.container().pod_namespace();
    ORCHESTRATOR_RESOURCE_IP = "orchestrator.resource.ip", Ip, process, Orchestrator, no, |e| Value::Absent;
    ORCHESTRATOR_RESOURCE_NAME = "orchestrator.resource.name", Keyword, process, Orchestrator, yes, |e| e.container().pod_name();
    ORCHESTRATOR_RESOURCE_PARENT_TYPE = "orchestrator.resource.parent.type", Keyword, process, Orchestrator, no, |e| Value::Absent;
    ORCHESTRATOR_RESOURCE_TYPE = "orchestrator.resource.type", Keyword, process, Orchestrator, yes, |e| e.container().pod_type();
    PROCESS_EXT_ANCESTRY = "process.Ext.ancestry", Keyword, both, ProcessTable, yes, |e| e.ancestry();
    PROCESS_EXT_COMMAND_LINE_TRUNCATED = "process.Ext.command_line_truncated", Boolean, process, Derived, yes, |e| e.process().command_line_truncated();
    PROCESS_EXT_DEGRADED = "process.Ext.degraded", Keyword, both, Sensor, yes, |e| e.process().degraded();
    PROCESS_EXT_TRUSTED = "process.Ext.trusted", Boolean, process, Unobtainable, no, |e| Value::Absent;
    PROCESS_EXT_TRUSTED_DESCENDANT = "process.Ext.trusted_descendant", Boolean, process, Unobtainable, no, |e| Value::Absent;
    PROCESS_AI_AGENT_IS_DESCENDANT = "process.ai_agent.is_descendant", Boolean, process, Unobtainable, no, |e| Value::Absent;
    PROCESS_AI_AGENT_NAME = "process.ai_agent.name", Keyword, process, Unobtainable, no, |e| Value::Absent;
    PROCESS_ARGS = "process.args", Keyword, both, Kernel, yes, |e| e.process().args();
    PROCESS_ARGS_COUNT = "process.args_count", Long, both, Derived, yes, |e| e.process().args_count();
    PROCESS_COMMAND_LINE = "process.command_line", Keyword, both, Derived, yes, |e| e.process().command_line();
    PROCESS_END = "process.end", Date, process, Kernel, yes, |e| e.process().end();
    PROCESS_ENTITY_ID = "process.entity_id", Keyword, both, Kernel, yes, |e| e.process().entity_id();
    PROCESS_ENTRY_LEADER_ARGS = "process.entry_leader.args", Keyword, process, ProcessTable, yes, |e| e.entry_leader().args();
    PROCESS_ENTRY_LEADER_ARGS_COUNT = "process.entry_leader.args_count", Long, process, ProcessTable, yes, |e| e.entry_leader().args_count();
    PROCESS_ENTRY_LEADER_COMMAND_LINE = "process.entry_leader.command_line", Keyword, process, ProcessTable, yes, |e| e.entry_leader().command_line();
    PROCESS_ENTRY_LEADER_ENTITY_ID = "process.entry_leader.entity_id", Keyword, both, ProcessTable, yes, |e| e.entry_leader().entity_id();
    PROCESS_ENTRY_LEADER_ENTRY_META_SOURCE_IP = "process.entry_leader.entry_meta.source.ip", Ip, process, ProcessTable, yes, |e| e.entry_leader().entry_source_ip();
    PROCESS_ENTRY_LEADER_ENTRY_META_TYPE = "process.entry_leader.entry_meta.type", Keyword, process, ProcessTable, yes, |e| e.entry_leader().entry_type();
    PROCESS_ENTRY_LEADER_EXECUTABLE = "process.entry_leader.executable", Keyword, process, ProcessTable, yes, |e| e.entry_leader().executable();
    PROCESS_ENTRY_LEADER_GROUP_ID = "process.entry_leader.group.id", Keyword, process, ProcessTable, yes, |e| e.entry_leader().group_id();
    PROCESS_ENTRY_LEADER_GROUP_NAME = "process.entry_leader.group.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().group_name();
    PROCESS_ENTRY_LEADER_INTERACTIVE = "process.entry_leader.interactive", Boolean, process, ProcessTable, yes, |e| e.entry_leader().interactive();
    PROCESS_ENTRY_LEADER_NAME = "process.entry_leader.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().name();
    PROCESS_ENTRY_LEADER_PARENT_ENTITY_ID = "process.entry_leader.parent.entity_id", Keyword, both, ProcessTable, yes, |e| e.entry_leader_parent().entity_id();
    PROCESS_ENTRY_LEADER_PARENT_PID = "process.entry_leader.parent.pid", Long, process, ProcessTable, yes, |e| e.entry_leader_parent().pid();
    PROCESS_ENTRY_LEADER_PARENT_START = "process.entry_leader.parent.start", Date, process, ProcessTable, yes, |e| e.entry_leader_parent().start();
    PROCESS_ENTRY_LEADER_PID = "process.entry_leader.pid", Long, process, ProcessTable, yes, |e| e.entry_leader().pid();
    PROCESS_ENTRY_LEADER_REAL_GROUP_ID = "process.entry_leader.real_group.id", Keyword, process, ProcessTable, yes, |e| e.entry_leader().real_group_id();
    PROCESS_ENTRY_LEADER_REAL_GROUP_NAME = "process.entry_leader.real_group.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().real_group_name();
    PROCESS_ENTRY_LEADER_REAL_USER_ID = "process.entry_leader.real_user.id", Keyword, process, ProcessTable, yes, |e| e.entry_leader().real_user_id();
    PROCESS_ENTRY_LEADER_REAL_USER_NAME = "process.entry_leader.real_user.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().real_user_name();
    PROCESS_ENTRY_LEADER_SAME_AS_PROCESS = "process.entry_leader.same_as_process", Boolean, process, Derived, yes, |e| e.same_as_process(e.entry_leader());
    PROCESS_ENTRY_LEADER_START = "process.entry_leader.start", Date, process, ProcessTable, yes, |e| e.entry_leader().start();
    PROCESS_ENTRY_LEADER_SUPPLEMENTAL_GROUPS_ID = "process.entry_leader.supplemental_groups.id", Keyword, process, ProcessTable, yes, |e| e.entry_leader().supplemental_group_ids();
    PROCESS_ENTRY_LEADER_SUPPLEMENTAL_GROUPS_NAME = "process.entry_leader.supplemental_groups.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().supplemental_group_names();
    PROCESS_ENTRY_LEADER_TTY_CHAR_DEVICE_MAJOR = "process.entry_leader.tty.char_device.major", Long, process, ProcessTable, yes, |e| e.entry_leader().tty_major();
    PROCESS_ENTRY_LEADER_TTY_CHAR_DEVICE_MINOR = "process.entry_leader.tty.char_device.minor", Long, process, ProcessTable, yes, |e| e.entry_leader().tty_minor();
    PROCESS_ENTRY_LEADER_USER_ID = "process.entry_leader.user.id", Keyword, process, ProcessTable, yes, |e| e.entry_leader().user_id();
    PROCESS_ENTRY_LEADER_USER_NAME = "process.entry_leader.user.name", Keyword, process, ProcessTable, yes, |e| e.entry_leader().user_name();
    PROCESS_ENTRY_LEADER_WORKING_DIRECTORY = "process.entry_leader.working_directory", Keyword, process, ProcessTable, yes, |e| e.entry_leader().working_directory();
    PROCESS_ENV_VARS = "process.env_vars", Keyword, process, Kernel, yes, |e| e.process().env_vars();
    PROCESS_EXECUTABLE = "process.executable", Keyword, both, Kernel, yes, |e| e.process_executable();
    PROCESS_EXIT_CODE = "process.exit_code", Long, process, Kernel, yes, |e| e.process().exit_code();
    PROCESS_GROUP_ID = "process.group.id", Keyword, process, Kernel, yes, |e| e.process().group_id();
    PROCESS_GROUP_NAME = "process.group.name", Keyword, process, ProcessTable, yes, |e| e.process().group_name();
    PROCESS_GROUP_LEADER_ARGS = "process.group_leader.args", Keyword, process, ProcessTable, yes, |e| e.group_leader().args();
    PROCESS_GROUP_LEADER_ARGS_COUNT = "process.group_leader.args_count", Long, process, ProcessTable, yes, |e| e.group_leader().args_count();
    PROCESS_GROUP_LEADER_COMMAND_LINE = "process.group_leader.command_line", Keyword, process, ProcessTable, yes, |e| e.group_leader().command_line();
    PROCESS_GROUP_LEADER_ENTITY_ID = "process.group_leader.entity_id", Keyword, both, ProcessTable, yes, |e| e.group_leader().entity_id();
    PROCESS_GROUP_LEADER_EXECUTABLE = "process.group_leader.executable", Keyword, process, ProcessTable, yes, |e| e.group_leader().executable();
    PROCESS_GROUP_LEADER_GROUP_ID = "process.group_leader.group.id", Keyword, process, ProcessTable, yes, |e| e.group_leader().group_id();
    PROCESS_GROUP_LEADER_GROUP_NAME = "process.group_leader.group.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().group_name();
    PROCESS_GROUP_LEADER_INTERACTIVE = "process.group_leader.interactive", Boolean, process, ProcessTable, yes, |e| e.group_leader().interactive();
    PROCESS_GROUP_LEADER_NAME = "process.group_leader.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().name();
    PROCESS_GROUP_LEADER_PID = "process.group_leader.pid", Long, process, ProcessTable, yes, |e| e.group_leader().pid();
    PROCESS_GROUP_LEADER_REAL_GROUP_ID = "process.group_leader.real_group.id", Keyword, process, ProcessTable, yes, |e| e.group_leader().real_group_id();
    PROCESS_GROUP_LEADER_REAL_GROUP_NAME = "process.group_leader.real_group.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().real_group_name();
    PROCESS_GROUP_LEADER_REAL_USER_ID = "process.group_leader.real_user.id", Keyword, process, ProcessTable, yes, |e| e.group_leader().real_user_id();
    PROCESS_GROUP_LEADER_REAL_USER_NAME = "process.group_leader.real_user.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().real_user_name();
    PROCESS_GROUP_LEADER_SAME_AS_PROCESS = "process.group_leader.same_as_process", Boolean, process, Derived, yes, |e| e.same_as_process(e.group_leader());
    PROCESS_GROUP_LEADER_START = "process.group_leader.start", Date, process, ProcessTable, yes, |e| e.group_leader().start();
    PROCESS_GROUP_LEADER_SUPPLEMENTAL_GROUPS_ID = "process.group_leader.supplemental_groups.id", Keyword, process, ProcessTable, yes, |e| e.group_leader().supplemental_group_ids();
    PROCESS_GROUP_LEADER_SUPPLEMENTAL_GROUPS_NAME = "process.group_leader.supplemental_groups.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().supplemental_group_names();
    PROCESS_GROUP_LEADER_TTY_CHAR_DEVICE_MAJOR = "process.group_leader.tty.char_device.major", Long, process, ProcessTable, yes, |e| e.group_leader().tty_major();
    PROCESS_GROUP_LEADER_TTY_CHAR_DEVICE_MINOR = "process.group_leader.tty.char_device.minor", Long, process, ProcessTable, yes, |e| e.group_leader().tty_minor();
    PROCESS_GROUP_LEADER_USER_ID = "process.group_leader.user.id", Keyword, process, ProcessTable, yes, |e| e.group_leader().user_id();
    PROCESS_GROUP_LEADER_USER_NAME = "process.group_leader.user.name", Keyword, process, ProcessTable, yes, |e| e.group_leader().user_name();
    PROCESS_GROUP_LEADER_WORKING_DIRECTORY = "process.group_leader.working_directory", Keyword, process, ProcessTable, yes, |e| e.group_leader().working_directory();
    PROCESS_HASH_MD5 = "process.hash.md5", Keyword, process, FileRead, no, |e| e.process().md5();
    PROCESS_HASH_SHA1 = "process.hash.sha1", Keyword, process, FileRead, no, |e| e.process().sha1();
    PROCESS_HASH_SHA256 = "process.hash.sha256", Keyword, process, FileRead, yes, |e| e.process().sha256();
    PROCESS_INTERACTIVE = "process.interactive", Boolean, process, Kernel, yes, |e| e.process().interactive();
    PROCESS_NAME = "process.name", Keyword, both, Derived, yes, |e| e.process_name();
    PROCESS_PARENT_EXT_COMMAND_LINE_TRUNCATED = "process.parent.Ext.command_line_truncated", Boolean, process, ProcessTable, yes, |e| e.parent().command_line_truncated();
    PROCESS_PARENT_ARGS = "process.parent.args", Keyword, process, ProcessTable, yes, |e| e.parent().args();
    PROCESS_PARENT_ARGS_COUNT = "process.parent.args_count", Long, process, ProcessTable, yes, |e| e.parent().args_count();
    PROCESS_PARENT_COMMAND_LINE = "process.parent.command_line", Keyword, both, ProcessTable, yes, |e| e.parent().command_line();
    PROCESS_PARENT_ENTITY_ID = "process.parent.entity_id", Keyword, both, ProcessTable, yes, |e| e.parent().entity_id();
    PROCESS_PARENT_EXECUTABLE = "process.parent.executable", Keyword, both, ProcessTable, yes, |e| e.parent().executable();
    PROCESS_PARENT_GROUP_ID = "process.parent.group.id", Keyword, process, ProcessTable, yes, |e| e.parent().group_id();
    PROCESS_PARENT_GROUP_NAME = "process.parent.group.name", Keyword, process, ProcessTable, yes, |e| e.parent().group_name();
    PROCESS_PARENT_INTERACTIVE = "process.parent.interactive", Boolean, process, ProcessTable, yes, |e| e.parent().interactive();
    PROCESS_PARENT_NAME = "process.parent.name", Keyword, both, ProcessTable, yes, |e| e.parent().name();
    PROCESS_PARENT_PID = "process.parent.pid", Long, both, ProcessTable, yes, |e| e.parent().pid();
    PROCESS_PARENT_REAL_GROUP_ID = "process.parent.real_group.id", Keyword, process, ProcessTable, yes, |e| e.parent().real_group_id();
    PROCESS_PARENT_REAL_GROUP_NAME = "process.parent.real_group.name", Keyword, process, ProcessTable, yes, |e| e.parent().real_group_name();
    PROCESS_PARENT_REAL_USER_ID = "process.parent.real_user.id", Keyword, process, ProcessTable, yes, |e| e.parent().real_user_id();
    PROCESS_PARENT_REAL_USER_NAME = "process.parent.real_user.name", Keyword, process, ProcessTable, yes, |e| e.parent().real_user_name();
    PROCESS_PARENT_START = "process.parent.start", Date, process, ProcessTable, yes, |e| e.parent().start();
    PROCESS_PARENT_SUPPLEMENTAL_GROUPS_ID = "process.parent.supplemental_groups.id", Keyword, process, ProcessTable, yes, |e| e.parent().supplemental_group_ids();
    PROCESS_PARENT_SUPPLEMENTAL_GROUPS_NAME = "process.parent.supplemental_groups.name", Keyword, process, ProcessTable, yes, |e| e.parent().supplemental_group_names();
    PROCESS_PARENT_TTY_CHAR_DEVICE_MAJOR = "process.parent.tty.char_device.major", Long, process, ProcessTable, yes, |e| e.parent().tty_major();
    PROCESS_PARENT_TTY_CHAR_DEVICE_MINOR = "process.parent.tty.char_device.minor", Long, process, ProcessTable, yes, |e| e.parent().tty_minor();
    PROCESS_PARENT_USER_ID = "process.parent.user.id", Keyword, process, ProcessTable, yes, |e| e.parent().user_id();
    PROCESS_PARENT_USER_NAME = "process.parent.user.name", Keyword, process, ProcessTable, yes, |e| e.parent().user_name();
    PROCESS_PARENT_WORKING_DIRECTORY = "process.parent.working_directory", Keyword, process, ProcessTable, yes, |e| e.parent().working_directory();
    PROCESS_PID = "process.pid", Long, both, Kernel, yes, |e| e.process().pid();
    PROCESS_PPID = "process.ppid", Long, process, Kernel, yes, |e| e.parent().pid();
    PROCESS_PREVIOUS_ARGS = "process.previous.args", Keyword, process, ProcessTable, yes, |e| e.previous().args();
    PROCESS_PREVIOUS_ARGS_COUNT = "process.previous.args_count", Long, process, ProcessTable, yes, |e| e.previous().args_count();
    PROCESS_PREVIOUS_EXECUTABLE = "process.previous.executable", Keyword, process, ProcessTable, yes, |e| e.previous().executable();
    PROCESS_REAL_GROUP_ID = "process.real_group.id", Keyword, process, Kernel, yes, |e| e.process().real_group_id();
    PROCESS_REAL_GROUP_NAME = "process.real_group.name", Keyword, process, ProcessTable, yes, |e| e.process().real_group_name();
    PROCESS_REAL_USER_ID = "process.real_user.id", Keyword, process, Kernel, yes, |e| e.process().real_user_id();
    PROCESS_REAL_USER_NAME = "process.real_user.name", Keyword, process, ProcessTable, yes, |e| e.process().real_user_name();
    PROCESS_SAVED_GROUP_ID = "process.saved_group.id", Keyword, process, Kernel, yes, |e| e.process().saved_group_id();
    PROCESS_SAVED_GROUP_NAME = "process.saved_group.name", Keyword, process, ProcessTable, yes, |e| e.process().saved_group_name();
    PROCESS_SAVED_USER_ID = "process.saved_user.id", Keyword, process, Kernel, yes, |e| e.process().saved_user_id();
    PROCESS_SAVED_USER_NAME = "process.saved_user.name", Keyword, process, ProcessTable, yes, |e| e.process().saved_user_name();
    PROCESS_SESSION_LEADER_ARGS = "process.session_leader.args", Keyword, process, ProcessTable, yes, |e| e.session_leader().args();
    PROCESS_SESSION_LEADER_ARGS_COUNT = "process.session_leader.args_count", Long, process, ProcessTable, yes, |e| e.session_leader().args_count();
    PROCESS_SESSION_LEADER_COMMAND_LINE = "process.session_leader.command_line", Keyword, process, ProcessTable, yes, |e| e.session_leader().command_line();
    PROCESS_SESSION_LEADER_ENTITY_ID = "process.session_leader.entity_id", Keyword, both, ProcessTable, yes, |e| e.session_leader().entity_id();
    PROCESS_SESSION_LEADER_EXECUTABLE = "process.session_leader.executable", Keyword, process, ProcessTable, yes, |e| e.session_leader().executable();
    PROCESS_SESSION_LEADER_GROUP_ID = "process.session_leader.group.id", Keyword, process, ProcessTable, yes, |e| e.session_leader().group_id();
    PROCESS_SESSION_LEADER_GROUP_NAME = "process.session_leader.group.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().group_name();
    PROCESS_SESSION_LEADER_INTERACTIVE = "process.session_leader.interactive", Boolean, process, ProcessTable, yes, |e| e.session_leader().interactive();
    PROCESS_SESSION_LEADER_NAME = "process.session_leader.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().name();
    PROCESS_SESSION_LEADER_PID = "process.session_leader.pid", Long, process, ProcessTable, yes, |e| e.session_leader().pid();
    PROCESS_SESSION_LEADER_REAL_GROUP_ID = "process.session_leader.real_group.id", Keyword, process, ProcessTable, yes, |e| e.session_leader().real_group_id();
    PROCESS_SESSION_LEADER_REAL_GROUP_NAME = "process.session_leader.real_group.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().real_group_name();
    PROCESS_SESSION_LEADER_REAL_USER_ID = "process.session_leader.real_user.id", Keyword, process, ProcessTable, yes, |e| e.session_leader().real_user_id();
    PROCESS_SESSION_LEADER_REAL_USER_NAME = "process.session_leader.real_user.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().real_user_name();
    PROCESS_SESSION_LEADER_SAME_AS_PROCESS = "process.session_leader.same_as_process", Boolean, process, Derived, yes, |e| e.same_as_process(e.session_leader());
    PROCESS_SESSION_LEADER_START = "process.session_leader.start", Date, process, ProcessTable, yes, |e| e.session_leader().start();
    PROCESS_SESSION_LEADER_SUPPLEMENTAL_GROUPS_ID = "process.session_leader.supplemental_groups.id", Keyword, process, ProcessTable, yes, |e| e.session_leader().supplemental_group_ids();
    PROCESS_SESSION_LEADER_SUPPLEMENTAL_GROUPS_NAME = "process.session_leader.supplemental_groups.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().supplemental_group_names();
    PROCESS_SESSION_LEADER_TTY_CHAR_DEVICE_MAJOR = "process.session_leader.tty.char_device.major", Long, process, ProcessTable, yes, |e| e.session_leader().tty_major();
    PROCESS_SESSION_LEADER_TTY_CHAR_DEVICE_MINOR = "process.session_leader.tty.char_device.minor", Long, process, ProcessTable, yes, |e| e.session_leader().tty_minor();
    PROCESS_SESSION_LEADER_USER_ID = "process.session_leader.user.id", Keyword, process, ProcessTable, yes, |e| e.session_leader().user_id();
    PROCESS_SESSION_LEADER_USER_NAME = "process.session_leader.user.name", Keyword, process, ProcessTable, yes, |e| e.session_leader().user_name();
    PROCESS_SESSION_LEADER_WORKING_DIRECTORY = "process.session_leader.working_directory", Keyword, process, ProcessTable, yes, |e| e.session_leader().working_directory();
    PROCESS_START = "process.start", Date, process, Kernel, yes, |e| e.process().start();
    PROCESS_SUPPLEMENTAL_GROUPS_ID = "process.supplemental_groups.id", Keyword, process, Kernel, yes, |e| e.process().supplemental_group_ids();
    PROCESS_SUPPLEMENTAL_GROUPS_NAME = "process.supplemental_groups.name", Keyword, process, ProcessTable, yes, |e| e.process().supplemental_group_names();
    PROCESS_THREAD_CAPABILITIES_EFFECTIVE = "process.thread.capabilities.effective", Keyword, process, Kernel, yes, |e| e.process().capabilities_effective();
    PROCESS_THREAD_CAPABILITIES_PERMITTED = "process.thread.capabilities.permitted", Keyword, process, Kernel, yes, |e| e.process().capabilities_permitted();
    PROCESS_TTY_CHAR_DEVICE_MAJOR = "process.tty.char_device.major", Long, process, Kernel, yes, |e| e.process().tty_major();
    PROCESS_TTY_CHAR_DEVICE_MINOR = "process.tty.char_device.minor", Long, process, Kernel, yes, |e| e.process().tty_minor();
    PROCESS_USER_ID = "process.user.id", Keyword, process, Kernel, yes, |e| e.process().user_id();
    PROCESS_USER_NAME = "process.user.name", Keyword, process, ProcessTable, yes, |e| e.process().user_name();
    PROCESS_WORKING_DIRECTORY = "process.working_directory", Keyword, both, Kernel, yes, |e| e.process().working_directory();
    USER_EXT_REAL_ID = "user.Ext.real.id", Keyword, both, Kernel, yes, |e| e.actor().real_user_id();
    USER_EXT_REAL_NAME = "user.Ext.real.name", Keyword, both, ProcessTable, yes, |e| e.actor().real_user_name();
    USER_ID = "user.id", Keyword, both, Kernel, yes, |e| e.actor().user_id();
    USER_NAME = "user.name", Keyword, both, ProcessTable, yes, |e| e.actor().user_name();
}

const fn precedes(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left, right) {
            ([], [_, ..]) => return true,
            (_, []) => return false,
            ([a, left_rest @ ..], [b, right_rest @ ..]) => {
                if *a != *b {
                    return *a < *b;
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
}

const fn is_sorted(mut rows: &[Row]) -> bool {
    while let [first, rest @ ..] = rows {
        if let [second, ..] = rest
            && !precedes(first.name, second.name)
        {
            return false;
        }
        rows = rest;
    }
    true
}

const _: () = assert!(is_sorted(&TABLE), "fields.rs: rows must be sorted by name, each once");

/// Finds a row by its dotted name.
#[must_use]
pub fn find(name: &str) -> Option<Field> {
    let position = *POSITIONS.get(name)?;
    Some(Field { id: FieldId(position), ty: TABLE.get(usize::from(position))?.ty })
}

/// Reading a document looks up every name in it, which bisection of names that mostly begin alike made slow.
static POSITIONS: LazyLock<HashMap<&str, u16, BuildHasherDefault<NameHasher>>> =
    LazyLock::new(|| (0..).zip(&TABLE).map(|(position, row)| (row.name, position)).collect());

/// Eight bytes at a time. The keys are known and nothing is ever added, so that no one can make them collide.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (place, byte) in word.iter_mut().zip(chunk) {
                *place = *byte;
            }
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn finish(&self) -> u64 {
        // The map takes its bucket from the low bits, which a product hardly mixes.
        self.0 ^ self.0 >> 32
    }
}

/// The row of a field.
#[must_use]
pub fn row(field: FieldId) -> Option<&'static Row> {
    TABLE.get(usize::from(field.0))
}

impl Record for Event<'_> {
    fn value(&self, field: FieldId) -> Value<'_> {
        match row(field) {
            Some(row) if row.documents.meets(self.meta.action.documents()) => self.any_value(field),
            _ => Value::Absent,
        }
    }
}
