//! What becomes of mapped readings: which are sealed, which number each gets, and which declared
//! intervals end without one. A state machine; time is an argument.
//!
//! A series with a declared interval has a number for each interval. A reading takes the next
//! number unless it comes within half an interval of the reading that took the last one; then it is
//! sealed without a number, because the device reports more often than it promised. An interval
//! that is half an interval overdue ends without a reading. Old values that a device sends later
//! (`historical`) take no number. If the rules change, the numbers go on.
//!
//! Invariants:
//! - each number is given once, in order, to a reading or to a gap;
//! - a series seals at most [`Pushes::READINGS_PER_MINUTE_MAX`] readings a minute, and there are at
//!   most [`Config::series_max`] series;
//! - refusals make at most one event a minute for each of [`KINDS_MAX`] topics, and one for the
//!   rest.

mod ordering;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use model::{
    Doubt, Event, InForce, NumberRange, OrdersInForce, PushedSeries, PushedValue, SensorId,
    Timestamp, gap::MissingReason,
};

use crate::{
    device_time::DeviceTime,
    mapping::{Heard, Mapping},
    reading::{Flag, Reading},
    under::Under,
};

/// Limits.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most series.
    pub series_max: usize,
    /// Most new series in a minute.
    pub new_series_per_minute: u32,
}

/// The time of an input by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Time since the start. It alone decides what is due.
    pub since_start: Duration,
    /// Wall clock, for events.
    pub wall: Timestamp,
}

/// What happened so far, for people and metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Readings that were sealed.
    pub readings: u64,
    /// Readings that came twice and were sealed once.
    pub duplicates: u64,
    /// Messages, or values in them, that were refused.
    pub refused: u64,
    /// Declared intervals that ended without a reading.
    pub missing: u64,
}

/// All series.
#[derive(Debug)]
pub struct Pushes {
    config: Config,
    series: BTreeMap<SensorId, Series>,
    orders: OrdersInForce,
    /// When each series has something to do.
    due: BTreeSet<(Duration, SensorId)>,
    new: PerMinute,
    refused: BTreeMap<String, Refused>,
    is_bus_up: bool,
    counters: Counters,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Series {
    description: PushedSeries,
    readings: PerMinute,
    /// Device's time and value of the newest reading that has both, to know it again.
    last: Option<(String, String)>,
    changes: PerMinute,
    intervals: Intervals,
    /// In a box, because most series are under no order.
    under: Option<Box<Under>>,
    /// Its entry in [`Pushes::due`].
    due: Option<Duration>,
}

/// The numbers of a series.
#[derive(Debug)]
struct Intervals {
    /// `None` if no rule declares one now, or the series is retired; then nothing is due.
    interval: Option<Duration>,
    /// The newest number that was given.
    number: u64,
    /// When the next report is expected.
    expected: Duration,
    missing: Option<Missing>,
    /// How long the next gap may stay undeclared.
    unsaid: Duration,
}

/// Intervals without a reading that no event has declared yet.
#[derive(Clone, Copy, Debug)]
struct Missing {
    numbers: NumberRange,
    reason: MissingReason,
    seal_at: Duration,
}

/// Number of events in the minute that began last.
#[derive(Clone, Copy, Debug, Default)]
struct PerMinute {
    minute: Duration,
    count: u32,
}

/// Refusals on a topic that are not reported yet.
#[derive(Debug)]
struct Refused {
    count: u64,
    newest: String,
    tell_at: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Topics whose refusals are counted apart.
const KINDS_MAX: usize = 32;
/// Longest topic and reason that are kept of a refusal, in characters.
const TOPIC_CHARS_MAX: usize = 80;
const REASON_CHARS_MAX: usize = 400;
/// Longest topic that is sealed with a reading, in characters.
const READING_TOPIC_CHARS_MAX: usize = 255;

impl PerMinute {
    fn take(&mut self, max: u32, now: Duration) -> bool {
        if now.saturating_sub(self.minute) >= MINUTE {
            *self = Self { minute: now, count: 0 };
        }
        let has_room = self.count < max;
        self.count += u32::from(has_room);
        has_room
    }
}

impl Pushes {
    /// Most readings that one series seals in a minute: ten a second, as often as a sensor can be
    /// polled.
    pub const READINGS_PER_MINUTE_MAX: u32 = 600;

