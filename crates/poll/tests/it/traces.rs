//! What the poller does and when, input by input. Each test shows one rule. Each line of a trace is
//! `<milliseconds> <what>`.

use std::collections::BTreeMap;

use model::{Pattern, SensorState, completeness::LastNumbers};
use poll::{Action, Config, Past, Poller};

use crate::script::{BEAT, at, heartbeat, run, sensor};

#[test]
fn a_sensor_is_polled_from_its_first_heartbeat_on_its_own_beat() {
    let trace = run(&[
        "300 beat a",
        "310 answer a 1.50",
        "2750 answer a \"2\"", // slow, but in time; the next poll is not later for it
        "4310 answer a {\"value\":3,\"seq\":9}",
        "5000 end",
    ]);
    assert_eq!(
        trace,
        [
            "300 subscribe a sim.read.a",
            "300 a SENSOR_DISCOVERED",
            "300 poll a",
            "310 a SUCCESS 1.50",
            "2300 poll a",
            "2750 a SUCCESS 2",
            "4300 poll a",
            "4310 a SUCCESS 3",
            "polls=3 answers=3",
        ]
    );
}

#[test]
fn only_the_first_answer_in_time_is_the_reading() {
    let trace = run(&[
        "0 beat a",
        "10 answer a 1",
        "20 answer a 1",    // a second one to the same poll
        "2500 answer a 2",  // at its deadline: too late
        "2510 answer a 2",  // and again
        "4010 answer a 2C", // not JSON
        "4020 answer a 2",  // takes nothing back
        "5000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "2000 poll a",
            "2500 a COMM_ERROR N/A",
            "4000 poll a",
            "4010 a VALUE_ERROR N/A",
            "polls=3 answers=1 timeouts=1 value_errors=1 late=1 duplicates=3",
        ]
    );
}

#[test]
fn an_answer_is_judged_by_its_arrival_and_not_by_when_timeouts_are_handled() {
    // The driver slept until the answer's time, which is past the deadline and the time of the next
    // poll. The answer must not count for the next poll.
    let trace = run(&["0 beat a", "!2000 answer a 1", "2010 answer a 2", "2020 end"]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "2000 a COMM_ERROR N/A",
            "2000 poll a",
            "2010 a SUCCESS 2",
            "polls=2 answers=1 timeouts=1 late=1",
        ]
    );
}

#[test]
fn a_fast_sensor_that_is_silent_has_one_poll_in_flight() {
    let trace = run(&["0 beat a every=100", "1299 end", "1299 stop"]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "100 a COMM_ERROR N/A",
            "600 poll a", // a second timeout is over: no answer to the first poll comes any more
            "700 a READINGS_MISSING 2-6 unanswered",
            "700 a COMM_ERROR N/A",
            "1200 poll a",
            "1299 a READINGS_MISSING 8-12 unanswered",
            "1299 a READINGS_MISSING 13 stopped",
            "polls=3 timeouts=2 skipped=11",
        ]
    );
}

#[test]
fn a_stall_skips_polls_and_keeps_the_beat() {
    let trace = run(&["0 beat a", "10 answer a 1", "!7000 end", "7010 answer a 2", "8000 end"]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "7000 poll a", // the one of 6000; those of 2000 and 4000 are skipped
            "7010 a READINGS_MISSING 2-3 overrun",
            "7010 a SUCCESS 2",
            "8000 poll a",
            "polls=3 answers=2 skipped=2",
        ]
    );
}

#[test]
fn a_heartbeat_that_says_something_else_takes_effect_at_once() {
    let trace = run(&[
        "0 beat a every=10000",
        "10 answer a 1",
        "1000 beat a every=3000", // another interval: a new beat from here
        "1010 answer a 2",
        "2000 beat a every=3000 read=sim/other/a", // another topic
        "2500 beat a every=3000 read=sim/other/a alias=b", // another name: nothing but the event
        "2600 beat a every=3000 read=sim/other/a alias=b", // nothing new
        "4010 answer a 3",
        "4020 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "1000 a SENSOR_CHANGED",
            "1000 poll a",
            "1010 a SUCCESS 2",
            "2000 unsubscribe a",
            "2000 subscribe a sim.other.a",
            "2000 a SENSOR_CHANGED",
            "2500 a SENSOR_CHANGED",
            "4000 poll a",
            "4010 a SUCCESS 3",
            "polls=3 answers=3",
        ]
    );
}

