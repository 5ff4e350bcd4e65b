//! One sensor: its presence, its next poll and how its last poll ended.
//!
//! Invariants:
//! - at most one poll is in flight. While a late answer may arrive, the site sends none: a poll
//!   that falls due then waits, or is declared missing;
//! - polls are due on a grid of `poll_interval` from the first poll, whenever they are sent;
//! - only the message bus, the site's stop or an operator's order to forget the sensor can end a
//!   poll in flight without a reading. If a sensor is lost or goes while a poll is in flight, that
//!   poll still ends in an answer or a COMM_ERROR;
//! - a poll gets its number when it is sent or skipped, and every number is sealed once and in
//!   order: in a reading, or as missing.

use core::time::Duration;

use model::{
    Event, Heartbeat, LeftOut, NumberRange, Outcome, SensorId, SensorState, Timestamp, action,
    completeness::LastNumbers, gap::MissingReason,
};

use crate::{
    action::Outbox,
    bus::Bus,
    clock::{Instant, Now, Past},
    counters::count,
    exchange::{Ended, Exchange},
    numbers::Numbers,
    per_minute::PerMinute,
};

/// State of one sensor.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) heartbeat: Heartbeat,
    presence: Presence,
    exchange: Exchange,
    numbers: Numbers,
    told: Told,
    /// Set while the sensor has never answered.
    unproven: Option<Unproven>,
    /// Shortest interval that the site grants; `None` if it grants every wish.
    shortest: Option<Duration>,
    /// How often the sensor changed or came back in this minute.
    changes: PerMinute,
    /// The sensor's wish as the budget counts it.
    pub(crate) wished: Option<Duration>,
}

/// State of a sensor that has no answer in the log.
#[derive(Clone, Copy, Debug)]
struct Unproven {
    since: Instant,
    /// Number of polls without an answer.
    silent: u32,
}

/// Names of the left-out fields that were reported, of heartbeats and of answers: at most a dozen.
#[derive(Debug, Default)]
struct Told {
    of_heartbeats: Vec<&'static str>,
    of_answers: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    Online { lost_at: Instant, due_at: Instant },
    Lost,
    Disconnected,
}

/// Polls that fell due and are neither sent nor declared missing yet.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    /// Polls that fell due while an earlier answer was awaited.
    held_back: u64,
    /// Polls that fell due after those.
    rest: u64,
}

impl Sensor {
    /// Number of polls that a sensor may leave unanswered from its first poll on, before the site
    /// polls it less often.
    const SILENT_MAX: u32 = 10;
    /// Interval for a sensor that never answered. The site notices within a minute when it begins
    /// to answer.
    const SILENT_INTERVAL: Duration = Duration::from_secs(60);
    /// Most changes and returns in a minute. Devices send a heartbeat every 30 to 60 s, and a
    /// device that restarts sends a few at once.
    pub(crate) const CHANGES_PER_MINUTE: u32 = 10;
    /// How long the site keeps a sensor that never answers.
    pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

    /// A sensor in `state` whose numbers continue after `last`. A sensor that is online is first
    /// polled at `due_at` and lost at `lost_at`.
    pub(crate) fn new(
        heartbeat: Heartbeat,
        state: SensorState,
        last: LastNumbers,
        answer_timeout: Duration,
        (now, lost_at): (Instant, Instant),
        due_at: impl FnOnce() -> Instant,
    ) -> Self {
        let presence = match state {
            SensorState::Online => Presence::Online { lost_at, due_at: due_at() },
            SensorState::Lost => Presence::Lost,
            SensorState::Disconnected => Presence::Disconnected,
        };
        let exchange = Exchange::new(answer_timeout, last.seq);
        Self {
            heartbeat,
            presence,
            exchange,
            numbers: Numbers::after(last),
            told: Told::default(),
            unproven: (!last.answered).then_some(Unproven { since: now, silent: 0 }),
            shortest: None,
            changes: PerMinute::default(),
            wished: None,
        }
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

    /// The interval at which the site would poll the sensor if it granted every wish; `None` while
    /// it does not poll it.
    pub(crate) fn wish(&self) -> Option<Duration> {
        let Presence::Online { .. } = self.presence else { return None };
        let own = self.heartbeat.poll_interval();
        Some(if self.is_silent() { own.max(Self::SILENT_INTERVAL) } else { own })
    }

    /// The current poll interval.
    fn interval(&self) -> Duration {
        let own = self.wish().unwrap_or_else(|| self.heartbeat.poll_interval());
        own.max(self.shortest.unwrap_or_default())
    }

    /// Sets the shortest interval that the site grants, from the next poll on.
    pub(crate) const fn set_shortest(&mut self, shortest: Option<Duration>) {
        self.shortest = shortest;
    }

    fn is_silent(&self) -> bool {
        self.unproven.is_some_and(|unproven| unproven.silent >= Self::SILENT_MAX)
    }

    /// When the poller took the sensor up, if it was polled and never answered. Such a sensor makes
    /// room for another.
    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.unproven.filter(|unproven| unproven.silent > 0).map(|unproven| unproven.since)
    }

