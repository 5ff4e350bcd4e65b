//! Orders about sensors that are in force, and why one was refused.

use std::collections::HashMap;

use model::{InForce, SensorId, SensorOrder};

/// The orders that are in force, of sensors that are known and of others.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Of each sensor about which one is in force.
    of_sensor: HashMap<SensorId, InForce>,
    /// Devices that are in another sensor's place, by the id that their heartbeats carry.
    devices: HashMap<SensorId, SensorId>,
    /// Number of sensors whose polls are paused.
    paused: u32,
}

impl Orders {
    pub(crate) fn of(&self, sensor: SensorId) -> Option<&InForce> {
        self.of_sensor.get(&sensor)
    }

    /// The sensor in whose place the device is whose heartbeats carry this id.
    pub(crate) fn place_of(&self, device: SensorId) -> Option<SensorId> {
        self.devices.get(&device).copied()
    }

    /// Everything that is in force, in the order of the sensors' ids.
    pub(crate) fn all(&self) -> Vec<(SensorId, InForce)> {
        let mut all: Vec<_> = self.of_sensor.iter().map(|(id, it)| (*id, it.clone())).collect();
        all.sort_unstable_by_key(|(sensor, _)| *sensor);
        all
    }

    /// Replaces what is in force of a sensor.
    pub(crate) fn set(&mut self, sensor: SensorId, in_force: InForce) {
        let former = self.of(sensor).and_then(InForce::device);
        if let Some(former) = former.filter(|former| self.place_of(*former) == Some(sensor)) {
            self.devices.remove(&former);
        }
        self.devices.extend(in_force.device().map(|device| (device, sensor)));
        let is_paused = in_force.paused().is_some();
        let before = if in_force.is_nothing() {
            self.of_sensor.remove(&sensor)
        } else {
            self.of_sensor.insert(sensor, in_force)
        };
        let was_paused = before.is_some_and(|before| before.paused().is_some());
        self.paused = self.paused + u32::from(is_paused) - u32::from(was_paused);
    }

    pub(crate) const fn paused(&self) -> u32 {
        self.paused
    }

    /// Ends what does not outlast a sensor that is forgotten.
    pub(crate) fn forget(&mut self, sensor: SensorId) {
        if let Some(in_force) = self.of_sensor.get(&sensor).cloned() {
            self.set(sensor, in_force.forgotten());
        }
    }
}

/// What kind of reason there is for a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// There is no such sensor.
    Unknown,
    /// The order is wrong whatever the state of the sensor.
    Invalid,
    /// The order does not fit what is in force.
    Conflict,
    /// The same order may be carried out later.
    ForNow,
}

/// Why an order about a sensor was not carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefusedOrder {
    /// The poller does not know the sensor.
    #[error("the site polls no sensor {sensor}: `/api/sensors` lists all sensors")]
    Unknown {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The site knows the sensor that the order adds.
    #[error("the site already has the sensor {sensor}: order its interval, or forget it first")]
    Known {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor cannot be added as it is described, or not with these topics.
    #[error("{0}")]
    NotAddable(String),
    /// The polls of the sensor are paused already.
    #[error("the polls of sensor {sensor} are already paused")]
    PausedAlready {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The polls of the sensor are not paused.
    #[error("the polls of sensor {sensor} are not paused")]
    NotPaused {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is not polled now.
    #[error(
        "sensor {sensor} is lost, disconnected or retired: it is polled after its next heartbeat"
    )]
    Away {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// Several devices have the id of the sensor.
    #[error(
        "several devices have the id of sensor {sensor}: none is polled until an order decides"
    )]
    Doubled {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The message bus is down.
    #[error("the message bus is away: try again shortly")]
    BusAway,
    /// Another order to poll the sensor is not carried out yet.
    #[error("sensor {sensor} is being polled on another order: try again shortly")]
    Underway {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The poll ended without a reading.
    #[error("the poll of sensor {sensor} was given up: the log says why")]
    GivenUp {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is retired already.
    #[error("sensor {sensor} is already retired")]
    Retired {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is not retired.
    #[error("sensor {sensor} is not retired")]
    NotRetired {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The window is over.
    #[error("the maintenance would be over already: name a later end")]
    Over,
    /// There is no maintenance to end.
    #[error("sensor {sensor} is not in maintenance, and no maintenance is planned")]
    NoMaintenance {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The new device has the sensor's own id.
    #[error("{sensor} is the sensor's own id: leave it out if the new device has the same")]
    ItsOwnId {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The new device is in a place already, or another device is in its own.
    #[error("the device {device} cannot take this place: an order is in force for it and {sensor}")]
    InPlace {
        /// The device that the order names.
        device: SensorId,
        /// The sensor of the order that is in force.
        sensor: SensorId,
    },
    /// The sensor has several channels.
    #[error("sensor {sensor} has several channels: name the one to calibrate")]
    Channels {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor declares no such channel.
    #[error("sensor {sensor} declares no channel `{channel}`")]
    NoChannel {
        /// The sensor that the order names.
        sensor: SensorId,
        /// The channel that the order names.
        channel: String,
    },
    /// The channel has no numbers.
    #[error("the channel `{channel}` of sensor {sensor} has no single numbers to calibrate")]
    NotNumbers {
        /// The sensor that the order names.
        sensor: SensorId,
        /// The channel that the order names.
        channel: String,
    },
    /// The calibration is not right yet.
    #[error("the calibration begins in the future: give the order then")]
    Later,
    /// The sensor or its channel has as many calibrations as it may have.
    #[error(
        "sensor {sensor} already has {} calibrations, which is the limit: give one of them the same date to replace it",
        SensorOrder::CALIBRATIONS_MAX
    )]
    CalibrationsMax {
        /// The sensor that the order names.
        sensor: SensorId,
    },
}

impl RefusedOrder {
    /// What kind of reason this is.
    #[must_use]
    pub const fn kind(&self) -> Refused {
        match self {
            Self::Unknown { .. } => Refused::Unknown,
            Self::NotAddable(_) | Self::Over | Self::ItsOwnId { .. } | Self::Later => {
                Refused::Invalid
            }
            Self::Away { .. } | Self::BusAway | Self::Underway { .. } | Self::GivenUp { .. } => {
                Refused::ForNow
            }
            Self::Retired { .. }
            | Self::NotRetired { .. }
            | Self::NoMaintenance { .. }
            | Self::InPlace { .. }
            | Self::Channels { .. }
            | Self::NoChannel { .. }
            | Self::NotNumbers { .. }
            | Self::CalibrationsMax { .. }
            | Self::Known { .. }
            | Self::PausedAlready { .. }
            | Self::NotPaused { .. }
            | Self::Doubled { .. } => Refused::Conflict,
        }
    }
}
