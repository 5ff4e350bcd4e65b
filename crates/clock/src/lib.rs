//! The wall clock as events carry it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// A day on which this version was there already: no clock that is right is before it. Moved on
/// with each version.
#[must_use]
pub fn built() -> Timestamp {
    /// 2026-11-28T00:00:00Z.
    const MICROS: i64 = 1_795_824_000_000_000;
    Timestamp::from_unix_micros(MICROS)
}

/// The present moment.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::after_1970(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
