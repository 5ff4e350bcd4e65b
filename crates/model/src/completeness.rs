//! Whether anything of a sensor is missing: the numbers of its polls, what is said of those without a reading, and who checks both.
//!
//! The site gives each poll of a sensor the next number, from 1 on. A number ends in the log once: in a reading (`poll`), or in a `READINGS_MISSING`
//! event that says why there is none (`missing`, `reason`). The sensor's own count, `seq`, is apart from that; where it does not go on by one, a
//! `SEQUENCE_BROKEN` event says so.
//!
//! [`Completeness`] is for whoever has sealed events and trusts no one: it reads no clock and no file, and holds nothing but what the events say. An
//! erased envelope says nothing, so its number counts as unaccounted.
//!
//! Invariants of an [`Account`]:
//! - the ranges of `unaccounted` are sorted by number, apart from each other, and within `polls`;
//! - every number of `polls` is unaccounted or was named by an event.

use alloc::{borrow::ToOwned as _, collections::BTreeMap, string::String, vec::Vec};

use crate::{Event, NumberRange, SensorId, action};

/// Why polls that were due ended in no reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingReason {
    /// The message bus was away: it could not be sent, or its answer not come.
    BusAway,
    /// Their time was over before they could be sent: the site was busy, or the poll before them was still in flight.
    Overrun,
    /// The site stopped while it was in flight.
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
}

impl MissingReason {
    /// As events say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BusAway => "bus_away",
            Self::Overrun => "overrun",
            Self::Stopped => "stopped",
        }
    }

    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::BusAway => "the message bus was away",
            Self::Overrun => "their time was over before they could be sent",
            Self::Stopped => "the site stopped",
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
        let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
        let seq = event.sealwire.as_ref().filter(|_| is_reading).and_then(|detail| detail.seq);
        Self { poll: self.poll.max(last_poll), seq: seq.or(self.seq) }
    }
}

/// Holds sealed events against each other, sensor by sensor.
#[derive(Clone, Debug, Default)]
pub struct Completeness {
    accounts: BTreeMap<SensorId, Account>,
}

/// What sealed events of one sensor say of its polls, from the first number among them on: a part of a log can be checked like the whole.
#[derive(Clone, Debug, Default)]
pub struct Account {
    polls: Option<NumberRange>,
    unaccounted: Vec<Finding>,
    doubled: Vec<Finding>,
    gaps: Vec<Gap>,
    unnumbered: u64,
}

/// Polls about which something is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The leaf at which it shows.
    pub leaf: u64,
    /// Which polls.
    pub polls: NumberRange,
}

/// What the log itself says is missing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The leaf that says so.
    pub leaf: u64,
    /// Whose numbers are meant.
    pub count: Count,
    /// Which numbers; none where the sensor's own count went back or stood still.
    pub missing: Option<NumberRange>,
    /// `reason`, as the event has it.
    pub reason: String,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Count {
    /// The site counts polls.
    Polls,
    /// The sensor counts its readings.
    Sequence,
}

impl Completeness {
    /// Takes the event of `leaf`. Events must come in the log's order; those of no sensor are passed over.
    pub fn take(&mut self, leaf: u64, event: &Event) {
        if let Some(sensor) = event.sensor() {
            self.accounts.entry(sensor).or_default().take(leaf, event);
        }
    }

    /// Every sensor that an event spoke of, in the order of their ids.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (SensorId, &Account)> {
        self.accounts.iter().map(|(sensor, account)| (*sensor, account))
    }

    /// One sensor's account, if an event spoke of it.
    #[must_use]
    pub fn account(&self, sensor: SensorId) -> Option<&Account> {
        self.accounts.get(&sensor)
    }

    /// Whether every poll of every sensor is accounted for, once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.accounts.values().all(Account::is_complete)
    }
}

