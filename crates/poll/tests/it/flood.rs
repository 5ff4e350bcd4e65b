//! Thousands of invented sensors.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use model::{Event, Heartbeat, SensorId, SensorState, completeness::LastNumbers};
use poll::{Action, Config, Instant, Now, Past, Poller};

use crate::script::{BEAT, at};

fn id(number: u32) -> SensorId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SensorId::from_bytes(bytes)
}

fn beat(number: u32, every: u64) -> String {
    format!(
        r#"{{"id":"{}","alias":"s{number}","poll_interval":{every},"poll_topic":"p.{number}","read_topic":"r.{number}"}}"#,
        id(number)
    )
}

/// A site whose sensors answer at once, or never.
struct Site {
    poller: Poller,
    answering: BTreeSet<SensorId>,
    log: Vec<Event>,
    polls: BTreeMap<SensorId, Vec<Instant>>,
}

impl Site {
    fn new(config: Config) -> Self {
        let lost_after = Duration::MAX;
        Self {
            poller: Poller::new(Config { lost_after, ..config }),
            answering: BTreeSet::new(),
            log: Vec::new(),
            polls: BTreeMap::new(),
        }
    }

    fn beat(&mut self, number: u32, every: u64, now: Now) -> bool {
        let accepted = self.poller.handle_heartbeat(beat(number, every).as_bytes(), BEAT, now);
        self.drain(now);
        accepted.is_ok()
    }

    fn drain(&mut self, now: Now) {
        while let Some(action) = self.poller.poll_action() {
            match action {
                Action::SendPoll { sensor, .. } => {
                    self.polls.entry(sensor).or_default().push(now.monotonic);
                    if self.answering.contains(&sensor) {
                        self.poller.handle_answer(sensor, b"1", now);
                    }
                }
                Action::Seal(event) => self.log.push(*event),
                Action::Subscribe { .. } | Action::Unsubscribe { .. } => {}
            }
        }
    }

    fn run_until(&mut self, seconds: u64) {
        let end = at(seconds * 1_000);
        while let Some(next) = self.poller.poll_timeout().filter(|next| *next <= end.monotonic) {
            let now = Now { monotonic: next, wall: end.wall };
            self.poller.handle_timeout(now);
            self.drain(now);
        }
    }

    fn polls_between(&self, sensors: impl Iterator<Item = u32>, from: u64, to: u64) -> usize {
        let span = at(from * 1_000).monotonic..at(to * 1_000).monotonic;
        let of = |number| self.polls.get(&id(number)).into_iter().flatten();
        sensors.flat_map(of).filter(|moment| span.contains(moment)).count()
    }

    fn told(&self, action: &str) -> Vec<&str> {
        let told = self.log.iter().filter(|event| event.action.as_deref() == Some(action));
        told.map(|event| event.message.as_str()).collect()
    }
}

#[test]
fn a_flood_is_held_to_the_budget_and_slow_sensors_are_polled_as_they_ask() {
    let mut site = Site::new(Config { polls_per_second: 400, ..Config::default() });
    for honest in 0..40 {
        site.answering.insert(id(honest));
        assert!(site.beat(honest, 10_000, at(0)));
    }
    for invented in 1_000..1_400 {
        site.answering.insert(id(invented));
        assert!(site.beat(invented, 100, at(0)));
    }
    site.run_until(30);
    assert_eq!(site.polls_between(0..40, 10, 30), 80, "every 10 s");
    let all = site.polls_between((0..40).chain(1_000..1_400), 10, 30);
    assert!((7_000..=8_000).contains(&all), "{all} polls in 20 s");
    let told = site.told("POLLS_STRETCHED");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told.concat().contains("sensors ask for 4004 polls per second, but the limit is 400"),
        "{told:?}"
    );
    // They leave, and everything is as before.
    for invented in 1_000..1_400 {
        site.poller.handle_disconnect(id(invented), at(30_000));
    }
    site.run_until(100);
    assert_eq!(site.told("POLLS_RESTORED"), ["all sensors are polled as often as they ask again"]);
}

#[test]
fn who_never_answered_is_polled_slowly_and_then_forgotten_and_its_numbers_go_on() {
    let mut site = Site::new(Config::default());
    assert!(site.beat(1, 1_000, at(0)));
    site.answering.insert(id(2));
    assert!(site.beat(2, 1_000, at(0)));
    site.run_until(600);
    assert_eq!(site.told("POLLS_STRETCHED").len(), 1);
    assert_eq!(site.polls_between(1..2, 300, 600), 5, "once a minute");
    assert_eq!(site.polls_between(2..3, 300, 600), 300, "who answers is polled as it asks");
    // A sensor that begins to answer is polled again as often as it asks.
    let mut late = Site::new(Config::default());
    assert!(late.beat(1, 1_000, at(0)));
    late.run_until(300);
    late.answering.insert(id(1));
    late.run_until(600);
    assert_eq!(late.told("POLLS_RESTORED").len(), 1);
    assert_eq!(late.polls_between(1..2, 400, 500), 100);

    site.run_until(3_600);
    assert_eq!(site.told("SENSOR_FORGOTTEN").len(), 1);
    assert_eq!(site.poller.state(id(1)), None);
    assert_eq!(site.poller.state(id(2)), Some(SensorState::Online));
    assert!(site.beat(1, 1_000, at(3_700_000)), "it is a new one");
    site.run_until(3_800);
    let mut checked = model::completeness::Completeness::of_log();
    site.log.iter().for_each(|event| checked.take(0, event));
    assert!(checked.is_complete(), "its numbers go on: {checked:?}");
}

