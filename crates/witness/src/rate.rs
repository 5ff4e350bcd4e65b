//! A rate limit that allows a burst and then one event in every period.

use std::time::{Duration, Instant};

/// Size of a burst. It lets a log that was away catch up, and lets one that starts ask twice.
const BURST: u32 = 60;
/// Length of a day.
const DAY: Duration = Duration::from_secs(86_400);

/// A rate limit. It stores one moment: the time at which everything allowed so far would have been
/// due at the steady rate.
#[derive(Debug)]
pub(crate) struct Rate {
    period: Duration,
    due: Option<Instant>,
}

impl Rate {
    /// Allows this number of events a day, at least one.
    pub(crate) fn per_day(times: u32) -> Self {
        Self { period: DAY / times.max(1), due: None }
    }

    /// Counts one event if it is allowed now. If not, the error is the time until it is allowed.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let due = self.due.map_or(now, |due| due.max(now));
        let ahead = due.duration_since(now);
        let allowed = self.period * (BURST - 1);
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        self.due = Some(due + self.period);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_in_every_period() {
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let mut rate = Rate::per_day(86_400);
        for time in 0..BURST {
            assert_eq!(rate.take(begin), Ok(()), "{time}");
        }
        assert_eq!(rate.take(begin), Err(second));
        assert_eq!(rate.take(begin + second / 2), Err(second / 2));
        assert_eq!(rate.take(begin + second), Ok(()));
        assert_eq!(rate.take(begin + second), Err(second));
        // A refusal costs nothing. After a day a whole burst is allowed again, and no more.
        let later = begin + 86_400 * second;
        assert_eq!((0..).take_while(|_| rate.take(later).is_ok()).count(), BURST as usize);
    }
}
