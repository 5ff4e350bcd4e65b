//! An event that follows from another one: what a component derived, before it is sealed.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::sensor_id::SensorId;

/// A derived event before it is sealed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Derived {
    /// The leaf it follows from.
    pub from_leaf: u64,
    /// Which sensor.
    pub sensor: SensorId,
    /// `OUT_OF_RANGE`, `BACK_IN_RANGE`, `RANGE_NOT_JUDGED`, `SENSOR_LOST` or `SENSOR_BACK`.
    pub action: String,
    /// The sensor's source.
    pub source: String,
    /// The value, where there is one.
    pub value: Option<String>,
    /// What happened, for people.
    pub message: String,
}

impl Derived {
    /// Longest message in bytes: it holds a source, a value, a range and two units, each of which
    /// has a limit; a verdict with a longer one is not taken.
    pub const MESSAGE_BYTES_MAX: usize = 4_096;
}
