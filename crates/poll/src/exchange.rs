//! What is awaited of one sensor, and which answer belongs to which poll.
//!
//! An answer does not say what it answers, so nothing is asked while an answer may still be under
//! way:
//! - after a timeout the sensor is not asked again until the late answer came or a second timeout
//!   passed;
//! - where an earlier poll got no answer at all, the next answer is held until it is clear that no
//!   other follows. If one follows, the first was the earlier poll's and the sensor is slow: from
//!   then on a late answer is awaited for [`Exchange::late_max`];
//! - an answer with the number of the answer before it, of a sensor that counts, is a second answer
//!   to that one's poll.
//!
//! Invariant: of a sensor that answers in the order of its polls, no answer ends a poll that was
//! sent after the one it answers, if each answer comes before the second timeout or never, or if
//! all are as late as each other, up to `late_max`.

use core::time::Duration;

use model::{Outcome, Timestamp};

use crate::{
    clock::{Instant, Now},
    counters::{Counters, count},
};

/// One sensor's polls and answers.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The site's, whatever the interval of the sensor.
    answer_timeout: Duration,
    state: State,
    /// Polls that ended without their answer, which may still come.
    unanswered: Option<Unanswered>,
    /// Whether it is known to answer after the second timeout.
    slow: bool,
    /// Polls that fell due until then waited for an answer to the one before them.
    held_back_until: Option<Instant>,
    seconds: SecondAnswers,
}

#[derive(Debug)]
enum State {
    /// Nothing is awaited: the sensor may be asked, and an answer is one too many.
    Free,
    InFlight {
        sent: Sent,
        deadline: Instant,
    },
    /// An answer came in time, but it may be an earlier poll's. It is this one's if no other comes
    /// until then.
    Held {
        sent: Sent,
        outcome: Box<Outcome>,
        arrived: Timestamp,
        until: Instant,
    },
    /// Its time is over. A late answer may come until then.
    Overdue {
        until: Instant,
        /// Whether answers came since; then no other is under way at the end.
        heard: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    poll: u64,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    count: u64,
    oldest: Instant,
    newest: Instant,
}

/// How a poll ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) poll: u64,
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}

impl Exchange {
    /// After how many timeouts no answer is expected any more: 5 s by default, more than a slow
    /// modem takes.
    const LATE_TIMEOUTS: u32 = 10;

    /// An exchange with a sensor that gave its newest answer this number.
    pub(crate) const fn new(answer_timeout: Duration, heard: Option<u64>) -> Self {
        Self {
            answer_timeout,
            state: State::Free,
            unanswered: None,
            slow: false,
            held_back_until: None,
            seconds: SecondAnswers { heard, dropped_in: None },
        }
    }

    /// How late an answer may be.
    const fn late_max(&self) -> Duration {
        self.answer_timeout.saturating_mul(Self::LATE_TIMEOUTS)
    }

    /// Whether the sensor may be asked.
    pub(crate) const fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    /// Whether a poll was sent that has not ended.
    pub(crate) const fn owes_a_reading(&self) -> bool {
        matches!(self.state, State::InFlight { .. } | State::Held { .. })
    }

    /// Polls that fall due until then are not sent, or were not, because an answer is awaited.
    pub(crate) const fn held_back_until(&self) -> Option<Instant> {
        match self.state {
            State::Overdue { .. } => Some(Instant::NEVER),
            _ => self.held_back_until,
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Free => None,
            State::InFlight { deadline, .. } => Some(deadline),
            State::Held { until, .. } | State::Overdue { until, .. } => Some(until),
        }
    }

    /// A poll is sent, to a sensor that is polled every `interval`.
    pub(crate) fn begin(&mut self, poll: u64, interval: Duration, now: Instant) {
        self.forget_stale(now);
        // Not longer than the interval, so that a fast sensor that is silent shows as silent at
        // once.
        let deadline = now + self.answer_timeout.min(interval);
        self.state = State::InFlight { sent: Sent { poll, at: now }, deadline };
        self.held_back_until = None;
    }