#[test]
fn a_faster_beat_waits_for_the_poll_in_flight() {
    let trace = run(&["0 beat a", "100 beat a every=1000", "1499 end"]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "100 a SENSOR_CHANGED",
            "500 a COMM_ERROR N/A",
            "1000 poll a", // due since 100
            "polls=2 timeouts=1",
        ]
    );
}

#[test]
fn a_lost_sensor_is_left_alone_until_it_beats_again() {
    let trace = run(&[
        "0 beat a every=100000",
        "10 answer a 1",
        "100010 answer a 2",
        "170000 answer a 3", // nobody asked
        "260000 beat a every=100000",
        "260010 answer a 4",
        "260020 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "10 a SUCCESS 1",
            "100000 poll a",
            "100010 a SUCCESS 2",
            "150000 a HEARTBEAT_MISSED",
            "260000 a HEARTBEAT_RESUMED",
            "260000 poll a",
            "260010 a SUCCESS 4",
            "polls=3 answers=3 duplicates=1",
        ]
    );
}

#[test]
fn a_loss_that_was_slept_through_is_sealed_before_the_heartbeat_that_ends_it() {
    let trace = run(&["0 beat a every=86400000", "10 answer a 1", "!200000 beat a every=86400000"]);
    let tail: Vec<&str> = trace.iter().skip(4).map(String::as_str).collect();
    assert_eq!(
        tail,
        [
            "200000 a HEARTBEAT_MISSED",
            "200000 a HEARTBEAT_RESUMED",
            "200000 poll a",
            "polls=2 answers=1"
        ]
    );
}

#[test]
fn a_sensor_that_goes_is_still_owed_its_answer() {
    let trace = run(&[
        "0 beat a",
        "100 gone a",
        "110 gone a", // says so twice
        "9000 beat a",
        "9010 answer a 1",
        "9020 gone a",
        "9100 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "100 a SENSOR_DISCONNECTED",
            "500 a COMM_ERROR N/A",
            "9000 a HEARTBEAT_RESUMED",
            "9000 poll a",
            "9010 a SUCCESS 1",
            "9020 a SENSOR_DISCONNECTED",
            "polls=2 answers=1 timeouts=1",
        ]
    );
}

#[test]
fn a_bus_that_is_away_is_not_the_sensors_fault() {
    let trace = run(&[
        "0 beat a",
        "100 down",        // gives up the poll in flight
        "110 down",        // no news
        "4500 up",         // polls of 2000 and 4000 are skipped
        "4600 answer a 1", // to the poll that was given up
        "6010 answer a 2",
        "6100 down",
        "!400000 up", // far longer than `lost_after`: the time starts again
        "!549999 end",
        "550499 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "6000 poll a",
            "6010 a READINGS_MISSING 1-3 bus_away",
            "6010 a SUCCESS 2",
            "549999 a READINGS_MISSING 5-201 bus_away",
            "549999 poll a",
            "550000 a HEARTBEAT_MISSED",
            "550499 a READINGS_MISSING 202-274 overrun",
            "550499 a COMM_ERROR N/A",
            "polls=3 answers=1 timeouts=1 late=1 skipped=273",
        ]
    );
}