    /// No series yet; the message bus is up.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            series: BTreeMap::new(),
            orders: OrdersInForce::default(),
            due: BTreeSet::new(),
            new: PerMinute::default(),
            refused: BTreeMap::new(),
            is_bus_up: true,
            counters: Counters::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes up a series of the log. `interval` is what its rule declares now, `number` the newest
    /// number in the log, and `away` the time since then, or why it is not known; `None` if the log
    /// has no number of it.
    pub fn restore(
        &mut self,
        description: PushedSeries,
        interval: Option<Duration>,
        number: u64,
        away: Option<Result<Duration, &'static str>>,
        at: At,
    ) {
        if self.series.len() >= self.config.series_max {
            return;
        }
        let mut series = Series::of(description, interval, at.since_start);
        series.obey(self.orders.of(series.description.id));
        let interval = interval.filter(|_| !series.is_retired());
        series.intervals.interval = interval;
        let intervals = &mut series.intervals;
        intervals.number = number;
        if let Some(interval) = interval {
            // Whenever the device reports next, it takes a number.
            intervals.expected = at.since_start + interval / 2;
            match away {
                Some(Err(why)) => self.events.push_back(Event::intervals_missing(
                    &series.description,
                    Err(why),
                    at.wall,
                )),
                Some(Ok(away)) => {
                    let count = away.as_micros() / interval.as_micros().max(1);
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    intervals.skip(count, MissingReason::Stopped, at.since_start);
                }
                None => {}
            }
        }
        let id = series.description.id;
        self.series.insert(id, series);
        self.arm(id);
    }

    /// Takes what a message became.
    pub fn handle(&mut self, topic: &str, mapping: Mapping, at: At) {
        self.handle_timeout(at);
        for refusal in &mapping.refusals {
            self.refuse(topic, &refusal.to_string(), at);
        }
        for reading in mapping.readings {
            if let Err(reason) = self.take(topic, reading, at) {
                self.refuse(topic, &reason, at);
            }
        }
        for heard in mapping.heard {
            if let Heard::Gone(name) = heard {
                self.gone(&name);
            }
        }
    }

    fn take(&mut self, topic: &str, mut reading: Reading, at: At) -> Result<(), String> {
        let place = self.orders.place_of(reading.sensor);
        let id = place.ok_or_else(|| {
            format!("another device is in the place of the sensor {}", reading.sensor)
        })?;
        reading.sensor = id;
        if !self.series.contains_key(&id) {
            self.begin(topic, &reading, at)?;
        }
        let Some(series) = self.series.get_mut(&id) else { return Ok(()) };
        if series.is_retired() {
            return Ok(());
        }
        let told = match reading.time {
            DeviceTime::Told(time) => Some(time.to_string()),
            // A right time, but for its zone.
            DeviceTime::Doubted { ref text, why: Doubt::NoZone } => Some(text.clone()),
            DeviceTime::None | DeviceTime::Doubted { .. } => None,
        };
        let told = told.map(|time| (time, reading.value.clone()));
        if told.is_some() && told == series.last {
            self.counters.duplicates += 1;
            return Ok(());
        }
        if !series.readings.take(Self::READINGS_PER_MINUTE_MAX, at.since_start) {
            return Err(format!(
                "sensor {id} has reported {} values in this minute, which is the limit",
                Self::READINGS_PER_MINUTE_MAX
            ));
        }
        series.last = told.or_else(|| series.last.take());
        series.follow(topic, &reading, at, &mut self.events);
        let is_historical = reading.flags.contains(&Flag::Historical);
        let interval = if is_historical { None } else { series.intervals.take(at.since_start) };
        if interval.is_some() {
            series.seal_missing(at.wall, &mut self.events);
        }
        let pushed = value_of(topic, reading, interval);
        let event = Event::pushed(&series.description, pushed, at.wall);
        self.events.push_back(match &series.under {
            Some(under) => under.mark(event, at.wall),
            None => event,
        });
        self.counters.readings += 1;
        self.arm(id);
        Ok(())
    }

    /// Begins a series with its first reading.
    fn begin(&mut self, topic: &str, reading: &Reading, at: At) -> Result<(), String> {
        let Config { series_max, new_series_per_minute } = self.config;
        if self.series.len() >= series_max {
            return Err(format!("the site already has {series_max} series, which is the limit"));
        }
        if !self.new.take(new_series_per_minute, at.since_start) {
            return Err(format!(
                "this minute has already brought {new_series_per_minute} new series, which is the \
                 limit (--new-sensors-per-minute)"
            ));
        }
        let mut series = Series::of(described(reading), reading.interval, at.since_start);
        series.obey(self.orders.of(reading.sensor));
        let description = &series.description;
        self.events.push_back(Event::series_discovered(description, &shortened(topic), at.wall));
        self.series.insert(reading.sensor, series);
        Ok(())
    }

    /// A device is gone: its next value may be the same as its last one.
    fn gone(&mut self, name: &str) {
        for series in self.series.values_mut() {
            let rest = series.description.name.strip_prefix(name);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                series.last = None;
            }
        }
    }

