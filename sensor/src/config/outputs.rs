//! `[outputs]`: where events and alerts go.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::alert::Format;
use crate::remote;
use crate::sink::{Place, Rotation, Target};

/// `[outputs]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outputs {
    /// `[outputs.events]`
    pub events: EventOutput,
    /// `[outputs.alerts]`
    pub alerts: AlertOutput,
    /// `[outputs.elasticsearch]`
    pub elasticsearch: ElasticsearchOutput,
    /// `[outputs.webhook]`
    pub webhook: WebhookOutput,
}

/// `[outputs.events]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventOutput {
    /// A file, `-` for standard output, or nothing.
    pub path: PathBuf,
    /// `[outputs.events.rotation]`
    pub rotation: RotationSettings,
}

/// `[outputs.alerts]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertOutput {
    /// A file, or `-` for standard output.
    #[serde(deserialize_with = "some_path")]
    pub path: PathBuf,
    /// How alerts are written.
    pub format: Format,
    /// Whether they also go to the journal.
    pub journald: bool,
    /// The socket of a syslog that they also go to; none if it is empty.
    pub syslog: PathBuf,
    /// `[outputs.alerts.rotation]`
    pub rotation: RotationSettings,
}

/// When a file is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotationSettings {
    /// How large it may grow; 0 is without end.
    pub bytes: u64,
    /// How old it may become; 0 is without end.
    pub hours: u32,
    /// How many former files are kept.
    pub keep: NonZeroU32,
}

impl Default for RotationSettings {
    fn default() -> Self {
        Self { bytes: 0, hours: 0, keep: NonZeroU32::MIN.saturating_add(4) }
    }
}

impl From<RotationSettings> for Rotation {
    fn from(settings: RotationSettings) -> Self {
        let RotationSettings { bytes, hours, keep } = settings;
        let age = Duration::from_secs(u64::from(hours) * 3600);
        Self {
            bytes_max: (bytes > 0).then_some(bytes),
            age_max: (hours > 0).then_some(age),
            keep: keep.get(),
        }
    }
}

/// `[outputs.elasticsearch]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticsearchOutput {
    /// Its address; nothing is sent if it is empty.
    #[serde(deserialize_with = "address")]
    pub url: String,
    /// Whether events are sent.
    pub events: bool,
    /// Whether alerts are sent.
    pub alerts: bool,
    /// A file with an API key.
    pub api_key_file: PathBuf,
    /// A user's name, if there is no API key.
    pub user: String,
    /// A file with the user's password.
    pub password_file: PathBuf,
    /// Certificates of the authorities that are trusted instead of the system's.
    pub ca_file: PathBuf,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// How long an answer may take.
    pub timeout_seconds: NonZeroU32,
    /// Bytes on disk in which events wait.
    pub spool_bytes: u64,
    /// Bytes on disk in which alerts wait.
    pub alert_spool_bytes: u64,
}

/// `[outputs.webhook]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookOutput {
    /// Its address; nothing is sent if it is empty.
    #[serde(deserialize_with = "address")]
    pub url: String,
    /// A file with the value of the `Authorization` header.
    pub authorization_file: PathBuf,
    /// Certificates of the authorities that are trusted instead of the system's.
    pub ca_file: PathBuf,
    /// How long an answer may take.
    pub timeout_seconds: NonZeroU32,
    /// Bytes on disk in which alerts wait.
    pub spool_bytes: u64,
}

impl Default for ElasticsearchOutput {
    fn default() -> Self {
        Self {
            url: String::new(),
            events: true,
            alerts: true,
            api_key_file: PathBuf::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            gzip: true,
            timeout_seconds: TIMEOUT_DEFAULT,
            spool_bytes: 512 << 20,
            alert_spool_bytes: 32 << 20,
        }
    }
}

impl Default for WebhookOutput {
    fn default() -> Self {
        Self {
            url: String::new(),
            authorization_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            timeout_seconds: TIMEOUT_DEFAULT,
            spool_bytes: 32 << 20,
        }
    }
}

const TIMEOUT_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if !text.is_empty() {
        remote::address(&text).map_err(|cause| D::Error::custom(format!("{cause:#}")))?;
    }
    Ok(text)
}

impl Default for AlertOutput {
    fn default() -> Self {
        Self {
            path: "-".into(),
            format: Format::default(),
            journald: false,
            syslog: PathBuf::new(),
            rotation: RotationSettings::default(),
        }
    }
}

impl Outputs {
    /// Every path in it.
    pub(super) fn paths(&mut self) -> [&mut PathBuf; 8] {
        let Self { events, alerts, elasticsearch, webhook } = self;
        [
            &mut events.path,
            &mut alerts.path,
            &mut alerts.syslog,
            &mut elasticsearch.api_key_file,
            &mut elasticsearch.password_file,
            &mut elasticsearch.ca_file,
            &mut webhook.authorization_file,
            &mut webhook.ca_file,
        ]
    }
}

impl EventOutput {
    /// Where events go, if anywhere; `target` is what the command line says.
    #[must_use]
    pub fn place(&self, target: Option<Target>) -> Option<Place> {
        let target = target.or_else(|| to_target(&self.path))?;
        Some(Place { target, rotation: self.rotation.into() })
    }
}

impl AlertOutput {
    /// Where alerts go; `target` is what the command line says.
    #[must_use]
    pub fn place(&self, target: Option<Target>) -> Place {
        let target = target.or_else(|| to_target(&self.path)).unwrap_or(Target::Stdout);
        Place { target, rotation: self.rotation.into() }
    }
}

fn to_target(path: &Path) -> Option<Target> {
    match path.as_os_str().as_encoded_bytes() {
        b"" => None,
        b"-" => Some(Target::Stdout),
        _ => Some(Target::File(path.to_owned())),
    }
}

pub(super) fn some_path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() {
        Err(D::Error::custom("a file, or - for standard output"))
    } else {
        Ok(path)
    }
}