#[test]
fn one_topic_is_one_sensors() {
    let trace = run(&[
        "0 beat a",
        "1 beat b read=sim/read/a", // would hear a's answers
        "2 beat b poll=sim/read/a", // its polls would be a's answers
        "3 beat b read=sim/poll/a", // a's polls would be its answers
        "4 beat b read=sim/poll/b", // hears its own polls
        "6 gone a",
        "7 beat b read=sim/read/a", // a does not live there any more
        "8 answer b 1",
        "9 beat a",                                   // too late
        "10 beat a read=sim/poll/a poll=sim/read/a2", // moves out: its own old topics are no obstacle
        "11 end",
    ]);
    let [a, b] = [sensor("a"), sensor("b")];
    let taken = |topic| {
        format!("refused: sensor {b} is refused: sensor {a} already uses its topic `{topic}`")
    };
    let twice = |topic| {
        format!(
            "refused: sensor {b} is refused: it uses `{topic}` twice; its poll, read and disconnect topics must differ"
        )
    };
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a".to_owned(),
            "0 a SENSOR_DISCOVERED".to_owned(),
            "0 poll a".to_owned(),
            format!("1 {}", taken("sim.read.a")),
            format!("2 {}", taken("sim.read.a")),
            format!("3 {}", taken("sim.poll.a")),
            format!("4 {}", twice("sim.poll.b")),
            "6 a SENSOR_DISCONNECTED".to_owned(),
            "7 unsubscribe a".to_owned(),
            "7 subscribe b sim.read.a".to_owned(),
            "7 b SENSOR_DISCOVERED".to_owned(),
            "7 poll b".to_owned(),
            "8 b SUCCESS 1".to_owned(),
            format!(
                "9 refused: sensor {a} is refused: sensor {b} already uses its topic `sim.read.a`"
            ),
            "10 subscribe a sim.poll.a".to_owned(),
            "10 a HEARTBEAT_RESUMED".to_owned(),
            "10 a SENSOR_CHANGED".to_owned(),
            "polls=2 answers=1 refused_heartbeats=5".to_owned(),
        ]
    );
}

