//! The numbers of one sensor: which number its next poll gets, which numbers end without a reading,
//! and whether the sensor's own count is unbroken.
//!
//! Invariants:
//! - each number is given once, and the next number is greater by one;
//! - the numbers not sealed yet are a contiguous run. It ends with the newest number given, or with
//!   the one before it while the newest is in flight. So numbers are sealed in order, each once.

use core::time::Duration;

use model::{
    Answer, Event, Heartbeat, NumberRange, Timestamp,
    completeness::LastNumbers,
    gap::{MissingReason, SequenceBreak},
};

use crate::{
    action::Outbox,
    clock::{Instant, Now, Past},
    counters::count_many,
};

/// State of one sensor's numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The newest poll number given, and the newest sensor number received.
    last: LastNumbers,
    missing: Option<Missing>,
    /// Whether the sensor or the site was away since the sensor's newest own number.
    was_away: bool,
    /// Whether a `SEQUENCE_BROKEN` event was sealed and the sensor's count has not increased by one
    /// since.
    sequence_broken: bool,
}

/// Polls without a reading that no event has declared yet.
#[derive(Clone, Copy, Debug)]
struct Missing {
    polls: NumberRange,
    reason: MissingReason,
    seal_at: Instant,
}

impl Numbers {
    /// How long missing polls may stay undeclared. In a long outage this makes one event a minute
    /// for each sensor.
    const UNSAID_MAX: Duration = Duration::from_secs(60);

    /// Numbers that continue from the newest in the log.
    pub(crate) const fn after(last: LastNumbers) -> Self {
        Self { last, missing: None, was_away: true, sequence_broken: false }
    }

    /// When [`seal_due`](Self::seal_due) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.missing.map(|missing| missing.seal_at)
    }

    /// The newest numbers given and received.
    pub(crate) const fn last(&self) -> LastNumbers {
        self.last
    }

    /// Gives the next number.
    pub(crate) const fn give(&mut self) -> u64 {
        self.last.poll += 1;
        self.last.poll
    }

    /// Gives `count` numbers, all without a reading.
    pub(crate) fn skip(
        &mut self,
        count: u64,
        reason: MissingReason,
        heartbeat: &Heartbeat,
        now: Now,
        outbox: &mut Outbox,
    ) {
        if count > 0 {
            let first = self.give();
            self.last.poll += count - 1;
            let polls = NumberRange::one(first).through(self.last.poll);
            self.miss(polls, reason, heartbeat, now, outbox);
        }
    }

    /// Marks numbers that were already given as missing. They must follow directly on those that
    /// are missing already.
    pub(crate) fn miss(
        &mut self,
        polls: NumberRange,
        reason: MissingReason,
        heartbeat: &Heartbeat,
        now: Now,
        outbox: &mut Outbox,
    ) {
        count_many(&mut outbox.counters.skipped, polls.count());
        self.leave_unsaid(polls, reason, heartbeat, now, outbox);
    }

    /// Gives numbers to the polls that fell due since the newest number in the log: while the site
    /// was down, or in a run whose last events were lost. The wall clock alone tells how many,
    /// because the monotonic clock begins with this run; it counts only as far as it can be
    /// trusted. These polls are not of this run, so its counters leave them out.
    pub(crate) fn miss_before_start(
        &mut self,
        heartbeat: &Heartbeat,
        interval: Duration,
        (past, now): (Past, Now),
        outbox: &mut Outbox,
    ) {
        let Some(until) = self.last.numbered_until else { return };
        let since = match past.since(self.last, until, now.wall) {
            Ok(since) => since,
            Err(why) => return outbox.seal(Event::readings_uncounted(heartbeat, why, now.wall)),
        };
        let due = since.as_micros() / interval.as_micros().max(1);
        let due = u64::try_from(due).unwrap_or_default();
        if let Some(polls) = NumberRange::new(self.last.poll + 1, self.last.poll + due) {
            self.last.poll = polls.last();
            self.leave_unsaid(polls, MissingReason::Stopped, heartbeat, now, outbox);
        }
    }

    /// Records that the sensor went away or came back.
    pub(crate) const fn leave(&mut self) {
        self.was_away = true;
    }

    fn leave_unsaid(
        &mut self,
        polls: NumberRange,
        reason: MissingReason,
        heartbeat: &Heartbeat,
        now: Now,
        outbox: &mut Outbox,
    ) {
        match &mut self.missing {
            Some(run) if run.reason == reason => run.polls = run.polls.through(polls.last()),
            _ => {
                self.seal(heartbeat, now.wall, outbox);
                let seal_at = now.monotonic + Self::UNSAID_MAX;
                self.missing = Some(Missing { polls, reason, seal_at });
            }
        }
    }

    /// Seals the missing polls if they have been undeclared for long enough.
    pub(crate) fn seal_due(&mut self, heartbeat: &Heartbeat, now: Now, outbox: &mut Outbox) {
        if self.deadline().is_some_and(|seal_at| seal_at <= now.monotonic) {
            self.seal(heartbeat, now.wall, outbox);
        }
    }

    /// Seals the missing polls, if any.
    pub(crate) fn seal(&mut self, heartbeat: &Heartbeat, at: Timestamp, outbox: &mut Outbox) {
        if let Some(Missing { polls, reason, .. }) = self.missing.take() {
            outbox.seal(Event::readings_missing(heartbeat, polls, reason, at));
        }
    }

    /// Compares the sensor's own number in an answer with the one before it. The event comes before
    /// the reading: after a crash between the two it is repeated, while the other order could lose
    /// it. A sensor that cannot count is reported once, not with every reading.
    pub(crate) fn check_sequence(
        &mut self,
        answer: &Answer,
        heartbeat: &Heartbeat,
        at: Timestamp,
        outbox: &mut Outbox,
    ) {
        let Some(seq) = answer.seq else { return };
        let was_away = core::mem::take(&mut self.was_away);
        let Some(last) = self.last.seq.replace(seq) else { return };
        let begins_anew = was_away && SequenceBreak::begins_anew(last, seq);
        let broken = SequenceBreak::between(last, seq).filter(|_| !begins_anew);
        let was_broken = core::mem::replace(&mut self.sequence_broken, broken.is_some());
        if let Some(broken) = broken.filter(|_| !was_broken) {
            outbox.seal(Event::sequence_broken(heartbeat, broken, (last, seq), at));
        }
    }
}
