//! The configuration: what a file may say, and what holds where it says nothing.
//!
//! Every key is described in `default.toml`, which is what `sensor config default` prints; a test keeps the two alike.

mod enabling;
mod evidence;
mod exceptions;
mod health;
mod outputs;
mod problem;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use enabling::{Disabled, Named};
pub use evidence::EvidenceSettings;
pub use exceptions::{About, ExceptionSettings};
pub use health::HealthSettings;
use outputs::some_path;
pub use outputs::{AlertOutput, ElasticsearchOutput, EventOutput, Outputs, RotationSettings, WebhookOutput};
use sensor_common::limits::RING_BYTES_DEFAULT;
use sensor_eql::Diagnostic;
use sensor_eql::diag::{Located, SourceFile};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::enrich::HASHED_BYTES_DEFAULT;
use crate::enrich::environment::ALLOWED_DEFAULT;
use crate::pipeline::Streams;

/// Where the configuration is looked for when nobody says.
pub const PATH_DEFAULT: &str = "/etc/sensor/sensor.toml";
/// Every key with its default, described.
pub const DEFAULT_FILE: &str = include_str!("default.toml");
/// What of it is otherwise where the sensor is a service.
const SERVICE: [(&str, &str, &str); 4] = [
    ("store", "path = \"\"", "path = \"/var/lib/sensor/store\""),
    ("outputs.alerts", "path = \"-\"", "path = \"/var/log/sensor/alerts.ndjson\""),
    ("outputs.alerts", "journald = false", "journald = true"),
    ("outputs.alerts.rotation", "bytes = 0", "bytes = 104_857_600"),
];
/// A file above this is not a configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the sensor is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is recorded.
    pub telemetry: Telemetry,
    /// Who records.
    pub agent: AgentSettings,
    /// What is watched.
    pub host: HostSettings,
    /// What containers do.
    pub containers: ContainerSettings,
    /// What is hashed.
    pub hashing: Hashing,
    /// What alerts find out.
    pub evidence: EvidenceSettings,
    /// What is matched.
    pub rules: RuleSettings,
    /// Which matches are nothing to the user.
    pub exceptions: Vec<ExceptionSettings>,
    /// Where events and alerts go.
    pub outputs: Outputs,
    /// The event store that hunts look at.
    pub store: StoreSettings,
    /// Who may ask how the sensor fares.
    pub health: HealthSettings,
    /// What is hunted by itself.
    pub hunts: HuntSettings,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Which events are recorded.
    pub scope: Scope,
    /// Size of the ring between kernel and sensor.
    #[serde(deserialize_with = "ring_bytes")]
    pub ring_bytes: u32,
    /// Environment variables that documents may carry.
    #[serde(deserialize_with = "variables")]
    pub environment: Vec<String>,
}

/// Which events are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// What an enabled rule can match; exec, fork and exit always.
    #[default]
    Rules,
    /// Everything that the hooks see.
    All,
}

impl Config {
    /// The data streams that events belong to.
    pub(crate) fn streams(&self) -> Streams {
        Streams::new(&self.agent.namespace, self.containers.cloud_defend)
    }
}

impl Scope {
    /// What is not recorded, for a person.
    #[must_use]
    pub const fn leaves_out(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Rules => Some("file events that no enabled rule can match (telemetry.scope is \"rules\")"),
        }
    }
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Where the agent's id, and what rules remember over a restart, is kept.
    pub state_directory: PathBuf,
    /// Whether the sensor gives up rights once its programs are attached.
    pub confine: bool,
    /// Whether rules and configuration are read anew when their files change.
    pub reload_on_change: bool,
    /// `data_stream.namespace`
    #[serde(deserialize_with = "namespace")]
    pub namespace: String,
}

/// `[host]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Its root directory, as the sensor sees it.
    #[serde(deserialize_with = "some_path")]
    pub root: PathBuf,
}

/// `[containers]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerSettings {
    /// Whether their events also go to the data streams of Elastic's integration for containers.
    pub cloud_defend: bool,
}

/// `[hashing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hashing {
    /// Larger executables are not; none is with 0.
    pub executable_bytes: u64,
    /// Larger files that are renamed are not; none is with 0.
    pub file_bytes: u64,
}

/// `[rules]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// Rule files and trees beside the shipped rules.
    pub paths: Vec<PathBuf>,
    /// Whether one broken rule keeps the sensor from starting.
    pub strict: bool,
    /// Whether rules run of which nothing is said.
    pub enabled_by_default: bool,
    /// Rules that run.
    pub enable: Named,
    /// Rules that do not.
    pub disable: Named,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// Its folder; nothing is stored if it is empty.
    pub path: PathBuf,
    /// Days that events stay.
    pub days: NonZeroU32,
    /// Bytes of sealed files above which the oldest are removed.
    pub bytes: u64,
}

/// `[hunts]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HuntSettings {
    /// Hunt files, and folders of them.
    pub paths: Vec<PathBuf>,
    /// Hours between two runs.
    pub hours: Hours,
}

/// Hours, parts of one too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Hours(f64);

impl Hours {
    /// As a span of time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0 * 3_600.0)
    }
}

impl TryFrom<f64> for Hours {
    type Error = &'static str;

