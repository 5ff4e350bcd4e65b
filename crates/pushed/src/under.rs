//! What orders in force mean for a series.

use model::{CalibrationTexts, Event, InForce, Timestamp, sensor_order::Window};

/// What orders in force mean for one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Under {
    pub(crate) is_retired: bool,
    maintenance: Option<Window>,
    calibrations: Option<CalibrationTexts>,
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
