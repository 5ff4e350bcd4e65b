//! A week of a large fleet in simulated time: sensors that answer late, twice, in floods or not at
//! all, outages, and a wall clock that jumps.
//!
//! `cargo test -p poll` simulates a small fleet. `cargo test --release -p poll --test it week --
//! --ignored --nocapture` simulates 100,000 sensors and prints what it took.

use core::{cmp::Reverse, time::Duration};
use std::collections::{BTreeMap, BinaryHeap};

use model::{Event, Heartbeat, NumberRange, SensorId, SensorState, Timestamp};
use poll::{Action, Bus, Config, Instant, Now, Past, Poller};

use crate::script::{BEAT, WALL_START_MICROS};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const WEEK: u64 = 7 * 24 * HOUR;
/// Least time between two steps, as in a site.
const STEP: u64 = 2_000;
/// Far fewer than fall due at once after an outage, so that polls wait for each other.
const IN_FLIGHT_MAX: u32 = 500;

/// How a sensor answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    InTime,
    /// Every tenth poll gets no answer.
    Faulty,
    /// Each answer comes after the timeout.
    Slow,
    /// Sends twenty answers to each poll.
    Flood,
    /// Answers a few hours of each day.
    Hours,
    Never,
}

impl Manner {
    /// Most sensors are honest, in each block of a hundred in the same order.
    const fn of(number: u32) -> Self {
        match number % 100 {
            0 => Self::Never,
            1 => Self::Slow,
            2 => Self::Flood,
            3..6 => Self::Hours,
            6..12 => Self::Faulty,
            _ => Self::InTime,
        }
    }
}

/// What happens next in the world outside.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Happening {
    Answer(u32),
    Heartbeat(u32),
    Bus(bool),
    Room(bool),
    ClockJumps,
}

/// What a sensor was asked and what was sealed about it.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Newest number that is sealed.
    sealed: u64,
    in_flight: Option<u64>,
    /// Readings with an answer, and polls without one.
    answered: u32,
    silent: u32,
    missing: u64,
}

struct World {
    poller: Poller,
    now: u64,
    /// What the wall clock is ahead of the monotonic one.
    wall_ahead: i64,
    agenda: BinaryHeap<Reverse<(u64, Happening)>>,
    sensors: Vec<Account>,
    heartbeats: Vec<String>,
    dice: u64,
    polls: u64,
    bus_is_up: bool,
    has_room: bool,
    /// Until when polls wait for each other, because none could be sent before.
    disturbed_until: u64,
    /// Longest time from when a poll could be sent until it was, in undisturbed times.
    latest: u64,
}

impl World {
    fn new(count: u32) -> Self {
        let config = Config {
            lost_after: Duration::from_secs(10 * 60 * 60),
            polls_in_flight: IN_FLIGHT_MAX,
            sensors_max: count as usize,
            ..Config::default()
        };
        let heartbeats: Vec<String> = (0..count).map(heartbeat).collect();
        let mut world = Self {
            poller: Poller::new(config),
            now: 0,
            wall_ahead: WALL_START_MICROS,
            agenda: BinaryHeap::new(),
            sensors: vec![Account::default(); count as usize],
            heartbeats,
            dice: 7,
            polls: 0,
            bus_is_up: true,
            has_room: true,
            disturbed_until: 0,
            latest: 0,
        };
        let known = world.heartbeats.iter().map(|text| Heartbeat::parse(text.as_bytes()).unwrap());
        let known: Vec<_> = known.map(|heartbeat| (heartbeat, SensorState::Online)).collect();
        let now = world.now();
        assert!(world.poller.restore(known, BTreeMap::new(), Past::default(), now).is_empty());
        for number in 0..count {
            let at = world.below(4 * HOUR);
            world.plan(at, Happening::Heartbeat(number));
        }
        for day in 0..7 {
            let outage = (day * 24 + 5) * HOUR;
            world.plan(outage, Happening::Bus(false));
            world.plan(outage + 17 * MINUTE, Happening::Bus(true));
            let full = (day * 24 + 11) * HOUR;
            world.plan(full, Happening::Room(false));
            world.plan(full + 30 * SECOND, Happening::Room(true));
            for hour in [1, 8, 9, 23] {
                world.plan((day * 24 + hour) * HOUR, Happening::ClockJumps);
            }
        }
        world
    }

