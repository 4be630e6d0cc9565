//! `[health]`: who may ask how the sensor fares.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Where the sensor is asked unless the configuration says otherwise.
pub(crate) const SOCKET_DEFAULT: &str = "/run/sensor/sensor.sock";

/// `[health]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// A socket for root, by which `sensor status` and its like ask; none if it is empty.
    pub socket: PathBuf,
    /// An address of this machine where metrics are given out; none if it is empty.
    #[serde(deserialize_with = "loopback")]
    pub listen: String,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { socket: SOCKET_DEFAULT.into(), listen: String::new() }
    }
}

fn loopback<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(text);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(text),
        Ok(_) => Err(D::Error::custom("only an address of this machine, like 127.0.0.1:9464")),
        Err(_) => Err(D::Error::custom("an address and a port, like 127.0.0.1:9464")),
    }
}
