//! Checks whether the log accounts for every poll of every sensor.
//!
//! The site numbers the polls of each sensor from 1. Each number is in the log once: in a reading
//! (`poll`), or in a `READINGS_MISSING` event that says why there is no reading (`missing`,
//! `reason`). If the site was down and its clock cannot tell for how long, that event names no
//! numbers. The sensor's own count, `seq`, is separate. If it does not increase by one, a
//! `SEQUENCE_BROKEN` event says so, unless the count restarts after an absence.
//! `docs/formats/completeness.md` defines the format.
//!
//! [`Completeness`] serves anyone who holds sealed events and trusts no one. It reads no clock and
//! no file, and uses only the events themselves.

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

/// The newest numbers of a sensor in the log. The next numbers continue from them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastNumbers {
    /// Newest number of a poll; 0 if no poll has a number.
    pub poll: u64,
    /// Newest number of the sensor's own count.
    pub seq: Option<u64>,
    /// All polls due until this time have numbers. It is the time of the newest reading or gap, or
    /// of the sensor's discovery or return, or of an order about its polls, after it.
    pub numbered_until: Option<Timestamp>,
    /// Whether later events carry earlier times. Then the clock was set back, and the time until
    /// now cannot be computed.
    pub set_back: bool,
    /// Whether the sensor ever answered.
    pub answered: bool,
    /// Whether these events include one that says that the time before it is unknown.
    pub anew: bool,
}

impl LastNumbers {
    /// How far times may go back between two events on a correct clock: a reading may wait for ten
    /// timeouts of a minute before it is sealed.
    pub const CLOCK_SLACK: Duration = Duration::from_secs(15 * 60);

    /// These numbers followed by those of one sealed event of the sensor.
    #[must_use]
    pub fn after(self, event: &Event) -> Self {
        self.then(Self::of(event))
    }

    /// These numbers followed by those of later events.
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

    /// The numbers of one event.
    fn of(event: &Event) -> Self {
        let moves = [
            action::SENSOR_READING,
            action::READINGS_MISSING,
            action::SENSOR_DISCOVERED,
            action::HEARTBEAT_RESUMED,
            action::SENSOR_ADDED,
            action::POLL_INTERVAL_SET,
            action::POLLS_PAUSED,
            action::POLLS_RESUMED,
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

/// Whether `at` is so far before `before` that the clock must have been set back.
fn is_before(at: Timestamp, before: Timestamp) -> bool {
    let slack = i64::try_from(LastNumbers::CLOCK_SLACK.as_micros()).unwrap_or(i64::MAX);
    at.unix_micros().saturating_add(slack) < before.unix_micros()
}

/// Checks sealed events for missing and doubled polls, sensor by sensor.
///
/// It needs a few hundred bytes for each sensor, and holds at most
/// [`LISTED_MAX`](Listed::LISTED_MAX) entries in each of the six lists of an account, however long
/// the log is.
#[derive(Clone, Debug)]
pub struct Completeness {
    accounts: BTreeMap<SensorId, Account>,
    /// The number before the first one that a sensor must have; `None` if it may begin with any.
    before_first: Option<u64>,
    /// Number of erased envelopes so far.
    erased: u64,
    /// Number of starts of the site so far.
    starts: u64,
}

/// What the sealed events of one sensor tell about its polls.
#[derive(Clone, Debug, Default)]
pub struct Account {
    polls: Option<NumberRange>,
    missing: u64,
    unnumbered: u64,
    not_asked: u64,
    unaccounted: Listed<PollsAt>,
    erased: Listed<PollsAt>,
    doubled: Listed<PollsAt>,
    gaps: Listed<Gap>,
    breaks: Listed<Break>,
    pauses: Listed<Pause>,
    /// Number of gaps that name no poll numbers.
    uncounted: u64,
    /// Newest number of the sensor's own count.
    seq: Option<u64>,
    /// How often the sensor's own count restarted.
    begun_anew: u64,
    /// Whether the sensor was away, or replaced, since the newest number of its own count.
    was_away: bool,
    /// Value of [`Completeness::starts`] when that number came.
    starts: u64,
    /// Value of [`Completeness::erased`] when the newest poll number came.
    erased_before: u64,
}

/// The number of items, and the first [`LISTED_MAX`](Self::LISTED_MAX) of them.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    listed: Vec<T>,
    count: u64,
}

/// Polls with a fault, and the leaf that shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PollsAt {
    /// Index of the leaf that shows the fault.
    pub leaf: u64,
    /// Numbers of the polls.
    pub polls: NumberRange,
}

/// Polls that the log itself declares missing. Consecutive events with the same reason make one
/// gap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// Index of the first leaf of the gap.
    pub leaf: u64,
    /// Numbers of the polls.
    pub polls: NumberRange,
    /// The event's `reason`, cut off after [`REASON_CHARS_MAX`](Self::REASON_CHARS_MAX) characters.
    pub reason: String,
}

