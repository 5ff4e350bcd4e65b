//! What a sensor says of itself every 30 to 60 s. Fixed by the devices that exist; unknown fields are ignored.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Range, SensorId, Subject};

/// A heartbeat that was understood. Two heartbeats of a sensor that stays the same are equal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heartbeat {
    /// The name people know it by.
    pub alias: String,
    /// Where a message means that the sensor is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_topic: Option<Subject>,
    /// Which sensor.
    pub id: SensorId,
    /// The address it says it has, as it writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addr: Option<String>,
    /// Where it stands; empty if it does not say.
    pub location: String,
    /// The hardware address in the usual text form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_addr: Option<String>,
    /// Milliseconds between two polls.
    #[serde(rename = "poll_interval")]
    pub poll_interval_ms: u64,
    /// Where it takes polls.
    pub poll_topic: Subject,
    /// Ed25519 key it says it signs with, as it writes it; kept, not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// What it measures, e.g. `temperature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// The values it declares as sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Where it publishes its answers.
    pub read_topic: Subject,
    /// Unit of its values, e.g. `°C`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Heartbeat {
    /// Largest heartbeat in bytes; the reference one has 400.
    pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024;
    /// Longest alias, location, quantity, unit or address in characters: location and alias together are a source, which stays under 128.
    pub const NAME_CHARS_MAX: usize = 60;
    /// Longest public key in characters: 32 bytes in any encoding.
    pub const KEY_CHARS_MAX: usize = 128;
    /// Shortest poll interval: a tenth of a second, well above the answer's way there and back.
    pub const POLL_INTERVAL_MS_MIN: u64 = 100;
    /// Longest poll interval: a day.
    pub const POLL_INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

    /// Reads a heartbeat as it came from the wire.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidHeartbeat> {
        if payload.len() > Self::PAYLOAD_BYTES_MAX {
            return Err(InvalidHeartbeat::TooLarge { bytes: payload.len() });
        }
        let wire: Wire = serde_json::from_slice(payload).map_err(InvalidHeartbeat::Syntax)?;
        wire.check()
    }

    /// Reads a heartbeat back that this type wrote (into an event).
    pub fn from_canonical(text: &str) -> Result<Self, InvalidHeartbeat> {
        Self::parse(text.as_bytes())
    }

    /// Canonical JSON (RFC 8785, but for the numbers of a range, which are text).
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a heartbeat has only text keys")
    }

    /// The event source of this sensor's readings: `<location>.<alias>`.
    #[must_use]
    pub fn source(&self) -> String {
        if self.location.is_empty() {
            self.alias.clone()
        } else {
            format!("{}.{}", self.location, self.alias)
        }
    }

    /// The time between two polls.
    #[must_use]
    pub const fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }
}

/// Why a heartbeat is refused. The sensor is not polled until it sends one that is understood.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHeartbeat {
    /// More bytes than any heartbeat needs.
    #[error("the heartbeat has {bytes} bytes: at most {} are read", Heartbeat::PAYLOAD_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, or a field of another kind than the protocol says.
    #[error("the heartbeat is not understood: {0}")]
    Syntax(serde_json::Error),
    /// A field with a value that cannot be.
    #[error("the heartbeat's `{field}` is refused: {reason}")]
    Field {
        /// Which one, as the wire names it.
        field: &'static str,
        /// What is allowed.
        reason: String,
    },
}

/// A heartbeat as devices write it.
#[derive(Deserialize)]
struct Wire {
    alias: String,
    disconnect_topic: Option<String>,
    id: SensorId,
    ip_addr: Option<String>,
    location: Option<String>,
    mac_addr: Option<WireMac>,
    poll_interval: u64,
    poll_topic: String,
    public_key: Option<String>,
    quantity: Option<String>,
    range: Option<WireRange>,
    read_topic: String,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireMac {
    Numbers([u8; 6]),
    Text(String),
}

/// Devices write two numbers; sealed heartbeats carry the text form.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireRange {
    Bounds([f64; 2]),
    Text(Range),
}

impl Wire {
    fn check(self) -> Result<Heartbeat, InvalidHeartbeat> {
        if self.alias.is_empty() {
            return Err(refused("alias", "it is empty; use 1 to 60 characters"));
        }
        let interval = Heartbeat::POLL_INTERVAL_MS_MIN..=Heartbeat::POLL_INTERVAL_MS_MAX;
        if !interval.contains(&self.poll_interval) {
            return Err(InvalidHeartbeat::Field {
                field: "poll_interval",
                reason: format!(
                    "{} ms; use {} to {}",
                    self.poll_interval,
                    interval.start(),
                    interval.end()
                ),
            });
        }
        Ok(Heartbeat {
            alias: name("alias", self.alias)?,
            disconnect_topic: self
                .disconnect_topic
                .map(|topic| subject("disconnect_topic", &topic))
                .transpose()?,
            id: self.id,
            ip_addr: optional_name("ip_addr", self.ip_addr)?,
            location: name("location", self.location.unwrap_or_default())?,
            mac_addr: optional_name("mac_addr", self.mac_addr.map(WireMac::text))?,
            poll_interval_ms: self.poll_interval,
            poll_topic: subject("poll_topic", &self.poll_topic)?,
            public_key: public_key(self.public_key)?,
            quantity: optional_name("quantity", self.quantity)?,
            range: self.range.map(WireRange::check).transpose()?,
            read_topic: subject("read_topic", &self.read_topic)?,
            unit: optional_name("unit", self.unit)?,
        })
    }
}

