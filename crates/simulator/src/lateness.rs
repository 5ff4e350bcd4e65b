//! How much later than its schedule a sensor is polled. The first poll says when the following ones
//! are due; one that comes earlier than that says it better. No clock: time is that of the run.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Polls of a sensor before its lateness counts: a site that takes up a fleet has more to do.
const SETTLING: u64 = 10;
/// Latenesses that are told apart, in milliseconds. Longer ones count as this.
const MILLIS_MAX: usize = 1_000;

/// When a sensor's next poll is due, once it was polled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    next: Option<Duration>,
    polls: u64,
}

impl Due {
    /// Takes a poll at this time. Returns how late it is, once the sensor has settled.
    pub(crate) fn handle_poll(&mut self, at: Duration, interval: Duration) -> Option<Duration> {
        self.polls += 1;
        let Some(late) = self.next.and_then(|next| at.checked_sub(next)) else {
            self.next = Some(at + interval);
            return (self.polls > SETTLING).then_some(Duration::ZERO);
        };
        // Whole intervals are polls that were left out, or lost.
        let missed = late.as_nanos() / interval.as_nanos().max(1);
        let left_out = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
        let late = late.saturating_sub(left_out);
        self.next = Some(at.saturating_sub(late) + interval);
        (self.polls > SETTLING).then_some(late)
    }
}

/// Latenesses of the polls of a run.
#[derive(Debug)]
pub(crate) struct Histogram(Box<[AtomicU64]>);

/// How late polls came, in milliseconds rounded up.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lateness {
    /// Half of them came no later than this.
    pub p50: usize,
    /// 99 of 100 did.
    pub p99: usize,
    /// All did; one second stands for more.
    pub max: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Self((0..=MILLIS_MAX).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    pub(crate) fn add(&self, late: Duration) {
        let millis = late.as_micros().div_ceil(1_000);
        let millis = usize::try_from(millis).unwrap_or(MILLIS_MAX).min(MILLIS_MAX);
        if let Some(count) = self.0.get(millis) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `None` if no poll was counted.
    pub(crate) fn lateness(&self) -> Option<Lateness> {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let percentile = |percent: u64| {
            let wanted = (all * percent).div_ceil(100);
            let mut sum = 0;
            counts.iter().position(|count| {
                sum += count;
                sum >= wanted
            })
        };
        if all == 0 {
            return None;
        }
        Some(Lateness { p50: percentile(50)?, p99: percentile(99)?, max: percentile(100)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[test]
    fn lateness_is_counted_from_the_earliest_of_a_sensors_polls() {
        let mut due = Due::default();
        let mut late = |at_ms| {
            let late = due.handle_poll(Duration::from_millis(at_ms), INTERVAL);
            late.map(|late| u64::try_from(late.as_millis()).unwrap())
        };
        for poll in 0..SETTLING {
            assert_eq!(late(5 + 100 * poll), None, "it has not settled");
        }
        for (at, expected) in [
            (1_005, 0),
            (1_108, 3),
            (1_205, 0),
            (1_302, 0), // earlier than the first one said
            (1_409, 7),
            (1_814, 12), // three were left out
            (1_902, 0),
        ] {
            assert_eq!(late(at), Some(expected), "at {at}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_latenesses() {
        let histogram = Histogram::default();
        assert_eq!(histogram.lateness(), None);
        (1..=200).for_each(|millis| histogram.add(Duration::from_millis(millis)));
        let expected = Lateness { p50: 100, p99: 198, max: 200 };
        assert_eq!(histogram.lateness(), Some(expected));
        histogram.add(Duration::from_micros(200_001));
        histogram.add(Duration::from_secs(60));
        assert_eq!(histogram.lateness().unwrap().max, MILLIS_MAX);
    }
}
