//! Whether the site can reach a sensor.

use serde::{Deserialize, Serialize};

/// State of a sensor as the site knows it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// Heartbeats arrive; the site polls the sensor.
    #[default]
    Online,
    /// Heartbeats stopped; the site polls the sensor again when they resume.
    Lost,
    /// The sensor announced that it disconnects; the site polls it again after its next heartbeat.
    Disconnected,
    /// An order took the sensor out of service; the site does not poll it until another order.
    Retired,
}

impl SensorState {
    /// Every state with its name.
    pub(crate) const NAMES: [(&str, Self); 4] = [
        (Self::Online.name(), Self::Online),
        (Self::Lost.name(), Self::Lost),
        (Self::Disconnected.name(), Self::Disconnected),
        (Self::Retired.name(), Self::Retired),
    ];

    /// The name of the state in the index and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
            Self::Retired => "retired",
        }
    }

    /// The state with this name; `Online` for an unknown name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name {
            "lost" => Self::Lost,
            "disconnected" => Self::Disconnected,
            "retired" => Self::Retired,
            _ => Self::Online,
        }
    }
}
