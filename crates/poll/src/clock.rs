//! The two clocks of an input: one that only goes forward, for deadlines, and the wall's, for what is sealed.

use core::{ops::Add, time::Duration};

use model::Timestamp;

/// Microseconds since whatever the driver calls its start. Only ever compared with others of the same run.
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

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
