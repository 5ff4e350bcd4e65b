//! The two clocks of an input: one that only goes forward, for deadlines, and the wall's, for what
//! is sealed.

use core::{ops::Add, time::Duration};

use model::{Timestamp, completeness::LastNumbers};

/// Microseconds since whatever the driver calls its start. Only ever compared with others of the
/// same run.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The end of time, which never comes.
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

    /// The last moment before this one.
    pub(crate) const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a deadline at the end of time never comes.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// When an input happened.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What deadlines are held against.
    pub monotonic: Instant,
    /// What is written into events. It may jump; nothing is computed from it.
    pub wall: Timestamp,
}

/// What the wall's clock is held against at a start, which nothing but that clock can tell from the
/// end of the run before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// When the newest envelope of the log was received.
    pub log_end: Option<Timestamp>,
    /// When this program was built, or some moment before.
    pub built: Option<Timestamp>,
}

impl Past {
    /// How far a clock may lie before the log's end and still be believed: it was set right by so
    /// much.
    const BEHIND_MAX: Duration = LastNumbers::CLOCK_SLACK;
    /// Longest time without a site that is believed. Beyond it, a clock that is wrong by years is
    /// likelier.
    pub const AWAY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// The time since polls of a sensor were last numbered, or why nobody knows it.
    pub(crate) fn since(
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
            return Err("the clock is before the day on which this program was built");
        }
        if self.log_end.is_some_and(is_before) || is_before(until) {
            return Err("the clock is before the end of the log");
        }
        if last.set_back {
            return Err("the clock was set back while the site ran");
        }
        let micros = now.unix_micros().saturating_sub(until.unix_micros());
        let since = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        if since > Self::AWAY_MAX {
            return Err("by the clock the site did not run for more than a year");
        }
        Ok(since)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