impl WireMac {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Numbers(bytes) => {
                let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                parts.join(":")
            }
        }
    }
}

impl WireRange {
    fn check(self) -> Result<Range, InvalidHeartbeat> {
        match self {
            Self::Text(range) => Ok(range),
            Self::Bounds([low, high]) => {
                Range::new(low, high).map_err(|error| refused("range", &error.to_string()))
            }
        }
    }
}

fn name(field: &'static str, text: String) -> Result<String, InvalidHeartbeat> {
    if text.chars().count() > Heartbeat::NAME_CHARS_MAX {
        return Err(refused(field, "it is longer than 60 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(refused(field, "it has a control character"));
    }
    Ok(text)
}

fn optional_name(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, InvalidHeartbeat> {
    text.map(|text| name(field, text)).transpose()
}

fn public_key(key: Option<String>) -> Result<Option<String>, InvalidHeartbeat> {
    match key {
        Some(key) if key.chars().count() > Heartbeat::KEY_CHARS_MAX => {
            Err(refused("public_key", "it is longer than 128 characters"))
        }
        key => Ok(key),
    }
}

fn subject(field: &'static str, topic: &str) -> Result<Subject, InvalidHeartbeat> {
    Subject::parse(topic).map_err(|error| refused(field, &error.to_string()))
}

fn refused(field: &'static str, reason: &str) -> InvalidHeartbeat {
    InvalidHeartbeat::Field { field, reason: String::from(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = r#"{"alias":"TempSensor01","id":"A3B3C3D3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":10000,
        "poll_topic":"sim.poll.7","read_topic":"sim.read.7","disconnect_topic":"sim.disconnect/7","ip_addr":"192.168.1.1",
        "mac_addr":[40,205,193,3,226,159],"location":"SIMULATION-Conveyor Belt 1"}"#;

    #[track_caller]
    fn refusal(change: &str, to: &str) -> String {
        let text = REFERENCE.replacen(change, to, 1);
        assert_ne!(text, REFERENCE);
        Heartbeat::parse(text.as_bytes()).expect_err("should be refused").to_string()
    }

    #[test]
    fn the_reference_heartbeat_is_understood() {
        let heartbeat = Heartbeat::parse(REFERENCE.as_bytes()).unwrap();
        assert_eq!(heartbeat.source(), "SIMULATION-Conveyor Belt 1.TempSensor01");
        assert_eq!(heartbeat.mac_addr.as_deref(), Some("28:cd:c1:03:e2:9f"));
        assert_eq!(heartbeat.disconnect_topic.unwrap().as_str(), "sim.disconnect.7");
        assert_eq!(heartbeat.id.to_string(), "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3");
    }

    #[test]
    fn what_is_sealed_is_canonical_and_read_back() {
        let text =
            REFERENCE.replace("\"location\"", "\"range\":[-0.5,50],\"unit\":\"°C\",\"location\"");
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        let canonical = heartbeat.canonical();
        let value: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        assert_eq!(canonical, serde_json_canonicalizer::to_string(&value).unwrap());
        assert_eq!(Heartbeat::from_canonical(&canonical).unwrap(), heartbeat);
    }

    #[test]
    fn refusals_name_the_field_and_what_is_allowed() {
        assert_eq!(
            refusal("10000", "50"),
            "the heartbeat's `poll_interval` is refused: 50 ms; use 100 to 86400000"
        );
        assert!(refusal("sim.poll.7", "runtime.host.1.workload.stop").contains("`poll_topic`"));
        assert!(refusal("sim.read.7", "sim.read.*").contains("wildcard"));
        assert!(refusal("TempSensor01", "").contains("`alias`"));
        assert!(refusal("\"location\"", "\"range\":[5,1],\"location\"").contains("`range`"));
        assert!(refusal("A3B3", "ZZZZ").contains("not understood"));
    }

    #[test]
    fn unknown_fields_and_the_usual_mac_text_are_taken() {
        let text = REFERENCE
            .replace("[40,205,193,3,226,159]", "\"28-CD-C1-03-E2-9F\"")
            .replace("\"alias\"", "\"firmware\":{\"v\":[1,2]},\"alias\"");
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        assert_eq!(heartbeat.mac_addr.as_deref(), Some("28-CD-C1-03-E2-9F"));
    }
}
