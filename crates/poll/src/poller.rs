//! The poller of one site: every sensor that the site knows.
//!
//! Drive it with the `handle_*` functions. After each call, drain [`Poller::poll_action`], sleep
//! until [`Poller::poll_timeout`] and call [`Poller::handle_timeout`]. Each [`Now`] is the moment
//! at which the message arrived; it decides whether an answer is late.
//!
//! Invariants:
//! - after `handle_timeout(now)`, `poll_timeout` is later than `now` or `None`;
//! - `sensors.len() <= config.sensors_max`, and each sensor with a deadline is in the schedule;
//! - at most `config.polls_in_flight` polls take a place among those in flight;
//! - the site is subscribed to a sensor's topics exactly while that sensor owns its read topic;
//! - for each sensor, the sealed readings and gaps have the numbers from 1 to the newest, each once
//!   and without a hole, across restarts. [`Poller::restore`] takes the newest numbers in the log;
//!   numbers given beyond them were never sealed.

mod ordering;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use model::{
    Event, Heartbeat, InForce, InvalidHeartbeat, LeftOut, OrdersInForce, Pattern, Protocol,
    SensorId, SensorState, Subject, action, completeness::LastNumbers, polling::OrderedInterval,
};

use crate::{
    action::{Action, Outbox},
    budget::{Budget, Load, Stretched},
    bus::Bus,
    clock::{Instant, Now, Past},
    counters::{Counters, count},
    exchange::Patience,
    guard::Guard,
    in_flight::InFlight,
    per_minute::PerMinute,
    refusals::Refusals,
    schedule::{FirstPolls, Schedule},
    sensor::{Counted, Sensor, Site},
    sensors::{Sensors, Slot},
    topics::{Conflict, Topics},
};

/// Timeouts and limits of the poller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Time within which a sensor must answer, unless its heartbeat says another. A sensor with a
    /// shorter interval has only its interval.
    pub answer_timeout: Duration,
    /// Times that a poll without an answer is repeated before it ends as COMM_ERROR, unless the
    /// sensor's heartbeat says how often. The last repetition ends before the next poll is due, so
    /// there may be fewer.
    pub retries: u8,
    /// Time without a heartbeat after which a sensor is lost.
    pub lost_after: Duration,
    /// Most sensors known at once, lost and gone ones included.
    pub sensors_max: usize,
    /// Most polls a second. If sensors ask for more, the site polls the fastest ones less often.
    pub polls_per_second: u32,
    /// Most polls in flight. Further ones wait. A poll counts for `answer_timeout`, even if its
    /// sensor has longer.
    pub polls_in_flight: u32,
    /// Most new sensors accepted in a minute. A sensor with a reading in the log is not new.
    pub new_sensors_per_minute: u32,
}

impl Default for Config {
    /// 500 ms to answer, and no repetition, because each answer then belongs to one poll; lost
    /// after 150 s, which is two and a half of the slowest heartbeat intervals; 100,000 sensors, at
    /// somewhat more than a kilobyte each; 10,000 polls a second, and twice as many in flight as if
    /// none of these gets an answer; 1,000 new sensors a minute, so that a plant with thousands of
    /// sensors starts within minutes.
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_millis(500),
            lost_after: Duration::from_secs(150),
            retries: 0,
            sensors_max: 100_000,
            polls_per_second: 10_000,
            polls_in_flight: 10_000,
            new_sensors_per_minute: 1_000,
        }
    }
}

/// Where a heartbeat came from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Subject on which the heartbeat arrived.
    pub subject: &'a str,
    /// Protocol of the sender.
    pub protocol: Protocol,
}

