//! The wall clock as events carry it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// The present moment.
pub(crate) fn now() -> Timestamp {
    Timestamp::after_1970(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