    /// A number below `end`, the same in each run (SplitMix64).
    fn below(&mut self, end: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn plan(&mut self, at: u64, happening: Happening) {
        self.agenda.push(Reverse((at, happening)));
    }

    fn now(&self) -> Now {
        self.moment(self.now)
    }

    fn moment(&self, at: u64) -> Now {
        let wall = self.wall_ahead + i64::try_from(at).unwrap();
        Now {
            monotonic: Instant::after_start(Duration::from_micros(at)),
            wall: Timestamp::from_unix_micros(wall),
        }
    }

    /// Lives until `end`.
    fn run_until(&mut self, end: u64) {
        self.act();
        loop {
            let woken = self.poller.poll_timeout().map_or(end, micros);
            let happens = self.agenda.peek().map_or(end, |Reverse((at, _))| *at);
            self.now = woken.min(happens).max(self.now + STEP);
            if self.now >= end {
                break;
            }
            while let Some(&Reverse((at, happening))) = self.agenda.peek()
                && at <= self.now
            {
                self.agenda.pop();
                self.happen(happening, at);
            }
            self.poller.handle_timeout(self.now());
            self.act();
            let next = self.poller.poll_timeout();
            assert!(next.is_none_or(|next| micros(next) > self.now), "woken for nothing");
            let counters = self.poller.counters();
            assert!(counters.in_flight <= IN_FLIGHT_MAX);
            assert!(counters.waiting == 0 || !self.has_room || counters.in_flight == IN_FLIGHT_MAX);
        }
        self.now = end;
        self.poller.handle_stop(self.now());
        self.act();
    }

    fn happen(&mut self, happening: Happening, at: u64) {
        let now = self.moment(at);
        match happening {
            Happening::Answer(number) => {
                let times = if Manner::of(number) == Manner::Flood { 20 } else { 1 };
                for _ in 0..times {
                    self.poller.handle_answer(id(number), b"21.5", now);
                }
            }
            Happening::Heartbeat(number) => {
                let text = self.heartbeats[number as usize].as_bytes();
                self.poller.handle_heartbeat(text, BEAT, now).unwrap();
                let pause = 4 * HOUR + self.below(MINUTE);
                self.plan(at + pause, happening);
            }
            Happening::Bus(is_up) => {
                self.bus_is_up = is_up;
                self.poller.handle_bus(if is_up { Bus::Up } else { Bus::Down }, now);
                if !is_up {
                    self.sensors.iter_mut().for_each(|sensor| sensor.in_flight = None);
                }
            }
            Happening::Room(has_room) => {
                self.has_room = has_room;
                self.disturbed_until = at + MINUTE;
                self.poller.handle_room(has_room, now);
            }
            Happening::ClockJumps => {
                let by = self.below(2 * HOUR);
                self.wall_ahead += i64::try_from(by).unwrap() - i64::try_from(HOUR).unwrap();
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.poller.poll_action() {
            match action {
                Action::Subscribe { .. } | Action::Unsubscribe { .. } => {}
                Action::SendPoll { sensor, poll, due_at, .. } => {
                    assert!(self.bus_is_up && self.has_room, "a poll that cannot be sent");
                    let number = number(sensor);
                    let account = &mut self.sensors[number as usize];
                    assert_eq!(account.in_flight.replace(poll), None, "two polls in flight");
                    self.polls += 1;
                    if self.now > self.disturbed_until {
                        self.latest = self.latest.max(self.now - micros(due_at).min(self.now));
                    }
                    self.answer(number);
                }
                Action::Seal(event) => self.seal(&event),
            }
        }
    }

    /// Plans how a sensor answers a poll that is sent now.
    fn answer(&mut self, number: u32) {
        let delay = match Manner::of(number) {
            Manner::Never => return,
            Manner::Faulty if self.below(10) == 0 => return,
            Manner::Hours if self.now / HOUR % 24 >= 6 => return,
            Manner::Slow => 600_000 + self.below(300_000),
            _ => 1_000 + self.below(50_000),
        };
        self.plan(self.now + delay, Happening::Answer(number));
    }

    /// Takes what is sealed: each number follows the one before it.
    fn seal(&mut self, event: &Event) {
        let Some(detail) = &event.sealwire else { return };
        let Some(sensor) = detail.sensor else { return };
        let account = &mut self.sensors[number(sensor) as usize];
        let numbers = match (event.action.as_deref(), detail.poll, &detail.missing) {
            (Some("SENSOR_READING"), Some(poll), _) => {
                assert_eq!(account.in_flight.take(), Some(poll), "a reading nobody asked for");
                match event.status.as_deref() {
                    Some("SUCCESS") => account.answered += 1,
                    _ => account.silent += 1,
                }
                NumberRange::one(poll)
            }
            (Some("READINGS_MISSING"), _, Some(missing)) => {
                let numbers: NumberRange = missing.parse().unwrap();
                account.missing += numbers.count();
                if account.in_flight == Some(numbers.last()) {
                    account.in_flight = None;
                }
                numbers
            }
            _ => return,
        };
        assert_eq!(numbers.first(), account.sealed + 1, "each number is sealed once and in order");
        account.sealed = numbers.last();
    }

    /// Checks what the week was, after its end.
    fn check(&self) {
        let counters = self.poller.counters();
        let sum = |of: fn(&Account) -> u64| -> u64 { self.sensors.iter().map(of).sum() };
        assert_eq!(counters.polls, self.polls);
        assert_eq!(counters.answers, sum(|account| account.answered.into()));
        assert_eq!(counters.timeouts, sum(|account| account.silent.into()));
        assert_eq!(counters.skipped, sum(|account| account.missing));
        let sealed = sum(|account| account.sealed);
        assert_eq!(sealed, counters.answers + counters.timeouts + counters.skipped);
        assert!(counters.late > 0 && counters.duplicates > 0);
        // Nobody is served at another's cost: who answers in time has every reading but those of
        // the outages.
        let due = |number: u32| WEEK / (interval_ms(number) * 1_000);
        for (number, account) in (0..).zip(&self.sensors) {
            let answered = u64::from(account.answered);
            let (all, days) = (due(number), 7 * HOUR / (interval_ms(number) * 1_000) + 14);
            match Manner::of(number) {
                Manner::InTime | Manner::Flood => {
                    assert!(answered + days >= all && answered <= all + 1, "{number}: {account:?}");
                }
                Manner::Slow | Manner::Never => assert_eq!(answered, 0, "{number}"),
                Manner::Faulty => assert!(answered * 10 > all * 7, "{number}: {account:?}"),
                Manner::Hours => {
                    let fair = all / 4;
                    assert!(answered + days > fair && answered < fair + days, "{number}");
                }
            }
        }
        assert!(self.latest <= STEP, "a poll was sent {} us late", self.latest);
    }
}

/// One sensor in a hundred is polled every minute, and the others every hour.
const fn interval_ms(number: u32) -> u64 {
    if number % 100 == number / 100 % 100 { MINUTE / 1_000 } else { HOUR / 1_000 }
}

fn id(number: u32) -> SensorId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SensorId::from_bytes(bytes)
}

fn number(sensor: SensorId) -> u32 {
    u32::try_from(sensor.halves().0 >> 32).unwrap()
}

fn heartbeat(number: u32) -> String {
    let (id, every) = (id(number), interval_ms(number));
    format!(
        r#"{{"id":"{id}","alias":"s{number}","poll_interval":{every},"poll_topic":"p.{number}","read_topic":"r.{number}"}}"#
    )
}

fn micros(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(Instant::default());
    u64::try_from(since.as_micros()).unwrap()
}

#[test]
fn a_week_of_a_fleet_ends_every_poll_once() {
    let mut world = World::new(300);
    world.run_until(WEEK);
    world.check();
}

#[test]
#[ignore = "takes minutes in a release build"]
fn a_week_of_a_hundred_thousand_sensors() {
    let begun = std::time::Instant::now();
    let mut world = World::new(100_000);
    world.run_until(WEEK);
    let (seconds, polls) = (begun.elapsed().as_secs_f64(), world.polls);
    println!("{polls} polls in {seconds:.0} s: {:.2} us each", seconds * 1e6 / polls as f64);
    world.check();
}