    fn try_from(hours: f64) -> Result<Self, Self::Error> {
        if (0.001..=8_760.0).contains(&hours) {
            return Ok(Self(hours));
        }
        Err("the hours between two runs are from 0.001 to 8760")
    }
}

impl From<Hours> for f64 {
    fn from(hours: Hours) -> Self {
        hours.0
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            scope: Scope::default(),
            ring_bytes: RING_BYTES_DEFAULT,
            environment: ALLOWED_DEFAULT.map(str::to_owned).into(),
        }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            state_directory: "/var/lib/sensor".into(),
            confine: true,
            reload_on_change: false,
            namespace: "default".to_owned(),
        }
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl Default for Hashing {
    fn default() -> Self {
        Self { executable_bytes: HASHED_BYTES_DEFAULT, file_bytes: HASHED_BYTES_DEFAULT }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { path: PathBuf::new(), days: NonZeroU32::MIN.saturating_add(30), bytes: 10 << 30 }
    }
}

impl Default for HuntSettings {
    fn default() -> Self {
        Self { paths: Vec::new(), hours: Hours(24.0) }
    }
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            strict: false,
            enabled_by_default: true,
            enable: Named::default(),
            disable: Named::default(),
        }
    }
}

/// The configuration that the service is given: events to the store alone, alerts to a file and the journal.
#[must_use]
pub fn service_file() -> String {
    let mut file = String::new();
    let mut table = "";
    for line in DEFAULT_FILE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name;
        }
        let other = SERVICE.iter().find(|(within, from, _)| *within == table && *from == line);
        file.push_str(other.map_or(line, |(_, _, to)| to));
        file.push('\n');
    }
    file.replacen("with every key at its default: what is left out holds as it stands here", SERVICE_HEAD, 1)
}

/// What the head of the service's file says instead.
const SERVICE_HEAD: &str = "as a service; `sensor config default` shows what holds for what is left out";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error("the configuration is broken\n{0}")]
    Broken(Box<Located>),
}

/// A configuration that was read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The file, unless all are defaults.
    pub path: Option<PathBuf>,
    text: String,
}

impl Loaded {
    fn name(&self) -> String {
        self.path.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }

    fn locate(&self, found: &Diagnostic) -> Located {
        SourceFile::new(&self.name(), &self.text).locate(found)
    }
}

/// Reads the configuration: the file that was named, or the usual one if it is there.
///
/// # Errors
///
/// When the file cannot be read, or is broken.
pub fn load(named: Option<&Path>) -> Result<Loaded, ConfigError> {
    let path = named.unwrap_or(Path::new(PATH_DEFAULT));
    let unreadable = |source| ConfigError::Unreadable { path: path.display().to_string(), source };
    match read(path) {
        Ok(text) => {
            let mut config = parse(&path.display().to_string(), &text)?;
            config.resolve(path.parent().unwrap_or(Path::new("")));
            Ok(Loaded { config, path: Some(path.to_owned()), text })
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(Loaded::default()),
        Err(cause) => Err(unreadable(cause)),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    fs::read_to_string(path)
}

/// Reads a configuration's text; `name` is what errors call it.
///
/// # Errors
///
/// What is wrong first, with its place.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Broken(Box::new(locate(name, text, &error))))
}

/// The error with its place, the key's full name and the nearest known one.
pub(crate) fn locate(name: &str, text: &str, error: &toml::de::Error) -> Located {
    SourceFile::new(name, text).locate(&problem::diagnose(text, error))
}

impl Config {
    /// Makes paths relative to the configuration's directory, wherever the sensor is started.
    fn resolve(&mut self, directory: &Path) {
        let files = self.outputs.paths().into_iter().chain([&mut self.store.path, &mut self.health.socket]);
        let files = files.filter(|path| {
            let name = path.as_os_str();
            !name.is_empty() && name != "-"
        });
        for path in files
            .chain([&mut self.agent.state_directory, &mut self.host.root])
            .chain(&mut self.rules.paths)
            .chain(&mut self.hunts.paths)
        {
            *path = directory.join(&*path);
        }
    }
}

/// Whether the kernel makes a ring of this size.
///
/// # Errors
///
/// What it must be.
pub fn check_ring_bytes(bytes: u32) -> Result<u32, &'static str> {
    if bytes.is_power_of_two() && bytes >= 4096 {
        Ok(bytes)
    } else {
        Err("not a power of two from 4096 to 2147483648")
    }
}

fn ring_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    check_ring_bytes(u32::deserialize(from)?).map_err(D::Error::custom)
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    match names.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err(D::Error::custom(format!("{name:?} is no variable's name"))),
        None => Ok(names),
    }
}

/// What Elasticsearch accepts as the last part of a data stream's name.
fn namespace<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let forbidden =
        |c: char| c.is_uppercase() || c.is_whitespace() || c.is_control() || "-\\/*?\"<>|,#:".contains(c);
    if name.is_empty() || name.len() > 100 {
        Err(D::Error::custom("a namespace has 1 to 100 bytes"))
    } else if name.contains(forbidden) {
        Err(D::Error::custom("a namespace has no upper case, blanks, or any of - \\ / * ? \" < > | , # :"))
    } else {
        Ok(name)
    }
}
