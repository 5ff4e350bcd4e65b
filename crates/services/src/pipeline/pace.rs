//! How long leaves gather before they are asked about, and when a question is asked once more.
//!
//! Both follow from how long the last answer took. So a quick component on an idle machine is asked
//! at once, and a slow one, or one on a machine that is busy, is asked less often about more.
//! Without IO and without a clock.

use std::time::Duration;

/// Leaves gather so many times as long as the last answer took. So questions that are not full
/// keep a host busy for a fifth of one core at most, whatever an instance of the component costs.
const GATHER_PER_ANSWER: u32 = 4;
/// Shortest time that leaves gather: what the site itself spends on a question is then a small part
/// of a core, too.
const GATHER_MIN: Duration = Duration::from_millis(2);
/// Longest time that leaves gather. An answer that took longer came from a host that is busy with
/// full questions.
const GATHER_MAX: Duration = Duration::from_millis(40);
/// An answer that takes so many times as long as the one before it is probably lost.
const PATIENCE_PER_ANSWER: u32 = 16;
/// Shortest time until a question is asked once more. Any component answers sooner on a machine
/// that keeps up, and a lost question still costs less than a second.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// How long the last answer took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    took: Duration,
}

impl Pace {
    /// Takes how long an answer took.
    pub(super) const fn handle_answer(&mut self, took: Duration) {
        self.took = took;
    }

    /// How long leaves gather, counted from when the last ones were read.
    pub(super) fn gather(self) -> Duration {
        (self.took * GATHER_PER_ANSWER).clamp(GATHER_MIN, GATHER_MAX)
    }

    /// How long a question may be without an answer until it is asked once more.
    pub(super) fn patience(self) -> Duration {
        (self.took * PATIENCE_PER_ANSWER).max(PATIENCE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_fast_is_asked_often_and_who_answers_slowly_is_not_hurried() {
        const MILLISECOND: Duration = Duration::from_millis(1);
        for (took, gather, patience) in [
            (0, 2, 500),      // before the first answer
            (1, 4, 500),      // a small component
            (5, 20, 500),     // a large one
            (30, 40, 500),    // a full question
            (400, 40, 6_400), // the host is overloaded, and a second question would make it worse
        ] {
            let mut pace = Pace::default();
            pace.handle_answer(MILLISECOND * took);
            let found = (pace.gather(), pace.patience());
            assert_eq!(found, (MILLISECOND * gather, MILLISECOND * patience), "{took} ms");
        }
    }
}