/// State machine that polls a fleet of sensors.
#[derive(Debug)]
pub struct Poller {
    guard: Guard,
    config: Config,
    heartbeats: Vec<Pattern>,
    bus: Bus,
    sensors: Sensors,
    orders: OrdersInForce,
    /// Sensors that were polled and never answered, those first that are known the longest.
    unanswered: BTreeSet<(Instant, SensorId)>,
    /// Newest numbers of sensors that are not in `sensors`: the log names them, but their heartbeat
    /// was refused or erased.
    last_numbers: BTreeMap<SensorId, LastNumbers>,
    topics: Topics,
    schedule: Schedule,
    first_polls: FirstPolls,
    budget: Budget,
    in_flight: InFlight,
    refusals: Refusals,
    /// New sensors in this minute. A new sensor that is refused for another reason counts too,
    /// because checking it costs as much.
    new_sensors: PerMinute,
    outbox: Outbox,
}

impl Poller {
    /// A poller that knows no sensor and whose message bus is up.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            guard: Guard::default(),
            config,
            heartbeats: Vec::new(),
            bus: Bus::Up,
            sensors: Sensors::default(),
            orders: OrdersInForce::default(),
            unanswered: BTreeSet::new(),
            last_numbers: BTreeMap::new(),
            topics: Topics::default(),
            schedule: Schedule::default(),
            first_polls: FirstPolls::default(),
            budget: Budget::new(config.polls_per_second),
            in_flight: InFlight::new(config.polls_in_flight),
            refusals: Refusals::default(),
            new_sensors: PerMinute::default(),
            outbox: Outbox::default(),
        }
    }

    /// Sets the subjects on which the site receives heartbeats. No sensor may use them as its poll
    /// or read topic.
    #[must_use]
    pub fn hearing(self, heartbeats: Vec<Pattern>) -> Self {
        Self { heartbeats, ..self }
    }

    /// Sets who may speak as which sensor.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Whether the device of this sensor sends heartbeats on this subject, as far as that can be
    /// said before one is read. `sensor` is the one that the heartbeat names.
    #[must_use]
    pub fn expects(&self, subject: &str, sensor: Option<SensorId>) -> bool {
        self.guard.expects(subject, sensor)
    }

    /// Restores the sensors of an earlier run from the log. The poller polls sensors that were
    /// online at once and gives them `lost_after` to send a heartbeat. It declares the polls that
    /// fell due since the newest number in the log as missing, if `past` shows how long ago that
    /// was. Other sensors stay known but idle until their next heartbeat. `last_numbers` holds the
    /// newest numbers of every sensor that ever had one, known or not, so that no number is given
    /// twice.
    ///
    /// Returns the heartbeats that were refused, with the reason; the sensor's next heartbeat may
    /// be accepted. A sensor that is already known stays unchanged.
    pub fn restore(
        &mut self,
        known: impl IntoIterator<Item = (Heartbeat, SensorState)>,
        last_numbers: BTreeMap<SensorId, LastNumbers>,
        past: Past,
        now: Now,
    ) -> Vec<(Heartbeat, RefusedHeartbeat)> {
        self.last_numbers.extend(last_numbers);
        let mut refused = Vec::new();
        for (mut heartbeat, state) in known {
            if self.sensors.contains(heartbeat.id) {
                continue;
            }
            if let Some(in_force) = self.orders.of(heartbeat.id) {
                in_force.describe(&mut heartbeat);
            }
            let accepted = match state {
                SensorState::Online | SensorState::Expected => self.accept(&heartbeat),
                SensorState::Lost | SensorState::Disconnected | SensorState::Retired => {
                    self.check_room(heartbeat.id)
                }
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

    /// Takes a heartbeat. `Ok` names the sensor. On an error, the heartbeat was counted and is
    /// reported once a minute; nothing else changed.
    ///
    /// # Errors
    /// The heartbeat is invalid, exceeds a limit, or names topics that the sensor cannot have.
    pub fn handle_heartbeat(
        &mut self,
        payload: &[u8],
        source: Source<'_>,
        now: Now,
    ) -> Result<SensorId, RefusedHeartbeat> {
        // A sensor is lost at its deadline, not when the poller notices; from then on it has no
        // claim to its topics.
        self.handle_timeout(now);
        let heartbeat =
            Heartbeat::from_wire(payload, source.protocol).map_err(RefusedHeartbeat::Invalid);
        let heartbeat = heartbeat.and_then(|(heartbeat, left_out)| {
            let id = heartbeat.id;
            self.guard
                .may_speak(source.subject, &heartbeat)
                .map_err(|why| RefusedHeartbeat::NotCovered { sensor: id, why })?;
            Ok((id, self.tell_apart(heartbeat, now)?, left_out))
        });
        let heartbeat = match heartbeat {
            Ok((id, None, _left_out)) => return Ok(id),
            Ok((_, Some(told_apart), left_out)) => Ok((told_apart, left_out)),
            Err(reason) => Err(reason),
        };
        let accepted = heartbeat.and_then(|((mut heartbeat, kept_apart), mut left_out)| {
            left_out.extend(self.leave_out_farewell(&mut heartbeat));
            self.accept_new(heartbeat.id, now)?;
            self.accept_change(&heartbeat, now)?;
            self.accept(&heartbeat)?;
            kept_apart.into_iter().for_each(|event| self.outbox.seal(event));
            self.make_room(heartbeat.id, now);
            Ok((heartbeat, left_out))
        });
        let (heartbeat, left_out) = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => {
                // Only refuse it: the sensor sends its heartbeat again within a minute.
                count(&mut self.outbox.counters.refused_heartbeats);
                let (kind, words) = (reason.kind(), reason.to_string());
                self.refusals.take(source.subject, kind, &words, now, &mut self.outbox);
                return Err(reason);
            }
        };
        let id = heartbeat.id;
        let lost_at = now.monotonic + self.config.lost_after;
        let slot = match self.sensors.slot(id) {
            Some(slot) => {
                let site = self.site();
                if let Some(sensor) = self.sensors.get_mut(slot) {
                    let asked = heartbeat.poll_interval();
                    let interval = sensor.ordered_interval().unwrap_or(asked);
                    let first_poll = || self.first_polls.next(id, interval, now.monotonic);
                    let outbox = &mut self.outbox;
                    sensor.handle_heartbeat(heartbeat, lost_at, first_poll, site, now, outbox);
                }
                slot
            }
            None => {
                self.outbox.seal_sighting(action::SENSOR_DISCOVERED, &heartbeat, now.wall);
                let sensor = self.sensor_after_last(heartbeat, SensorState::Online, now);
                self.insert(sensor, now)
            }
        };
        if let Some(sensor) = self.sensors.get_mut(slot) {
            sensor.tell_left_out(&left_out, now, &mut self.outbox);
        }
        self.settle(slot, now);
        Ok(id)
    }

    /// Takes a message on the read topic of `sensor`.
    pub fn handle_answer(&mut self, sensor: SensorId, payload: &[u8], now: Now) {
        let Some(slot) = self.sensors.slot(sensor) else { return };
        let site = self.site();
        if let Some(sensor) = self.sensors.get_mut(slot) {
            sensor.handle_answer(payload, now, site, &mut self.outbox);
        }
        self.settle(slot, now);
        self.serve_waiting(now);
    }

    /// Takes a message on the disconnect topic of `sensor`. Its content does not matter.
    pub fn handle_disconnect(&mut self, sensor: SensorId, now: Now) {
        let Some(slot) = self.sensors.slot(sensor) else { return };
        let site = self.site();
        if let Some(sensor) = self.sensors.get_mut(slot) {
            sensor.handle_disconnect(now, site, &mut self.outbox);
        }
        self.settle(slot, now);
    }

    /// Takes a change of the message bus. A repeated state does nothing.
    ///
    /// While the bus is down the poller sends no polls, counts due polls as skipped, and declares
    /// no sensor lost. When it is back, each sensor has `lost_after` again to send a heartbeat.
    pub fn handle_bus(&mut self, bus: Bus, now: Now) {
        if self.bus == bus {
            return;
        }
        // Polls due until now belong to the earlier state of the bus.
        self.handle_timeout(now);
        self.bus = bus;
        let lost_at = now.monotonic + self.config.lost_after;
        self.in_flight.clear();
        for (slot, sensor) in self.sensors.iter_mut() {
            (sensor.waits, sensor.is_queued) = (false, false);
            match bus {
                Bus::Up => sensor.handle_bus_up(now.monotonic, lost_at),
                Bus::Down => {
                    let before = sensor.counted;
                    (sensor.counted.is_in_flight, sensor.counted.place_until) = (false, None);
                    self.in_flight.change(before, sensor.counted);
                    sensor.handle_bus_down(now, &mut self.outbox);
                }
            }
            self.schedule.arm(slot, sensor.deadline(bus));
        }
    }

    /// Takes whether the site can seal and index as much as comes. Call it about once a second. If
    /// the site cannot, the poller polls the fastest sensors less often, and seals that it does.
    pub fn handle_load(&mut self, load: Load, now: Now) {
        self.budget.bear(load, now.monotonic);
        self.handle_timeout(now);
    }

    /// Takes whether the driver has room for further readings. While it has none, the poller sends
    /// no polls: those that are due wait, and are declared missing if the next one falls due. It
    /// handles timeouts, answers and heartbeats as ever, and these alone make events.
    pub fn handle_room(&mut self, has_room: bool, now: Now) {
        self.in_flight.open(has_room);
        self.handle_timeout(now);
    }

    /// Forgets a sensor on an operator's order. If it sends a heartbeat again it is new, and its
    /// numbers continue.
    ///
    /// Returns its last heartbeat if the sensor was known. The caller then seals a
    /// `SENSOR_FORGOTTEN` event, after all actions of [`Poller::poll_action`].
    pub fn handle_forget(&mut self, sensor: SensorId, now: Now) -> Option<Heartbeat> {
        self.handle_timeout(now);
        self.take_out(sensor, now)
    }

    /// Takes the stop of the site. Every number that was given and is not sealed becomes a gap,
    /// polls in flight included. Call nothing but [`Poller::poll_action`] afterwards.
    pub fn handle_stop(&mut self, now: Now) {
        self.refusals.tell_all(now.wall, &mut self.outbox);
        let site = self.site();
        for (_, sensor) in self.sensors.iter_mut() {
            sensor.handle_stop(now, site, &mut self.outbox);
        }
    }

    /// Does everything that is due at `now`. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(slot) = self.schedule.due(now.monotonic) {
            self.settle(slot, now);
        }
        self.serve_waiting(now);
        self.refusals.tell_due(now, &mut self.outbox);
        self.budget.look(now.monotonic);
        if let Some(Stretched { shortest, wished, polls_per_second }) =
            self.budget.tell(now.monotonic)
        {
            let asked = (wished, polls_per_second);
            self.outbox.seal(Event::polls_stretched(shortest, asked, now.wall));
        }
    }

    /// The next action. The queue has no limit of its own, so drain it after each input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.next()
    }

    /// When [`Poller::handle_timeout`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.budget.deadline(), self.refusals.deadline()];
        others.into_iter().chain([self.schedule.soonest()]).flatten().min()
    }

    /// Counts of how polls ended so far, and what sensors get now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            shortest_interval: self.budget.shortest(),
            in_flight: self.in_flight.count(),
            waiting: self.in_flight.waiting(),
            paused: self.orders.paused(),
            ..self.outbox.counters
        }
    }

    /// State of `sensor`, if it is known.
    #[must_use]
    pub fn state(&self, sensor: SensorId) -> Option<SensorState> {
        self.sensors.of(sensor).map(Sensor::state)
    }

    /// Every known sensor with its last accepted heartbeat.
    pub fn sensors(&self) -> impl Iterator<Item = (&Heartbeat, SensorState)> {
        self.sensors.iter().map(|sensor| (&sensor.heartbeat, sensor.state()))
    }

    fn site(&self) -> Site {
        let Config { answer_timeout, retries, .. } = self.config;
        Site {
            bus: self.bus,
            shortest: self.budget.shortest(),
            patience: Patience { answer_timeout, retries },
            has_room: self.in_flight.has_room_at_once(),
        }
    }

    /// Removes the disconnect topic from a heartbeat if the sensor cannot have it. The site polls
    /// the sensor without one.
    fn leave_out_farewell(&self, heartbeat: &mut Heartbeat) -> Option<LeftOut> {
        let topic = heartbeat.disconnect_topic.as_ref()?;
        let is_alive = |other| self.state(other).is_some_and(SensorState::is_polled);
        let reason = match self.topics.check_farewell(heartbeat, topic, is_alive) {
            Err(conflict) => refused(heartbeat.id, conflict).to_string(),
            Ok(()) => {
                let heard = self.heartbeats.iter().find(|pattern| pattern.matches(topic))?;
                format!("`{topic}` matches `{heard}`, on which the site receives heartbeats")
            }
        };
        heartbeat.disconnect_topic = None;
        Some(LeftOut { field: "disconnect_topic", reason })
    }

    /// Refuses topics on which the site receives heartbeats: it would take a poll for a heartbeat,
    /// or a heartbeat for an answer.
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

    /// Refuses a heartbeat that would exceed a limit or disturb another sensor. Otherwise gives the
    /// sensor its topics and subscribes to the new ones.
    fn accept(&mut self, heartbeat: &Heartbeat) -> Result<(), RefusedHeartbeat> {
        let id = heartbeat.id;
        self.check_room(id)?;
        self.check_apart(heartbeat)?;
        let known = self.sensors.of(id).map(|sensor| &sensor.heartbeat);
        let is_alive = |other| self.state(other).is_some_and(SensorState::is_polled);
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
        let has_room = self.sensors.len() < sensors_max || self.sensors.contains(sensor);
        if has_room || !self.unanswered.is_empty() {
            Ok(())
        } else {
            Err(RefusedHeartbeat::SensorsMax { sensor, sensors_max })
        }
    }

    /// Makes room for an accepted sensor, if the site is full: of those that were polled and never
    /// answered, forgets the one known the longest.
    fn make_room(&mut self, sensor: SensorId, now: Now) {
        let is_full = self.sensors.len() >= self.config.sensors_max;
        if is_full
            && !self.sensors.contains(sensor)
            && let Some(&(_, unanswered)) = self.unanswered.first()
        {
            self.forget(unanswered, now);
        }
    }

    /// Refuses a new sensor beyond the limit of this minute. A sensor with a reading in the log is
    /// not new.
    fn accept_new(&mut self, sensor: SensorId, now: Now) -> Result<(), RefusedHeartbeat> {
        let per_minute = self.config.new_sensors_per_minute;
        let is_known = self.sensors.contains(sensor) || self.is_known_by_a_reading(sensor);
        if is_known || self.new_sensors.take(per_minute, now.monotonic) {
            Ok(())
        } else {
            Err(RefusedHeartbeat::NewSensorsMax { sensor, per_minute })
        }
    }

    /// Refuses a sensor that changes or comes back too often, because each time makes an event in
    /// the log.
    fn accept_change(&mut self, heartbeat: &Heartbeat, now: Now) -> Result<(), RefusedHeartbeat> {
        let sensor = heartbeat.id;
        let known = self.sensors.slot(sensor).and_then(|slot| self.sensors.get_mut(slot));
        if known.is_none_or(|known| known.may_change(heartbeat, now.monotonic)) {
            Ok(())
        } else {
            Err(RefusedHeartbeat::ChangesMax { sensor })
        }
    }

    fn is_known_by_a_reading(&self, sensor: SensorId) -> bool {
        self.last_numbers.get(&sensor).is_some_and(|last| last.answered)
    }

    /// Forgets a sensor that never answered.
    fn forget(&mut self, id: SensorId, now: Now) {
        if let Some(heartbeat) = self.take_out(id, now) {
            self.outbox.seal_sighting(action::SENSOR_FORGOTTEN, &heartbeat, now.wall);
        }
    }

    /// Removes a sensor and keeps its newest numbers. Returns its last heartbeat.
    fn take_out(&mut self, id: SensorId, now: Now) -> Option<Heartbeat> {
        let (slot, sensor) = self.sensors.remove(id)?;
        let heartbeat = sensor.heartbeat.clone();
        if self.topics.reader(&heartbeat.read_topic) == Some(id) {
            self.outbox.unsubscribe(id);
        }
        self.topics.release(&heartbeat);
        self.schedule.arm(slot, None);
        let Counted { wish, unanswered_since, .. } = sensor.counted;
        self.in_flight.change(sensor.counted, Counted::default());
        if sensor.is_queued {
            self.in_flight.leave(slot);
        }
        self.unanswered.remove(&(unanswered_since.unwrap_or_default(), id));
        self.budget.wish(wish, None, now.monotonic);
        self.orders.forget(id);
        let last = sensor.forget(now, self.site(), &mut self.outbox);
        self.last_numbers.insert(id, last);
        Some(heartbeat)
    }

    /// A new sensor whose numbers continue from the newest in the log.
    fn sensor_after_last(&mut self, heartbeat: Heartbeat, state: SensorState, now: Now) -> Sensor {
        let last = self.last_numbers.remove(&heartbeat.id).unwrap_or_default();
        let lost_at = now.monotonic + self.config.lost_after;
        let id = heartbeat.id;
        let ordered = self.orders.of(id).and_then(InForce::poll_interval);
        let interval =
            ordered.map_or_else(|| heartbeat.poll_interval(), OrderedInterval::as_duration);
        let (site, moments) = (self.site(), (now.monotonic, lost_at));
        let due_at = || self.first_polls.next(id, interval, now.monotonic);
        let mut sensor = Sensor::new(heartbeat, state, last, site, moments, due_at);
        sensor.obey(self.orders.of(id), site, now);
        sensor
    }

    /// Adds a new sensor that was accepted.
    fn insert(&mut self, sensor: Sensor, now: Now) -> Slot {
        let slot = self.sensors.insert(sensor);
        self.settle(slot, now);
        slot
    }

    /// Sends the polls that waited, as far as there is room.
    fn serve_waiting(&mut self, now: Now) {
        while let Some(slot) = self.in_flight.next() {
            if let Some(sensor) = self.sensors.get_mut(slot) {
                (sensor.waits, sensor.is_queued) = (false, false);
            }
            self.settle_at(slot, Site { has_room: true, ..self.site() }, now);
        }
    }

    /// Does what is due for one sensor and sets its next deadline.
    fn settle(&mut self, slot: Slot, now: Now) {
        self.settle_at(slot, self.site(), now);
    }

    fn settle_at(&mut self, slot: Slot, site: Site, now: Now) {
        let Some(sensor) = self.sensors.get_mut(slot) else { return };
        sensor.handle_timeout(now, site, &mut self.outbox);
        if sensor.waits && !core::mem::replace(&mut sensor.is_queued, true) {
            self.in_flight.wait(slot);
        }
        let id = sensor.id();
        if self.bus == Bus::Up && sensor.forget_at().is_some_and(|at| at <= now.monotonic) {
            return self.forget(id, now);
        }
        let counted = sensor.count_in(site, now.monotonic);
        let deadlines = [sensor.deadline(self.bus), counted.place_until];
        self.schedule.arm(slot, deadlines.into_iter().flatten().min());
        let before = core::mem::replace(&mut sensor.counted, counted);
        self.budget.wish(before.wish, counted.wish, now.monotonic);
        self.in_flight.change(before, counted);
        if before.unanswered_since != counted.unanswered_since {
            let [before, since] = [before, counted].map(|counted| counted.unanswered_since);
            before.map(|since| self.unanswered.remove(&(since, id)));
            since.map(|since| self.unanswered.insert((since, id)));
        }
    }
}

