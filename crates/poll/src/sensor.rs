//! One sensor: whether it is there, when it is asked next, and what became of the last question.
//!
//! Invariants:
//! - at most one poll is in flight: one that is due meanwhile waits for the end of it;
//! - polls stand on a grid of `poll_interval` from the first one, whenever they were sent;
//! - only the message bus can end a poll without a reading. A sensor that is lost or goes while a poll is in flight is still owed an answer, or a
//!   COMM_ERROR.

use core::time::Duration;

use model::{Heartbeat, Outcome, SensorId, action};

use crate::{
    Bus, Instant, Now,
    action::Outbox,
    counters::{count, count_many},
};

/// What is known of a sensor's whereabouts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SensorState {
    /// Its heartbeats come; it is polled.
    Online,
    /// Its heartbeats stopped; it is polled again when they resume.
    Lost,
    /// It said that it goes; it is polled again with its next heartbeat.
    Disconnected,
}

/// One sensor.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) heartbeat: Heartbeat,
    presence: Presence,
    exchange: Exchange,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    Online { lost_at: Instant, due_at: Instant },
    Lost,
    Disconnected,
}

/// What became of the last poll.
#[derive(Clone, Copy, Debug)]
enum Exchange {
    /// Nothing is awaited: an answer is one too many.
    Closed,
    InFlight {
        deadline: Instant,
    },
    /// No answer came in time: one that still comes is late.
    Overdue,
}

impl Sensor {
    pub(crate) const fn online(heartbeat: Heartbeat, lost_at: Instant, due_at: Instant) -> Self {
        let presence = Presence::Online { lost_at, due_at };
        Self { heartbeat, presence, exchange: Exchange::Closed }
    }

