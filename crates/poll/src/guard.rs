//! Who may speak as which sensor. The site decides; the poller asks.

use core::fmt;

use model::{Heartbeat, SensorId};

/// Decides who may speak as which sensor.
pub struct Guard {
    may_speak: Box<MaySpeak>,
    is_expected: Box<IsExpected>,
    is_covered: Box<IsCovered>,
}

type MaySpeak = dyn Fn(&str, &Heartbeat) -> Result<(), &'static str> + Send + Sync;
type IsExpected = dyn Fn(&str, Option<SensorId>) -> bool + Send + Sync;
type IsCovered = dyn Fn(SensorId, &Heartbeat) -> bool + Send + Sync;

impl Guard {
    /// A guard that asks three functions. The first says whether a heartbeat that came on a subject
    /// is one of a device that may speak as this sensor, and why not. The second says the same
    /// before the heartbeat is read, as far as the subject and the sensor that it names show it.
    /// The third says whether any device may still answer a sensor's polls: one whose heartbeats
    /// carry this id, on the topics of this description.
    pub fn new(
        may_speak: impl Fn(&str, &Heartbeat) -> Result<(), &'static str> + Send + Sync + 'static,
        is_expected: impl Fn(&str, Option<SensorId>) -> bool + Send + Sync + 'static,
        is_covered: impl Fn(SensorId, &Heartbeat) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            may_speak: Box::new(may_speak),
            is_expected: Box::new(is_expected),
            is_covered: Box::new(is_covered),
        }
    }

    pub(crate) fn may_speak(
        &self,
        subject: &str,
        heartbeat: &Heartbeat,
    ) -> Result<(), &'static str> {
        (self.may_speak)(subject, heartbeat)
    }

    pub(crate) fn expects(&self, subject: &str, sensor: Option<SensorId>) -> bool {
        (self.is_expected)(subject, sensor)
    }

    pub(crate) fn covers(&self, device: SensorId, described: &Heartbeat) -> bool {
        (self.is_covered)(device, described)
    }
}

impl Default for Guard {
    /// Every device may speak as every sensor.
    fn default() -> Self {
        Self::new(|_subject, _heartbeat| Ok(()), |_subject, _sensor| true, |_device, _known| true)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").finish_non_exhaustive()
    }
}
