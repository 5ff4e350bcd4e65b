//! The messages between the site and a processor: JSON. `wit/processor.wit` shows one of each.

use serde::{Deserialize, Serialize};

/// Version of the questions that this code understands.
pub const VERSION: u32 = 1;

/// Sealed events, in the order of the log.
#[derive(Debug, Deserialize)]
pub struct Question {
    pub version: u32,
    pub events: Vec<Event>,
}

/// A sealed event. Fields that are not listed here are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Number of its leaf in the log.
    pub leaf: u64,
    pub sensor: String,
    /// Location and name of the sensor.
    pub source: String,
    pub action: String,
    /// When the site received it, in RFC 3339.
    pub received_at: String,
    /// How a poll ended: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    pub status: Option<String>,
    /// As the device wrote it, calibrated. `None` if there is none, or if there are channels.
    pub value: Option<String>,
    pub unit: Option<String>,
    pub channels: Vec<Channel>,
}

/// One value of a reading that has several.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Channel {
    pub name: String,
    pub value: String,
    pub unit: Option<String>,
}

/// What follows from the events.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Digest of this component, from its configuration.
    pub component: String,
    pub derived: Vec<Value>,
}

/// A value that follows from an event: at most four from each.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Value {
    /// The leaf of the event.
    pub from_leaf: u64,
    /// At most 256 bytes.
    pub value: String,
    /// What the value is, if several follow from an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// For people: at most 512 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
