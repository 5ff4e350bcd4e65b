//! One sensor: its presence, its next poll and how its last poll ended.
//!
//! Invariants:
//! - at most one poll is in flight. While a late answer may arrive, the site sends none: a poll
//!   that falls due then waits, or is declared missing;
//! - polls are due on a grid of `poll_interval` from the first poll, whenever they are sent. A
//!   sensor that does not answer is polled less often, and as before from its first sign of life;
//! - only the message bus, the site's stop, an operator's order to forget the sensor or a second
//!   device with its id can end a poll in flight without a reading. If a sensor is lost or goes
//!   while a poll is in flight, that poll still ends in an answer or a COMM_ERROR;
//! - a poll gets its number when it is sent or skipped, and every number is sealed once and in
//!   order: in a reading, or as missing.

mod pace;

use core::time::Duration;

use model::{
    Event, Given, Heartbeat, InForce, LeftOut, NumberRange, Outcome, SensorId, SensorState,
    Timestamp, action, completeness::LastNumbers, gap::MissingReason,
};

use crate::{
    action::Outbox,
    bus::Bus,
    clock::{Instant, Now, Past},
    counters::count,
    doubles::{Alternation, mark, mark_of},
    exchange::{Ended, Exchange, Patience},
    numbers::Numbers,
    per_minute::PerMinute,
    sensor_clock::{Moved, SensorClock},
    under::Under,
};

/// State of one sensor.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) heartbeat: Heartbeat,
    presence: Presence,
    exchange: Exchange,
    numbers: Numbers,
    /// In a box, because most sensors have nothing to tell.
    told: Option<Box<Told>>,
    /// In a box, because many sensors have no clock.
    clock: Option<Box<SensorClock>>,
    /// When the poller took the sensor up, if it has never answered.
    unproven_since: Option<Instant>,
    /// Polls without an answer since the last sign of life.
    silent: u32,
    /// Whether a poll is due that the site has no room for.
    pub(crate) waits: bool,
    /// Whether the sensor is in the queue of those that wait for room.
    pub(crate) is_queued: bool,
    /// An order to poll the sensor that is not carried out yet.
    asked: Option<Box<Given>>,
    /// In a box, because most sensors are under no order.
    under: Option<Box<Under>>,
    /// Marks of the devices that sent heartbeats, once they differed.
    devices: Option<Box<Alternation>>,
    /// Marks of the starts of the device, if its answers name them.
    boots: Option<Box<Alternation>>,
    /// How often the sensor changed or came back in this minute.
    changes: PerMinute,
    /// What the poller has counted of this sensor.
    pub(crate) counted: Counted,
}

/// What a sensor needs to know of its site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) bus: Bus,
    /// Shortest interval that the site grants; `None` if it grants every wish.
    pub(crate) shortest: Option<Duration>,
    /// For sensors that do not say how long they need.
    pub(crate) patience: Patience,
    /// Whether another poll may be in flight.
    pub(crate) has_room: bool,
}

/// What the poller counts of its sensors.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counted {
    /// The interval at which the site would poll the sensor if it granted every wish; `None` while
    /// it does not poll it.
    pub(crate) wish: Option<Duration>,
    /// When the poller took the sensor up, if it was polled and never answered. Such a sensor makes
    /// room for another.
    pub(crate) unanswered_since: Option<Instant>,
    /// Whether a poll is in flight or its answer is held.
    pub(crate) is_in_flight: bool,
    /// Until when that poll takes a place among those that may be in flight.
    pub(crate) place_until: Option<Instant>,
}

