//! The two clocks of an input: a monotonic one for deadlines, and the wall clock for times that are
//! sealed.

use core::{ops::Add, time::Duration};

use model::{Timestamp, completeness::LastNumbers};

/// Microseconds since the driver's start. Comparable only with instants of the same run.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The greatest instant. A deadline at this instant never fires.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The moment `elapsed` after the start, rounded down to a microsecond.
    #[must_use]
    pub fn after_start(elapsed: Duration) -> Self {
        Self(micros(elapsed))
    }

    /// Time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` earlier; the driver's start if that is later.
    pub(crate) fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// The instant one microsecond earlier.
    pub(crate) const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the greatest instant, at which no deadline fires.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// The time of an input by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Compared with deadlines.
    pub monotonic: Instant,
    /// Written into events. It may jump, so no deadline is computed from it.
    pub wall: Timestamp,
}

/// Times to check the wall clock against at start-up. Only the wall clock tells how long ago the
/// previous run ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// When the ledger received the newest envelope of the log.
    pub log_end: Option<Timestamp>,
    /// A time at or before the build of this program.
    pub built: Option<Timestamp>,
}

impl Past {
    /// How far the wall clock may lie before the end of the log and still be trusted. A correction
    /// of the clock can set it back by this much.
    const BEHIND_MAX: Duration = LastNumbers::CLOCK_SLACK;
    /// Longest downtime that is believed. If the clock shows more, it is more likely to be wrong.
    pub const AWAY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Time since a sensor's polls were last numbered, or the reason why it is unknown.
    ///
    /// # Errors
    /// The clock cannot be believed; the text says why.
    pub fn since(
        self,
        last: LastNumbers,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Duration, &'static str> {
        let is_before = |earliest: Timestamp| {
            let behind = i64::try_from(Self::BEHIND_MAX.as_micros()).unwrap_or(i64::MAX);
            now.unix_micros().saturating_add(behind) < earliest.unix_micros()
        };
        if self.built.is_some_and(is_before) {
            return Err("the clock is earlier than the build of this program");
        }
        if self.log_end.is_some_and(is_before) || is_before(until) {
            return Err("the clock is earlier than the end of the log");
        }
        if last.set_back {
            return Err("the clock was set back while the site was running");
        }
        let micros = now.unix_micros().saturating_sub(until.unix_micros());
        let since = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        if since > Self::AWAY_MAX {
            return Err("according to the clock, the site was down for more than a year");
        }
        Ok(since)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
