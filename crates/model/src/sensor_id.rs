//! The identity of a sensor.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A sensor's UUID, unique within its site. Always written in lower case with hyphens, however the
/// device writes it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SensorId(Uuid);

impl SensorId {
    /// The id made of these 16 bytes of the UUID.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for SensorId {
    type Err = InvalidSensorId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(InvalidSensorId)
    }
}

/// Reason why a text is not a sensor id.
#[derive(Debug, thiserror::Error)]
#[error("a sensor id is a UUID such as a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3: {0}")]
pub struct InvalidSensorId(uuid::Error);
