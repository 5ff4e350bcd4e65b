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
        self.devices.retain(|_device, place| *place != sensor);
        self.devices.extend(in_force.device().map(|device| (device, sensor)));
        if in_force.is_nothing() {
            self.of_sensor.remove(&sensor);
        } else {
            self.of_sensor.insert(sensor, in_force);
        }
    }

    /// Ends what does not outlast a sensor that is forgotten.
    pub(crate) fn forget(&mut self, sensor: SensorId) {
        if let Some(in_force) = self.of_sensor.remove(&sensor) {
            self.set(sensor, in_force.forgotten());
        }
    }
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
    #[error(
        "sensor {sensor} has several channels: only a sensor with a single value is calibrated"
    )]
    Channels {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The calibration is not right yet.
    #[error("the calibration begins in the future: give the order then")]
    Later,
    /// The sensor has as many calibrations as it may have.
    #[error(
        "sensor {sensor} already has {} calibrations, which is the limit: give one of them the same date to replace it",
        SensorOrder::CALIBRATIONS_MAX
    )]
    CalibrationsMax {
        /// The sensor that the order names.
        sensor: SensorId,
    },
}
