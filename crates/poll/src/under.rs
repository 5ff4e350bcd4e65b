//! What orders in force mean for one sensor.

use core::time::Duration;

use model::{
    CalibrationTexts, InForce, Timestamp,
    polling::{OrderedInterval, OrderedTimeout},
    sensor_order::Window,
};

use crate::clock::{Instant, Now};

/// What orders in force mean for one sensor, and whether several devices have its id.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Under {
    /// Several devices have its id, so that none counts as the sensor.
    pub(crate) doubled: bool,
    /// When the sensor raises no alarm: from a moment until a later one.
    maintenance: Option<(Instant, Instant)>,
    /// The sensor disconnected while it was in maintenance.
    pub(crate) left: bool,
    /// The calibrations that readings carry.
    pub(crate) calibrations: Option<CalibrationTexts>,
    /// Interval that overrides that of the heartbeats.
    pub(crate) interval: Option<Duration>,
    /// Time for an answer that overrides that of the heartbeats.
    pub(crate) answer_timeout: Option<Duration>,
    /// The polls are paused.
    pub(crate) is_paused: bool,
}

impl Under {
    /// What is in force now. `before` is what was until now.
    pub(crate) fn of(in_force: Option<&InForce>, before: Option<&Self>, now: Now) -> Option<Self> {
        let window = in_force.and_then(InForce::maintenance);
        let moments = |window: Window| (moment(window.from(), now), moment(window.until(), now));
        let is_doubled = in_force.is_some_and(|in_force| in_force.doubled.is_some());
        let under = Self {
            doubled: is_doubled || before.is_some_and(|before| before.doubled),
            maintenance: window.map(moments),
            left: before.is_some_and(|before| before.left),
            calibrations: in_force.and_then(CalibrationTexts::of),
            interval: in_force.and_then(InForce::poll_interval).map(OrderedInterval::as_duration),
            answer_timeout: in_force
                .and_then(InForce::answer_timeout)
                .map(OrderedTimeout::as_duration),
            is_paused: in_force.is_some_and(|in_force| in_force.paused().is_some()),
        };
        (under != Self::default()).then_some(under)
    }

    /// When the maintenance ends in which this moment lies.
    pub(crate) fn in_maintenance_until(&self, at: Instant) -> Option<Instant> {
        self.maintenance.filter(|(from, until)| (*from..*until).contains(&at)).map(|it| it.1)
    }

    /// When the newest maintenance ends or has ended.
    pub(crate) fn maintenance_end(&self) -> Option<Instant> {
        self.maintenance.map(|(_from, until)| until)
    }
}

/// The moment by the monotonic clock at which the wall clock shows `at`, if nobody sets it.
fn moment(at: Timestamp, now: Now) -> Instant {
    if at > now.wall {
        now.monotonic + at.since(now.wall)
    } else {
        now.monotonic.saturating_sub(now.wall.since(at))
    }
}
