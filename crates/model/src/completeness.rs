//! Whether anything of a sensor is missing: the numbers of its polls, what is said of those without a reading, and who checks both.
//!
//! The site gives each poll of a sensor the next number, from 1 on. A number is in the log once: in a reading (`poll`), or in a `READINGS_MISSING`
//! event that says why there is none (`missing`, `reason`). The sensor's own count, `seq`, is apart from that; where it ceases to go on by one, a
//! `SEQUENCE_BROKEN` event says so.
//!
//! [`Completeness`] is for whoever has sealed events and trusts no one: it reads no clock and no file, and holds nothing but what the events say.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{Event, NumberRange, SensorId, Timestamp, action};

/// Why polls that were due ended in no reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingReason {
    /// The message bus was away: they could not be sent, or their answers not come.
    BusAway,
    /// Their time was over before they could be sent: the site was busy, or the poll before them was still in flight.
    Overrun,
    /// An answer to the poll before them was still awaited, so that it would have been taken for theirs.
    Unanswered,
    /// The site stopped or was killed before they ended, or did not run.
    Stopped,
}

/// How a sensor's own count does not go on by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SequenceBreak {
    /// It counted readings that were never sealed.
    NotSealed(NumberRange),
    /// The same number came again.
    Repeated,
    /// The count went back.
    Restarted,
}

/// The newest numbers of a sensor in the log, which those to come follow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastNumbers {
    /// Of its polls; 0 where none has a number.
    pub poll: u64,
    /// The sensor's own.
    pub seq: Option<u64>,
    /// What was due until then has a number: when the newest was sealed, or when the sensor came or came back after it.
    pub numbered_until: Option<Timestamp>,
}

impl MissingReason {
    /// As events say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BusAway => "bus_away",
            Self::Overrun => "overrun",
            Self::Unanswered => "unanswered",
            Self::Stopped => "stopped",
        }
    }

    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::BusAway => "the message bus was away",
            Self::Overrun => "their time was over before they could be sent",
            Self::Unanswered => "an answer to the poll before them was still awaited",
            Self::Stopped => "the site stopped or did not run",
        }
    }
}

impl SequenceBreak {
    /// What is wrong with `seq` after `last`, if anything.
    #[must_use]
    pub fn between(last: u64, seq: u64) -> Option<Self> {
        match seq.cmp(&last) {
            core::cmp::Ordering::Less => Some(Self::Restarted),
            core::cmp::Ordering::Equal => Some(Self::Repeated),
            core::cmp::Ordering::Greater => {
                NumberRange::new(last + 1, seq - 1).map(Self::NotSealed)
            }
        }
    }

    /// As events say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSealed(_) => "not_sealed",
            Self::Repeated => "repeated",
            Self::Restarted => "restarted",
        }
    }
}

impl LastNumbers {
    /// The numbers after a sealed event of the sensor.
    #[must_use]
    pub fn after(self, event: &Event) -> Self {
        let last_poll = accounted(event).map_or(0, NumberRange::last);
        let moves = [
            action::SENSOR_READING,
            action::READINGS_MISSING,
            action::SENSOR_DISCOVERED,
            action::HEARTBEAT_RESUMED,
        ];
        let at = event.timestamp.as_deref().and_then(|text| text.parse().ok());
        let at = at.filter(|_| event.action.as_deref().is_some_and(|own| moves.contains(&own)));
        Self {
            poll: self.poll.max(last_poll),
            seq: sequence(event).or(self.seq),
            numbered_until: at.or(self.numbered_until),
        }
    }
}

/// Holds sealed events against each other, sensor by sensor.
///
/// It needs a few hundred bytes for each sensor, and at most [`LISTED_MAX`](Listed::LISTED_MAX) entries in each of the five lists of an account, however
/// long the log.
#[derive(Clone, Debug)]
pub struct Completeness {
    accounts: BTreeMap<SensorId, Account>,
    /// The number before the first that a sensor must have; none where any will do.
    before_first: Option<u64>,
    /// Envelopes so far that were erased.
    erased: u64,
}

/// What sealed events of one sensor say.
#[derive(Clone, Debug, Default)]
pub struct Account {
    polls: Option<NumberRange>,
    missing: u64,
    unnumbered: u64,
    unaccounted: Listed<Finding>,
    erased: Listed<Finding>,
    doubled: Listed<Finding>,
    gaps: Listed<Gap>,
    breaks: Listed<Break>,
    /// The newest number of the sensor's own.
    seq: Option<u64>,
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
pub struct Finding {
    /// The leaf at which it shows.
    pub leaf: u64,
    /// Which polls.
    pub polls: NumberRange,
}

/// Polls that the log itself says have no reading. Events that go on from each other for one reason are one gap.
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
        Self { accounts: BTreeMap::new(), before_first: Some(0), erased: 0 }
    }

    /// For a part of a log, from any leaf to any other: what lies before the first number of a sensor is not looked for.
    #[must_use]
    pub const fn of_part() -> Self {
        Self { accounts: BTreeMap::new(), before_first: None, erased: 0 }
    }

    /// Takes the event of `leaf`. Events must come in the log's order; those that number nothing are passed over.
    pub fn take(&mut self, leaf: u64, event: &Event) {
        if let Some(sensor) = event.sensor().filter(|_| numbers(event)) {
            let account = self.accounts.entry(sensor).or_default();
            account.take(leaf, event, self.before_first, self.erased);
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

    /// Readings and gaps that name no poll: of a site that did not give numbers yet, or sealed by another program.
    #[must_use]
    pub const fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Polls of which no event says how they ended, with the leaf that follows them.
    #[must_use]
    pub const fn unaccounted(&self) -> &Listed<Finding> {
        &self.unaccounted
    }

    /// The same, where envelopes were erased in between that may have said so.
    #[must_use]
    pub const fn perhaps_erased(&self) -> &Listed<Finding> {
        &self.erased
    }

    /// Polls that an event names after they had their turn: numbers only go up, so these were given twice.
    #[must_use]
    pub const fn doubled(&self) -> &Listed<Finding> {
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

    /// Whether every poll is accounted for once, as far as nothing was erased.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unaccounted.count == 0 && self.doubled.count == 0
    }

    fn take(&mut self, leaf: u64, event: &Event, before_first: Option<u64>, erased: u64) {
        if let Some(seq) = sequence(event)
            && let Some(last) = self.seq.replace(seq)
            && let Some(broken) = SequenceBreak::between(last, seq)
        {
            self.breaks.push(Break { leaf, broken });
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
                list.push(Finding { leaf, polls: passed });
            }
            if let Some(again) = NumberRange::new(polls.first(), polls.last().min(last)) {
                self.doubled.push(Finding { leaf, polls: again });
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
    /// Most that are listed, the first ones; beyond it they are counted. A hundred show what happened, and a thousand sensors with full lists stay
    /// below 20 MB.
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