    /// The message bus goes away or comes back. What a device reports meanwhile cannot arrive.
    pub fn handle_bus(&mut self, is_up: bool, at: At) {
        self.handle_timeout(at);
        self.is_bus_up = is_up;
    }

    /// Ends the intervals that are overdue, and says what was not said yet.
    pub fn handle_timeout(&mut self, at: At) {
        while let Some((due, id)) =
            self.due.first().copied().filter(|(due, _)| *due <= at.since_start)
        {
            self.due.remove(&(due, id));
            let Some(series) = self.series.get_mut(&id) else { continue };
            series.due = None;
            let reason =
                if self.is_bus_up { MissingReason::NotReported } else { MissingReason::BusAway };
            self.counters.missing += series.intervals.pass(reason, at.since_start, |missing| {
                let event = Event::intervals_missing(&series.description, Ok(missing), at.wall);
                self.events.push_back(event);
            });
            series.seal_overdue(at, &mut self.events);
            self.arm(id);
        }
        let events = &mut self.events;
        self.refused.retain(|topic, refused| {
            if refused.tell_at > at.since_start {
                return true;
            }
            if refused.count > 0 {
                let Refused { count, newest, .. } = refused;
                events.push_back(Event::pushes_refused(topic, *count, newest, at.wall));
                refused.tell_at = at.since_start + MINUTE;
            }
            core::mem::take(&mut refused.count) > 0
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        due.into_iter().chain(self.refused.values().map(|refused| refused.tell_at)).min()
    }

    /// The next event to be sealed.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Says what was not said yet, before the site stops.
    pub fn handle_stop(&mut self, at: At) {
        self.handle_timeout(at);
        for series in self.series.values_mut() {
            series.seal_missing(at.wall, &mut self.events);
        }
        for (topic, Refused { count, newest, .. }) in core::mem::take(&mut self.refused) {
            if count > 0 {
                self.events.push_back(Event::pushes_refused(&topic, count, &newest, at.wall));
            }
        }
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts a refusal. The first on a topic is reported at once, the others once a minute.
    fn refuse(&mut self, topic: &str, reason: &str, at: At) {
        self.counters.refused += 1;
        let mut topic: String = topic.chars().take(TOPIC_CHARS_MAX).collect();
        let newest: String = reason.chars().take(REASON_CHARS_MAX).collect();
        if !self.refused.contains_key(&topic) && self.refused.len() >= KINDS_MAX {
            topic = String::from("other topics");
        }
        if let Some(refused) = self.refused.get_mut(&topic) {
            refused.count += 1;
            refused.newest = newest;
            return;
        }
        self.events.push_back(Event::pushes_refused(&topic, 1, &newest, at.wall));
        let tell_at = at.since_start + MINUTE;
        self.refused.insert(topic, Refused { count: 0, newest: String::new(), tell_at });
    }

    /// Notes when a series has something to do next.
    fn arm(&mut self, id: SensorId) {
        let Some(series) = self.series.get_mut(&id) else { return };
        let due = series.intervals.deadline();
        if let Some(former) = core::mem::replace(&mut series.due, due) {
            self.due.remove(&(former, id));
        }
        self.due.extend(due.map(|due| (due, id)));
    }
}

impl Series {
    /// Most changes of one series that are sealed in a minute. Two rules that make the same series
    /// would change it with every message.
    const CHANGES_PER_MINUTE_MAX: u32 = 10;

    fn of(description: PushedSeries, interval: Option<Duration>, now: Duration) -> Self {
        Self {
            description,
            readings: PerMinute::default(),
            last: None,
            changes: PerMinute::default(),
            intervals: Intervals {
                interval,
                number: 0,
                expected: now,
                missing: None,
                unsaid: Intervals::UNSAID_MIN,
            },
            under: None,
            due: None,
        }
    }

    /// Takes over what is in force.
    fn obey(&mut self, in_force: Option<&InForce>) {
        let nothing = InForce::default();
        let in_force = in_force.unwrap_or(&nothing);
        in_force.describe_series(&mut self.description);
        self.under = Under::of(in_force);
    }

    fn is_retired(&self) -> bool {
        self.under.as_ref().is_some_and(|under| under.is_retired)
    }

    /// Takes over another rule or interval, if the reading comes by one.
    fn follow(&mut self, topic: &str, reading: &Reading, at: At, events: &mut VecDeque<Event>) {
        let described = described(reading);
        let is_same = described.rule == self.description.rule
            && described.interval_ms == self.description.interval_ms
            && reading.interval == self.intervals.interval;
        if is_same || !self.changes.take(Self::CHANGES_PER_MINUTE_MAX, at.since_start) {
            return;
        }
        self.seal_missing(at.wall, events);
        let PushedSeries { alias, location, .. } =
            std::mem::replace(&mut self.description, described);
        (self.description.alias, self.description.location) = (alias, location);
        self.intervals.interval = reading.interval;
        self.intervals.expected = at.since_start;
        events.push_back(Event::series_changed(&self.description, &shortened(topic), at.wall));
    }

    fn seal_missing(&mut self, wall: Timestamp, events: &mut VecDeque<Event>) {
        if let Some(Missing { numbers, reason, .. }) = self.intervals.missing.take() {
            events.push_back(Event::intervals_missing(
                &self.description,
                Ok((numbers, reason)),
                wall,
            ));
        }
    }

    fn seal_overdue(&mut self, at: At, events: &mut VecDeque<Event>) {
        if self.intervals.missing.is_some_and(|missing| missing.seal_at <= at.since_start) {
            self.seal_missing(at.wall, events);
            self.intervals.unsaid = (self.intervals.unsaid * 2).min(Intervals::UNSAID_MAX);
        }
    }
}

impl Intervals {
    /// How long the first gap of a silence may stay undeclared.
    const UNSAID_MIN: Duration = MINUTE;
    /// The same of the later ones, which wait twice as long each time: a device that is gone for
    /// ever makes one event an hour.
    const UNSAID_MAX: Duration = Duration::from_secs(60 * 60);

    /// When the interval is over, or a gap must be declared.
    fn deadline(&self) -> Option<Duration> {
        let over = self.interval.map(|interval| self.expected + interval / 2);
        over.into_iter().chain(self.missing.map(|missing| missing.seal_at)).min()
    }

    /// Expects reports every `interval` from now on.
    fn expect_anew(&mut self, interval: Option<Duration>, now: Duration) {
        self.interval = interval;
        self.expected = now + interval.unwrap_or_default();
        self.unsaid = Self::UNSAID_MIN;
    }

    /// Gives the next number to a reading, unless it comes early.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let interval = self.interval?;
        if now + interval / 2 < self.expected {
            return None;
        }
        self.number += 1;
        self.expected = now + interval;
        self.unsaid = Self::UNSAID_MIN;
        Some(self.number)
    }

    /// Gives numbers to the intervals that are over. Returns how many.
    fn pass(
        &mut self,
        reason: MissingReason,
        now: Duration,
        seal: impl FnMut((NumberRange, MissingReason)),
    ) -> u64 {
        let Some(interval) = self.interval else { return 0 };
        let Some(overdue) = now.checked_sub(self.expected + interval / 2) else { return 0 };
        let count = 1 + overdue.as_micros() / interval.as_micros().max(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.expected += interval * count;
        // A gap for another reason is declared apart.
        self.missing
            .take_if(|missing| missing.reason != reason)
            .map(|missing| (missing.numbers, missing.reason))
            .into_iter()
            .for_each(seal);
        self.skip(u64::from(count), reason, now);
        u64::from(count)
    }

    /// Gives `count` numbers, all without a reading. The gap that waits has the same reason.
    fn skip(&mut self, count: u64, reason: MissingReason, now: Duration) {
        let Some(numbers) = NumberRange::new(self.number + 1, self.number.saturating_add(count))
        else {
            return;
        };
        self.number = numbers.last();
        let seal_at = now + self.unsaid;
        let missing = self.missing.get_or_insert(Missing { numbers, reason, seal_at });
        missing.numbers = missing.numbers.through(numbers.last());
    }
}

fn described(reading: &Reading) -> PushedSeries {
    PushedSeries {
        alias: None,
        location: String::new(),
        id: reading.sensor,
        interval_ms: reading.interval.and_then(|interval| u64::try_from(interval.as_millis()).ok()),
        name: reading.name.clone(),
        quantity: reading.quantity.clone(),
        rule: reading.rule.clone(),
        unit: reading.unit.clone(),
    }
}

fn shortened(topic: &str) -> String {
    topic.chars().take(READING_TOPIC_CHARS_MAX).collect()
}

fn value_of(topic: &str, reading: Reading, interval: Option<u64>) -> PushedValue {
    let (sensor_time, device_time, doubt) = match reading.time {
        DeviceTime::None => (None, None, None),
        DeviceTime::Told(time) => (Some(time), None, None),
        DeviceTime::Doubted { text, why } => (None, Some(text), Some(String::from(why.as_str()))),
    };
    let words: Vec<String> = reading.flags.iter().map(|flag| flag.word()).chain(doubt).collect();
    PushedValue {
        value: reading.value,
        unit: reading.unit,
        sensor_time,
        device_time,
        message: reading.seq,
        flags: Some(words.join(" ")).filter(|words| !words.is_empty()),
        topic: shortened(topic),
        interval,
    }
}
