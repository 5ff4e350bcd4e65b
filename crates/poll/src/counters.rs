//! Counts of how polls ended.

use core::time::Duration;

/// Counts since the start, each of which saturates at `u64::MAX`, and what sensors get now.
///
/// `polls = answers + value_errors + timeouts + in flight + given up`. Polls given up because the
/// message bus went down or the site stopped are among `skipped`. Each skipped poll has a number,
/// which a `READINGS_MISSING` event names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Polls sent.
    pub polls: u64,
    /// Times that a poll without an answer was sent again. It is one poll all the same.
    pub repeats: u64,
    /// Answers that arrived in time and could be parsed.
    pub answers: u64,
    /// Polls that got no answer in time.
    pub timeouts: u64,
    /// Answers that arrived in time and could not be parsed.
    pub value_errors: u64,
    /// Answers that arrived after their deadline.
    pub late: u64,
    /// Answers to no poll, or further answers to one poll.
    pub duplicates: u64,
    /// Polls that were due but not sent, or that were given up: the message bus was down, the site
    /// was too late, an earlier answer was still awaited, or the site stopped.
    pub skipped: u64,
    /// Heartbeats that could not be parsed or accepted.
    pub refused_heartbeats: u64,
    /// The shortest interval at which the site polls any sensor now; `None` if it grants every
    /// wish.
    pub shortest_interval: Option<Duration>,
    /// Polls in flight now.
    pub in_flight: u32,
    /// Sensors whose poll is due and waits for room among the polls in flight.
    pub waiting: u32,
    /// Sensors whose polls are paused by order now.
    pub paused: u32,
}

impl Counters {
    /// Names and values of the counts, in the order of the fields.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("polls", self.polls),
            ("repeats", self.repeats),
            ("answers", self.answers),
            ("timeouts", self.timeouts),
            ("value_errors", self.value_errors),
            ("late", self.late),
            ("duplicates", self.duplicates),
            ("skipped", self.skipped),
            ("refused_heartbeats", self.refused_heartbeats),
        ]
    }
}

pub(crate) fn count(counter: &mut u64) {
    count_many(counter, 1);
}

pub(crate) fn count_many(counter: &mut u64, times: u64) {
    *counter = counter.saturating_add(times);
}