    /// What time alone ends; at most one poll.
    pub(crate) fn expire(&mut self, now: Now) -> Option<Ended> {
        let mut ended = None;
        while self.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            match core::mem::replace(&mut self.state, State::Free) {
                State::Free => {}
                State::InFlight { sent, deadline } => {
                    self.leave_unanswered(sent.at);
                    let second = deadline + self.answer_timeout;
                    let late = sent.at + self.late_max();
                    let until = if self.slow { second.max(late) } else { second };
                    self.state = State::Overdue { until, heard: false };
                    let (poll, outcome) = (sent.poll, Outcome::CommError);
                    ended = Some(Ended { poll, outcome, at: now.wall });
                }
                State::Held { sent, outcome, arrived, until } => {
                    self.settle(until);
                    self.slow = false;
                    ended = Some(Ended { poll: sent.poll, outcome: *outcome, at: arrived });
                }
                State::Overdue { until, heard } => {
                    self.held_back_until = Some(until);
                    if heard {
                        self.settle(until);
                    }
                }
            }
        }
        ended
    }

    /// An answer came, after [`expire`](Self::expire) at the same moment. Answers how its poll
    /// ended, if it ended one.
    pub(crate) fn answer(
        &mut self,
        outcome: Outcome,
        now: Now,
        counters: &mut Counters,
    ) -> Option<Ended> {
        let at = now.monotonic;
        match core::mem::replace(&mut self.state, State::Free) {
            State::InFlight { sent, deadline } => {
                if self.seconds.drops(&outcome, sent.poll) {
                    count(&mut counters.duplicates);
                    self.state = State::InFlight { sent, deadline };
                    return None;
                }
                if let Some(Unanswered { oldest, .. }) = self.unanswered {
                    let (outcome, arrived) = (Box::new(outcome), now.wall);
                    let until = self.quiet_from(at, oldest, sent.at);
                    self.state = State::Held { sent, outcome, arrived, until };
                    return None;
                }
                self.slow = false;
                Some(Ended { poll: sent.poll, outcome, at: now.wall })
            }
            State::Held { sent, outcome: held, arrived, until } => {
                if self.seconds.drops(&outcome, sent.poll) {
                    count(&mut counters.duplicates);
                    self.state = State::Held { sent, outcome: held, arrived, until };
                    return None;
                }
                // What was held was an earlier poll's. This one may be this poll's, but is not
                // known to be.
                self.slow = true;
                self.leave_unanswered(sent.at);
                self.take_late(2, at, counters);
                Some(Ended { poll: sent.poll, outcome: Outcome::CommError, at: now.wall })
            }
            State::Overdue { .. } => {
                self.seconds.hear(&outcome);
                self.take_late(1, at, counters);
                None
            }
            State::Free => {
                self.forget_stale(at);
                self.seconds.hear(&outcome);
                if self.unanswered.is_some() {
                    self.slow = true;
                    self.take_late(1, at, counters);
                } else {
                    count(&mut counters.duplicates);
                }
                None
            }
        }
    }

    /// The poll in flight ends without a reading; answers its number. An answer that still comes is
    /// late.
    pub(crate) fn give_up(&mut self, now: Instant) -> Option<u64> {
        match core::mem::replace(&mut self.state, State::Free) {
            State::InFlight { sent, .. } | State::Held { sent, .. } => {
                self.leave_unanswered(sent.at);
                Some(sent.poll)
            }
            State::Overdue { .. } => {
                self.held_back_until = Some(now);
                None
            }
            State::Free => None,
        }
    }

    /// An answer that is held is taken for late, because nothing more is heard that could tell
    /// whose it is.
    pub(crate) fn end_held(&mut self, now: Now, counters: &mut Counters) -> Option<Ended> {
        if !matches!(self.state, State::Held { .. }) {
            return None;
        }
        count(&mut counters.late);
        let poll = self.give_up(now.monotonic)?;
        Some(Ended { poll, outcome: Outcome::CommError, at: now.wall })
    }

    /// The message bus is back, and brings answers that waited for it.
    pub(crate) fn handle_bus_up(&mut self, now: Instant) {
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.newest = now;
            self.state = State::Overdue { until: now + self.answer_timeout, heard: false };
        }
    }

    fn leave_unanswered(&mut self, sent: Instant) {
        let before = self.unanswered.unwrap_or(Unanswered { count: 0, oldest: sent, newest: sent });
        let count = before.count.saturating_add(1);
        self.unanswered = Some(Unanswered { count, newest: sent, ..before });
    }

    /// Drops polls that are so old that no answer comes any more.
    fn forget_stale(&mut self, now: Instant) {
        let late_max = self.late_max();
        self.unanswered = self
            .unanswered
            .filter(|unanswered| now.saturating_duration_since(unanswered.newest) < late_max);
    }

    /// Answers came late, to some of the polls without one. The sensor is free once each has its
    /// own, or none comes any more.
    fn take_late(&mut self, answers: u64, now: Instant, counters: &mut Counters) {
        (0..answers).for_each(|_| count(&mut counters.late));
        match self.unanswered {
            Some(Unanswered { count, oldest, newest }) if count > answers => {
                let until = self.quiet_from(now, oldest, newest);
                self.unanswered = Some(Unanswered { count: count - answers, oldest, newest });
                self.state = State::Overdue { until, heard: true };
            }
            _ => self.settle(now),
        }
    }

    /// Until when the answer to the newest poll comes if what came now answered the oldest: as much
    /// later as it was asked later.
    fn quiet_from(&self, now: Instant, oldest: Instant, newest: Instant) -> Instant {
        let apart = newest.saturating_duration_since(oldest).min(self.late_max());
        now + apart + self.answer_timeout
    }

    /// Nothing is under way any more.
    fn settle(&mut self, at: Instant) {
        self.state = State::Free;
        self.unanswered = None;
        self.held_back_until = Some(at);
    }
}

/// Tells the second answers to a poll by the sensor's own number.
#[derive(Debug)]
struct SecondAnswers {
    /// The number of the newest answer, a late one too.
    heard: Option<u64>,
    /// The poll in whose time the same number came again. If it comes in the next poll's, too, the
    /// sensor does not count, and its answers are taken.
    dropped_in: Option<u64>,
}

impl SecondAnswers {
    /// Whether an answer in the time of this poll is a second one to the poll before.
    fn drops(&mut self, outcome: &Outcome, poll: u64) -> bool {
        let Some(number) = number(outcome) else { return false };
        if self.heard == Some(number) && self.dropped_in.is_none_or(|before| before == poll) {
            self.dropped_in = Some(poll);
            return true;
        }
        self.hear(outcome);
        false
    }

    fn hear(&mut self, outcome: &Outcome) {
        let Some(number) = number(outcome) else { return };
        if self.heard.replace(number) != Some(number) {
            self.dropped_in = None;
        }
    }
}

/// The sensor's own number of an answer.
const fn number(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Success(answer) => answer.seq,
        Outcome::CommError | Outcome::ValueError { .. } => None,
    }
}