    /// Whether this heartbeat changes nothing, or the sensor may still change in this minute.
    pub(crate) fn may_change(&mut self, heartbeat: &Heartbeat, now: Instant) -> bool {
        let is_as_before =
            matches!(self.presence, Presence::Online { .. }) && *heartbeat == self.heartbeat;
        is_as_before || self.changes.take(Self::CHANGES_PER_MINUTE, now)
    }

    /// When to forget the sensor, if it never answered. An online sensor stays at least until it
    /// could be polled [`SILENT_MAX`](Self::SILENT_MAX) times at its own interval.
    pub(crate) fn forget_at(&self) -> Option<Instant> {
        let Unproven { since, silent } = self.unproven?;
        let asked_for = self.heartbeat.poll_interval().saturating_mul(Self::SILENT_MAX);
        match self.presence {
            Presence::Online { .. } if silent == 0 => None,
            Presence::Online { .. } => Some(since + Self::FORGET_AFTER.max(asked_for)),
            Presence::Lost | Presence::Disconnected => Some(since + Self::FORGET_AFTER),
        }
    }

    /// Forgets the sensor: ends all waiting and seals every missing number. Returns the numbers
    /// from which it continues if it comes back.
    pub(crate) fn forget(mut self, now: Now, bus: Bus, outbox: &mut Outbox) -> LastNumbers {
        self.expire_poll(now, outbox);
        self.end_held(now, outbox);
        self.give_up(MissingReason::Forgotten, now, outbox);
        self.skip_due(now.monotonic, bus, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
        self.numbers.last()
    }

    /// When [`Sensor::handle_timeout`] next has something to do.
    pub(crate) fn deadline(&self, bus: Bus) -> Option<Instant> {
        let answer = self.exchange.deadline();
        let (poll, loss) = match self.presence {
            Presence::Online { lost_at, due_at } => {
                (Some(answer.unwrap_or(due_at)), (bus == Bus::Up).then_some(lost_at))
            }
            Presence::Lost | Presence::Disconnected => (answer, None),
        };
        let forgotten = self.forget_at().filter(|_| bus == Bus::Up);
        [poll, loss, self.numbers.deadline(), forgotten].into_iter().flatten().min()
    }

    /// Seals a poll's timeout, the sensor's loss and its missing polls, and polls it again, as far
    /// as each is due.
    pub(crate) fn handle_timeout(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.expire_heartbeat(now, bus, outbox);
        self.numbers.seal_due(&self.heartbeat, now, outbox);
        if !self.exchange.is_free() {
            return;
        }
        let due = self.take_due(now.monotonic);
        // After a stall, do not send the missed polls: a burst of them would give no new
        // information.
        let missed = match (bus, due) {
            (Bus::Down, _) | (_, Due { held_back: 0, rest: 0 }) => {
                return self.skip(due, bus, now, outbox);
            }
            (Bus::Up, Due { held_back, rest: 0 }) => Due { held_back: held_back - 1, rest: 0 },
            (Bus::Up, Due { held_back, rest }) => Due { held_back, rest: rest - 1 },
        };
        self.skip(missed, bus, now, outbox);
        self.exchange.begin(self.numbers.give(), self.interval(), now.monotonic);
        count(&mut outbox.counters.polls);
        outbox.send_poll(&self.heartbeat);
    }

    /// Takes an answer. Only `now` decides whether it is in time, not when timeouts were handled.
    pub(crate) fn handle_answer(&mut self, payload: &[u8], now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        // A late answer also proves that the sensor answers.
        let was_silent = self.is_silent();
        self.unproven = None;
        if was_silent {
            outbox.seal_sighting(action::POLLS_RESTORED, &self.heartbeat, now.wall);
        }
        let ended = self.exchange.answer(Outcome::of(payload), now, &mut outbox.counters);
        self.seal_reading(ended, now, outbox);
    }

    /// Takes the sensor's message that it disconnects.
    pub(crate) fn handle_disconnect(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.end_held(now, outbox);
        self.skip_due(now.monotonic, bus, now, outbox);
        if !matches!(self.presence, Presence::Disconnected) {
            self.presence = Presence::Disconnected;
            self.numbers.leave();
            outbox.seal_sighting(action::SENSOR_DISCONNECTED, &self.heartbeat, now.wall);
        }
    }

    /// Takes a heartbeat that was accepted. `first_poll` gives the time of the first poll if a new
    /// schedule begins.
    pub(crate) fn handle_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        lost_at: Instant,
        first_poll: impl FnOnce() -> Instant,
        bus: Bus,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let changed = heartbeat != self.heartbeat;
        let same_interval = heartbeat.poll_interval_ms == self.heartbeat.poll_interval_ms;
        if !same_interval {
            // Polls that are due on the old grid are not due on the new one.
            self.end_held(now, outbox);
            self.skip_due(now.monotonic, bus, now, outbox);
        }
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

    /// Reports each left-out field of its heartbeats once in a run.
    pub(crate) fn tell_left_out(&mut self, left_out: &[LeftOut], now: Now, outbox: &mut Outbox) {
        let told = &mut self.told.of_heartbeats;
        tell_once(told, &self.heartbeat, "heartbeats", left_out, now.wall, outbox);
    }

    /// The message bus went down: gives up the poll in flight.
    pub(crate) fn handle_bus_down(&mut self, now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.give_up(MissingReason::BusAway, now, outbox);
    }

    /// The site stops: ends all waiting and seals every missing number.
    pub(crate) fn handle_stop(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.skip_due(now.monotonic, bus, now, outbox);
        self.give_up(MissingReason::Stopped, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
    }

    /// The site started and restored the sensor: declares polls due in between as missing.
    pub(crate) fn handle_start(&mut self, past: Past, now: Now, outbox: &mut Outbox) {
        if let Presence::Online { .. } = self.presence {
            self.numbers.miss_before_start(&self.heartbeat, past, now, outbox);
        }
    }

    /// The message bus is up again. Heartbeats that could not get through do not count as missed.
    pub(crate) fn handle_bus_up(&mut self, now: Instant, new_lost_at: Instant) {
        self.exchange.handle_bus_up(now);
        if let Presence::Online { lost_at, .. } = &mut self.presence {
            *lost_at = new_lost_at;
        }
    }

    fn expire_poll(&mut self, now: Now, outbox: &mut Outbox) {
        let ended = self.exchange.expire(now);
        self.seal_reading(ended, now, outbox);
    }

    fn expire_heartbeat(&mut self, now: Now, bus: Bus, outbox: &mut Outbox) {
        if let (Bus::Up, Presence::Online { lost_at, .. }) = (bus, self.presence)
            && lost_at <= now.monotonic
        {
            // The sensor was online until then, so its polls were due.
            self.end_held(now, outbox);
            self.skip_due(lost_at.just_before(), bus, now, outbox);
            self.presence = Presence::Lost;
            self.numbers.leave();
            outbox.seal_sighting(action::HEARTBEAT_MISSED, &self.heartbeat, now.wall);
        }
    }

    /// Gives up the poll in flight, if there is one.
    fn give_up(&mut self, reason: MissingReason, now: Now, outbox: &mut Outbox) {
        if let Some(poll) = self.exchange.give_up(now.monotonic) {
            self.numbers.miss(NumberRange::one(poll), reason, &self.heartbeat, now, outbox);
        }
    }

    fn end_held(&mut self, now: Now, outbox: &mut Outbox) {
        let ended = self.exchange.end_held(now, &mut outbox.counters);
        self.seal_reading(ended, now, outbox);
    }

    /// Skips the polls that fell due until `end` and were not sent.
    fn skip_due(&mut self, end: Instant, bus: Bus, now: Now, outbox: &mut Outbox) {
        let due = self.take_due(end);
        self.skip(due, bus, now, outbox);
    }

    fn skip(&mut self, due: Due, bus: Bus, now: Now, outbox: &mut Outbox) {
        let reason = match bus {
            Bus::Up => MissingReason::Overrun,
            Bus::Down => MissingReason::BusAway,
        };
        for (count, reason) in [(due.held_back, MissingReason::Unanswered), (due.rest, reason)] {
            self.numbers.skip(count, reason, &self.heartbeat, now, outbox);
        }
    }

    /// Takes the polls that fell due until `end`; the caller must send or skip them. Takes none
    /// while a poll is in flight.
    fn take_due(&mut self, end: Instant) -> Due {
        let interval = self.interval();
        let Presence::Online { due_at, .. } = &mut self.presence else { return Due::default() };
        if self.exchange.owes_a_reading() {
            return Due::default();
        }
        let mut until = |end| if *due_at <= end { advance(due_at, interval, end) + 1 } else { 0 };
        let held_back = self.exchange.held_back_until().map_or(0, |held| until(held.min(end)));
        Due { held_back, rest: until(end) }
    }

    /// Seals how a poll ended, if one did, after the missing numbers before it.
    fn seal_reading(&mut self, ended: Option<Ended>, now: Now, outbox: &mut Outbox) {
        let Some(Ended { poll, outcome, at }) = ended else { return };
        let counters = &mut outbox.counters;
        count(match outcome {
            Outcome::Success(_) => &mut counters.answers,
            Outcome::CommError => &mut counters.timeouts,
            Outcome::ValueError { .. } => &mut counters.value_errors,
        });
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
        if let Outcome::Success(answer) = &outcome {
            self.numbers.check_sequence(answer, &self.heartbeat, now.wall, outbox);
            let told = &mut self.told.of_answers;
            tell_once(told, &self.heartbeat, "answers", &answer.left_out, now.wall, outbox);
        }
        let is_silent = matches!(outcome, Outcome::CommError);
        outbox.seal(Event::reading(&self.heartbeat, poll, outcome, at));
        if let Some(unproven) = self.unproven.as_mut().filter(|_| is_silent) {
            unproven.silent = unproven.silent.saturating_add(1);
            if unproven.silent == Self::SILENT_MAX {
                outbox.seal_sighting(action::POLLS_STRETCHED, &self.heartbeat, now.wall);
            }
        }
    }
}

fn tell_once(
    told: &mut Vec<&'static str>,
    heartbeat: &Heartbeat,
    what: &str,
    left_out: &[LeftOut],
    at: Timestamp,
    outbox: &mut Outbox,
) {
    let new: Vec<&LeftOut> =
        left_out.iter().filter(|left_out| !told.contains(&left_out.field)).collect();
    if !new.is_empty() {
        told.extend(new.iter().map(|left_out| left_out.field));
        outbox.seal(Event::fields_left_out(heartbeat, what, &new, at));
    }
}

/// Moves `due_at` along its grid to the first due time after `now`. Returns how many due times
/// after the first were passed.
fn advance(due_at: &mut Instant, interval: Duration, now: Instant) -> u64 {
    let late = now.saturating_duration_since(*due_at).as_micros();
    let missed = late / interval.as_micros().max(1);
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    *due_at = *due_at + interval.saturating_mul(missed.saturating_add(1));
    u64::from(missed)
}
