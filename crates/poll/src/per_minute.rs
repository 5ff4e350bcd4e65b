//! Counts events in each minute, up to a limit.

use core::time::Duration;

use crate::clock::Instant;

/// Number of events in the minute that began last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerMinute {
    minute: Instant,
    count: u32,
}

impl PerMinute {
    const MINUTE: Duration = Duration::from_secs(60);

    /// Whether one more event fits within `per_minute`. If it does, counts it.
    pub(crate) fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.minute) >= Self::MINUTE {
            *self = Self { minute: now, count: 0 };
        }
        let has_room = self.count < per_minute;
        self.count += u32::from(has_room);
        has_room
    }
}
