//! The orders in force of all sensors or series, and which device is in whose place.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{refused_order::RefusedOrder, sensor_id::SensorId, sensor_order::InForce};

/// The orders that are in force, of sensors that are known and of others.
#[derive(Debug, Default)]
pub struct OrdersInForce {
    /// Of each sensor about which one is in force.
    of_sensor: BTreeMap<SensorId, InForce>,
    /// Devices that are in another sensor's place, by their own id.
    devices: BTreeMap<SensorId, SensorId>,
    /// Number of sensors whose polls are paused.
    paused: u32,
}

impl OrdersInForce {
    /// What is in force of a sensor.
    #[must_use]
    pub fn of(&self, sensor: SensorId) -> Option<&InForce> {
        self.of_sensor.get(&sensor)
    }

    /// The sensor whose readings a device's are: another one's if the device is in its place, and
    /// `None` if another device is in the place of its own.
    #[must_use]
    pub fn place_of(&self, device: SensorId) -> Option<SensorId> {
        let place = self.devices.get(&device).copied();
        place.or_else(|| (!self.has_another_device(device)).then_some(device))
    }

    /// Everything that is in force, in the order of the ids.
    #[must_use]
    pub fn all(&self) -> Vec<(SensorId, InForce)> {
        self.of_sensor.iter().map(|(id, in_force)| (*id, in_force.clone())).collect()
    }

    /// Replaces what is in force of a sensor.
    pub fn set(&mut self, sensor: SensorId, in_force: InForce) {
        let former = self.of(sensor).and_then(InForce::device);
        if let Some(former) = former.filter(|former| self.devices.get(former) == Some(&sensor)) {
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

    /// Number of sensors whose polls are paused.
    #[must_use]
    pub const fn paused(&self) -> u32 {
        self.paused
    }

    /// Ends what does not outlast a sensor that is forgotten.
    pub fn forget(&mut self, sensor: SensorId) {
        if let Some(in_force) = self.of(sensor).cloned() {
            self.set(sensor, in_force.forgotten());
        }
    }

    /// Whether a device may take the place of a sensor.
    ///
    /// # Errors
    /// It is in another place already, or another device is in its own.
    pub fn check_device(&self, sensor: SensorId, device: SensorId) -> Result<(), RefusedOrder> {
        let place = self.devices.get(&device).copied().filter(|place| *place != sensor);
        match place {
            Some(place) => Err(RefusedOrder::InPlace { device, sensor: place }),
            None if self.has_another_device(device) => {
                Err(RefusedOrder::InPlace { device, sensor: device })
            }
            None => Ok(()),
        }
    }

    fn has_another_device(&self, sensor: SensorId) -> bool {
        self.of(sensor).is_some_and(|in_force| in_force.device().is_some())
    }
}
