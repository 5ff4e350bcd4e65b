//! How long the site waits for a sensor, how often it asks, and when it asks less often.

use model::SensorId;
use poll::{Action, Config, Poller};

use crate::script::{BEAT, at, heartbeat, run, sensor};

/// The lines about polls and readings of a script's trace.
#[track_caller]
fn polls(script: &[&str]) -> Vec<String> {
    let mut trace = run(script);
    trace.retain(|line| !line.contains("subscribe") && !line.contains("DISCOVERED"));
    trace
}

#[test]
fn a_sensor_has_the_time_that_it_asks_for() {
    let trace = polls(&[
        "0 beat a every=10000 timeout=3000",
        "2999 answer a 1",
        "10000 beat a every=10000", // the next poll has the site's timeout
        "12999 answer a 2",         // the one under way has the time that it began with
        "22999 answer a 3",
        "30000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 poll a",
            "2999 a SUCCESS 1",
            "10000 poll a",
            "10000 a SENSOR_CHANGED",
            "12999 a SUCCESS 2",
            "20000 poll a",
            "20500 a COMM_ERROR N/A",
            "30000 poll a",
            "polls=4 answers=2 timeouts=1 late=1",
        ]
    );
}

#[test]
fn a_poll_is_repeated_under_its_number_before_it_ends() {
    let trace = polls(&["0 beat a retries=2", "1100 answer a 1", "4400 end", "5500 stop"]);
    assert_eq!(
        trace,
        [
            "0 poll a",
            "500 poll a",
            "1000 poll a",
            "1100 a SUCCESS 1",
            "2000 poll a", // an answer to a repetition may still come: this poll is not repeated
            "2500 a COMM_ERROR N/A",
            "4000 poll a",
            "4500 a COMM_ERROR N/A",
            "polls=3 repeats=2 answers=1 timeouts=2",
        ]
    );
}

#[test]
fn a_poll_of_a_sensor_that_is_gone_is_not_repeated() {
    let trace = polls(&["0 beat a retries=2", "100 gone a", "1600 end"]);
    assert_eq!(
        trace,
        ["0 poll a", "100 a SENSOR_DISCONNECTED", "1500 a COMM_ERROR N/A", "polls=1 timeouts=1",]
    );
}

#[test]
fn repetitions_fit_between_two_polls() {
    let trace = polls(&["0 beat a every=1200 retries=5 timeout=500", "1199 end"]);
    assert_eq!(
        trace,
        ["0 poll a", "500 poll a", "1000 a COMM_ERROR N/A", "polls=1 repeats=1 timeouts=1"]
    );
}

#[test]
fn further_answers_to_a_repeated_poll_are_not_taken_for_the_next_ones() {
    // It needs 600 ms for each answer, and gives one to each time that it is asked.
    let trace = polls(&[
        "0 beat a every=2000 retries=1",
        "600 answer a 1",
        "1100 answer a 1", // to the repetition
        "2600 answer a 2",
        "3100 answer a 2",
        "3900 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 poll a",
            "500 poll a",
            "600 a SUCCESS 1",
            "2000 poll a",
            "2500 poll a",
            "2600 a SUCCESS 2",
            "polls=2 repeats=2 answers=2 duplicates=2",
        ]
    );
    // Its second answer comes after the next poll.
    let trace = polls(&[
        "0 beat a every=1000 retries=1",
        "600 answer a 1",
        "1050 answer a 1", // to the repetition, or to the second poll: it is held
        "1600 answer a 2", // it was to the repetition
        "1900 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 poll a",
            "500 poll a",
            "600 a SUCCESS 1",
            "1000 poll a",
            "1600 a COMM_ERROR N/A",
            "polls=2 repeats=1 answers=1 timeouts=1 late=2",
        ]
    );
}

#[test]
fn who_falls_silent_is_asked_less_often_until_its_first_sign_of_life() {
    let mut script = vec!["0 beat a every=1000", "10 answer a 1"];
    // It answered the first poll. Ten polls without an answer end at 10.5 s.
    script.extend(["140000 beat a every=1000", "200000 end", "200100 answer a 2", "203500 end"]);
    let trace = polls(&script);
    let moment = |line: &String| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    let asked: Vec<u64> =
        trace.iter().filter(|line| line.ends_with("poll a")).map(moment).collect();
    let regular: Vec<u64> = (0..=11).map(|poll| poll * 1_000).collect();
    assert_eq!(asked[..12], regular);
    let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[11..17], [2_000, 4_000, 8_000, 16_000, 32_000, 60_000], "{asked:?}");
    let told: Vec<&String> = trace.iter().filter(|line| line.contains("POLLS_")).collect();
    assert_eq!(told, ["10500 a POLLS_STRETCHED", "200100 a POLLS_RESTORED"]);
    // An answer to no poll is a sign of life too.
    assert_eq!(asked[19..], [201_100, 202_100, 203_100], "{asked:?}");
}

#[test]
fn while_there_is_no_room_polls_wait_and_nothing_else_does() {
    let trace = run(&[
        "0 beat a",
        "100 full",
        "200 beat b every=1000",
        "6600 room",
        "6700 answer a 1",
        "6800 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "200 subscribe b sim.read.b",
            "200 b SENSOR_DISCOVERED",
            "500 a COMM_ERROR N/A",
            "6600 poll b", // whoever waits longest is first
            "6600 poll a",
            "6700 a READINGS_MISSING 2-3 overrun",
            "6700 a SUCCESS 1",
            "polls=3 answers=1 timeouts=1 skipped=8",
        ]
    );
}

#[test]
fn polls_in_flight_have_a_limit_and_each_sensor_its_turn() {
    let config = Config { polls_in_flight: 2, ..Config::default() };
    let mut poller = Poller::new(config);
    for name in ["a", "b", "c", "d", "e"] {
        let beat = heartbeat(name, &["every=10000"]);
        poller.handle_heartbeat(beat.as_bytes(), BEAT, at(0)).unwrap();
    }
    let asked = |poller: &mut Poller| -> Vec<SensorId> {
        core::iter::from_fn(|| poller.poll_action())
            .filter_map(|action| match action {
                Action::SendPoll { sensor, .. } => Some(sensor),
                _ => None,
            })
            .collect()
    };
    poller.handle_timeout(at(10));
    assert_eq!(asked(&mut poller), ["a", "b"].map(sensor));
    assert_eq!((poller.counters().in_flight, poller.counters().waiting), (2, 3));
    poller.handle_answer(sensor("b"), b"1", at(20));
    assert_eq!(asked(&mut poller), ["c"].map(sensor));
    // Both timeouts pass.
    poller.handle_timeout(at(600));
    assert_eq!(asked(&mut poller), ["d", "e"].map(sensor));
    assert_eq!((poller.counters().in_flight, poller.counters().waiting), (2, 0));
    // A poll that ends with its sensor leaves room as well.
    poller.handle_forget(sensor("d"), at(610)).unwrap();
    assert_eq!(poller.counters().in_flight, 1);
}
