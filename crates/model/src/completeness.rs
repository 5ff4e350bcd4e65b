//! Whether anything of a sensor is missing: the numbers of its polls, what is said of those without
//! a reading, and who checks both.
//!
//! The site gives each poll of a sensor the next number, from 1 on. A number is in the log once: in
//! a reading (`poll`), or in a `READINGS_MISSING` event that says why there is none (`missing`,
//! `reason`). Where a site did not run and its clock does not say for how long, such an event names
//! no numbers. The sensor's own count, `seq`, is apart from that; where it ceases to go on by one,
//! a `SEQUENCE_BROKEN` event says so, unless it begins anew.
//!
//! [`Completeness`] is for whoever has sealed events and trusts no one: it reads no clock and no
//! file, and holds nothing but what the events say.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use crate::{
    action,
    event::{self, Event},
    gap::{MissingReason, SequenceBreak, UNCOUNTED},
    number_range::NumberRange,
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// The newest numbers of a sensor in the log, which those to come follow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastNumbers {
    /// Of its polls; 0 where none has a number.
    pub poll: u64,
    /// The sensor's own.
    pub seq: Option<u64>,
    /// What was due until then has a number: when the newest was sealed, or when the sensor came or
    /// came back after it.
    pub numbered_until: Option<Timestamp>,
    /// Whether numbers were sealed after that with earlier times: the clock was set back, and the
    /// time until now says nothing.
    pub set_back: bool,
    /// Whether it ever answered.
    pub answered: bool,
    /// Whether these begin with an event that says that nothing is known of the time before.
    pub anew: bool,
}

impl LastNumbers {
    /// By how much times may go back from one event to the next on a clock that is kept right: a
    /// reading can wait to be sealed for ten timeouts of a minute.
    pub const CLOCK_SLACK: Duration = Duration::from_secs(15 * 60);

    /// The numbers after a sealed event of the sensor.
    #[must_use]
    pub fn after(self, event: &Event) -> Self {
        self.then(Self::of(event))
    }

    /// The numbers after those of later events.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let (numbered_until, set_back) = match (self.numbered_until, later.numbered_until) {
            (before, None) => (before, self.set_back),
            (Some(before), Some(until)) if !later.anew && is_before(until, before) => {
                (Some(before), true)
            }
            (Some(before), Some(until)) if !later.anew => (Some(before.max(until)), later.set_back),
            (_, until) => (until, later.set_back),
        };
        Self {
            poll: self.poll.max(later.poll),
            seq: later.seq.or(self.seq),
            numbered_until,
            set_back,
            answered: self.answered || later.answered,
            anew: self.anew || later.anew,
        }
    }

    /// What one event says.
    fn of(event: &Event) -> Self {
        let moves = [
            action::SENSOR_READING,
            action::READINGS_MISSING,
            action::SENSOR_DISCOVERED,
            action::HEARTBEAT_RESUMED,
        ];
        let at = event.timestamp.as_deref().and_then(|text| text.parse().ok());
        let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
        let answered = matches!(event.status.as_deref(), Some(event::SUCCESS | event::VALUE_ERROR));
        Self {
            poll: accounted(event).map_or(0, NumberRange::last),
            seq: sequence(event),
            numbered_until: at
                .filter(|_| event.action.as_deref().is_some_and(|own| moves.contains(&own))),
            set_back: false,
            answered: is_reading && answered,
            anew: is_uncounted(event),
        }
    }
}

/// Whether a time lies so far before another that a clock must have been set back between them.
fn is_before(at: Timestamp, before: Timestamp) -> bool {
    let slack = i64::try_from(LastNumbers::CLOCK_SLACK.as_micros()).unwrap_or(i64::MAX);
    at.unix_micros().saturating_add(slack) < before.unix_micros()
}

/// Holds sealed events against each other, sensor by sensor.
///
/// It needs a few hundred bytes for each sensor, and at most [`LISTED_MAX`](Listed::LISTED_MAX)
/// entries in each of the five lists of an account, however long the log.
#[derive(Clone, Debug)]
pub struct Completeness {
    accounts: BTreeMap<SensorId, Account>,
    /// The number before the first that a sensor must have; none where any will do.
    before_first: Option<u64>,
    /// Envelopes so far that were erased.
    erased: u64,
    /// How often the site started so far.
    starts: u64,
}

/// What sealed events of one sensor say.
#[derive(Clone, Debug, Default)]
pub struct Account {
    polls: Option<NumberRange>,
    missing: u64,
    unnumbered: u64,
    unaccounted: Listed<PollsAt>,
    erased: Listed<PollsAt>,
    doubled: Listed<PollsAt>,
    gaps: Listed<Gap>,
    breaks: Listed<Break>,
    /// Gaps that name no numbers.
    uncounted: u64,
    /// The newest number of the sensor's own.
    seq: Option<u64>,
    /// How often that count began anew.
    begun_anew: u64,
    /// Whether the sensor was away since the newest number of its own.
    was_away: bool,
    /// [`Completeness::starts`] when that number came.
    starts: u64,
    /// [`Completeness::erased`] when the newest number came.
    erased_before: u64,
}

