//! Matches the answers of one sensor to its polls.
//!
//! An answer does not say which poll it answers. So the site sends no poll while an earlier answer
//! may still arrive:
//! - After a timeout, the site does not poll the sensor until the late answer arrives or a second
//!   timeout passes.
//! - If an earlier poll got no answer at all, the next answer is held until it is clear that no
//!   other follows. If one follows, the first answer belonged to the earlier poll, and the sensor
//!   is slow: from then on the site waits up to [`Exchange::late_max`] for a late answer.
//! - A poll that is repeated may have several answers. The first one ends it, and the others count
//!   as unanswered polls do: the next answer is held.
//! - If a sensor counts its readings, an answer with the same number as the answer before it is a
//!   second answer to that answer's poll.
//!
//! Invariant, for a sensor that answers in the order of its polls: no answer ends a poll that was
//! sent after the poll it answers. This holds if each answer arrives before the second timeout or
//! never, or if all answers have the same delay, up to `late_max`.

use core::time::Duration;

use model::{Outcome, Timestamp};

use crate::{
    clock::{Instant, Now},
    counters::{Counters, count},
};

/// Polls and answers of one sensor.
#[derive(Debug)]
pub(crate) struct Exchange {
    patience: Patience,
    state: State,
    /// Polls that ended without their answer. The answer may still arrive.
    unanswered: Option<Unanswered>,
    /// Whether an answer of this sensor is known to have arrived after its second timeout.
    slow: bool,
    /// Polls that fell due before this instant were not sent, because the answer before them was
    /// awaited.
    held_back_until: Option<Instant>,
    seconds: SecondAnswers,
    contradictions: Contradictions,
}

/// How long the site waits for an answer, and how often it asks for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Patience {
    /// Time for an answer, whatever the sensor's interval.
    pub(crate) answer_timeout: Duration,
    /// Times that a poll without an answer is repeated before it ends as COMM_ERROR.
    pub(crate) retries: u8,
}

#[derive(Debug)]
enum State {
    /// No answer is awaited. The site may poll; an answer now belongs to no poll.
    Free,
    InFlight {
        sent: Sent,
        deadline: Instant,
        /// How often the poll may be repeated after `deadline`.
        retries: u8,
        /// Whether a deadline has passed and the poll was not repeated since.
        is_to_repeat: bool,
    },
    /// An answer came in time, but may belong to an earlier poll. It belongs to this one if no
    /// other answer arrives before the deadline.
    Held { sent: Sent, outcome: Box<Outcome>, arrived: Timestamp, until: Instant },
    /// The deadline passed. A late answer may arrive until `until`.
    Overdue {
        until: Instant,
        /// Whether any answer arrived since; if so, none is under way at the end.
        heard: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    poll: u64,
    at: Instant,
    /// When it was repeated the last time, or sent, if it was not repeated.
    newest: Instant,
    times: u8,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    count: u64,
    oldest: Instant,
    newest: Instant,
    /// Whether they are only repetitions of a poll that has its answer.
    are_repeats: bool,
}

/// How a poll ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) poll: u64,
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}

impl Exchange {
    /// Number of timeouts after which no answer is expected: 5 s by default, longer than a slow
    /// modem takes.
    const LATE_TIMEOUTS: u32 = 10;

    /// An exchange with a sensor; `heard` is the sensor's own number in its newest answer.
    pub(crate) const fn new(patience: Patience, heard: Option<u64>) -> Self {
        Self {
            patience,
            state: State::Free,
            unanswered: None,
            slow: false,
            held_back_until: None,
            seconds: SecondAnswers { heard, poll: None, dropped_in: None },
            contradictions: Contradictions::NONE,
        }
    }

    /// Changes how long the site waits, from the next poll on.
    pub(crate) const fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Longest time from a reading to the end of its poll: it may come after as long as the site
    /// waits, and be held for as long again.
    pub(crate) const fn delay_max(&self) -> Duration {
        self.patience.answer_timeout.saturating_mul(2)
    }

