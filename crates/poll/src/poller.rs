//! The poller of one site: every sensor it has heard of.
//!
//! Drive it with the `handle_*` functions, draining [`Poller::poll_action`] after each, and sleep
//! until [`Poller::poll_timeout`] to call [`Poller::handle_timeout`]. Each [`Now`] is the moment
//! the message arrived; that decides whether an answer is late.
//!
//! Invariants:
//! - after `handle_timeout(now)`, `poll_timeout` is later than `now`, or there is none;
//! - `sensors.len() <= config.sensors_max`, and each sensor that waits for something is in the
//!   schedule;
//! - a sensor is subscribed exactly while it owns its read topic;
//! - for each sensor, the numbers of the readings and gaps that are sealed go from 1 to the newest
//!   without one left out or named twice, over all restarts: [`Poller::restore`] is told the newest
//!   in the log, and what was given beyond it was never sealed.

use core::time::Duration;
use std::collections::BTreeMap;

use model::{
    Event, Heartbeat, InvalidHeartbeat, LeftOut, Pattern, Protocol, SensorId, SensorState, Subject,
    action, completeness::LastNumbers,
};

use crate::{
    action::{Action, Outbox},
    budget::{Budget, Stretched},
    bus::Bus,
    clock::{Instant, Now, Past},
    counters::{Counters, count},
    per_minute::PerMinute,
    refusals::Refusals,
    schedule::{FirstPolls, Schedule},
    sensor::Sensor,
    topics::{Conflict, Topics},
};

/// How patient the poller is, and with how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Time a sensor has to answer. Shorter for sensors that are polled more often than that.
    pub answer_timeout: Duration,
    /// Time without a heartbeat after which a sensor is lost.
    pub lost_after: Duration,
    /// Most sensors, lost and gone ones included.
    pub sensors_max: usize,
    /// Most polls a second; the fastest sensors are polled less often where they ask for more.
    pub polls_per_second: u32,
    /// Most sensors a minute that the log does not know by a reading.
    pub new_sensors_per_minute: u32,
}

impl Default for Config {
    /// 500 ms to answer; lost after 150 s, two and a half of the slowest heartbeats; 20,000
    /// sensors, at 1.6 KB each; 5,000 polls a second, which such a fleet asks for; 1,000 new
    /// sensors a minute, so that a plant of thousands comes up within minutes.
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_millis(500),
            lost_after: Duration::from_secs(150),
            sensors_max: 20_000,
            polls_per_second: 5_000,
            new_sensors_per_minute: 1_000,
        }
    }
}

/// Where a heartbeat was heard.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// On which subject.
    pub subject: &'a str,
    /// What its sender speaks.
    pub protocol: Protocol,
}

/// The state machine.
#[derive(Debug)]
pub struct Poller {
    config: Config,
    heartbeats: Vec<Pattern>,
    bus: Bus,
    sensors: BTreeMap<SensorId, Sensor>,
    /// Numbers that sensors go on from which are not taken up: of sensors of the log that were
    /// refused, or whose heartbeat was erased.
    last_numbers: BTreeMap<SensorId, LastNumbers>,
    topics: Topics,
    schedule: Schedule,
    first_polls: FirstPolls,
    budget: Budget,
    refusals: Refusals,
    /// Those that nobody knew. One that is refused for another reason counts, too: looking at it
    /// costs as much.
    new_sensors: PerMinute,
    outbox: Outbox,
}

