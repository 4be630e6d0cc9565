//! The host and the agent: facts that are the same on every event.

use crate::process::Text;
use crate::value::Scalar;

/// `host.*`. What could not be read is absent.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// `host.id`: the machine id.
    pub id: Option<Text>,
    /// `host.hostname`.
    pub hostname: Text,
    /// `host.name`: the host name in lower case.
    pub name: Text,
    /// `host.architecture`.
    pub architecture: Text,
    /// `host.os.kernel`: release and version of the kernel.
    pub kernel: Text,
    /// `host.os.Ext.variant`: NAME of os-release.
    pub os_name: Option<Text>,
    /// `host.os.family`, `host.os.platform`: ID of os-release.
    pub os_id: Option<Text>,
    /// `host.os.version`: VERSION_ID of os-release.
    pub os_version: Option<Text>,
    /// `host.os.full`: NAME and VERSION_ID of os-release.
    pub os_full: Option<Text>,
    /// `host.ip`.
    pub ip: Vec<Scalar>,
    /// `host.mac`, upper case with hyphens.
    pub mac: Vec<Scalar>,
    /// `host.boot.id`.
    pub boot_id: Option<Text>,
    /// `host.pid_ns_ino`.
    pub pid_ns: Option<Text>,
}

/// `agent.*`, `data_stream.namespace`.
#[derive(Clone, Debug)]
pub struct Agent {
    /// `agent.id`: a UUID made on the first start and kept.
    pub id: Text,
    /// `agent.version`.
    pub version: Text,
    /// `data_stream.namespace`: lower case, without a hyphen.
    pub namespace: Text,
}
