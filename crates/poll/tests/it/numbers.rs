//! Every poll has a number, and every number is sealed once. Traces show how; random inputs show
//! that it always holds.

use std::collections::BTreeMap;

use model::{
    Event, Heartbeat, SensorId, SensorState, Timestamp,
    completeness::{Completeness, LastNumbers},
};
use poll::{Action, Config, Now, Past, Poller};
use proptest::prelude::*;

use crate::{
    invariants::{feed, input, pause},
    script::{BEAT, at, heartbeat, run, sensor},
};

/// The lines of a script's trace about sealed polls or the sensor's own count.
#[track_caller]
fn sealed(script: &[&str]) -> Vec<String> {
    let mut trace = run(script);
    let words = ["SUCCESS", "COMM_ERROR", "READINGS_MISSING", "SEQUENCE_BROKEN"];
    trace.retain(|line| words.iter().any(|word| line.contains(word)));
    trace
}

#[test]
fn an_outage_is_one_gap_sealed_before_the_reading_that_ends_it() {
    let sealed = sealed(&[
        "0 beat a",
        "10 answer a 1",
        "2100 down", // 2 is in flight
        "7000 up",
        "7100 answer a 1", // to 2: it waited for the bus
        "8010 answer a 1",
        "8020 end",
    ]);
    assert_eq!(
        sealed,
        ["10 a SUCCESS 1", "8010 a READINGS_MISSING 2-4 bus_away", "8010 a SUCCESS 1"]
    );
}

#[test]
fn a_gap_is_told_of_after_a_minute_and_for_each_reason() {
    let sealed = sealed(&[
        "0 beat a every=10000",
        "10 answer a 1",
        "!35000 down", // 2 and 3 were slept through; the next was sent late, and given up
        "111000 up",
        "120010 answer a 1",
        "120020 end",
    ]);
    assert_eq!(
        sealed,
        [
            "10 a SUCCESS 1",
            "35000 a READINGS_MISSING 2-3 overrun",
            "95000 a READINGS_MISSING 4-10 bus_away", // a minute after the first of them
            "120010 a READINGS_MISSING 11-12 bus_away",
            "120010 a SUCCESS 1",
        ]
    );
}

#[test]
fn a_stop_leaves_nothing_unsaid() {
    let sealed = sealed(&["0 beat a", "10 answer a 1", "100 down", "3000 up", "4100 stop"]);
    assert_eq!(
        sealed,
        [
            "10 a SUCCESS 1",
            "4100 a READINGS_MISSING 2 bus_away",
            "4100 a READINGS_MISSING 3 stopped"
        ]
    );
}

#[test]
fn what_was_due_before_a_sensor_went_is_missing_and_what_was_due_after_is_not() {
    let gone = sealed(&["0 beat a", "10 answer a 1", "!7000 gone a", "!500000 end", "500001 stop"]);
    assert_eq!(gone, ["10 a SUCCESS 1", "500000 a READINGS_MISSING 2-4 overrun"]);
    let lost = sealed(&["0 beat a every=50000", "10 answer a 1", "!300000 end", "300001 stop"]);
    assert_eq!(lost, ["10 a SUCCESS 1", "300001 a READINGS_MISSING 2-3 overrun"]);
}