/// How many things there were, and the first of them.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    listed: Vec<T>,
    count: u64,
}

/// Polls about which something is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PollsAt {
    /// The leaf at which it shows.
    pub leaf: u64,
    /// Which polls.
    pub polls: NumberRange,
}

/// Polls that the log itself says have no reading. Events that go on from each other for one reason
/// are one gap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The leaf that says so first.
    pub leaf: u64,
    /// Which polls.
    pub polls: NumberRange,
    /// `reason`, as the event has it, cut off after [`REASON_CHARS_MAX`](Self::REASON_CHARS_MAX).
    pub reason: String,
}

/// A reading in which the sensor's own count does not go on by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Break {
    /// The leaf of the reading.
    pub leaf: u64,
    /// What is wrong.
    pub broken: SequenceBreak,
}

impl Completeness {
    /// For a whole log: each sensor must begin with poll 1.
    #[must_use]
    pub const fn of_log() -> Self {
        Self { accounts: BTreeMap::new(), before_first: Some(0), erased: 0, starts: 0 }
    }

    /// For a part of a log, from any leaf to any other: what lies before the first number of a
    /// sensor is not looked for.
    #[must_use]
    pub const fn of_part() -> Self {
        Self { accounts: BTreeMap::new(), before_first: None, erased: 0, starts: 0 }
    }

    /// Takes the event of `leaf`. Events must come in the log's order; those that number nothing
    /// are passed over.
    pub fn take(&mut self, leaf: u64, event: &Event) {
        let is_ours = event.sealwire.is_some();
        if is_ours && event.action.as_deref() == Some(action::SITE_STARTED) {
            self.starts = self.starts.saturating_add(1);
        }
        let Some(sensor) = event.sensor() else { return };
        if numbers(event) {
            let account = self.accounts.entry(sensor).or_default();
            account.take_count(leaf, event, self.starts);
            account.take(leaf, event, self.before_first, self.erased);
        } else if is_absence(event)
            && let Some(account) = self.accounts.get_mut(&sensor)
        {
            account.was_away = true;
        }
    }

    /// Takes note that the next leaf's envelope was erased: whatever sensor's it was.
    pub const fn take_erased(&mut self) {
        self.erased = self.erased.saturating_add(1);
    }

    /// Every sensor that has a reading or a gap, in the order of their ids.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (SensorId, &Account)> {
        self.accounts.iter().map(|(sensor, account)| (*sensor, account))
    }

    /// One sensor's account, if it has a reading or a gap.
    #[must_use]
    pub fn account(&self, sensor: SensorId) -> Option<&Account> {
        self.accounts.get(&sensor)
    }

    /// Whether every account is [complete](Account::is_complete).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.accounts.values().all(Account::is_complete)
    }
}

impl Account {
    /// From the first number to the newest; none where no event has a number.
    #[must_use]
    pub const fn polls(&self) -> Option<NumberRange> {
        self.polls
    }

    /// Polls that the log itself says are missing.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Readings and gaps that name no poll: of a site that did not give numbers yet, or sealed by
    /// another program.
    #[must_use]
    pub const fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Polls of which no event says how they ended, with the leaf that follows them.
    #[must_use]
    pub const fn unaccounted(&self) -> &Listed<PollsAt> {
        &self.unaccounted
    }

    /// The same, where envelopes were erased in between that may have said so.
    #[must_use]
    pub const fn perhaps_erased(&self) -> &Listed<PollsAt> {
        &self.erased
    }

    /// Polls that an event names after they had their turn: numbers only go up, so these were given
    /// twice.
    #[must_use]
    pub const fn doubled(&self) -> &Listed<PollsAt> {
        &self.doubled
    }

    /// What the log itself says is missing.
    #[must_use]
    pub const fn gaps(&self) -> &Listed<Gap> {
        &self.gaps
    }

    /// Where the sensor's own count does not go on by one, by the readings themselves.
    #[must_use]
    pub const fn breaks(&self) -> &Listed<Break> {
        &self.breaks
    }

    /// Gaps of which the log itself says that nobody knows how many polls they have.
    #[must_use]
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// How often the sensor's own count began anew after it or the site had been away.
    #[must_use]
    pub const fn begun_anew(&self) -> u64 {
        self.begun_anew
    }

