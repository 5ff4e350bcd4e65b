//! The wall clock as events carry it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}
