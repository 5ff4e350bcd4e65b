//! Polls that operators order, pause or set the interval of. Traces are as in `traces`.

use std::collections::BTreeMap;

use model::{Event, Heartbeat, SensorState, completeness::LastNumbers};
use poll::{Action, Config, Past, Poller};

use crate::script::{BEAT, at, heartbeat, order, run, sensor};

#[test]
fn a_paused_sensor_is_asked_by_order_alone_and_misses_nothing() {
    let trace = run(&[
        "0 beat a",
        "10 answer a 1",
        "2500 order a pause", // in flight: its end is sealed as ever
        "2600 order a pause",
        "2700 answer a 2",
        "30000 beat a",
        "30001 order a poll",
        "30010 answer a 3",
        "60000 order a resume",
        "60010 answer a 4",
        "60020 order a resume",
        "62000 end",
    ]);
    let paused = format!("2600 refused: the polls of sensor {} are already paused", sensor("a"));
    let resumed = format!("60020 refused: the polls of sensor {} are not paused", sensor("a"));
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "2000 poll a",
            "2500 a COMM_ERROR N/A", // at its deadline
            &paused,
            "30001 a POLL_ORDERED",
            "30001 poll a",
            "30010 a SUCCESS 3",
            "60000 poll a",
            "60010 a SUCCESS 4",
            &resumed,
            "62000 poll a",
            "polls=5 answers=3 timeouts=1 late=1",
        ]
    );
}

#[test]
fn an_ordered_poll_is_one_more_and_waits_for_the_answer_before_it() {
    let trace = run(&[
        "0 beat a",
        "100 order a poll", // one is in flight
        "110 order a poll",
        "120 answer a 1",
        "130 answer a 2",
        "2010 answer a 3",
        "2020 gone a",
        "2030 order a poll",
        "2040 order b poll",
    ]);
    let underway = format!(
        "110 refused: sensor {} is being polled on another order: try again shortly",
        sensor("a")
    );
    let away = format!(
        "2030 refused: sensor {} is lost, disconnected or retired: it is polled after its next heartbeat",
        sensor("a")
    );
    let unknown = format!(
        "2040 refused: the site polls no sensor {}: `/api/sensors` lists all sensors",
        sensor("b")
    );
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            &underway,
            "120 a SUCCESS 1",
            "120 a POLL_ORDERED",
            "120 poll a",
            "130 a SUCCESS 2",
            "2000 poll a", // on its own beat
            "2010 a SUCCESS 3",
            "2020 a SENSOR_DISCONNECTED",
            &away,
            &unknown,
            "polls=3 answers=3",
        ]
    );
}

#[test]
fn an_ordered_interval_holds_whatever_heartbeats_say() {
    let trace = run(&[
        "0 beat a",
        "10 answer a 1",
        "500 order a every 5000",
        "510 answer a 2",
        "600 beat a every=1000", // does not count meanwhile
        "5510 answer a 3",
        "6000 order a every own",
        "6010 answer a 4",
        "7000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "500 poll a",
            "510 a SUCCESS 2",
            "600 a SENSOR_CHANGED",
            "5500 poll a",
            "5510 a SUCCESS 3",
            "6000 poll a",
            "6010 a SUCCESS 4",
            "7000 poll a",
            "polls=5 answers=4",
        ]
    );
}

#[test]
fn an_added_sensor_is_polled_before_its_first_heartbeat_and_never_lost_before() {
    let trace = run(&[
        "0 order a add 300000",
        "10 answer a 1",
        "20 order a add 300000",
        "30 beat b read=sim/read/a", // the topic is the added sensor's
        "300010 answer a 2",
        "400000 beat a every=100000",
        "400010 answer a 3",
        "500010 answer a 4",
        "560000 end",
    ]);
    let known = format!(
        "20 refused: the site already has the sensor {}: order its interval, or forget it first",
        sensor("a")
    );
    let taken = format!(
        "30 refused: sensor {} is refused: sensor {} already uses its topic `sim.read.a`",
        sensor("b"),
        sensor("a")
    );
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 poll a",
            "10 a SUCCESS 1",
            &known,
            &taken,
            "300000 poll a",
            "300010 a SUCCESS 2",
            "400000 unsubscribe a",
            "400000 subscribe a sim.read.a",
            "400000 a SENSOR_DISCOVERED",
            "400000 poll a",
            "400010 a SUCCESS 3",
            "500000 poll a",
            "500010 a SUCCESS 4",
            "550000 a HEARTBEAT_MISSED",
            "polls=4 answers=4 refused_heartbeats=1",
        ]
    );
}

#[test]
fn an_ordered_time_for_answers_holds_whatever_heartbeats_say() {
    let trace = run(&[
        "0 beat a",
        "10 answer a 1",
        r#"500 order a {"order":"answer-timeout","answer_timeout":1500}"#,
        "3200 answer a 2", // 1,200 ms after its poll, and the site gives 500 ms
        "3300 beat a timeout=50",
        "5200 answer a 3",
        r#"5500 order a {"order":"answer-timeout","answer_timeout":null}"#,
        "6060 answer a 4", // 60 ms after its poll, as the heartbeat asked
        "7000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "2000 poll a",
            "3200 a SUCCESS 2",
            "3300 a SENSOR_CHANGED",
            "4000 poll a",
            "5200 a SUCCESS 3",
            "6000 poll a",
            "6050 a COMM_ERROR N/A",
            "polls=4 answers=3 timeouts=1 late=1",
        ]
    );
}