#[test]
fn a_field_that_is_left_out_costs_no_reading_and_is_told_once() {
    let trace = run(&[
        "0 beat a",
        r#"10 answer a {"value":1,"seq":"7","time":true}"#,
        r#"2010 answer a {"value":2,"seq":"8","unit":5}"#, // `seq` was told of
        r#"4010 answer a {"value":3,"seq":"9","unit":5}"#,
        "4020 end",
    ]);
    let tail: Vec<_> = trace.iter().skip(3).filter(|line| !line.contains("poll")).collect();
    assert_eq!(
        tail,
        [
            "10 a FIELDS_LEFT_OUT `seq`, `time`",
            "10 a SUCCESS 1",
            "2010 a FIELDS_LEFT_OUT `unit`",
            "2010 a SUCCESS 2",
            "4010 a SUCCESS 3",
        ]
    );
    let mut poller = Poller::new(Config::default());
    let beat = heartbeat("a", &[]).replace("\"alias\"", "\"range\":[50,0],\"unit\":7,\"alias\"");
    for millis in [0, 1, 2] {
        poller.handle_heartbeat(beat.as_bytes(), BEAT, at(millis)).unwrap();
    }
    let told: Vec<_> = core::iter::from_fn(|| poller.poll_action())
        .filter_map(|action| match action {
            Action::Seal(event) => event.sealwire.unwrap().error,
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.concat().contains("`range` is left out: a range is two"), "{told:?}");
    assert!(told.concat().contains("`unit` is left out: it is a number"), "{told:?}");
}

#[test]
fn topics_of_devices_do_not_match_those_of_heartbeats() {
    let patterns = vec![Pattern::parse("*.heartbeat").unwrap(), Pattern::parse("plant.>").unwrap()];
    let mut poller = Poller::new(Config::default()).hearing(patterns);
    for (change, refused) in [
        ("poll=sim/heartbeat", true),   // each poll would be a heartbeat
        ("read=other.heartbeat", true), // each heartbeat of anyone would be its answer
        ("read=plant/7/read", true),
        ("gone=sim/heartbeat", false), // costs the disconnect topic alone
        ("poll=sim/heartbeat/a", false),
    ] {
        let beat = heartbeat("a", &[change]);
        let outcome = poller.handle_heartbeat(beat.as_bytes(), BEAT, at(0));
        assert_eq!(outcome.is_err(), refused, "{change}");
        if let Err(refusal) = outcome {
            let refusal = refusal.to_string();
            assert!(refusal.contains("on which the site receives heartbeats"), "{refusal}");
        }
    }
    let left: Vec<_> = core::iter::from_fn(|| poller.poll_action())
        .filter_map(|action| match action {
            Action::Subscribe { disconnect_topic, .. } => Some(disconnect_topic.is_some()),
            _ => None,
        })
        .collect();
    assert_eq!(left, [false, true]);
    // A sensor of the log that had these topics before does not get them either.
    let known = model::Heartbeat::parse(heartbeat("b", &["read=plant/7/read"]).as_bytes()).unwrap();
    let refused =
        poller.restore([(known, SensorState::Online)], BTreeMap::new(), Past::default(), at(1));
    assert_eq!(refused.len(), 1);
}

#[test]
fn a_disconnect_topic_that_cannot_be_had_costs_itself_alone() {
    let trace = run(&[
        "0 beat a",
        "1 beat b gone=sim/read/b", // each answer would be its last
        "2 beat b gone=sim/read/a", // each answer of a
        "3 beat b gone=sim/poll/a",
        "4 answer b 1",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "1 subscribe b sim.read.b",
            "1 b SENSOR_DISCOVERED",
            "1 poll b",
            "1 b FIELDS_LEFT_OUT `disconnect_topic`",
            "4 b SUCCESS 1",
            "polls=2 answers=1",
        ]
    );
}

#[test]
fn a_full_site_and_a_heartbeat_that_is_none_are_refused_in_words() {
    let trace =
        run(&["0 beat a", "1 beat b", "2 beat c", "3 beat d", "4 beat a every=50", "5 beat a"]);
    let refused: Vec<&String> = trace.iter().filter(|line| line.contains("refused: ")).collect();
    let d = sensor("d");
    assert_eq!(
        refused,
        [
            &format!(
                "3 refused: sensor {d} is refused: the site already has 3 sensors, which is the limit"
            ),
            "4 refused: the heartbeat's `poll_interval` is refused: it is 50 ms; use 100 to 86400000",
        ]
    );
    assert_eq!(trace.last().unwrap(), "polls=3 refused_heartbeats=2");
}

#[test]
fn sensors_of_an_earlier_run_are_taken_up_without_an_event() {
    let mut poller = Poller::new(Config::default());
    let known = [
        ("a", SensorState::Online, "a"),
        ("b", SensorState::Lost, "a"), // gave its topic to a
        ("c", SensorState::Disconnected, "c"),
        ("d", SensorState::Online, "a"), // cannot be, but the log is not ours to judge
    ];
    let known = known.map(|(name, state, read)| {
        let payload = heartbeat(name, &[&format!("read=sim/read/{read}")]);
        (model::Heartbeat::parse(payload.as_bytes()).unwrap(), state)
    });
    let last_numbers = BTreeMap::from([
        (sensor("a"), LastNumbers { poll: 7, seq: Some(411), ..LastNumbers::default() }),
        (sensor("d"), LastNumbers { poll: 5, ..LastNumbers::default() }),
    ]);
    let refused = poller.restore(known, last_numbers, Past::default(), at(0));
    assert_eq!(refused.len(), 1, "{refused:?}");
    let states: Vec<_> =
        poller.sensors().map(|(heartbeat, state)| (heartbeat.alias.as_str(), state)).collect();
    assert_eq!(
        states,
        [("a", SensorState::Online), ("b", SensorState::Lost), ("c", SensorState::Disconnected)]
    );
    assert!(
        matches!(poller.poll_action(), Some(Action::Subscribe { sensor: id, .. }) if id == sensor("a"))
    );
    assert!(
        matches!(poller.poll_action(), Some(Action::SendPoll { sensor: id, .. }) if id == sensor("a"))
    );
    assert_eq!(poller.poll_action(), None);
    // Its numbers continue, and so does its own count.
    poller.handle_answer(sensor("a"), br#"{"value":1,"seq":412}"#, at(10));
    assert!(
        matches!(poller.poll_action(), Some(Action::Seal(event)) if event.sealwire.as_ref().unwrap().poll == Some(8))
    );
    // So do those of the sensor that was left out.
    poller.handle_heartbeat(heartbeat("d", &[]).as_bytes(), BEAT, at(20)).unwrap();
    poller.handle_answer(sensor("d"), b"1", at(30));
    let sealed: Vec<_> = core::iter::from_fn(|| poller.poll_action())
        .filter_map(|action| match action {
            Action::Seal(event) => event.sealwire.unwrap().poll,
            _ => None,
        })
        .collect();
    assert_eq!(sealed, [6]);
    // It never sends a heartbeat, so it is lost 150 s after the start.
    poller.handle_timeout(at(149_999));
    assert_eq!(poller.state(sensor("a")), Some(SensorState::Online));
    poller.handle_timeout(at(150_000));
    assert_eq!(poller.state(sensor("a")), Some(SensorState::Lost));
}