/// A time in which nothing was due, because someone had paused the polls. No numbers belong to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pause {
    /// The leaf of the order that paused them.
    pub from: u64,
    /// The leaf that ended the pause; `None` while it lasts.
    pub to: Option<u64>,
}

/// A reading at which the sensor's own count did not increase by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Break {
    /// Index of the reading's leaf.
    pub leaf: u64,
    /// How the count is broken.
    pub broken: SequenceBreak,
}

impl Completeness {
    /// Checks a whole log: the polls of each sensor must begin with number 1.
    #[must_use]
    pub const fn of_log() -> Self {
        Self { accounts: BTreeMap::new(), before_first: Some(0), erased: 0, starts: 0 }
    }

    /// Checks a part of a log, between any two leaves. Numbers before a sensor's first one are not
    /// missed.
    #[must_use]
    pub const fn of_part() -> Self {
        Self { accounts: BTreeMap::new(), before_first: None, erased: 0, starts: 0 }
    }

    /// Takes the event of `leaf`. The caller must pass events in the log's order. Events without
    /// poll numbers are skipped.
    pub fn take(&mut self, leaf: u64, event: &Event) {
        let is_ours = event.sealwire.is_some();
        if is_ours && event.action.as_deref() == Some(action::SITE_STARTED) {
            self.starts = self.starts.saturating_add(1);
        }
        let Some(sensor) = event.sensor() else { return };
        if event.action.as_deref() == Some(action::POLLS_PAUSED) {
            self.accounts.entry(sensor).or_default().pauses.push(Pause { from: leaf, to: None });
        } else if ends_pause(event)
            && let Some(account) = self.accounts.get_mut(&sensor)
        {
            account.end_pause(leaf);
        }
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

    /// Takes the next leaf, whose envelope was erased. It may have been of any sensor.
    pub const fn take_erased(&mut self) {
        self.erased = self.erased.saturating_add(1);
    }

    /// Every sensor that has a reading, a gap or a pause, in order of id.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (SensorId, &Account)> {
        self.accounts.iter().map(|(sensor, account)| (*sensor, account))
    }

    /// One sensor's account, if it has a reading, a gap or a pause.
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
    /// Range from the first number to the newest; `None` if no event has a number.
    #[must_use]
    pub const fn polls(&self) -> Option<NumberRange> {
        self.polls
    }

    /// Number of polls that the log itself declares missing.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Number of readings and gaps without poll numbers: from a site that did not number polls yet,
    /// or sealed by another program.
    #[must_use]
    pub const fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Number of readings that a device reported by itself outside of any declared interval. Nobody
    /// asked for them, so nothing says how many there should be.
    #[must_use]
    pub const fn not_asked(&self) -> u64 {
        self.not_asked
    }

    /// Polls for which no event says how they ended, with the leaf after them.
    #[must_use]
    pub const fn unaccounted(&self) -> &Listed<PollsAt> {
        &self.unaccounted
    }

    /// Polls as in [`unaccounted`](Self::unaccounted), but erased envelopes in between may have
    /// said how they ended.
    #[must_use]
    pub const fn perhaps_erased(&self) -> &Listed<PollsAt> {
        &self.erased
    }

    /// Polls that an event names out of turn. Numbers only increase, so these were given twice.
    #[must_use]
    pub const fn doubled(&self) -> &Listed<PollsAt> {
        &self.doubled
    }

    /// Gaps that the log itself declares.
    #[must_use]
    pub const fn gaps(&self) -> &Listed<Gap> {
        &self.gaps
    }

