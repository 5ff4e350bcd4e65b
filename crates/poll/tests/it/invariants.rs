//! Invariants that hold for any input.

use std::collections::BTreeMap;

use model::{Event, SensorId};
use poll::{Action, Bus, Config, Instant, Now, Poller};
use proptest::prelude::*;

use crate::script::{BEAT, at, heartbeat, order, sensor};

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Beat { name: &'static str, every: &'static str, read: &'static str },
    Garbage,
    Answer { name: &'static str, payload: &'static str },
    Gone { name: &'static str },
    Order { name: &'static str, words: &'static [&'static str] },
    Bus(Bus),
    Room(bool),
    Wait,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d", "e"])
}

pub(crate) fn input() -> impl Strategy<Value = Input> {
    let every = prop::sample::select(vec!["100", "700", "2000", "60000"]);
    let read = prop::sample::select(vec!["1", "2", "3", "4", "5", "6"]);
    let payload = prop::sample::select(vec!["1", "\"2.50\"", "{\"value\":3}", "3C", ""]);
    let orders: [&[&str]; 7] = [
        &["poll"],
        &["pause"],
        &["resume"],
        &["resume"],
        &["every", "300"],
        &["every", "own"],
        &["add", "700"],
    ];
    let words = prop::sample::select(orders.to_vec());
    prop_oneof![
        4 => (name(), every, read).prop_map(|(name, every, read)| Input::Beat { name, every, read }),
        1 => Just(Input::Garbage),
        8 => (name(), payload).prop_map(|(name, payload)| Input::Answer { name, payload }),
        1 => name().prop_map(|name| Input::Gone { name }),
        2 => (name(), words).prop_map(|(name, words)| Input::Order { name, words }),
        1 => prop::sample::select(vec![Bus::Up, Bus::Down]).prop_map(Input::Bus),
        1 => prop::bool::ANY.prop_map(Input::Room),
        4 => Just(Input::Wait),
    ]
}

/// Milliseconds to the next input, and whether the driver sleeps meanwhile.
pub(crate) fn pause() -> impl Strategy<Value = (u64, bool)> {
    // The longest exceed `lost_after`. They are rare, because a sensor with an interval of 100 ms
    // has thousands of polls in one of them.
    let millis = prop_oneof![
        20 => 0_u64..50,
        20 => 50_u64..1_000,
        10 => 1_000_u64..20_000,
        1 => 100_000_u64..400_000,
    ];
    (millis, prop::bool::weighted(0.2))
}

/// Polls that may be in flight: fewer than there are sensors, so that some wait.
const IN_FLIGHT_MAX: u32 = 2;

/// An independent account of the poller's actions.
#[derive(Default)]
struct Account {
    /// The poll of each sensor, and when it was sent last.
    in_flight: BTreeMap<SensorId, (u64, Instant)>,
    subscribed: BTreeMap<SensorId, String>,
    polls: u64,
    repeats: u64,
    readings: BTreeMap<String, u64>,
    given_up: u64,
    bus_is_down: bool,
}

impl Account {
    fn drain(&mut self, poller: &mut Poller, Now { monotonic: now, .. }: Now) {
        while let Some(action) = poller.poll_action() {
            match action {
                Action::Subscribe { sensor, read_topic, .. } => {
                    let topic = read_topic.to_string();
                    assert!(
                        !self.subscribed.values().any(|other| *other == topic),
                        "two hear {topic}"
                    );
                    assert_eq!(self.subscribed.insert(sensor, topic), None, "heard twice");
                }
                Action::Unsubscribe { sensor } => {
                    assert!(self.subscribed.remove(&sensor).is_some(), "was not subscribed");
                }
                Action::SendPoll { sensor, poll, reply, .. } => {
                    assert!(!self.bus_is_down, "a poll without a bus");
                    match self.in_flight.insert(sensor, (poll, now)) {
                        None => self.polls += 1,
                        Some((before, _)) => {
                            assert_eq!(before, poll, "two polls in flight");
                            self.repeats += 1;
                        }
                    }
                    assert_eq!(self.subscribed.get(&sensor), Some(&reply.to_string()));
                    let takes_place = |(_, sent): &&(u64, Instant)| {
                        *sent + Config::default().answer_timeout > now
                    };
                    let places = self.in_flight.values().filter(takes_place).count();
                    assert!(places <= IN_FLIGHT_MAX as usize, "too many in flight");
                }
                Action::Seal(event) => self.seal(&event),
            }
        }
    }

    fn seal(&mut self, event: &Event) {
        if event.action.as_deref() == Some("SENSOR_READING") {
            let asked = self.in_flight.remove(&event.sensor().unwrap());
            let poll = event.sealwire.as_ref().unwrap().poll;
            let asked = asked.map(|(poll, _sent)| poll);
            assert!(asked.is_some() && asked == poll, "a reading nobody asked for");
            *self.readings.entry(event.status.clone().unwrap()).or_default() += 1;
        }
        if let Some("SENSOR_FORGOTTEN" | "SENSOR_DOUBLED") = event.action.as_deref() {
            // The sensor made room for another, or several devices have its id, and its poll in
            // flight was given up.
            let in_flight = self.in_flight.remove(&event.sensor().unwrap());
            self.given_up += u64::from(in_flight.is_some());
        }
    }

    fn bus(&mut self, bus: Bus) {
        self.bus_is_down = bus == Bus::Down;
        if self.bus_is_down {
            self.given_up += u64::try_from(self.in_flight.len()).unwrap();
            self.in_flight.clear();
        }
    }

    fn check(&self, poller: &Poller, now: Now) {
        assert!(poller.poll_timeout().is_none_or(|next| next > now.monotonic), "woken for nothing");
        let counters = poller.counters();
        let readings = |status| self.readings.get(status).copied().unwrap_or_default();
        assert_eq!(counters.polls, self.polls);
        assert_eq!(counters.repeats, self.repeats);
        assert_eq!(counters.in_flight as usize, self.in_flight.len());
        assert_eq!(counters.answers, readings("SUCCESS"));
        assert_eq!(counters.value_errors, readings("VALUE_ERROR"));
        assert_eq!(counters.timeouts, readings("COMM_ERROR"));
        assert!(counters.skipped >= self.given_up);
        let in_flight = u64::try_from(self.in_flight.len()).unwrap();
        let ended = counters.answers + counters.value_errors + counters.timeouts + self.given_up;
        assert_eq!(counters.polls, ended + in_flight);
        for (heartbeat, state) in poller.sensors() {
            assert!(
                !state.is_polled() || self.subscribed.contains_key(&heartbeat.id),
                "online and unheard"
            );
        }
    }
}

pub(crate) fn feed(poller: &mut Poller, input: &Input, now: Now) -> u64 {
    match input {
        Input::Beat { name, every, read } => {
            let payload =
                heartbeat(name, &[&format!("every={every}"), &format!("read=sim/read/{read}")]);
            return u64::from(poller.handle_heartbeat(payload.as_bytes(), BEAT, now).is_err());
        }
        Input::Garbage => {
            return u64::from(poller.handle_heartbeat(b"{}", BEAT, now).is_err());
        }
        Input::Answer { name, payload } => {
            poller.handle_answer(sensor(name), payload.as_bytes(), now);
        }
        Input::Gone { name } => poller.handle_disconnect(sensor(name), now),
        Input::Order { name, words } => {
            let _may_be_refused = poller.handle_order(sensor(name), &order(name, words, now), now);
        }
        Input::Bus(bus) => poller.handle_bus(*bus, now),
        Input::Room(has_room) => poller.handle_room(*has_room, now),
        Input::Wait => {}
    }
    0
}

proptest! {
    #[test]
    fn every_poll_ends_once_and_every_count_adds_up(
        inputs in prop::collection::vec((input(), pause()), 1..200),
        retries in 0_u8..3,
    ) {
        let polls_in_flight = IN_FLIGHT_MAX;
        let mut poller =
            Poller::new(Config { sensors_max: 4, polls_in_flight, retries, ..Config::default() });
        let mut account = Account::default();
        let (mut millis, mut refused) = (0, 0);
        for (input, (pause, asleep)) in inputs {
            millis += pause;
            let now = at(millis);
            while !asleep
                && let Some(next) = poller.poll_timeout().filter(|next| *next <= now.monotonic)
            {
                let woken = Now { monotonic: next, wall: now.wall };
                poller.handle_timeout(woken);
                account.drain(&mut poller, woken);
                account.check(&poller, woken);
            }
            if let Input::Bus(_) = input {
                // Timeouts at the same moment come first, so the account does not have to guess.
                poller.handle_timeout(now);
                account.drain(&mut poller, now);
            }
            refused += feed(&mut poller, &input, now);
            if let Input::Bus(bus) = input {
                account.bus(bus);
            }
            account.drain(&mut poller, now);
            poller.handle_timeout(now);
            account.drain(&mut poller, now);
            account.check(&poller, now);
            prop_assert_eq!(poller.counters().refused_heartbeats, refused);
            prop_assert!(poller.sensors().count() <= 4);
        }
    }

    #[test]
    fn sleep_does_not_change_who_is_where(
        inputs in prop::collection::vec((input(), pause()), 1..100),
    ) {
        let states = |asleep: bool| {
            let mut poller = Poller::new(Config::default());
            let mut millis = 0;
            for (input, (pause, _)) in &inputs {
                millis += pause;
                let now = at(millis);
                while !asleep && poller.poll_timeout().is_some_and(|next| next <= now.monotonic) {
                    let next = poller.poll_timeout().unwrap_or_default();
                    poller.handle_timeout(Now { monotonic: next, wall: now.wall });
                }
                feed(&mut poller, input, now);
            }
            poller.handle_timeout(at(millis));
            poller.sensors().map(|(heartbeat, state)| (heartbeat.clone(), state)).collect::<Vec<_>>()
        };
        prop_assert_eq!(states(true), states(false));
    }
}