    pub(crate) const fn lost(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, presence: Presence::Lost, exchange: Exchange::Closed }
    }

    pub(crate) const fn disconnected(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, presence: Presence::Disconnected, exchange: Exchange::Closed }
    }

    pub(crate) const fn id(&self) -> SensorId {
        self.heartbeat.id
    }

    pub(crate) const fn state(&self) -> SensorState {
        match self.presence {
            Presence::Online { .. } => SensorState::Online,
            Presence::Lost => SensorState::Lost,
            Presence::Disconnected => SensorState::Disconnected,
        }
    }

    /// When [`Sensor::handle_timeout`] next has something to do.
    pub(crate) fn deadline(&self, bus: Bus) -> Option<Instant> {
        let answer = match self.exchange {
            Exchange::InFlight { deadline } => Some(deadline),
            Exchange::Closed | Exchange::Overdue => None,
        };
        let Presence::Online { lost_at, due_at } = self.presence else {
            return answer;
        };
        let poll = Some(answer.unwrap_or(due_at));
        let loss = match bus {
            Bus::Up => Some(lost_at),
            Bus::Down => None,
        };
        poll.into_iter().chain(loss).min()
    }

    /// Seals the timeout of a poll, the loss of the sensor, and asks it again, as far as these are due.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Now,
        bus: Bus,
        answer_timeout: Duration,
        outbox: &mut Outbox,
    ) {
        self.expire_poll(now, outbox);
        self.expire_heartbeat(now, bus, outbox);
        let Presence::Online { due_at, .. } = &mut self.presence else {
            return;
        };
        let in_flight = matches!(self.exchange, Exchange::InFlight { .. });
        if in_flight || now.monotonic < *due_at {
            return;
        }
        let interval = self.heartbeat.poll_interval();
        // After a stall the polls that were missed are not made up for: a burst tells nothing new.
        let missed = advance(due_at, interval, now.monotonic);
        count_many(&mut outbox.counters.skipped, missed);
        match bus {
            Bus::Up => {
                // Not longer than the interval, so that a fast sensor that is silent is asked on every beat of its grid.
                let deadline = now.monotonic + answer_timeout.min(interval);
                self.exchange = Exchange::InFlight { deadline };
                count(&mut outbox.counters.polls);
                outbox.send_poll(&self.heartbeat);
            }
            Bus::Down => count(&mut outbox.counters.skipped),
        }
    }

    /// An answer arrived. Whether it is in time depends on `now` alone, not on when timeouts were handled.
    pub(crate) fn handle_answer(&mut self, payload: &[u8], now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        let exchange = core::mem::replace(&mut self.exchange, Exchange::Closed);
        let counters = &mut outbox.counters;
        match exchange {
            Exchange::InFlight { .. } => {
                let outcome = Outcome::of(payload);
                count(match outcome {
                    Outcome::Success(_) => &mut counters.answers,
                    Outcome::CommError | Outcome::ValueError { .. } => &mut counters.value_errors,
                });
                outbox.seal_reading(&self.heartbeat, outcome, now.wall);
            }
            Exchange::Overdue => count(&mut counters.late),
            Exchange::Closed => count(&mut counters.duplicates),
        }
    }

    /// The sensor said that it goes.
    pub(crate) fn handle_disconnect(&mut self, now: Now, outbox: &mut Outbox) {
        if !matches!(self.presence, Presence::Disconnected) {
            self.presence = Presence::Disconnected;
            outbox.seal_sighting(action::SENSOR_DISCONNECTED, &self.heartbeat, now.wall);
        }
    }

    /// A heartbeat came that was not refused. `first_poll` gives the moment of the first poll where a new schedule begins.
    pub(crate) fn handle_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        lost_at: Instant,
        first_poll: impl FnOnce() -> Instant,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let changed = heartbeat != self.heartbeat;
        let same_interval = heartbeat.poll_interval_ms == self.heartbeat.poll_interval_ms;
        self.heartbeat = heartbeat;
        let due_at = match self.presence {
            Presence::Online { due_at, .. } if same_interval => due_at,
            Presence::Online { .. } => first_poll(),
            Presence::Lost | Presence::Disconnected => {
                outbox.seal_sighting(action::HEARTBEAT_RESUMED, &self.heartbeat, now.wall);
                first_poll()
            }
        };
        self.presence = Presence::Online { lost_at, due_at };
        if changed {
            outbox.seal_sighting(action::SENSOR_CHANGED, &self.heartbeat, now.wall);
        }
    }

    /// The message bus went away, and with it the answer in flight.
    pub(crate) fn handle_bus_down(&mut self, now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        if matches!(self.exchange, Exchange::InFlight { .. }) {
            self.exchange = Exchange::Overdue;
            count(&mut outbox.counters.skipped);
        }
    }

    /// The message bus is back: heartbeats that did not get through are not held against the sensor.
    pub(crate) fn handle_bus_up(&mut self, new_lost_at: Instant) {
        if let Presence::Online { lost_at, .. } = &mut self.presence {
            *lost_at = new_lost_at;
        }
    }

    fn expire_poll(&mut self, now: Now, outbox: &mut Outbox) {
        if let Exchange::InFlight { deadline } = self.exchange
            && deadline <= now.monotonic
        {
            self.exchange = Exchange::Overdue;
            count(&mut outbox.counters.timeouts);
            outbox.seal_reading(&self.heartbeat, Outcome::CommError, now.wall);
        }
    }

    fn expire_heartbeat(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        if let (Bus::Up, Presence::Online { lost_at, .. }) = (bus, self.presence)
            && lost_at <= now.monotonic
        {
            self.presence = Presence::Lost;
            outbox.seal_sighting(action::HEARTBEAT_MISSED, &self.heartbeat, now.wall);
        }
    }
}

/// Moves `due_at` along its grid to the first beat after `now`, and returns how many beats after the first were passed over.
fn advance(due_at: &mut Instant, interval: Duration, now: Instant) -> u64 {
    let late = now.saturating_duration_since(*due_at).as_micros();
    let missed = late / interval.as_micros().max(1);
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    *due_at = *due_at + interval.saturating_mul(missed.saturating_add(1));
    u64::from(missed)
}
