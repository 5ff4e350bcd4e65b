//! The identity of a sensor.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::subject::Subject;

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

    /// First bytes of the id of every series that a device reports by itself.
    const OF_SERIES: [u8; 3] = [0x5e, 0xa1, 0xed];

    /// The id of a series that a device reports by itself, made of a hash of its name: a UUID of
    /// version 8 that begins with `5ea1ed`.
    #[must_use]
    pub const fn of_series(hash: [u8; 16]) -> Self {
        Self::made_of(Self::OF_SERIES, hash)
    }

    /// Whether this is the id of a series that a device reports by itself. No polled sensor may
    /// have one, so that two never number the same series.
    #[must_use]
    pub fn is_of_series(self) -> bool {
        self.0.as_bytes().starts_with(&Self::OF_SERIES) && self.0.get_version_num() == 8
    }

    /// First bytes of the id of every device that has another sensor's id.
    const OF_DOUBLE: [u8; 3] = [0xd0, 0xb1, 0xed];

    /// The id under which the site keeps a second device apart that has this id, too, and answers
    /// on another topic: a UUID of version 8 that begins with `d0b1ed`, made of a hash of both.
    #[must_use]
    pub fn of_double(self, read_topic: &Subject) -> Self {
        let hash = Uuid::new_v5(&self.0, read_topic.as_str().as_bytes());
        Self::made_of(Self::OF_DOUBLE, hash.into_bytes())
    }

    /// Whether this is the id of a device that the site keeps apart from a sensor with the same id.
    #[must_use]
    pub fn is_of_double(self) -> bool {
        self.0.as_bytes().starts_with(&Self::OF_DOUBLE) && self.0.get_version_num() == 8
    }

    const fn made_of([a, b, c]: [u8; 3], hash: [u8; 16]) -> Self {
        let [_, _, _, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = hash;
        let (version, variant) = (b6 & 0x0f | 0x80, b8 & 0x3f | 0x80);
        Self::from_bytes([
            a, b, c, b3, b4, b5, version, b7, variant, b9, b10, b11, b12, b13, b14, b15,
        ])
    }

    /// The two halves of the UUID as numbers.
    #[must_use]
    pub const fn halves(self) -> (u64, u64) {
        self.0.as_u64_pair()
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