    /// Longest delay of an answer that is still expected.
    const fn late_max(&self) -> Duration {
        self.patience.answer_timeout.saturating_mul(Self::LATE_TIMEOUTS)
    }

    /// Whether the site may poll the sensor now.
    pub(crate) const fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    /// Whether a poll is in flight or its answer is held.
    pub(crate) const fn owes_a_reading(&self) -> bool {
        matches!(self.state, State::InFlight { .. } | State::Held { .. })
    }

    /// Until when the poll in flight takes a place among those that may be in flight, if that is so
    /// for at most this time after it was sent.
    pub(crate) fn takes_place_until(&self, at_most: Duration) -> Option<Instant> {
        match self.state {
            State::InFlight { sent, .. } | State::Held { sent, .. } => Some(sent.newest + at_most),
            State::Free | State::Overdue { .. } => None,
        }
    }

    /// Polls that fall due before this instant are not sent, because an answer is awaited.
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

    /// Records that the site sends a poll to a sensor that is polled every `interval`.
    pub(crate) fn begin(&mut self, poll: u64, interval: Duration, now: Instant) {
        self.forget_stale(now);
        self.contradictions.begin();
        self.seconds.poll = Some(poll);
        // Not longer than the interval, so that a silent sensor with a short interval shows as
        // silent at once.
        let timeout = self.patience.answer_timeout.min(interval);
        // The last repetition ends before the next poll is due. While an earlier answer may come,
        // further polls would only make it harder to tell whose it is.
        let fitting = interval.as_micros() / timeout.as_micros().max(1);
        let fitting = u8::try_from(fitting.saturating_sub(1)).unwrap_or(u8::MAX);
        let retries = match self.unanswered {
            Some(_) => 0,
            None => self.patience.retries.min(fitting),
        };
        let sent = Sent { poll, at: now, newest: now, times: 1 };
        let deadline = now + timeout;
        self.state = State::InFlight { sent, deadline, retries, is_to_repeat: false };
        self.held_back_until = None;
    }

    /// Whether to send the poll in flight again, under the same number. Records that it is sent.
    pub(crate) const fn repeat(&mut self, now: Instant) -> Option<u64> {
        let State::InFlight { sent, is_to_repeat, .. } = &mut self.state else { return None };
        if !core::mem::replace(is_to_repeat, false) {
            return None;
        }
        (sent.newest, sent.times) = (now, sent.times.saturating_add(1));
        Some(sent.poll)
    }