/// Why a heartbeat changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum RefusedHeartbeat {
    /// The payload is not a valid heartbeat.
    #[error(transparent)]
    Invalid(InvalidHeartbeat),
    /// The device that sent it may not speak as this sensor.
    #[error("sensor {sensor} is refused: {why}")]
    NotCovered {
        /// The sensor that was refused.
        sensor: SensorId,
        /// Why the device may not.
        why: &'static str,
    },
    /// The site has as many sensors as it may have.
    #[error(
        "sensor {sensor} is refused: the site already has {sensors_max} sensors, which is the limit"
    )]
    SensorsMax {
        /// The sensor that was refused.
        sensor: SensorId,
        /// The limit, [`Config::sensors_max`].
        sensors_max: usize,
    },
    /// By order, another device is in the sensor's place.
    #[error("sensor {sensor} is refused: by order, another device is in its place")]
    Replaced {
        /// The sensor that was refused.
        sensor: SensorId,
    },
    /// By order, only the device with another hardware address is the sensor.
    #[error(
        "sensor {sensor} is refused: by order, only the device with another hardware address is this sensor"
    )]
    OtherDevice {
        /// The sensor that was refused.
        sensor: SensorId,
    },
    /// Too many new sensors came in this minute.
    #[error(
        "sensor {sensor} is refused: this minute has already brought {per_minute} new sensors, which is the limit (--new-sensors-per-minute)"
    )]
    NewSensorsMax {
        /// The sensor that was refused.
        sensor: SensorId,
        /// The limit, [`Config::new_sensors_per_minute`].
        per_minute: u32,
    },
    /// The sensor changes, or goes and comes back, too often.
    #[error(
        "sensor {sensor} is refused: it has already changed or come back {} times this minute, which is the limit",
        Sensor::CHANGES_PER_MINUTE
    )]
    ChangesMax {
        /// The sensor that was refused.
        sensor: SensorId,
    },
    /// The sensor uses one topic for two purposes, so its own messages would be confused.
    #[error(
        "sensor {sensor} is refused: it uses `{topic}` twice; its poll, read and disconnect topics must differ"
    )]
    TopicTwice {
        /// The sensor that was refused.
        sensor: SensorId,
        /// The topic it names twice.
        topic: Subject,
    },
    /// The site receives heartbeats on the sensor's topic, so messages there would be confused.
    #[error(
        "sensor {sensor} is refused: its topic `{topic}` matches `{pattern}`, on which the site receives heartbeats; use another topic for polls and answers"
    )]
    TopicOfHeartbeats {
        /// The sensor that was refused.
        sensor: SensorId,
        /// Its poll or read topic.
        topic: Subject,
        /// The subjects on which the site receives heartbeats.
        pattern: Pattern,
    },
    /// Another sensor uses the topic, so messages of the two would be confused.
    #[error("sensor {sensor} is refused: sensor {owner} already uses its topic `{topic}`")]
    TopicTaken {
        /// The sensor that came later and was refused.
        sensor: SensorId,
        /// The topic they share.
        topic: Subject,
        /// The sensor that uses the topic.
        owner: SensorId,
    },
}

impl RefusedHeartbeat {
    /// A constant name of the reason, without details of one sensor.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(InvalidHeartbeat::TooLarge { .. }) => "too large",
            Self::Invalid(InvalidHeartbeat::Syntax(_)) => "syntax",
            Self::Invalid(InvalidHeartbeat::Missing(_)) => "missing",
            Self::Invalid(InvalidHeartbeat::Field { field, .. }) => field,
            Self::NotCovered { .. } => "not covered",
            Self::Replaced { .. } => "replaced",
            Self::OtherDevice { .. } => "other device",
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
