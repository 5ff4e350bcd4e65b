//! When each sensor next needs attention.
//!
//! Invariants: `queue` and `armed` hold the same entries, so each sensor has at most one. Every
//! operation takes logarithmic time; none scans the fleet.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use model::SensorId;

use crate::clock::Instant;

/// One deadline per sensor, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queue: BTreeSet<(Instant, SensorId)>,
    armed: BTreeMap<SensorId, Instant>,
}

impl Schedule {
    /// Replaces the deadline of `sensor`; `None` removes it.
    pub(crate) fn arm(&mut self, sensor: SensorId, deadline: Option<Instant>) {
        let before = match deadline {
            Some(deadline) => self.armed.insert(sensor, deadline),
            None => self.armed.remove(&sensor),
        };
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, sensor));
        }
        if let Some(deadline) = deadline {
            self.queue.insert((deadline, sensor));
        }
    }

    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.queue.first().map(|&(deadline, _)| deadline)
    }

    /// The sensor whose deadline passed the longest ago, if any passed. It stays first until
    /// [`arm`](Self::arm) replaces its deadline.
    pub(crate) fn due(&self, now: Instant) -> Option<SensorId> {
        self.queue.first().filter(|&&(deadline, _)| deadline <= now).map(|&(_, sensor)| sensor)
    }
}

/// Spreads first polls, so that a fleet that appears together does not answer all at once. The
/// polls stay spread, because each sensor keeps its own schedule.
#[derive(Debug, Default)]
pub(crate) struct FirstPolls {
    free_from: Instant,
}

impl FirstPolls {
    /// Time between two first polls. 40 sensors are polled within 20 ms and 20,000 within 10 s, as
    /// densely as their regular polls every 10 s.
    const SPACING: Duration = Duration::from_micros(500);

    /// Time of the first poll of a sensor that appears at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Instant {
        let slot = self.free_from.max(now);
        self.free_from = slot + Self::SPACING;
        slot
    }
}