#[test]
fn who_is_forgotten_by_order_says_all_it_has_to_and_comes_back_as_a_new_one() {
    let mut site = Site::new(Config { sensors_max: 2, ..Config::default() });
    site.answering.insert(id(1));
    assert!(site.beat(1, 1_000, at(0)) && site.beat(2, 1_000, at(0)));
    site.run_until(10);
    // The first sensor answers, and its next poll is in flight. The second one's late answer is
    // still awaited.
    site.answering.clear();
    site.run_until(11);
    for number in [1, 2] {
        let heartbeat = site.poller.handle_forget(id(number), at(11_100)).unwrap();
        assert_eq!(heartbeat.id, id(number));
        site.drain(at(11_100));
        assert_eq!(site.poller.state(id(number)), None);
        assert_eq!(site.poller.handle_forget(id(number), at(11_100)), None, "once");
    }
    assert!(site.told("SENSOR_FORGOTTEN").is_empty(), "whoever orders it seals it");
    assert!(site.told("READINGS_MISSING").concat().contains("the site forgot the sensor"));
    let polls = site.polls_between(1..3, 0, 1_000);
    site.poller.handle_answer(id(1), b"1", at(11_200));
    site.run_until(100);
    assert_eq!(site.polls_between(1..3, 0, 1_000), polls, "nobody asks them any more");

    assert!(site.beat(3, 1_000, at(100_000)), "there is room");
    site.answering.insert(id(1));
    assert!(site.beat(1, 1_000, at(100_000)));
    site.run_until(110);
    assert_eq!(site.told("SENSOR_DISCOVERED").len(), 4);
    let mut checked = model::completeness::Completeness::of_log();
    site.log.iter().for_each(|event| checked.take(0, event));
    assert!(checked.is_complete(), "their numbers go on: {checked:?}");
}

#[test]
fn invented_sensors_close_no_site() {
    let mut site = Site::new(Config { sensors_max: 100, ..Config::default() });
    for invented in 0..100 {
        assert!(site.beat(invented, 1_000, at(0)));
    }
    assert!(!site.beat(1_000, 1_000, at(0)), "nobody was asked yet");
    site.run_until(2);
    site.answering.insert(id(1_000));
    assert!(site.beat(1_000, 1_000, at(2_100)), "one that never answered makes room");
    assert_eq!(site.told("SENSOR_FORGOTTEN").len(), 1);
    site.run_until(10);
    assert_eq!(site.poller.sensors().count(), 100);
    // Sensors that answered are never forgotten to make room for others.
    site.answering.extend((0..100).map(id));
    site.run_until(100);
    assert!(!site.beat(2_000, 1_000, at(100_100)));
    assert_eq!(site.poller.state(id(1_000)), Some(SensorState::Online));
}

#[test]
fn so_many_new_sensors_come_in_a_minute_and_those_of_the_log_are_not_new() {
    let config = Config { new_sensors_per_minute: 10, ..Config::default() };
    let mut site = Site::new(config);
    let answered = LastNumbers { poll: 5, answered: true, ..LastNumbers::default() };
    let silent = LastNumbers { answered: false, ..answered };
    let last_numbers = BTreeMap::from([(id(500), answered), (id(501), silent)]);
    let restored: Vec<_> = (600..650)
        .map(|number| {
            (Heartbeat::parse(beat(number, 60_000).as_bytes()).unwrap(), SensorState::Lost)
        })
        .collect();
    assert!(site.poller.restore(restored, last_numbers, Past::default(), at(0)).is_empty());
    let accepted = (0..20).filter(|number| site.beat(*number, 60_000, at(0))).count();
    assert_eq!(accepted, 10);
    assert!(site.beat(5, 60_000, at(1)), "it has come already");
    assert!(site.beat(500, 60_000, at(1)), "the log has a reading of it");
    assert!(site.beat(620, 60_000, at(1)), "the log knows it");
    assert!(!site.beat(501, 60_000, at(1)), "it never answered");
    let accepted = (10..40).filter(|number| site.beat(*number, 60_000, at(60_001))).count();
    assert_eq!(accepted, 10, "another minute");
}

