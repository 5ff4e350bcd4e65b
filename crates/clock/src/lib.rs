//! The wall clock, in the form that events carry, and what is known of its quality.
//!
//! [`now`] reads the clock. [`Keeper`] finds its steps, and [`Source`] reads what the programs that
//! set it say; both are pure.

mod keeper;
mod synchronised;

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

pub use keeper::{Keeper, Looked, Step};
pub use synchronised::{Source, Synchronised};

/// A day on which this version existed. A clock that shows an earlier time is wrong. Each version
/// moves the day forward.
#[must_use]
pub fn built() -> Timestamp {
    /// 2026-11-28T00:00:00Z.
    const MICROS: i64 = 1_795_824_000_000_000;
    Timestamp::from_unix_micros(MICROS)
}

/// The time of the machine's clock. A clock before 1970 counts as 1970.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(now) = SIMULATED.get() {
        return now();
    }
    Timestamp::after_1970(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(feature = "simulation")]
thread_local! {
    /// Takes the place of the machine's clock in this thread.
    static SIMULATED: std::cell::Cell<Option<fn() -> Timestamp>> = const { std::cell::Cell::new(None) };
}

/// Has [`now`] ask a simulated clock in this thread.
#[cfg(feature = "simulation")]
pub fn simulate(now: fn() -> Timestamp) {
    SIMULATED.set(Some(now));
}