    /// Whether every poll is accounted for once, as far as nothing was erased.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unaccounted.count == 0 && self.doubled.count == 0
    }

    fn take_count(&mut self, leaf: u64, event: &Event, starts: u64) {
        let Some(seq) = sequence(event) else { return };
        let started = core::mem::replace(&mut self.starts, starts) != starts;
        let was_away = core::mem::take(&mut self.was_away) || started;
        let Some(last) = self.seq.replace(seq) else { return };
        if was_away && SequenceBreak::begins_anew(last, seq) {
            self.begun_anew = self.begun_anew.saturating_add(1);
        } else if let Some(broken) = SequenceBreak::between(last, seq) {
            self.breaks.push(Break { leaf, broken });
        }
    }

    fn take(&mut self, leaf: u64, event: &Event, before_first: Option<u64>, erased: u64) {
        if is_uncounted(event) {
            self.was_away = true;
            self.uncounted = self.uncounted.saturating_add(1);
            return;
        }
        let Some(polls) = accounted(event) else {
            self.unnumbered = self.unnumbered.saturating_add(1);
            return;
        };
        if event.action.as_deref() == Some(action::READINGS_MISSING) {
            self.declare(leaf, polls, event);
        }
        if let Some(last) = self.polls.map(NumberRange::last).or(before_first) {
            if let Some(passed) = NumberRange::new(last + 1, polls.first() - 1) {
                let explained = erased > self.erased_before;
                let list = if explained { &mut self.erased } else { &mut self.unaccounted };
                list.push(PollsAt { leaf, polls: passed });
            }
            if let Some(again) = NumberRange::new(polls.first(), polls.last().min(last)) {
                self.doubled.push(PollsAt { leaf, polls: again });
            }
        }
        self.polls = Some(self.polls.map_or(polls, |before| before.through(polls.last())));
        self.erased_before = erased;
    }

    fn declare(&mut self, leaf: u64, polls: NumberRange, event: &Event) {
        self.missing = self.missing.saturating_add(polls.count());
        let reason = event.sealwire.as_ref().and_then(|detail| detail.reason.as_deref());
        let reason = reason.unwrap_or_default().chars().take(Gap::REASON_CHARS_MAX);
        let gap = Gap { leaf, polls, reason: reason.collect() };
        // A part of a log need not have the start of the site.
        self.was_away |= gap.reason == MissingReason::Stopped.as_str();
        // A long outage is an event a minute.
        match self.gaps.last_mut() {
            Some(last) if last.polls.last() + 1 == polls.first() && last.reason == gap.reason => {
                last.polls = last.polls.through(polls.last());
            }
            _ => self.gaps.push(gap),
        }
    }
}

impl Gap {
    /// Longest text of a reason that is kept: ours have at most ten.
    pub const REASON_CHARS_MAX: usize = 32;
}

impl<T> Listed<T> {
    /// Most that are listed, the first ones; beyond it they are counted. A hundred show what
    /// happened, and a thousand sensors with full lists stay below 20 MB.
    pub const LISTED_MAX: usize = 100;

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them, in the log's order.
    #[must_use]
    pub fn listed(&self) -> &[T] {
        &self.listed
    }

    fn push(&mut self, item: T) {
        self.count = self.count.saturating_add(1);
        if self.listed.len() < Self::LISTED_MAX {
            self.listed.push(item);
        }
    }

    /// The newest, if it is listed.
    fn last_mut(&mut self) -> Option<&mut T> {
        let is_listed = self.count == self.listed.len() as u64;
        self.listed.last_mut().filter(|_| is_listed)
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), count: 0 }
    }
}

/// Whether an event must say of polls how they ended.
fn numbers(event: &Event) -> bool {
    matches!(event.action.as_deref(), Some(action::SENSOR_READING | action::READINGS_MISSING))
}

/// Whether an event says that polls are missing, and that nobody knows how many.
fn is_uncounted(event: &Event) -> bool {
    let is_gap = event.action.as_deref() == Some(action::READINGS_MISSING);
    event.sealwire.as_ref().filter(|_| is_gap).is_some_and(|detail| {
        detail.missing.is_none() && detail.reason.as_deref() == Some(UNCOUNTED)
    })
}

/// Whether an event says that a sensor was away.
fn is_absence(event: &Event) -> bool {
    matches!(
        event.action.as_deref(),
        Some(
            action::HEARTBEAT_MISSED
                | action::HEARTBEAT_RESUMED
                | action::SENSOR_DISCONNECTED
                | action::SENSOR_DISCOVERED
        )
    )
}

/// The polls of which an event says how they ended.
fn accounted(event: &Event) -> Option<NumberRange> {
    let detail = event.sealwire.as_ref()?;
    let range = match event.action.as_deref()? {
        action::SENSOR_READING => detail.poll.and_then(|poll| NumberRange::new(poll, poll)),
        action::READINGS_MISSING => detail.missing.as_deref()?.parse().ok(),
        _ => None,
    };
    range.filter(|polls| polls.first() > 0)
}

/// The sensor's own number of a reading.
fn sequence(event: &Event) -> Option<u64> {
    let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
    event.sealwire.as_ref().filter(|_| is_reading).and_then(|detail| detail.seq)
}

#[cfg(test)]
mod tests;
