//! What a running fleet has done so far, for whoever watches it.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lateness::{Histogram, Lateness};

/// Counts that grow while a fleet runs.
#[derive(Debug, Default)]
pub struct Live {
    polls: AtomicU64,
    answers: AtomicU64,
    misses: AtomicU64,
    lateness: Histogram,
}

/// The counts at one moment. Each is exact; together they may be apart by a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SoFar {
    /// Polls received.
    pub polls: u64,
    /// Polls answered in time.
    pub answers: u64,
    /// Polls left unanswered, or answered too late.
    pub misses: u64,
}

impl Live {
    /// The counts now.
    #[must_use]
    pub fn so_far(&self) -> SoFar {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SoFar { polls: of(&self.polls), answers: of(&self.answers), misses: of(&self.misses) }
    }

    /// How late polls have come; `None` before enough of them have.
    #[must_use]
    pub fn lateness(&self) -> Option<Lateness> {
        self.lateness.lateness()
    }

    pub(crate) fn add_late(&self, late: Duration) {
        self.lateness.add(late);
    }

    pub(crate) fn add(&self, more: SoFar) {
        let SoFar { polls, answers, misses } = more;
        for (count, more) in
            [(&self.polls, polls), (&self.answers, answers), (&self.misses, misses)]
        {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }
}
