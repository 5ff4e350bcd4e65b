//! An event that a component derived from another one, before it is sealed.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use crate::{action, sensor_id::SensorId, timestamp::Timestamp};

/// A derived event before it is sealed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Derived {
    /// Index of the leaf from which the event was derived.
    pub from_leaf: u64,
    /// The sensor that the event is about.
    pub sensor: SensorId,
    /// `OUT_OF_RANGE`, `LEAVING_RANGE`, `BACK_IN_RANGE`, `RANGE_NOT_JUDGED`, `SENSOR_LOST` or
    /// `SENSOR_BACK`; or `NOT_JUDGED`, which only the site says.
    pub action: String,
    /// The channel that the event is about, of a sensor with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// When the site received the first value outside, of `LEAVING_RANGE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The sensor's event source, `<location>.<alias>`.
    pub source: String,
    /// The value, if the event has one.
    pub value: Option<String>,
    /// Description of the event for people.
    pub message: String,
}

impl Derived {
    /// Longest message in bytes. It holds a source, a value, a range and two units, each with its
    /// own limit. The site refuses a verdict with a longer message.
    pub const MESSAGE_BYTES_MAX: usize = 4_096;
    /// Longest reason in characters why a leaf was not judged. A part of it may be a component's.
    const WHY_CHARS_MAX: usize = 300;

    /// What the site seals of a leaf on which the component fails, in place of a verdict.
    #[must_use]
    pub fn not_judged(from_leaf: u64, sensor: SensorId, source: String, why: &str) -> Self {
        let why: String = why.chars().take(Self::WHY_CHARS_MAX).collect();
        let message = format!("{source}: leaf {from_leaf} was not judged: {why}");
        let action = String::from(action::NOT_JUDGED);
        let (channel, since, value) = (None, None, None);
        Self { from_leaf, sensor, action, channel, since, source, value, message }
    }
}