/// The sealed events of a sensor that answers every poll after 10 ms, with these numbers of its
/// own.
fn counted(every: u64, counts: &[u64]) -> Vec<String> {
    let mut poller = poller();
    let beat = heartbeat("a", &[&format!("every={every}")]);
    poller.handle_heartbeat(beat.as_bytes(), BEAT, at(0)).unwrap();
    let (mut log, mut counts, mut asked) = (Vec::new(), counts.iter(), None);
    for now in (0..).map(|tenths| at(tenths * 10)) {
        if let Some(seq) = asked.take() {
            let answer = format!(r#"{{"value":1,"seq":{seq}}}"#);
            poller.handle_answer(sensor("a"), answer.as_bytes(), now);
        }
        poller.handle_timeout(now);
        while let Some(action) = poller.poll_action() {
            match action {
                Action::SendPoll { .. } => match counts.next() {
                    Some(seq) => asked = Some(seq),
                    None => return log.iter().map(in_words).collect(),
                },
                Action::Seal(event) => log.push(*event),
                _ => {}
            }
        }
    }
    unreachable!("moments do not end")
}

#[test]
fn a_sensors_own_count_is_held_to_go_on_by_one() {
    let sealed = counted(2_000, &[411, 412, 431, 432, 433, 0, 1]);
    let broken: Vec<&String> = sealed.iter().filter(|line| line.contains("SEQUENCE")).collect();
    assert_eq!(broken, ["SEQUENCE_BROKEN 413-430 not_sealed", "SEQUENCE_BROKEN restarted"]);
    assert_eq!(sealed.iter().filter(|line| line.contains("READING ")).count(), 7);
}

#[test]
fn a_sensor_that_cannot_count_is_told_of_once() {
    for (step, reason) in [(0, "repeated"), (2, "not_sealed")] {
        let counts: Vec<u64> = (0..50).map(|beat| beat * step).collect();
        let sealed = counted(2_000, &counts);
        assert_eq!(sealed.iter().filter(|line| line.contains("SEQUENCE")).count(), 1, "{sealed:?}");
        assert_eq!(sealed.iter().filter(|line| line.contains(reason)).count(), 1, "{sealed:?}");
        // The first answer with the same number is taken for a second answer to the previous poll.
        assert!(sealed.iter().filter(|line| line.contains("READING ")).count() >= 48);
    }
}

#[test]
fn a_long_outage_is_an_event_a_minute() {
    let sealed = sealed(&[
        "0 beat a every=100",
        "10 answer a 1",
        "20 down",
        "3600020 up",
        "3600110 answer a 1",
        "3600110 end",
    ]);
    let gaps = sealed.iter().filter(|line| line.contains("READINGS_MISSING")).count();
    assert!((59..=60).contains(&gaps), "{gaps}");
    assert_eq!(sealed.len(), gaps + 2, "every poll of the hour is in one of them");
}

#[test]
fn what_was_due_while_the_site_did_not_run_is_missing() {
    let until = |millis| Some(at(millis).wall);
    for (state, poll, numbered_until, expected) in [
        (SensorState::Online, 7, until(90_500), "READINGS_MISSING 8-11 stopped, SENSOR_READING 12"),
        (SensorState::Online, 7, until(98_001), "SENSOR_READING 8"), // its next poll is the one that was due
        (SensorState::Online, 7, until(200_000), "SENSOR_READING 8"), // the clock was set right
        (SensorState::Online, 7, until(99_000_000), "READINGS_MISSING uncounted, SENSOR_READING 8"),
        (SensorState::Online, 0, until(0), "READINGS_MISSING 1-50 stopped, SENSOR_READING 51"),
        (SensorState::Online, 0, None, "SENSOR_READING 1"), // nobody knows since when
        (SensorState::Lost, 7, until(0), "HEARTBEAT_RESUMED, SENSOR_READING 8"),
        (SensorState::Disconnected, 7, until(0), "HEARTBEAT_RESUMED, SENSOR_READING 8"),
    ] {
        let mut poller = poller();
        let known = Heartbeat::parse(heartbeat("a", &[]).as_bytes()).unwrap();
        let last = LastNumbers { poll, numbered_until, ..LastNumbers::default() };
        let last_numbers = BTreeMap::from([(sensor("a"), last)]);
        assert!(
            poller.restore([(known, state)], last_numbers, Past::default(), at(100_000)).is_empty()
        );
        poller.handle_heartbeat(heartbeat("a", &[]).as_bytes(), BEAT, at(100_000)).unwrap();
        poller.handle_timeout(at(100_001));
        poller.handle_answer(sensor("a"), b"1", at(100_100));
        let mut log = Vec::new();
        drain(&mut poller, &mut log);
        let sealed: Vec<String> = log.iter().map(in_words).collect();
        assert_eq!(sealed.join(", "), expected);
        assert_eq!(poller.counters().skipped, 0, "they are not this run's");
    }
}

#[test]
fn a_clock_that_cannot_be_believed_declares_no_number() {
    const DAY: i64 = 86_400_000_000;
    let now = at(100_000);
    let moment = |days: i64| Some(Timestamp::from_unix_micros(now.wall.unix_micros() + days * DAY));
    for (until, log_end, built, set_back, expected) in [
        (-1, None, None, false, "READINGS_MISSING 8-43207 stopped"),
        (-1, moment(-1), moment(-300), false, "READINGS_MISSING 8-43207 stopped"),
        (-365, None, None, false, "READINGS_MISSING 8-15768007 stopped"), // a year
        (-367, None, None, false, "READINGS_MISSING uncounted"),
        (-20_000, None, None, false, "READINGS_MISSING uncounted"), // its first run began in 1970
        (-1, moment(1), None, false, "READINGS_MISSING uncounted"), // before the log's end
        (1, None, None, false, "READINGS_MISSING uncounted"),
        (-1, None, moment(1), false, "READINGS_MISSING uncounted"), // before the build
        (-1, None, None, true, "READINGS_MISSING uncounted"), // the run before was in the past
    ] {
        let mut poller = poller();
        let known = Heartbeat::parse(heartbeat("a", &[]).as_bytes()).unwrap();
        let numbered_until = moment(until);
        let last = LastNumbers { poll: 7, numbered_until, set_back, ..LastNumbers::default() };
        let last_numbers = BTreeMap::from([(sensor("a"), last)]);
        let past = Past { log_end, built };
        assert!(poller.restore([(known, SensorState::Online)], last_numbers, past, now).is_empty());
        poller.handle_answer(sensor("a"), b"1", now);
        let mut log = Vec::new();
        drain(&mut poller, &mut log);
        let sealed: Vec<String> = log.iter().map(in_words).collect();
        assert_eq!(sealed.first().unwrap(), expected, "{until} {log_end:?} {built:?}");
        assert!(sealed.last().unwrap().starts_with("SENSOR_READING"), "sealing goes on");
        // The next start counts from here.
        let last = log.iter().fold(last, LastNumbers::after);
        assert_eq!((last.numbered_until, last.set_back), (Some(now.wall), false));
    }
}

#[test]
fn a_count_that_begins_anew_after_an_absence_is_not_broken() {
    let script = |between: &[&str], seq: u64| {
        let first = format!(r#"10 answer a {{"value":1,"seq":{seq}}}"#);
        let mut script = vec!["0 beat a", first.as_str()];
        script.extend(between);
        sealed(&script).iter().filter(|line| line.contains("SEQUENCE")).count()
    };
    let again = r#"400010 answer a {"value":1,"seq":1}"#;
    assert_eq!(script(&["300000 end", "400000 beat a", again], 5_000), 0); // it was lost
    assert_eq!(script(&["100 gone a", "400000 beat a", again], 5_000), 0);
    // The answer to a poll in flight comes after it has gone.
    let in_flight = r#"2010 answer a {"value":1,"seq":5001}"#;
    assert_eq!(script(&["2005 gone a", in_flight, "400000 beat a", again], 5_000), 0);
    assert_eq!(script(&[r#"2010 answer a {"value":1,"seq":1}"#], 5_000), 1);
    let far = r#"400010 answer a {"value":1,"seq":9000}"#;
    assert_eq!(script(&["100 gone a", "400000 beat a", far], 5_000), 1);

    // The site was down.
    for (seq, broken) in [(1, 0), (9_000, 1)] {
        let mut poller = poller();
        let known = Heartbeat::parse(heartbeat("a", &[]).as_bytes()).unwrap();
        let last = LastNumbers { poll: 7, seq: Some(5_000), ..LastNumbers::default() };
        let last_numbers = BTreeMap::from([(sensor("a"), last)]);
        let (known, now) = ([(known, SensorState::Online)], at(0));
        assert!(poller.restore(known, last_numbers, Past::default(), now).is_empty());
        let answer = format!(r#"{{"value":1,"seq":{seq}}}"#);
        poller.handle_answer(sensor("a"), answer.as_bytes(), now);
        let mut log = Vec::new();
        drain(&mut poller, &mut log);
        let is_broken =
            |event: &&Event| event.action.as_deref() == Some(model::action::SEQUENCE_BROKEN);
        assert_eq!(log.iter().filter(is_broken).count(), broken, "{seq}: {log:?}");
    }
}

/// Action, numbers and reason of an event.
fn in_words(event: &Event) -> String {
    let detail = event.sealwire.as_ref().unwrap();
    let poll = detail.poll.map(|poll| poll.to_string());
    let action = event.action.clone();
    let words = [action, poll, detail.missing.clone(), detail.reason.clone()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What happens to the site between two inputs.
#[derive(Clone, Debug)]
enum Fate {
    Runs,
    Stops,
    /// It dies, and the newest events, which waited to be sealed, are lost.
    Dies {
        unsealed: usize,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Runs),
        1 => Just(Fate::Stops),
        1 => (0_usize..8).prop_map(|unsealed| Fate::Dies { unsealed }),
    ]
}

fn poller() -> Poller {
    Poller::new(Config { sensors_max: 4, ..Config::default() })
}

fn drain(poller: &mut Poller, log: &mut Vec<Event>) {
    while let Some(action) = poller.poll_action() {
        if let Action::Seal(event) = action {
            log.push(*event);
        }
    }
}

/// The next run. It knows what the log has, except the heartbeat of sensor `forgotten`.
fn restarted(former: &Poller, log: &[Event], forgotten: &str, now: Now) -> Poller {
    let mut last_numbers: BTreeMap<SensorId, LastNumbers> = BTreeMap::new();
    for event in log {
        let Some(sensor) = event.sensor() else { continue };
        let last = last_numbers.entry(sensor).or_default();
        *last = last.after(event);
    }
    let known = former.sensors().filter(|(heartbeat, _)| heartbeat.id != sensor(forgotten));
    let mut next = poller();
    next.restore_orders(former.orders_in_force().into_iter().collect());
    let known: Vec<_> = known.map(|(heartbeat, state)| (heartbeat.clone(), state)).collect();
    assert!(next.restore(known, last_numbers, Past::default(), now).is_empty());
    next
}

proptest! {
    #[test]
    fn every_number_is_sealed_once_and_in_order_over_all_restarts(
        inputs in prop::collection::vec((input(), pause(), fate()), 1..100),
        forgotten in prop::sample::select(vec!["a", "b", "nobody"]),
    ) {
        let mut log = Vec::new();
        let mut poller = poller();
        let mut millis = 0;
        for (input, (pause, asleep), fate) in inputs {
            millis += pause;
            let now = at(millis);
            while !asleep
                && let Some(next) = poller.poll_timeout().filter(|next| *next <= now.monotonic)
            {
                poller.handle_timeout(Now { monotonic: next, wall: now.wall });
            }
            feed(&mut poller, &input, now);
            drain(&mut poller, &mut log);
            match fate {
                Fate::Runs => continue,
                Fate::Stops => {
                    poller.handle_stop(now);
                    drain(&mut poller, &mut log);
                }
                Fate::Dies { unsealed } => log.truncate(log.len().saturating_sub(unsealed)),
            }
            poller = restarted(&poller, &log, forgotten, now);
        }
        poller.handle_stop(at(millis));
        drain(&mut poller, &mut log);
        let mut checked = Completeness::of_log();
        for (leaf, event) in (0..).zip(&log) {
            checked.take(leaf, event);
        }
        prop_assert!(checked.is_complete(), "{checked:?}");
        prop_assert!(checked.accounts().all(|(_, account)| account.unnumbered() == 0));
    }

    #[test]
    fn what_is_counted_as_skipped_is_what_gaps_name(
        inputs in prop::collection::vec((input(), pause()), 1..200),
    ) {
        let mut log = Vec::new();
        let mut poller = poller();
        let mut millis = 0;
        for (input, (pause, _)) in inputs {
            millis += pause;
            feed(&mut poller, &input, at(millis));
            drain(&mut poller, &mut log);
        }
        poller.handle_stop(at(millis));
        drain(&mut poller, &mut log);
        let mut checked = Completeness::of_log();
        for (leaf, event) in (0..).zip(&log) {
            checked.take(leaf, event);
        }
        let missing: u64 = checked.accounts().map(|(_, account)| account.missing()).sum();
        prop_assert_eq!(poller.counters().skipped, missing);
    }
}