/// Names of the left-out fields that were reported, of heartbeats and of answers: at most a dozen.
#[derive(Debug, Default)]
struct Told {
    of_heartbeats: Vec<&'static str>,
    of_answers: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    /// `lost_at` is `None` before the first heartbeat of a sensor that an order made known.
    Online {
        lost_at: Option<Instant>,
        due_at: Instant,
    },
    Lost,
    Disconnected,
    Retired,
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
    /// Number of polls that a sensor may leave unanswered before the site polls it less often: half
    /// as often after each further one.
    const SILENT_MAX: u32 = 10;
    /// Longest interval for a sensor that does not answer, unless it asks for a longer one. The
    /// site notices within a minute when it answers again.
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
        site: Site,
        (now, lost_at): (Instant, Instant),
        due_at: impl FnOnce() -> Instant,
    ) -> Self {
        let presence = match state {
            SensorState::Online => Presence::Online { lost_at: Some(lost_at), due_at: due_at() },
            SensorState::Expected => Presence::Online { lost_at: None, due_at: due_at() },
            SensorState::Lost => Presence::Lost,
            SensorState::Disconnected => Presence::Disconnected,
            SensorState::Retired => Presence::Retired,
        };
        let exchange = Exchange::new(site.patience, last.seq);
        Self {
            heartbeat,
            presence,
            exchange,
            numbers: Numbers::after(last),
            told: None,
            clock: None,
            unproven_since: (!last.answered).then_some(now),
            silent: 0,
            waits: false,
            is_queued: false,
            asked: None,
            under: None,
            devices: None,
            boots: None,
            changes: PerMinute::default(),
            counted: Counted::default(),
        }
    }

    pub(crate) const fn id(&self) -> SensorId {
        self.heartbeat.id
    }

    pub(crate) const fn state(&self) -> SensorState {
        match self.presence {
            Presence::Online { lost_at: Some(_), .. } => SensorState::Online,
            Presence::Online { lost_at: None, .. } => SensorState::Expected,
            Presence::Lost => SensorState::Lost,
            Presence::Disconnected => SensorState::Disconnected,
            Presence::Retired => SensorState::Retired,
        }
    }

    /// What the poller is to count of this sensor. A sensor that may take longer for its answers
    /// than others do keeps no place from them for that.
    pub(crate) fn count_in(&self, site: Site, now: Instant) -> Counted {
        let place_until = self.exchange.takes_place_until(site.patience.answer_timeout);
        Counted {
            wish: self.wish(),
            unanswered_since: self.unproven_since.filter(|_| self.silent > 0 && !self.is_kept()),
            is_in_flight: self.exchange.owes_a_reading(),
            place_until: place_until.filter(|until| *until > now),
        }
    }

    fn wish(&self) -> Option<Duration> {
        let is_polled = matches!(self.presence, Presence::Online { .. });
        if !is_polled || self.is_doubled() || self.is_paused() {
            return None;
        }
        let own = self.own_interval();
        if !self.is_silent() {
            return Some(own);
        }
        let halved = self.silent - Self::SILENT_MAX + 1;
        let stretched = own.saturating_mul(2_u32.saturating_pow(halved));
        Some(stretched.min(Self::SILENT_INTERVAL).max(own))
    }

    /// The current poll interval.
    fn interval(&self, site: Site) -> Duration {
        let own = self.wish().unwrap_or_else(|| self.own_interval());
        own.max(site.shortest.unwrap_or_default())
    }

    const fn is_silent(&self) -> bool {
        self.silent >= Self::SILENT_MAX
    }

    /// Takes a sign of life: from now on the sensor is polled as often as it asks.
    fn revive(&mut self, site: Site, now: Now, outbox: &mut Outbox) {
        let was_silent = self.is_silent();
        self.silent = 0;
        if was_silent {
            outbox.seal_sighting(action::POLLS_RESTORED, &self.heartbeat, now.wall);
            let soon = now.monotonic + self.interval(site);
            if let Presence::Online { due_at, .. } = &mut self.presence {
                *due_at = soon.min(*due_at);
            }
        }
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
        let since = self.unproven_since.filter(|_| !self.is_kept())?;
        let asked_for = self.own_interval().saturating_mul(Self::SILENT_MAX);
        match self.presence {
            Presence::Online { .. } if self.silent == 0 => None,
            Presence::Online { .. } => Some(since + Self::FORGET_AFTER.max(asked_for)),
            Presence::Lost | Presence::Disconnected => Some(since + Self::FORGET_AFTER),
            Presence::Retired => None,
        }
    }

    /// Forgets the sensor: ends all waiting and seals every missing number. Returns the numbers
    /// from which it continues if it comes back.
    pub(crate) fn forget(mut self, now: Now, site: Site, outbox: &mut Outbox) -> LastNumbers {
        self.expire_poll(now, outbox);
        self.end_held(now, outbox);
        self.give_up(MissingReason::Forgotten, now, outbox);
        self.skip_due(now.monotonic, site, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
        self.numbers.last()
    }

    /// When [`Sensor::handle_timeout`] next has something to do.
    pub(crate) fn deadline(&self, bus: Bus) -> Option<Instant> {
        let answer = self.exchange.deadline();
        let (poll, loss) = match self.presence {
            Presence::Online { lost_at, due_at } => {
                let is_to_wake = !self.waits && !self.is_paused();
                let poll = answer.or_else(|| is_to_wake.then_some(due_at));
                let loss = lost_at.filter(|_| bus == Bus::Up);
                (poll, loss.map(|lost_at| self.loss_after(lost_at)))
            }
            Presence::Disconnected => (answer, self.missed_after_maintenance()),
            Presence::Lost | Presence::Retired => (answer, None),
        };
        let forgotten = self.forget_at().filter(|_| bus == Bus::Up);
        [poll, loss, self.numbers.deadline(), forgotten].into_iter().flatten().min()
    }

    /// Seals a poll's timeout, the sensor's loss and its missing polls, and polls it again, as far
    /// as each is due.
    pub(crate) fn handle_timeout(&mut self, now: Now, site: Site, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.expire_heartbeat(now, site, outbox);
        self.numbers.seal_due(&self.heartbeat, now, outbox);
        // The topics of a sensor that is gone may be another's by now.
        if matches!(self.presence, Presence::Online { .. })
            && site.bus == Bus::Up
            && site.has_room
            && let Some(poll) = self.exchange.repeat(now.monotonic)
        {
            count(&mut outbox.counters.repeats);
            outbox.send_poll(&self.heartbeat, poll, now.monotonic);
        }
        let is_due = self.exchange.is_free() && (self.is_asked() || self.is_due(now.monotonic));
        self.waits = is_due && site.bus == Bus::Up && !site.has_room;
        if !is_due || self.waits {
            return;
        }
        let due = self.take_due(now.monotonic, site);
        if self.is_doubled() {
            return self.skip(due, site, now, outbox);
        }
        let interval = self.interval(site);
        let mut due_at = self.newest_due(interval).unwrap_or(now.monotonic);
        // After a stall, do not send the missed polls: a burst of them would give no new
        // information.
        let missed = match (site.bus, due) {
            // An ordered poll is one more than those that are due.
            (Bus::Up, Due { held_back: 0, rest: 0 }) if self.is_asked() => {
                due_at = now.monotonic;
                due
            }
            (Bus::Down, _) | (_, Due { held_back: 0, rest: 0 }) => {
                return self.skip(due, site, now, outbox);
            }
            (Bus::Up, Due { held_back, rest: 0 }) => Due { held_back: held_back - 1, rest: 0 },
            (Bus::Up, Due { held_back, rest }) => Due { held_back, rest: rest - 1 },
        };
        self.skip(missed, site, now, outbox);
        let poll = self.numbers.give();
        if let Some(given) = self.asked.take() {
            outbox.seal(Event::poll_ordered(&self.heartbeat, &given, poll, now.wall));
        }
        self.exchange.begin(poll, interval, now.monotonic);
        count(&mut outbox.counters.polls);
        outbox.send_poll(&self.heartbeat, poll, due_at);
    }

    /// Takes an answer. Only `now` decides whether it is in time, not when timeouts were handled.
    pub(crate) fn handle_answer(
        &mut self,
        payload: &[u8],
        now: Now,
        site: Site,
        outbox: &mut Outbox,
    ) {
        self.expire_poll(now, outbox);
        if self.is_doubled() {
            return count(&mut outbox.counters.duplicates);
        }
        // A late answer also proves that the sensor answers.
        self.unproven_since = None;
        self.revive(site, now, outbox);
        let (outcome, print) = (Outcome::of(payload), mark(payload));
        let is_second_boot = self.is_second_boot(&outcome, now.monotonic);
        let ended = self.exchange.answer(outcome, print, now, &mut outbox.counters);
        self.seal_reading(ended, now, outbox);
        if is_second_boot {
            self.double("the starts that their answers name alternate", now, outbox);
        } else if self.exchange.is_contradicted() {
            self.double("each poll has several answers, and they differ", now, outbox);
        }
    }

    /// Takes the sensor's message that it disconnects.
    pub(crate) fn handle_disconnect(&mut self, now: Now, site: Site, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.end_held(now, outbox);
        self.skip_due(now.monotonic, site, now, outbox);
        if matches!(self.presence, Presence::Online { .. } | Presence::Lost) {
            self.presence = Presence::Disconnected;
            self.asked = None;
            self.numbers.leave();
            let mut event = Event::sighting(action::SENSOR_DISCONNECTED, &self.heartbeat, now.wall);
            let is_in_maintenance = self.is_in_maintenance(now.monotonic);
            if let Some(under) = self.under.as_mut().filter(|_| is_in_maintenance) {
                under.left = true;
                event = event.in_maintenance();
            }
            outbox.seal(event);
        }
    }

    /// Takes a heartbeat that was accepted. `first_poll` gives the time of the first poll if a new
    /// schedule begins.
    pub(crate) fn handle_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        lost_at: Instant,
        first_poll: impl FnOnce() -> Instant,
        site: Site,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let changed = heartbeat != self.heartbeat;
        let same_interval = self.ordered_interval().is_some()
            || heartbeat.poll_interval_ms == self.heartbeat.poll_interval_ms;
        if !same_interval {
            // Polls that are due on the old grid are not due on the new one.
            self.end_held(now, outbox);
            self.skip_due(now.monotonic, site, now, outbox);
        }
        self.heartbeat = heartbeat;
        self.be_patient(site);
        let was_expected = self.state() == SensorState::Expected;
        let due_at = match self.presence {
            Presence::Online { due_at, .. } if same_interval => due_at,
            Presence::Online { .. } => first_poll(),
            Presence::Lost | Presence::Disconnected | Presence::Retired => {
                if let Some(under) = &mut self.under {
                    under.left = false;
                }
                // The answer to a poll in flight may have come after it went.
                self.numbers.leave();
                outbox.seal_sighting(action::HEARTBEAT_RESUMED, &self.heartbeat, now.wall);
                // Whoever never answered shows no life by going and coming back.
                if self.unproven_since.is_none() {
                    self.revive(site, now, outbox);
                }
                first_poll()
            }
        };
        self.presence = Presence::Online { lost_at: Some(lost_at), due_at };
        if was_expected {
            outbox.seal_sighting(action::SENSOR_DISCOVERED, &self.heartbeat, now.wall);
        } else if changed {
            outbox.seal_sighting(action::SENSOR_CHANGED, &self.heartbeat, now.wall);
        }
    }

    /// Reports each left-out field of its heartbeats once in a run.
    pub(crate) fn tell_left_out(&mut self, left_out: &[LeftOut], now: Now, outbox: &mut Outbox) {
        if left_out.is_empty() {
            return;
        }
        let told = &mut self.told.get_or_insert_default().of_heartbeats;
        tell_once(told, &self.heartbeat, "heartbeats", left_out, now.wall, outbox);
    }

    /// The message bus went down: gives up the poll in flight.
    pub(crate) fn handle_bus_down(&mut self, now: Now, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.asked = None;
        self.give_up(MissingReason::BusAway, now, outbox);
    }

    /// The site stops: ends all waiting and seals every missing number.
    pub(crate) fn handle_stop(&mut self, now: Now, site: Site, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.skip_due(now.monotonic, site, now, outbox);
        self.give_up(MissingReason::Stopped, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
    }

    /// The site started and restored the sensor: declares polls due in between as missing.
    pub(crate) fn handle_start(&mut self, past: Past, now: Now, outbox: &mut Outbox) {
        if let Presence::Online { .. } = self.presence
            && !self.is_paused()
        {
            let interval = self.own_interval();
            self.numbers.miss_before_start(&self.heartbeat, interval, (past, now), outbox);
        }
    }

    /// The message bus is up again. Heartbeats that could not get through do not count as missed.
    pub(crate) fn handle_bus_up(&mut self, now: Instant, new_lost_at: Instant) {
        self.exchange.handle_bus_up(now);
        if let Presence::Online { lost_at: Some(lost_at), .. } = &mut self.presence {
            *lost_at = new_lost_at;
        }
    }

    /// Takes what is in force of the orders about this sensor.
    pub(crate) fn obey(&mut self, in_force: Option<&InForce>, site: Site, now: Now) {
        let under = Under::of(in_force, self.under.as_deref(), now);
        self.under = under.map(Box::new);
        if let Some(in_force) = in_force {
            in_force.describe(&mut self.heartbeat);
        }
        self.be_patient(site);
    }

    /// Takes the sensor out of service: no further poll is due. A poll in flight ends as ever.
    pub(crate) fn retire(&mut self, now: Now, site: Site, outbox: &mut Outbox) {
        self.expire_poll(now, outbox);
        self.end_held(now, outbox);
        self.skip_due(now.monotonic, site, now, outbox);
        self.numbers.leave();
        self.asked = None;
        self.presence = Presence::Retired;
    }

    /// Expects a retired sensor again. It is polled after its next heartbeat.
    pub(crate) const fn recall(&mut self) {
        self.presence = Presence::Lost;
    }

    /// One device is the sensor from now on. It may count its readings anew.
    pub(crate) fn settle_devices(&mut self) {
        self.exchange.settle_devices();
        self.numbers.leave();
        (self.devices, self.boots) = (None, None);
        if let Some(under) = &mut self.under {
            under.doubled = false;
        }
    }

    /// Whether several devices have the sensor's id, so that none of them counts as the sensor.
    pub(crate) fn is_doubled(&self) -> bool {
        self.under.as_ref().is_some_and(|under| under.doubled)
    }

    /// Several devices have the sensor's id: what any of them answers does not count.
    pub(crate) fn double(&mut self, how: &str, now: Now, outbox: &mut Outbox) {
        if self.is_doubled() {
            return;
        }
        self.asked = None;
        self.give_up(MissingReason::SeveralDevices, now, outbox);
        self.under.get_or_insert_default().doubled = true;
        outbox.seal(Event::sensor_doubled(&self.heartbeat, how, now.wall));
    }

    /// Whether this heartbeat shows that a second device sends heartbeats of this sensor.
    pub(crate) fn is_second_device(&mut self, heartbeat: &Heartbeat, now: Instant) -> bool {
        let (known, mark) = (mark_of(&self.heartbeat), mark_of(heartbeat));
        if self.devices.is_none() && known == mark {
            return false;
        }
        let seen = self.devices.get_or_insert_with(|| Box::new(Alternation::of(known)));
        let are_two = seen.see(mark, now);
        if are_two {
            self.devices = None;
        }
        are_two
    }

    /// Whether this answer shows that a second device answers.
    fn is_second_boot(&mut self, outcome: &Outcome, now: Instant) -> bool {
        let Outcome::Success(answer) = outcome else { return false };
        let Some(boot) = answer.boot.as_deref().map(mark) else { return false };
        self.boots.get_or_insert_with(|| Box::new(Alternation::of(boot))).see(boot, now)
    }

    fn is_in_maintenance(&self, at: Instant) -> bool {
        self.under.as_ref().is_some_and(|under| under.in_maintenance_until(at).is_some())
    }

    /// When the sensor is lost, if no heartbeat comes until `lost_at`: in maintenance, not before
    /// its end.
    fn loss_after(&self, lost_at: Instant) -> Instant {
        let under = self.under.as_ref();
        under.and_then(|under| under.in_maintenance_until(lost_at)).unwrap_or(lost_at)
    }

    /// When a sensor that left in its maintenance is missed.
    fn missed_after_maintenance(&self) -> Option<Instant> {
        self.under.as_ref().filter(|under| under.left).and_then(|under| under.maintenance_end())
    }

    fn expire_poll(&mut self, now: Now, outbox: &mut Outbox) {
        let ended = self.exchange.expire(now);
        self.seal_reading(ended, now, outbox);
    }

    fn expire_heartbeat(&mut self, now: Now, site: Site, outbox: &mut Outbox) {
        if site.bus == Bus::Down {
            return;
        }
        let lost_at = match self.presence {
            Presence::Online { lost_at, .. } => lost_at.map(|at| self.loss_after(at)),
            Presence::Disconnected => self.missed_after_maintenance(),
            Presence::Lost | Presence::Retired => None,
        };
        if let Some(lost_at) = lost_at.filter(|lost_at| *lost_at <= now.monotonic) {
            // A sensor that was online until then had polls that were due.
            self.end_held(now, outbox);
            self.skip_due(lost_at.just_before(), site, now, outbox);
            if let Some(under) = &mut self.under {
                under.left = false;
            }
            self.presence = Presence::Lost;
            self.asked = None;
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
    fn skip_due(&mut self, end: Instant, site: Site, now: Now, outbox: &mut Outbox) {
        let due = self.take_due(end, site);
        self.skip(due, site, now, outbox);
    }

    fn skip(&mut self, due: Due, site: Site, now: Now, outbox: &mut Outbox) {
        let reason = match site.bus {
            Bus::Up if self.is_doubled() => MissingReason::SeveralDevices,
            Bus::Up => MissingReason::Overrun,
            Bus::Down => MissingReason::BusAway,
        };
        for (count, reason) in [(due.held_back, MissingReason::Unanswered), (due.rest, reason)] {
            self.numbers.skip(count, reason, &self.heartbeat, now, outbox);
        }
    }

    /// Whether a poll fell due that is neither sent nor skipped.
    fn is_due(&self, now: Instant) -> bool {
        match self.presence {
            Presence::Online { due_at, .. } => due_at <= now && !self.is_paused(),
            Presence::Lost | Presence::Disconnected | Presence::Retired => false,
        }
    }

    /// When the newest poll that was taken could be sent: when it was due, or when the answer
    /// before it was no longer awaited.
    fn newest_due(&self, interval: Duration) -> Option<Instant> {
        let Presence::Online { due_at, .. } = self.presence else { return None };
        let was_due = due_at.saturating_sub(interval);
        Some(self.exchange.held_back_until().map_or(was_due, |held| was_due.max(held)))
    }

    /// Takes the polls that fell due until `end`; the caller must send or skip them. Takes none
    /// while a poll is in flight. Nothing falls due while the polls are paused.
    fn take_due(&mut self, end: Instant, site: Site) -> Due {
        let interval = self.interval(site);
        if self.is_paused() {
            return Due::default();
        }
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
        let mut moved: Vec<Moved> = Vec::new();
        if let Outcome::Success(answer) = &outcome {
            let delay_max = self.exchange.delay_max();
            moved.extend(SensorClock::look(&mut self.clock, answer, delay_max, now.monotonic));
            self.numbers.check_sequence(answer, &self.heartbeat, now.wall, outbox);
            if !answer.left_out.is_empty() {
                let told = &mut self.told.get_or_insert_default().of_answers;
                tell_once(told, &self.heartbeat, "answers", &answer.left_out, now.wall, outbox);
            }
        }
        let is_silent = matches!(outcome, Outcome::CommError);
        let mut event = Event::reading(&self.heartbeat, poll, outcome, at);
        moved.iter().for_each(|moved| event.flag(moved.as_str()));
        if let Some(under) = &self.under {
            if under.in_maintenance_until(now.monotonic).is_some() {
                event = event.in_maintenance();
            }
            if let Some(calibrations) = &under.calibrations {
                event = event.calibrated_by(calibrations);
            }
        }
        outbox.seal(event);
        if is_silent {
            self.silent = self.silent.saturating_add(1);
            if self.silent == Self::SILENT_MAX {
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