    /// Ends what has expired. At most one poll ends.
    pub(crate) fn expire(&mut self, now: Now) -> Option<Ended> {
        let mut ended = None;
        while self.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            match core::mem::replace(&mut self.state, State::Free) {
                State::Free => {}
                State::InFlight { sent, deadline, retries, .. } if retries > 0 => {
                    let (deadline, retries) =
                        (deadline + self.patience.answer_timeout, retries - 1);
                    self.state = State::InFlight { sent, deadline, retries, is_to_repeat: true };
                }
                State::InFlight { sent, deadline, .. } => {
                    self.leave_unanswered(sent);
                    let second = deadline + self.patience.answer_timeout;
                    let late = sent.newest + self.late_max();
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

    /// Takes an answer; call [`expire`](Self::expire) with the same moment first. `print` differs
    /// from that of any other answer. Returns how a poll ended, if the answer ended one.
    pub(crate) fn answer(
        &mut self,
        outcome: Outcome,
        print: u64,
        now: Now,
        counters: &mut Counters,
    ) -> Option<Ended> {
        let at = now.monotonic;
        match core::mem::replace(&mut self.state, State::Free) {
            State::InFlight { sent, deadline, retries, is_to_repeat } => {
                if self.seconds.drops(&outcome) {
                    count(&mut counters.duplicates);
                    self.state = State::InFlight { sent, deadline, retries, is_to_repeat };
                    return None;
                }
                if let Some(Unanswered { oldest, .. }) = self.unanswered {
                    let (outcome, arrived) = (Box::new(outcome), now.wall);
                    let until = self.quiet_from(at, oldest, sent.at);
                    self.state = State::Held { sent, outcome, arrived, until };
                    return None;
                }
                self.slow = false;
                self.contradictions.first(print);
                self.unanswered =
                    sent.times.checked_sub(1).filter(|times| *times > 0).map(|times| {
                        let (oldest, newest) = (sent.at, sent.newest);
                        Unanswered { count: times.into(), oldest, newest, are_repeats: true }
                    });
                Some(Ended { poll: sent.poll, outcome, at: now.wall })
            }
            State::Held { sent, outcome: held, arrived, until } => {
                if self.seconds.drops(&outcome) {
                    count(&mut counters.duplicates);
                    self.state = State::Held { sent, outcome: held, arrived, until };
                    return None;
                }
                // The held answer belonged to an earlier poll. This answer may belong to the
                // current poll, but that is not certain.
                self.slow = true;
                self.leave_unanswered(sent);
                self.take_late(2, at, counters);
                Some(Ended { poll: sent.poll, outcome: Outcome::CommError, at: now.wall })
            }
            State::Overdue { until, heard } => {
                if self.seconds.drops(&outcome) {
                    count(&mut counters.duplicates);
                    self.state = State::Overdue { until, heard };
                } else {
                    self.take_late(1, at, counters);
                }
                None
            }
            State::Free => {
                self.forget_stale(at);
                let is_second = self.seconds.drops(&outcome);
                match self.unanswered {
                    Some(Unanswered { are_repeats: false, .. }) if is_second => {
                        count(&mut counters.duplicates);
                    }
                    Some(Unanswered { are_repeats: false, .. }) => {
                        self.slow = true;
                        self.take_late(1, at, counters);
                    }
                    // Polls are not held back for it: the next answer is held if more may come.
                    Some(Unanswered { count: more, oldest, newest, .. }) => {
                        count(&mut counters.duplicates);
                        let left =
                            Unanswered { count: more - 1, oldest, newest, are_repeats: true };
                        self.unanswered = Some(left).filter(|left| left.count > 0);
                    }
                    None => {
                        self.contradictions.second(print);
                        count(&mut counters.duplicates);
                    }
                }
                None
            }
        }
    }

    /// Ends the poll in flight without a reading and returns its number. An answer that still
    /// arrives counts as late.
    pub(crate) fn give_up(&mut self, now: Instant) -> Option<u64> {
        match core::mem::replace(&mut self.state, State::Free) {
            State::InFlight { sent, .. } | State::Held { sent, .. } => {
                self.leave_unanswered(sent);
                Some(sent.poll)
            }
            State::Overdue { .. } => {
                self.held_back_until = Some(now);
                None
            }
            State::Free => None,
        }
    }

    /// Counts a held answer as late, because no later message can tell which poll it answers.
    pub(crate) fn end_held(&mut self, now: Now, counters: &mut Counters) -> Option<Ended> {
        if !matches!(self.state, State::Held { .. }) {
            return None;
        }
        count(&mut counters.late);
        let poll = self.give_up(now.monotonic)?;
        Some(Ended { poll, outcome: Outcome::CommError, at: now.wall })
    }

    /// Whether several devices answer: each of the newest polls had several answers that differ.
    pub(crate) const fn is_contradicted(&self) -> bool {
        self.contradictions.are_of_several_devices()
    }

    /// Takes the next answers for those of one device.
    pub(crate) fn settle_devices(&mut self) {
        self.contradictions = Contradictions::NONE;
    }

    /// The message bus is up again and may deliver answers that waited for it.
    pub(crate) fn handle_bus_up(&mut self, now: Instant) {
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.newest = now;
            self.state = State::Overdue { until: now + self.patience.answer_timeout, heard: false };
        }
    }

    fn leave_unanswered(&mut self, sent: Sent) {
        let before = self.unanswered.map_or((0, sent.at), |before| (before.count, before.oldest));
        let (count, oldest) = (before.0.saturating_add(sent.times.into()), before.1);
        let newest = sent.newest;
        self.unanswered = Some(Unanswered { count, oldest, newest, are_repeats: false });
    }

    /// Drops unanswered polls that are too old for an answer.
    fn forget_stale(&mut self, now: Instant) {
        let late_max = self.late_max();
        self.unanswered = self
            .unanswered
            .filter(|unanswered| now.saturating_duration_since(unanswered.newest) < late_max);
    }

    /// Counts late answers to unanswered polls. The sensor is free once each poll has its answer,
    /// or no more can arrive.
    fn take_late(&mut self, answers: u64, now: Instant, counters: &mut Counters) {
        (0..answers).for_each(|_| count(&mut counters.late));
        match self.unanswered {
            Some(Unanswered { count, oldest, newest, .. }) if count > answers => {
                let until = self.quiet_from(now, oldest, newest);
                let count = count - answers;
                self.unanswered = Some(Unanswered { count, oldest, newest, are_repeats: false });
                self.state = State::Overdue { until, heard: true };
            }
            _ => self.settle(now),
        }
    }

    /// Latest moment of the answer to the newest poll, if the current answer belongs to the oldest:
    /// it arrives as much later as its poll was sent later.
    fn quiet_from(&self, now: Instant, oldest: Instant, newest: Instant) -> Instant {
        let apart = newest.saturating_duration_since(oldest).min(self.late_max());
        now + apart + self.patience.answer_timeout
    }

    /// Ends the wait: no answer is under way.
    fn settle(&mut self, at: Instant) {
        self.state = State::Free;
        self.unanswered = None;
        self.held_back_until = Some(at);
    }
}

/// Recognises several devices that answer the same polls: each poll has several answers, and they
/// differ. A server that delivers an answer twice delivers the same, and a flood is more.
#[derive(Debug)]
struct Contradictions {
    /// The first answer to the newest poll.
    first: Option<u64>,
    /// Further answers to it that differ from the first.
    others: u8,
    /// Polls before it, one after the other, that had answers of several devices.
    in_row: u8,
}

impl Contradictions {
    const NONE: Self = Self { first: None, others: 0, in_row: 0 };
    /// Polls in a row after which it is no accident: a minute of polls every ten seconds.
    const IN_ROW: u8 = 5;
    /// Answers beside the first one that are taken for those of other devices. More are a flood.
    const OTHERS_MAX: u8 = 3;

    fn begin(&mut self) {
        if self.first.take().is_some() {
            self.in_row = if self.are_several() { self.in_row.saturating_add(1) } else { 0 };
        }
        self.others = 0;
    }

    const fn first(&mut self, print: u64) {
        self.first = Some(print);
    }

    fn second(&mut self, print: u64) {
        self.others = self.others.saturating_add(self.first.is_some_and(|it| it != print).into());
    }

    /// Whether the newest poll has answers of several devices so far.
    const fn are_several(&self) -> bool {
        self.others >= 1 && self.others <= Self::OTHERS_MAX
    }

    const fn are_of_several_devices(&self) -> bool {
        let newest = self.first.is_some() && self.are_several();
        self.in_row.saturating_add(newest as u8) >= Self::IN_ROW
    }
}

/// Recognises a second answer to one poll by the sensor's own number.
#[derive(Debug)]
struct SecondAnswers {
    /// The sensor's number in its newest answer, late answers included.
    heard: Option<u64>,
    /// The newest poll.
    poll: Option<u64>,
    /// The poll since which the same number came again. If it also comes after the next poll, the
    /// sensor does not count, and its answers are accepted.
    dropped_in: Option<u64>,
}

impl SecondAnswers {
    /// Whether this answer is a second answer to a poll before the newest, or to that one.
    fn drops(&mut self, outcome: &Outcome) -> bool {
        let Some(number) = number(outcome) else { return false };
        let is_first_time = self.dropped_in.is_none() || self.dropped_in == self.poll;
        if self.heard == Some(number) && is_first_time {
            self.dropped_in = self.poll;
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

/// The sensor's own number in an answer, if it has one.
const fn number(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Success(answer) => answer.seq,
        Outcome::CommError | Outcome::ValueError { .. } => None,
    }
}
