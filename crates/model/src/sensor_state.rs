//! Whether the site can reach a sensor.

use serde::{Deserialize, Serialize};

/// State of a sensor as the site knows it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// Heartbeats arrive; the site polls the sensor.
    #[default]
    Online,
    /// An order made the sensor known, and it has sent no heartbeat yet; the site polls it.
    Expected,
    /// Heartbeats stopped; the site polls the sensor again when they resume.
    Lost,
    /// The sensor announced that it disconnects; the site polls it again after its next heartbeat.
    Disconnected,
    /// An order took the sensor out of service; the site does not poll it until another order.
    Retired,
}

impl SensorState {
    /// Every state with its name.
    pub(crate) const NAMES: [(&str, Self); 5] = [
        (Self::Online.name(), Self::Online),
        (Self::Expected.name(), Self::Expected),
        (Self::Lost.name(), Self::Lost),
        (Self::Disconnected.name(), Self::Disconnected),
        (Self::Retired.name(), Self::Retired),
    ];

    /// The name of the state in the index and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Expected => "expected",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
            Self::Retired => "retired",
        }
    }

    /// Whether the site polls a sensor in this state, unless its polls are paused.
    #[must_use]
    pub const fn is_polled(self) -> bool {
        matches!(self, Self::Online | Self::Expected)
    }

    /// The state with this name; `Online` for an unknown name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name {
            "expected" => Self::Expected,
            "lost" => Self::Lost,
            "disconnected" => Self::Disconnected,
            "retired" => Self::Retired,
            _ => Self::Online,
        }
    }
}