impl Poller {
    /// A poller that knows no sensor, on a message bus that is there.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            heartbeats: Vec::new(),
            bus: Bus::Up,
            sensors: BTreeMap::new(),
            last_numbers: BTreeMap::new(),
            topics: Topics::default(),
            schedule: Schedule::default(),
            first_polls: FirstPolls::default(),
            budget: Budget::new(config.polls_per_second),
            refusals: Refusals::default(),
            new_sensors: PerMinute::default(),
            outbox: Outbox::default(),
        }
    }

    /// The same poller, which knows on which subjects heartbeats are heard: no sensor has another
    /// topic there.
    #[must_use]
    pub fn hearing(self, heartbeats: Vec<Pattern>) -> Self {
        Self { heartbeats, ..self }
    }

    /// Takes up the sensors of an earlier run, as the log has them. Those that were online are
    /// polled at once and have `lost_after` to show a heartbeat; what fell due of them since the
    /// log last heard of them is missing, as far as the clock says how long that is (`past`). The
    /// others are only known, until they show a heartbeat. `last_numbers` has the newest numbers of
    /// every sensor that ever had one, known or not, so that none is given again.
    ///
    /// Returns those that were left out, and why, which their next heartbeat may change. A sensor
    /// that is known already is left as it is.
    pub fn restore(
        &mut self,
        known: impl IntoIterator<Item = (Heartbeat, SensorState)>,
        last_numbers: BTreeMap<SensorId, LastNumbers>,
        past: Past,
        now: Now,
    ) -> Vec<(Heartbeat, RefusedHeartbeat)> {
        self.last_numbers.extend(last_numbers);
        let mut refused = Vec::new();
        for (heartbeat, state) in known {
            if self.sensors.contains_key(&heartbeat.id) {
                continue;
            }
            let accepted = match state {
                SensorState::Online => self.accept(&heartbeat),
                SensorState::Lost | SensorState::Disconnected => self.check_room(heartbeat.id),
            };
            match accepted {
                Ok(()) => {
                    let mut sensor = self.sensor_after_last(heartbeat, state, now);
                    sensor.handle_start(past, now, &mut self.outbox);
                    self.insert(sensor, now);
                }
                Err(reason) => refused.push((heartbeat, reason)),
            }
        }
        refused
    }

    /// A heartbeat. `Ok` says whose it was; an error has been counted, is told of once a minute,
    /// and changed nothing else.
    pub fn handle_heartbeat(
        &mut self,
        payload: &[u8],
        source: Source<'_>,
        now: Now,
    ) -> Result<SensorId, RefusedHeartbeat> {
        // Who is lost was lost at its deadline, not when it is noticed, and so has no claim to its
        // topics.
        self.handle_timeout(now);
        let heartbeat =
            Heartbeat::from_wire(payload, source.protocol).map_err(RefusedHeartbeat::Invalid);
        let accepted = heartbeat.and_then(|(mut heartbeat, mut left_out)| {
            left_out.extend(self.leave_out_farewell(&mut heartbeat));
            self.accept_new(heartbeat.id, now)?;
            self.accept_change(&heartbeat, now)?;
            self.accept(&heartbeat)?;
            self.make_room(heartbeat.id, now);
            Ok((heartbeat, left_out))
        });
        let (heartbeat, left_out) = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => {
                // Refused, and no more: the sensor says so again in a minute.
                count(&mut self.outbox.counters.refused_heartbeats);
                let (kind, words) = (reason.kind(), reason.to_string());
                self.refusals.take(source.subject, kind, &words, now, &mut self.outbox);
                return Err(reason);
            }
        };
        let id = heartbeat.id;
        let lost_at = now.monotonic + self.config.lost_after;
        if let Some(sensor) = self.sensors.get_mut(&id) {
            let first_poll = || self.first_polls.next(now.monotonic);
            let bus = self.bus;
            sensor.handle_heartbeat(heartbeat, lost_at, first_poll, bus, now, &mut self.outbox);
        } else {
            self.outbox.seal_sighting(action::SENSOR_DISCOVERED, &heartbeat, now.wall);
            let sensor = self.sensor_after_last(heartbeat, SensorState::Online, now);
            self.insert(sensor, now);
        }
        if let Some(sensor) = self.sensors.get_mut(&id) {
            sensor.tell_left_out(&left_out, now, &mut self.outbox);
        }
        self.settle(id, now);
        Ok(id)
    }

    /// A message on the read topic of `sensor`.
    pub fn handle_answer(&mut self, sensor: SensorId, payload: &[u8], now: Now) {
        if let Some(sensor) = self.sensors.get_mut(&sensor) {
            sensor.handle_answer(payload, now, &mut self.outbox);
        }
        self.settle(sensor, now);
    }

    /// A message on the disconnect topic of `sensor`, whatever it says.
    pub fn handle_disconnect(&mut self, sensor: SensorId, now: Now) {
        if let Some(sensor) = self.sensors.get_mut(&sensor) {
            sensor.handle_disconnect(now, self.bus, &mut self.outbox);
        }
        self.settle(sensor, now);
    }

    /// The message bus went away or came back. Repeated news does nothing.
    ///
    /// While it is away no poll is sent, those due are counted as skipped, and no sensor is lost:
    /// the time until it is starts again when the bus is back.
    pub fn handle_bus(&mut self, bus: Bus, now: Now) {
        if self.bus == bus {
            return;
        }
        // What was due until now belongs to the bus as it was.
        self.handle_timeout(now);
        self.bus = bus;
        let lost_at = now.monotonic + self.config.lost_after;
        for sensor in self.sensors.values_mut() {
            match bus {
                Bus::Up => sensor.handle_bus_up(now.monotonic, lost_at),
                Bus::Down => sensor.handle_bus_down(now, &mut self.outbox),
            }
            self.schedule.arm(sensor.id(), sensor.deadline(bus));
        }
    }

    /// Knows a sensor no more because someone ordered it. If it beats again it is a new one, whose
    /// numbers go on.
    ///
    /// Answers its last heartbeat, if the sensor was known: whoever calls seals that it is
    /// forgotten, after all that [`Poller::poll_action`] gives.
    pub fn handle_forget(&mut self, sensor: SensorId, now: Now) -> Option<Heartbeat> {
        self.handle_timeout(now);
        self.take_out(sensor, now)
    }

    /// The site stops: every number that was given and is not sealed becomes a gap, polls in flight
    /// included. Nothing is to be fed after it.
    pub fn handle_stop(&mut self, now: Now) {
        self.refusals.tell_all(now.wall, &mut self.outbox);
        for sensor in self.sensors.values_mut() {
            sensor.handle_stop(now, self.bus, &mut self.outbox);
        }
    }

    /// Time passed. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(sensor) = self.schedule.due(now.monotonic) {
            self.settle(sensor, now);
        }
        self.refusals.tell_due(now, &mut self.outbox);
        if self.budget.look(now.monotonic) {
            let shortest = self.budget.shortest();
            self.sensors.values_mut().for_each(|sensor| sensor.set_shortest(shortest));
        }
        if let Some(Stretched { shortest, wished, polls_per_second }) =
            self.budget.tell(now.monotonic)
        {
            let asked = (wished, polls_per_second);
            self.outbox.seal(Event::polls_stretched(shortest, asked, now.wall));
        }
    }

    /// The next thing to do. Bounded only by what is fed: drain it after each input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.actions.pop_front()
    }

    /// When [`Poller::handle_timeout`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.budget.deadline(), self.refusals.deadline()];
        others.into_iter().chain([self.schedule.soonest()]).flatten().min()
    }

    /// What became of the polls so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.outbox.counters
    }

    /// The state of `sensor`, if it was ever heard of.
    #[must_use]
    pub fn state(&self, sensor: SensorId) -> Option<SensorState> {
        self.sensors.get(&sensor).map(Sensor::state)
    }

    /// Every sensor with its last accepted heartbeat, in the order of their ids.
    pub fn sensors(&self) -> impl ExactSizeIterator<Item = (&Heartbeat, SensorState)> {
        self.sensors.values().map(|sensor| (&sensor.heartbeat, sensor.state()))
    }

    /// Takes the disconnect topic out of a heartbeat, if it cannot be had: the sensor is polled
    /// without.
    fn leave_out_farewell(&self, heartbeat: &mut Heartbeat) -> Option<LeftOut> {
        let topic = heartbeat.disconnect_topic.as_ref()?;
        let is_alive = |other| self.state(other) == Some(SensorState::Online);
        let reason = match self.topics.check_farewell(heartbeat, topic, is_alive) {
            Err(conflict) => refused(heartbeat.id, conflict).to_string(),
            Ok(()) => {
                let heard = self.heartbeats.iter().find(|pattern| pattern.matches(topic))?;
                format!("heartbeats are heard on `{topic}`, which `{heard}` matches")
            }
        };
        heartbeat.disconnect_topic = None;
        Some(LeftOut { field: "disconnect_topic", reason })
    }

    /// Refuses topics on which heartbeats are heard: a poll would be taken for a heartbeat, or a
    /// heartbeat for an answer.
    fn check_apart(&self, heartbeat: &Heartbeat) -> Result<(), RefusedHeartbeat> {
        for topic in [&heartbeat.poll_topic, &heartbeat.read_topic] {
            if let Some(pattern) = self.heartbeats.iter().find(|pattern| pattern.matches(topic)) {
                let (topic, pattern) = (topic.clone(), pattern.clone());
                return Err(RefusedHeartbeat::TopicOfHeartbeats {
                    sensor: heartbeat.id,
                    topic,
                    pattern,
                });
            }
        }
        Ok(())
    }

    /// Refuses a heartbeat that would break a limit or another sensor; otherwise gives it its
    /// topics, and subscribes to those that are new.
    fn accept(&mut self, heartbeat: &Heartbeat) -> Result<(), RefusedHeartbeat> {
        let id = heartbeat.id;
        self.check_room(id)?;
        self.check_apart(heartbeat)?;
        let known = self.sensors.get(&id).map(|sensor| &sensor.heartbeat);
        let is_alive = |other| self.state(other) == Some(SensorState::Online);
        let displaced =
            self.topics.check(heartbeat, is_alive).map_err(|conflict| refused(id, conflict))?;
        if let Some(displaced) = displaced {
            self.outbox.unsubscribe(displaced);
        }
        let subscribed_to = known.filter(|known| self.topics.reader(&known.read_topic) == Some(id));
        let stays = subscribed_to.is_some_and(|known| {
            known.read_topic == heartbeat.read_topic
                && known.disconnect_topic == heartbeat.disconnect_topic
        });
        if !stays {
            if subscribed_to.is_some() {
                self.outbox.unsubscribe(id);
            }
            self.outbox.subscribe(heartbeat);
        }
        if let Some(known) = known {
            self.topics.release(known);
        }
        self.topics.claim(heartbeat);
        Ok(())
    }

    fn check_room(&self, sensor: SensorId) -> Result<(), RefusedHeartbeat> {
        let sensors_max = self.config.sensors_max;
        let has_room = self.sensors.len() < sensors_max || self.sensors.contains_key(&sensor);
        if has_room || self.longest_unanswered().is_some() {
            Ok(())
        } else {
            Err(RefusedHeartbeat::SensorsMax { sensor, sensors_max })
        }
    }

    /// The sensor that makes room for another, if there is one: that which was asked the longest
    /// ago of those that never answered.
    fn longest_unanswered(&self) -> Option<SensorId> {
        let unanswered = self
            .sensors
            .values()
            .filter_map(|sensor| sensor.unanswered_since().map(|since| (since, sensor.id())));
        unanswered.min().map(|(_, sensor)| sensor)
    }

    /// Makes room for a sensor that was accepted, if there is none.
    fn make_room(&mut self, sensor: SensorId, now: Now) {
        let is_full = self.sensors.len() >= self.config.sensors_max;
        if is_full
            && !self.sensors.contains_key(&sensor)
            && let Some(unanswered) = self.longest_unanswered()
        {
            self.forget(unanswered, now);
        }
    }

    /// Refuses one more sensor than may come in a minute. What the log knows by a reading is not
    /// new.
    fn accept_new(&mut self, sensor: SensorId, now: Now) -> Result<(), RefusedHeartbeat> {
        let per_minute = self.config.new_sensors_per_minute;
        let is_known = self.sensors.contains_key(&sensor) || self.is_known_by_a_reading(sensor);
        if is_known || self.new_sensors.take(per_minute, now.monotonic) {
            Ok(())
        } else {
            Err(RefusedHeartbeat::NewSensorsMax { sensor, per_minute })
        }
    }

    /// Refuses what would be told of a sensor that changes or comes back again and again: each time
    /// is an event in the log.
    fn accept_change(&mut self, heartbeat: &Heartbeat, now: Now) -> Result<(), RefusedHeartbeat> {
        let sensor = heartbeat.id;
        let known = self.sensors.get_mut(&sensor);
        if known.is_none_or(|known| known.may_change(heartbeat, now.monotonic)) {
            Ok(())
        } else {
            Err(RefusedHeartbeat::ChangesMax { sensor })
        }
    }

    fn is_known_by_a_reading(&self, sensor: SensorId) -> bool {
        self.last_numbers.get(&sensor).is_some_and(|last| last.answered)
    }

    /// Knows a sensor no more, which never answered.
    fn forget(&mut self, id: SensorId, now: Now) {
        if let Some(heartbeat) = self.take_out(id, now) {
            self.outbox.seal_sighting(action::SENSOR_FORGOTTEN, &heartbeat, now.wall);
        }
    }

    /// Takes a sensor out, and keeps where its numbers go on. Answers its last heartbeat.
    fn take_out(&mut self, id: SensorId, now: Now) -> Option<Heartbeat> {
        let sensor = self.sensors.remove(&id)?;
        let (heartbeat, wished) = (sensor.heartbeat.clone(), sensor.wished);
        if self.topics.reader(&heartbeat.read_topic) == Some(id) {
            self.outbox.unsubscribe(id);
        }
        self.topics.release(&heartbeat);
        self.schedule.arm(id, None);
        self.budget.wish(wished, None, now.monotonic);
        let last = sensor.forget(now, self.bus, &mut self.outbox);
        self.last_numbers.insert(id, last);
        Some(heartbeat)
    }

    /// A new sensor, whose numbers go on after the newest in the log.
    fn sensor_after_last(&mut self, heartbeat: Heartbeat, state: SensorState, now: Now) -> Sensor {
        let last = self.last_numbers.remove(&heartbeat.id).unwrap_or_default();
        let lost_at = now.monotonic + self.config.lost_after;
        let answer_timeout = self.config.answer_timeout;
        let due_at = || self.first_polls.next(now.monotonic);
        let moments = (now.monotonic, lost_at);
        let mut sensor = Sensor::new(heartbeat, state, last, answer_timeout, moments, due_at);
        sensor.set_shortest(self.budget.shortest());
        sensor
    }

    /// Takes in a new sensor that was accepted.
    fn insert(&mut self, sensor: Sensor, now: Now) {
        let id = sensor.id();
        self.sensors.insert(id, sensor);
        self.settle(id, now);
    }

    /// Does what is due for one sensor, and arms its next deadline.
    fn settle(&mut self, id: SensorId, now: Now) {
        let Some(sensor) = self.sensors.get_mut(&id) else {
            return;
        };
        sensor.handle_timeout(now, self.bus, &mut self.outbox);
        if self.bus == Bus::Up && sensor.forget_at().is_some_and(|at| at <= now.monotonic) {
            return self.forget(id, now);
        }
        let wish = sensor.wish();
        let before = core::mem::replace(&mut sensor.wished, wish);
        self.schedule.arm(id, sensor.deadline(self.bus));
        self.budget.wish(before, wish, now.monotonic);
    }
}

