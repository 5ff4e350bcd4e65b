//! One sensor: whether it is there, when it is asked next, and what became of the last question.
//!
//! Invariants:
//! - at most one poll is in flight: one that is due meanwhile waits for the end of it;
//! - polls stand on a grid of `poll_interval` from the first one, whenever they were sent;
//! - only the message bus, or the end of the site, can end a poll in flight without a reading. A sensor that is lost or goes while a poll is in flight is
//!   still owed an answer, or a COMM_ERROR;
//! - a poll gets its number when it is sent or passed over, and every number is sealed once and in order: in a reading, or as missing.

use core::time::Duration;

use model::{
    Event, Heartbeat, NumberRange, Outcome, SensorId, action,
    completeness::{LastNumbers, MissingReason},
};

use crate::{Bus, Instant, Now, action::Outbox, counters::count, numbers::Numbers};

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
    numbers: Numbers,
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
        poll: u64,
        deadline: Instant,
    },
    /// No answer came in time: one that still comes is late.
    Overdue,
}

impl Sensor {
    /// A sensor in this state, whose numbers go on after `last`; one that is online is polled at `due_at`, and lost at `lost_at`.
    pub(crate) fn new(
        heartbeat: Heartbeat,
        state: SensorState,
        last: LastNumbers,
        lost_at: Instant,
        due_at: impl FnOnce() -> Instant,
    ) -> Self {
        let presence = match state {
            SensorState::Online => Presence::Online { lost_at, due_at: due_at() },
            SensorState::Lost => Presence::Lost,
            SensorState::Disconnected => Presence::Disconnected,
        };
        Self { heartbeat, presence, exchange: Exchange::Closed, numbers: Numbers::after(last) }
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
            Exchange::InFlight { deadline, .. } => Some(deadline),
            Exchange::Closed | Exchange::Overdue => None,
        };
        let (poll, loss) = match self.presence {
            Presence::Online { lost_at, due_at } => {
                (Some(answer.unwrap_or(due_at)), (bus == Bus::Up).then_some(lost_at))
            }
            Presence::Lost | Presence::Disconnected => (answer, None),
        };
        [poll, loss, self.numbers.deadline()].into_iter().flatten().min()
    }

    /// Seals the timeout of a poll, the loss of the sensor and what is missing, and asks it again, as far as these are due.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Now,
        bus: Bus,
        answer_timeout: Duration,
        outbox: &mut Outbox,
    ) {
        self.expire_poll(now, outbox);
        self.expire_heartbeat(now, bus, outbox);
        self.numbers.seal_due(&self.heartbeat, now, outbox);
        // After a stall the polls that were missed are not made up for: a burst tells nothing new.
        let due = self.take_due(now.monotonic);
        match (bus, due.checked_sub(1)) {
            (_, None) => {}
            (Bus::Up, Some(missed)) => {
                self.skip(missed, MissingReason::Overrun, now, outbox);
                // Not longer than the interval, so that a fast sensor that is silent is asked on every beat of its grid.
                let timeout = answer_timeout.min(self.heartbeat.poll_interval());
                let (poll, deadline) = (self.numbers.give(), now.monotonic + timeout);
                self.exchange = Exchange::InFlight { poll, deadline };
                count(&mut outbox.counters.polls);
                outbox.send_poll(&self.heartbeat);
            }
            (Bus::Down, Some(_)) => self.skip(due, MissingReason::BusAway, now, outbox),
        }
    }

    /// An answer arrived. Whether it is in time depends on `now` alone, not on when timeouts were handled.
    pub(crate) fn handle_answer(&mut self, payload: &[u8], now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        let exchange = core::mem::replace(&mut self.exchange, Exchange::Closed);
        let counters = &mut outbox.counters;
        match exchange {
            Exchange::InFlight { poll, .. } => {
                let outcome = Outcome::of(payload);
                count(match outcome {
                    Outcome::Success(_) => &mut counters.answers,
                    Outcome::CommError | Outcome::ValueError { .. } => &mut counters.value_errors,
                });
                self.seal_reading(poll, outcome, now, outbox);
            }
            Exchange::Overdue => count(&mut counters.late),
            Exchange::Closed => count(&mut counters.duplicates),
        }
    }

    /// The sensor said that it goes.
    pub(crate) fn handle_disconnect(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.skip_due(now.monotonic, bus, now, outbox);
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
        self.give_up(MissingReason::BusAway, now, outbox);
    }

    /// The site stops: nothing is awaited any more, and nothing stays unsaid.
    pub(crate) fn handle_stop(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.skip_due(now.monotonic, bus, now, outbox);
        self.give_up(MissingReason::Stopped, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
    }

    /// The site starts and takes the sensor up: what was due meanwhile is missing.
    pub(crate) fn handle_start(&mut self, now: Now, outbox: &mut Outbox) {
        if let Presence::Online { .. } = self.presence {
            self.numbers.miss_before_start(&self.heartbeat, now, outbox);
        }
    }

    /// The message bus is back: heartbeats that did not get through are not held against the sensor.
    pub(crate) fn handle_bus_up(&mut self, new_lost_at: Instant) {
        if let Presence::Online { lost_at, .. } = &mut self.presence {
            *lost_at = new_lost_at;
        }
    }

    fn expire_poll(&mut self, now: Now, outbox: &mut Outbox) {
        if let Exchange::InFlight { poll, deadline } = self.exchange
            && deadline <= now.monotonic
        {
            self.exchange = Exchange::Overdue;
            count(&mut outbox.counters.timeouts);
            self.seal_reading(poll, Outcome::CommError, now, outbox);
        }
    }

    fn expire_heartbeat(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        if let (Bus::Up, Presence::Online { lost_at, .. }) = (bus, self.presence)
            && lost_at <= now.monotonic
        {
            // It was there until then, and so was due.
            self.skip_due(lost_at.just_before(), bus, now, outbox);
            self.presence = Presence::Lost;
            outbox.seal_sighting(action::HEARTBEAT_MISSED, &self.heartbeat, now.wall);
        }
    }

    /// Gives up the poll in flight, if there is one. An answer that still comes is late.
    fn give_up(&mut self, reason: MissingReason, now: Now, outbox: &mut Outbox) {
        if let Exchange::InFlight { poll, .. } = self.exchange {
            self.exchange = Exchange::Overdue;
            self.numbers.miss(NumberRange::one(poll), reason, &self.heartbeat, now, outbox);
        }
    }

    /// Passes over the polls that fell due until `end` and were slept through.
    fn skip_due(&mut self, end: Instant, bus: Bus, now: Now, outbox: &mut Outbox) {
        let reason = match bus {
            Bus::Up => MissingReason::Overrun,
            Bus::Down => MissingReason::BusAway,
        };
        let due = self.take_due(end);
        self.skip(due, reason, now, outbox);
    }

    fn skip(&mut self, count: u64, reason: MissingReason, now: Now, outbox: &mut Outbox) {
        self.numbers.skip(count, reason, &self.heartbeat, now, outbox);
    }

    /// How many polls fell due until `end`. They are not due any more: whoever asks sends them or passes them over. None while one is in flight.
    fn take_due(&mut self, end: Instant) -> u64 {
        match (&mut self.presence, self.exchange) {
            (Presence::Online { due_at, .. }, Exchange::Closed | Exchange::Overdue)
                if *due_at <= end =>
            {
                advance(due_at, self.heartbeat.poll_interval(), end) + 1
            }
            _ => 0,
        }
    }

    /// Seals how a poll ended, after what went missing before it.
    fn seal_reading(&mut self, poll: u64, outcome: Outcome, now: Now, outbox: &mut Outbox) {
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
        if let Outcome::Success(answer) = &outcome {
            self.numbers.check_sequence(answer, &self.heartbeat, now.wall, outbox);
        }
        outbox.seal(Event::reading(&self.heartbeat, poll, outcome, now.wall));
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