impl Account {
    /// Takes an event of this account's sensor.
    pub fn take(&mut self, leaf: u64, event: &Event) {
        let polls = accounted(event);
        match event.action.as_deref() {
            Some(action::SENSOR_READING) => {}
            Some(action::READINGS_MISSING) => self.declare(leaf, Count::Polls, event, polls),
            Some(action::SEQUENCE_BROKEN) => {
                self.declare(leaf, Count::Sequence, event, missing(event));
                return;
            }
            _ => return,
        }
        match polls {
            Some(polls) => self.account_for(leaf, polls),
            None => self.unnumbered = self.unnumbered.saturating_add(1),
        }
    }

    /// From the first number to the newest; none where no event has a number. In a whole log the first is 1.
    #[must_use]
    pub const fn polls(&self) -> Option<NumberRange> {
        self.polls
    }

    /// Polls of [`polls`](Self::polls) of which no event says how they ended, with the leaf that follows them.
    #[must_use]
    pub fn unaccounted(&self) -> &[Finding] {
        &self.unaccounted
    }

    /// Polls that an event named after another had, or that are below the first: numbers only go up, so they were given twice.
    #[must_use]
    pub fn doubled(&self) -> &[Finding] {
        &self.doubled
    }

    /// What the log itself says is missing.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Readings and gaps that name no poll. Logs of sites that gave polls no numbers begin with such readings; else something is wrong.
    #[must_use]
    pub const fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Whether every poll is accounted for, once.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unaccounted.is_empty() && self.doubled.is_empty()
    }

    fn declare(&mut self, leaf: u64, count: Count, event: &Event, missing: Option<NumberRange>) {
        let reason = event.sealwire.as_ref().and_then(|detail| detail.reason.as_deref());
        let reason = reason.unwrap_or_default().to_owned();
        self.gaps.push(Gap { leaf, count, missing, reason });
    }

    fn account_for(&mut self, leaf: u64, polls: NumberRange) {
        let Some(before) = self.polls else {
            self.polls = Some(polls);
            return;
        };
        if let Some(passed) = between(before.last(), polls.first()) {
            self.unaccounted.push(Finding { leaf, polls: passed });
        }
        if let Some(again) = NumberRange::new(polls.first(), polls.last().min(before.last())) {
            self.account_late(leaf, again);
        }
        self.polls = Some(before.through(polls.last()));
    }

    /// Takes numbers that others have passed: what was unaccounted is not any more, the rest is doubled.
    fn account_late(&mut self, leaf: u64, again: NumberRange) {
        let end = self.unaccounted.partition_point(|hole| hole.polls.first() <= again.last());
        let start = self.unaccounted.partition_point(|hole| hole.polls.last() < again.first());
        let mut doubled_from = again.first();
        let mut left = Vec::new();
        for hole in self.unaccounted.get(start..end).unwrap_or_default() {
            let Finding { leaf: shown_at, polls } = *hole;
            if let Some(first) = polls.first().checked_sub(1) {
                self.doubled.extend(finding(leaf, doubled_from, first));
            }
            doubled_from = polls.last() + 1;
            if let Some(below) = again.first().checked_sub(1) {
                left.extend(finding(shown_at, polls.first(), below.min(polls.last())));
            }
            left.extend(finding(shown_at, (again.last() + 1).max(polls.first()), polls.last()));
        }
        self.doubled.extend(finding(leaf, doubled_from, again.last()));
        self.unaccounted.splice(start..end, left);
    }
}

/// The polls that an event accounts for, if it does.
fn accounted(event: &Event) -> Option<NumberRange> {
    let range = match event.action.as_deref()? {
        action::SENSOR_READING => {
            let poll = event.sealwire.as_ref()?.poll?;
            NumberRange::new(poll, poll)
        }
        action::READINGS_MISSING => missing(event),
        _ => None,
    };
    range.filter(|polls| polls.first() > 0)
}

fn missing(event: &Event) -> Option<NumberRange> {
    event.sealwire.as_ref()?.missing.as_deref()?.parse().ok()
}

/// The numbers above `low` and below `high`.
fn between(low: u64, high: u64) -> Option<NumberRange> {
    NumberRange::new(low + 1, high.checked_sub(1)?)
}

fn finding(leaf: u64, first: u64, last: u64) -> Option<Finding> {
    NumberRange::new(first, last).map(|polls| Finding { leaf, polls })
}

#[cfg(test)]
mod tests;