    /// Breaks of the sensor's own count, computed from the readings alone.
    #[must_use]
    pub const fn breaks(&self) -> &Listed<Break> {
        &self.breaks
    }

    /// Times in which the sensor was not asked, because someone had paused its polls.
    #[must_use]
    pub const fn pauses(&self) -> &Listed<Pause> {
        &self.pauses
    }

    /// Number of gaps for which the log says that the number of polls is unknown.
    #[must_use]
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// How often the sensor's own count restarted after the sensor or the site had been away.
    #[must_use]
    pub const fn begun_anew(&self) -> u64 {
        self.begun_anew
    }

    /// Whether the log accounts for every poll once. Polls that erased envelopes may account for do
    /// not count against it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unaccounted.count == 0 && self.doubled.count == 0
    }

    /// The newest pause ends, if it has not ended yet.
    fn end_pause(&mut self, leaf: u64) {
        if let Some(pause) = self.pauses.last_mut().filter(|pause| pause.to.is_none()) {
            pause.to = Some(leaf);
        }
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
            let count = if is_pushed(event) { &mut self.not_asked } else { &mut self.unnumbered };
            *count = count.saturating_add(1);
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
        // A part of a log may lack the event of the site's start.
        self.was_away |= gap.reason == MissingReason::Stopped.as_str();
        // A long outage makes one event a minute.
        match self.gaps.last_mut() {
            Some(last) if last.polls.last() + 1 == polls.first() && last.reason == gap.reason => {
                last.polls = last.polls.through(polls.last());
            }
            _ => self.gaps.push(gap),
        }
    }
}

impl Gap {
    /// Longest reason that is kept, in characters. The site's own have at most ten.
    pub const REASON_CHARS_MAX: usize = 32;
}

impl<T> Listed<T> {
    /// Most items listed; further ones are only counted. A hundred show what happened, and the full
    /// lists of a thousand sensors take less than 20 MB.
    pub const LISTED_MAX: usize = 100;

    /// Number of items.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first items, in the log's order.
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

    /// The newest item, if it is listed.
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

/// Whether an event accounts for polls: it is a reading or a gap.
fn numbers(event: &Event) -> bool {
    matches!(event.action.as_deref(), Some(action::SENSOR_READING | action::READINGS_MISSING))
}

/// Whether an event is about a device that reports by itself.
fn is_pushed(event: &Event) -> bool {
    event.sealwire.as_ref().is_some_and(|detail| detail.rule.is_some())
}

/// Whether an event declares polls missing without a known number.
fn is_uncounted(event: &Event) -> bool {
    let is_gap = event.action.as_deref() == Some(action::READINGS_MISSING);
    event.sealwire.as_ref().filter(|_| is_gap).is_some_and(|detail| {
        detail.missing.is_none() && detail.reason.as_deref() == Some(UNCOUNTED)
    })
}

/// Whether an event shows that a sensor was away, or that another device may be in its place.
fn is_absence(event: &Event) -> bool {
    matches!(
        event.action.as_deref(),
        Some(
            action::HEARTBEAT_MISSED
                | action::HEARTBEAT_RESUMED
                | action::SENSOR_DISCONNECTED
                | action::SENSOR_DISCOVERED
                | action::SENSOR_ADDED
                | action::SENSOR_REPLACED
                | action::DOUBLE_SETTLED
        )
    )
}

/// Whether an event ends a pause of the polls of its sensor.
fn ends_pause(event: &Event) -> bool {
    matches!(
        event.action.as_deref(),
        Some(action::POLLS_RESUMED | action::SENSOR_FORGOTTEN | action::SENSOR_ADDED)
    )
}

/// The polls for which an event says how they ended.
fn accounted(event: &Event) -> Option<NumberRange> {
    let detail = event.sealwire.as_ref()?;
    let range = match event.action.as_deref()? {
        action::SENSOR_READING => detail.poll.and_then(|poll| NumberRange::new(poll, poll)),
        action::READINGS_MISSING => detail.missing.as_deref()?.parse().ok(),
        _ => None,
    };
    range.filter(|polls| polls.first() > 0)
}

/// The number of a reading in the sensor's own count.
fn sequence(event: &Event) -> Option<u64> {
    let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
    event.sealwire.as_ref().filter(|_| is_reading).and_then(|detail| detail.seq)
}

#[cfg(test)]
mod tests;