#[test]
fn an_ordered_time_for_answers_holds_after_a_restart() {
    let mut before = Poller::new(Config::default());
    let payload = heartbeat("a", &[]);
    before.handle_heartbeat(payload.as_bytes(), BEAT, at(0)).unwrap();
    let given = order("a", &[r#"{"order":"answer-timeout","answer_timeout":1500}"#], at(1));
    before.handle_order(sensor("a"), &given, at(1)).unwrap();
    let mut poller = Poller::new(Config::default());
    poller.restore_orders(before.orders_in_force().into_iter().collect());
    let known = [(Heartbeat::parse(payload.as_bytes()).unwrap(), SensorState::Online)];
    assert!(poller.restore(known, BTreeMap::new(), Past::default(), at(100_000)).is_empty());
    // The first poll is within an interval of two seconds.
    let mut sent = None;
    for millis in 100_000..102_001 {
        poller.handle_timeout(at(millis));
        let is_poll = |action| matches!(action, Action::SendPoll { .. });
        if core::iter::from_fn(|| poller.poll_action()).any(is_poll) {
            sent = Some(millis);
            break;
        }
    }
    poller.handle_answer(sensor("a"), b"1", at(sent.unwrap() + 1_400));
    let counters = poller.counters();
    assert_eq!((counters.answers, counters.timeouts), (1, 0));
}

#[test]
fn a_sensor_under_an_order_is_not_forgotten_and_another_is() {
    // Nobody answers, and both send heartbeats for two hours.
    let mut poller = Poller::new(Config::default());
    for name in ["a", "b"] {
        poller.handle_heartbeat(heartbeat(name, &[]).as_bytes(), BEAT, at(0)).unwrap();
    }
    let pause = order("a", &["pause"], at(5_000));
    poller.handle_order(sensor("a"), &pause, at(5_000)).unwrap();
    for minute in 1..=61 {
        let names: &[&str] = if minute < 60 { &["a", "b"] } else { &["a"] };
        for name in names {
            let payload = heartbeat(name, &[]);
            poller.handle_heartbeat(payload.as_bytes(), BEAT, at(minute * 60_000)).unwrap();
        }
    }
    poller.handle_timeout(at(3_700_000));
    assert_eq!(poller.state(sensor("a")), Some(SensorState::Online));
    assert_eq!(poller.state(sensor("b")), None);
    assert_eq!(poller.counters().paused, 1);
    // By order it is forgotten, and so is the pause.
    poller.handle_forget(sensor("a"), at(3_700_001)).unwrap();
    assert_eq!(poller.counters().paused, 0);
    poller.handle_heartbeat(heartbeat("a", &[]).as_bytes(), BEAT, at(3_700_002)).unwrap();
    let polled = core::iter::from_fn(|| poller.poll_action())
        .any(|action| matches!(action, Action::SendPoll { .. }));
    assert!(polled, "it is new");
}

#[test]
fn orders_hold_after_a_restart_and_nothing_was_due_while_paused() {
    for (words, expected) in [
        (["pause"].as_slice(), ""),
        (&["every", "10000"], "READINGS_MISSING 8-16, SENSOR_READING"),
        (&["poll"], "READINGS_MISSING 8-56, SENSOR_READING"),
    ] {
        let mut before = Poller::new(Config::default());
        let payload = heartbeat("a", &[]);
        before.handle_heartbeat(payload.as_bytes(), BEAT, at(0)).unwrap();
        before.handle_order(sensor("a"), &order("a", words, at(1)), at(1)).unwrap();
        let mut poller = Poller::new(Config::default());
        poller.restore_orders(before.orders_in_force().into_iter().collect());
        let known = Heartbeat::parse(payload.as_bytes()).unwrap();
        let last =
            LastNumbers { poll: 7, numbered_until: Some(at(1_000).wall), ..LastNumbers::default() };
        let (known, now) = ([(known, SensorState::Online)], at(100_000));
        let last_numbers = BTreeMap::from([(sensor("a"), last)]);
        assert!(poller.restore(known, last_numbers, Past::default(), now).is_empty());
        poller.handle_timeout(at(100_001));
        poller.handle_answer(sensor("a"), b"1", at(100_010));
        let sealed: Vec<String> = core::iter::from_fn(|| poller.poll_action())
            .filter_map(|action| match action {
                Action::Seal(event) => Some(in_words(&event)),
                _ => None,
            })
            .collect();
        assert_eq!(sealed.join(", "), expected, "{words:?}");
    }
}

fn in_words(event: &Event) -> String {
    let missing = event.sealwire.as_ref().unwrap().missing.as_ref();
    let missing = missing.map(|missing| format!(" {missing}")).unwrap_or_default();
    format!("{}{missing}", event.action.as_deref().unwrap())
}
