//! Orders about sensors that are in force.

use std::collections::HashMap;

pub use model::refused_order::{Refused, RefusedOrder};
use model::{InForce, SensorId};

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
