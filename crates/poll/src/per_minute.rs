//! Counts something in minutes, so that there are no more in one than a limit says.

use core::time::Duration;

use crate::clock::Instant;

/// How many there were in the minute that began last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerMinute {
    minute: Instant,
    count: u32,
}

impl PerMinute {
    const MINUTE: Duration = Duration::from_secs(60);

    /// Whether another one may come, of at most so many a minute. If so, it counts.
    pub(crate) fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.minute) >= Self::MINUTE {
            *self = Self { minute: now, count: 0 };
        }
        let has_room = self.count < per_minute;
        self.count += u32::from(has_room);
        has_room
    }
}
