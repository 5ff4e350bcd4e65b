//! Orders about series, and what they mean for each.

use std::collections::BTreeMap;

use model::{
    CalibrationTexts, Event, InForce, RefusedOrder, SensorId, Timestamp, sensor_order::Window,
};

/// The orders that are in force.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    of_series: BTreeMap<SensorId, InForce>,
    /// Series whose readings are another one's, because their device is in its place.
    devices: BTreeMap<SensorId, SensorId>,
}

/// What orders in force mean for one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Under {
    pub(crate) is_retired: bool,
    maintenance: Option<Window>,
    calibrations: Option<CalibrationTexts>,
}

impl Orders {
    pub(crate) fn of(&self, series: SensorId) -> Option<&InForce> {
        self.of_series.get(&series)
    }

    /// Everything that is in force, in the order of the ids.
    pub(crate) fn all(&self) -> Vec<(SensorId, InForce)> {
        self.of_series.iter().map(|(id, in_force)| (*id, in_force.clone())).collect()
    }

    /// Replaces what is in force of a series.
    pub(crate) fn set(&mut self, series: SensorId, in_force: InForce) {
        self.devices.retain(|_, place| *place != series);
        self.devices.extend(in_force.device().map(|device| (device, series)));
        if in_force.is_nothing() {
            self.of_series.remove(&series);
        } else {
            self.of_series.insert(series, in_force);
        }
    }

    /// Ends what does not outlast a series that is forgotten.
    pub(crate) fn forget(&mut self, series: SensorId) {
        if let Some(in_force) = self.of(series).cloned() {
            self.set(series, in_force.forgotten());
        }
    }

    /// The series whose reading this is, by what the rules say; `None` if another device is in the
    /// place of that one.
    pub(crate) fn place_of(&self, series: SensorId) -> Option<SensorId> {
        if self.devices.is_empty() {
            return Some(series);
        }
        if let Some(place) = self.devices.get(&series) {
            return Some(*place);
        }
        let has_another = self.of(series).is_some_and(|it| it.device().is_some());
        (!has_another).then_some(series)
    }

    /// Whether a device may take the place of a series.
    pub(crate) fn check_device(
        &self,
        series: SensorId,
        device: SensorId,
    ) -> Result<(), RefusedOrder> {
        if !device.is_of_series() {
            return Err(RefusedOrder::OtherKind { device, sensor: series });
        }
        match self.devices.get(&device) {
            Some(place) if *place != series => {
                Err(RefusedOrder::InPlace { device, sensor: *place })
            }
            None if self.of(device).is_some_and(|it| it.device().is_some()) => {
                Err(RefusedOrder::InPlace { device, sensor: device })
            }
            _ => Ok(()),
        }
    }
}

impl Under {
    pub(crate) fn of(in_force: &InForce) -> Option<Box<Self>> {
        let under = Self {
            is_retired: in_force.is_retired(),
            maintenance: in_force.maintenance(),
            calibrations: CalibrationTexts::of(in_force),
        };
        (under != Self::default()).then(|| Box::new(under))
    }

    /// A reading with what the orders leave on it.
    pub(crate) fn mark(&self, mut reading: Event, at: Timestamp) -> Event {
        if self.maintenance.is_some_and(|window| window.contains(at)) {
            reading = reading.in_maintenance();
        }
        match &self.calibrations {
            Some(calibrations) => reading.calibrated_by(calibrations),
            None => reading,
        }
    }
}
