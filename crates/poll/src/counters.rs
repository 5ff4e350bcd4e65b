//! What became of the polls.

/// Counts since the start. They saturate.
///
/// `polls = answers + value_errors + timeouts + in flight + given up`, where those given up because
/// the message bus went away or the site stopped are among `skipped`. Each one skipped has a
/// number, which a `READINGS_MISSING` event names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Polls sent.
    pub polls: u64,
    /// Answers in time that were understood.
    pub answers: u64,
    /// Polls without an answer in time.
    pub timeouts: u64,
    /// Answers in time that were not understood.
    pub value_errors: u64,
    /// Answers after their time.
    pub late: u64,
    /// Answers to no poll, or second ones to the same.
    pub duplicates: u64,
    /// Polls that were due and not sent, or given up, because the message bus was away, the site
    /// had no time for them, an earlier answer was awaited, or it stopped.
    pub skipped: u64,
    /// Heartbeats that were not understood, or could not be accepted.
    pub refused_heartbeats: u64,
}

impl Counters {
    /// Names and values, in the order of the fields.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("polls", self.polls),
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