/// Why a heartbeat changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum RefusedHeartbeat {
    /// It is not one.
    #[error(transparent)]
    Invalid(InvalidHeartbeat),
    /// The site is full.
    #[error(
        "sensor {sensor} is refused: the site has its {sensors_max} sensors, which is its limit"
    )]
    SensorsMax {
        /// The one too many.
        sensor: SensorId,
        /// [`Config::sensors_max`].
        sensors_max: usize,
    },
    /// Too many came in a minute that nobody knows.
    #[error(
        "sensor {sensor} is refused: {per_minute} new sensors have come in this minute, which is the limit; --new-sensors-per-minute sets it"
    )]
    NewSensorsMax {
        /// The one too many.
        sensor: SensorId,
        /// [`Config::new_sensors_per_minute`].
        per_minute: u32,
    },
    /// It changes, or goes and comes back, too often.
    #[error(
        "sensor {sensor} is refused: it has changed or come back {} times in this minute, which is the limit",
        Sensor::CHANGES_PER_MINUTE
    )]
    ChangesMax {
        /// Which sensor.
        sensor: SensorId,
    },
    /// Its own messages would be taken for each other.
    #[error(
        "sensor {sensor} is refused: it names `{topic}` twice; poll, read and disconnect topic must differ"
    )]
    TopicTwice {
        /// Which sensor.
        sensor: SensorId,
        /// The topic it names twice.
        topic: Subject,
    },
    /// Its messages would be taken for heartbeats, or the other way round.
    #[error(
        "sensor {sensor} is refused: heartbeats are heard on its topic `{topic}`, which `{pattern}` matches; use another topic for polls and answers"
    )]
    TopicOfHeartbeats {
        /// Which sensor.
        sensor: SensorId,
        /// Its poll or read topic.
        topic: Subject,
        /// Where heartbeats are heard.
        pattern: Pattern,
    },
    /// Its messages would be taken for another sensor's, or the other way round.
    #[error("sensor {sensor} is refused: its topic `{topic}` is in use by sensor {owner}")]
    TopicTaken {
        /// The one that came later.
        sensor: SensorId,
        /// The topic they share.
        topic: Subject,
        /// The one that lives there.
        owner: SensorId,
    },
}

impl RefusedHeartbeat {
    /// Which reason it is, whatever it says of one sensor.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(InvalidHeartbeat::TooLarge { .. }) => "too large",
            Self::Invalid(InvalidHeartbeat::Syntax(_)) => "syntax",
            Self::Invalid(InvalidHeartbeat::Missing(_)) => "missing",
            Self::Invalid(InvalidHeartbeat::Field { field, .. }) => field,
            Self::SensorsMax { .. } => "sensors",
            Self::NewSensorsMax { .. } => "new sensors",
            Self::ChangesMax { .. } => "changes",
            Self::TopicTwice { .. } => "topic twice",
            Self::TopicOfHeartbeats { .. } => "topic of heartbeats",
            Self::TopicTaken { .. } => "topic taken",
        }
    }
}

fn refused(sensor: SensorId, conflict: Conflict) -> RefusedHeartbeat {
    match conflict {
        Conflict::Twice(topic) => RefusedHeartbeat::TopicTwice { sensor, topic },
        Conflict::Taken { topic, owner } => RefusedHeartbeat::TopicTaken { sensor, topic, owner },
    }
}