#[test]
fn the_same_refusal_is_told_once_a_minute_with_a_count_and_with_who() {
    let mut site = Site::new(Config { new_sensors_per_minute: 1, ..Config::default() });
    assert!(site.beat(0, 60_000, at(0)));
    for second in 0..120 {
        for number in 1..=50 {
            let _maybe_one_a_minute = site.beat(number, 60_000, at(second * 1_000));
        }
    }
    site.run_until(240);
    let told = site.told("HEARTBEATS_REFUSED");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("a heartbeat on sim.heartbeat was refused: sensor 0000"),
        "{told:?}"
    );
    let counts: Vec<u64> =
        told[1..].iter().map(|words| words.split(' ').next().unwrap().parse().unwrap()).collect();
    let refused = site.poller.counters().refused_heartbeats;
    assert_eq!(counts.iter().sum::<u64>() + 1, refused, "each is counted: {told:?}");
    // A long refused heartbeat does not make a long event.
    let quoted = format!("\"{}\"", "x".repeat(8_000));
    assert!(site.poller.handle_heartbeat(quoted.as_bytes(), BEAT, at(250_000)).is_err());
    site.drain(at(250_000));
    let newest = site.log.last().unwrap();
    assert_eq!(newest.action.as_deref(), Some("HEARTBEATS_REFUSED"));
    assert!(newest.message.len() < 600, "{}", newest.message);
    // Any number of subjects also makes a bounded number of events.
    let before = site.told("HEARTBEATS_REFUSED").len();
    for number in 0..10_000 {
        let subject = format!("s{number}.heartbeat");
        let source = poll::Source { subject: &subject, ..BEAT };
        assert!(site.poller.handle_heartbeat(b"{}", source, at(300_000)).is_err());
        site.drain(at(300_000));
    }
    site.run_until(400);
    let told = site.told("HEARTBEATS_REFUSED").len() - before;
    assert!((30..40).contains(&told), "{told}");
}

#[test]
fn a_sensor_that_changes_with_every_heartbeat_is_told_of_a_few_times_a_minute() {
    let mut site = Site::new(Config::default());
    for number in 0..1_200 {
        let now = at(number * 100);
        let heartbeat = beat(1, 1_000).replace("s1", &format!("s{}", number % 2));
        let _maybe = site.poller.handle_heartbeat(heartbeat.as_bytes(), BEAT, now);
        // A sensor that leaves and comes back is the same sensor.
        let _maybe = site.beat(2, 1_000, now);
        site.poller.handle_disconnect(id(2), now);
        site.drain(now);
    }
    for (action, least) in
        [("SENSOR_CHANGED", 20), ("SENSOR_DISCONNECTED", 20), ("HEARTBEAT_RESUMED", 20)]
    {
        let told = site.told(action).len();
        assert!((least..=31).contains(&told), "{action}: {told}");
    }
    assert!(site.told("HEARTBEATS_REFUSED").len() < 10);
    // An unchanged heartbeat is accepted.
    assert!(site.beat(1, 1_000, at(240_000)) && site.beat(1, 1_000, at(240_001)));
}

#[test]
fn heartbeats_that_are_refused_make_few_events_whatever_device_they_pretend() {
    let mut site = Site::new(Config::default());
    assert!(site.beat(1, 1_000, at(0)));
    for number in 0..6_000 {
        let now = at(number * 10);
        // The same id, now on a topic that it can have, now on one where it is also polled.
        let elsewhere = beat(1, 1_000).replace("r.1", "p.1");
        let payload = if number % 2 == 0 { elsewhere } else { beat(1, 1_000) };
        let _maybe = site.poller.handle_heartbeat(payload.as_bytes(), BEAT, now);
        site.drain(now);
    }
    site.run_until(120);
    let told = site.log.iter().filter(|event| event.status.is_none()).count();
    assert!(told < 50, "{told} events about heartbeats in a minute");
    assert_eq!(site.told("DEVICE_KEPT_APART").len(), 0, "none was accepted");
}

#[test]
fn slow_sensors_that_are_silent_keep_no_place_from_the_others() {
    let mut site = Site::new(Config { polls_in_flight: 10, ..Config::default() });
    for silent in 100..140 {
        let slow = beat(silent, 60_000).replace('{', r#"{"answer_timeout":60000,"#);
        site.poller.handle_heartbeat(slow.as_bytes(), BEAT, at(0)).unwrap();
    }
    site.answering.insert(id(1));
    assert!(site.beat(1, 1_000, at(0)));
    site.run_until(300);
    assert_eq!(site.polls_between(1..2, 100, 300), 200);
    assert!(site.poller.counters().in_flight > 10, "they are still in flight");
}

#[test]
fn who_waits_for_room_waits_once() {
    let mut site = Site::new(Config::default());
    site.poller.handle_room(false, at(0));
    assert!(site.beat(1, 1_000, at(0)) && site.beat(2, 1_000, at(0)));
    for number in 1..100 {
        let now = at(number * 1_000);
        site.poller.handle_forget(id(2), now).unwrap();
        assert!(site.beat(2, 1_000, now));
        site.poller.handle_disconnect(id(1), now);
        let _maybe_too_often = site.beat(1, 1_000, now);
    }
    assert_eq!(site.poller.counters().waiting, 2);
}
