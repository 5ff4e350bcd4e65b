//! Where a sensor is, as far as the site knows.

use serde::Serialize;

/// What is known of a sensor's whereabouts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// Its heartbeats come; it is polled.
    #[default]
    Online,
    /// Its heartbeats stopped; it is polled again when they resume.
    Lost,
    /// It said that it goes; it is polled again with its next heartbeat.
    Disconnected,
}

impl SensorState {
    /// As the index and the API write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
        }
    }

    /// The state with this name; a name that is none is that of a sensor that is there.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name {
            "lost" => Self::Lost,
            "disconnected" => Self::Disconnected,
            _ => Self::Online,
        }
    }
}
