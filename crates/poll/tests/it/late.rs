//! Slow, silent and repeating sensors: no answer is sealed for a later poll than the one that it
//! answers.

use core::time::Duration;
use std::collections::BTreeSet;

use model::{Event, completeness::Completeness};
use poll::{Action, Config, Instant, Poller};
use proptest::prelude::*;

use crate::script::{BEAT, at, heartbeat, run, sensor};

/// A sensor's reaction to one poll.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Milliseconds until its answer; `None` if it does not answer.
    delay: Option<u64>,
    /// Milliseconds until it repeats the answer.
    again: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Happening {
    /// The sensor answers the poll with this index among all polls that were sent.
    Answer { poll: usize, seq: u64 },
    /// It sends a heartbeat with a poll interval of this many milliseconds.
    Beat { every: u64 },
}

/// The sealed events of a sensor that answers each poll with the poll's index among all that were
/// sent, from 0.
fn sealed(timeout: u64, beats: &[(u64, u64)], manners: &[Manner], counts: bool) -> Vec<Event> {
    let config = Config {
        answer_timeout: Duration::from_millis(timeout),
        lost_after: Duration::MAX,
        ..Config::default()
    };
    let mut poller = Poller::new(config);
    let mut agenda: BTreeSet<(u64, Happening)> =
        beats.iter().map(|&(moment, every)| (moment, Happening::Beat { every })).collect();
    let (mut log, mut asked, mut seq, mut said, mut newest) = (Vec::new(), 0, 0, 0, 0);
    let mut millis = 0;
    loop {
        while let Some(&(moment, happening)) = agenda.first().filter(|(due, _)| *due <= millis) {
            agenda.remove(&(moment, happening));
            match happening {
                // No sensor repeats an old answer after a new one.
                Happening::Answer { seq, .. } if seq < said => {}
                Happening::Answer { poll, seq } => {
                    said = seq;
                    let seq = if counts { format!(r#","seq":{seq}"#) } else { String::new() };
                    let answer = format!(r#"{{"value":{poll}{seq}}}"#);
                    poller.handle_answer(sensor("a"), answer.as_bytes(), at(millis));
                }
                Happening::Beat { every } => {
                    let beat = heartbeat("a", &[&format!("every={every}")]);
                    poller.handle_heartbeat(beat.as_bytes(), BEAT, at(millis)).unwrap();
                }
            }
        }
        poller.handle_timeout(at(millis));
        while let Some(action) = poller.poll_action() {
            match action {
                Action::SendPoll { .. } => {
                    let Some(Manner { delay, again }) = manners.get(asked) else { return log };
                    if let Some(delay) = delay {
                        // Answers keep the order of their polls.
                        newest = newest.max(millis + delay);
                        seq += 1;
                        let answer = Happening::Answer { poll: asked, seq };
                        agenda.insert((newest, answer));
                        agenda.extend(again.map(|again| (newest + again, answer)));
                    }
                    asked += 1;
                }
                Action::Seal(event) => log.push(*event),
                Action::Subscribe { .. } | Action::Unsubscribe { .. } => {}
            }
        }
        let woken = poller.poll_timeout().unwrap().saturating_duration_since(Instant::default());
        let woken = u64::try_from(woken.as_micros().div_ceil(1_000)).unwrap();
        millis = agenda.first().map_or(woken, |(due, _)| woken.min(*due));
    }
}

/// Every poll ends once and in order, so the nth reading belongs to the nth poll. Polls that were
/// not sent are declared.
fn check(log: &[Event]) -> Result<usize, TestCaseError> {
    let mut checked = Completeness::of_log();
    let (mut place, mut values) = (0, 0);
    for (leaf, event) in (0..).zip(log) {
        checked.take(leaf, event);
        if event.action.as_deref() == Some("SENSOR_READING") {
            if event.status.as_deref() == Some("SUCCESS") {
                let place = format!("{place}");
                prop_assert_eq!(event.new.as_deref(), Some(place.as_str()), "another poll's");
                values += 1;
            }
            place += 1;
        }
    }
    prop_assert!(checked.is_complete(), "{:?}", checked);
    Ok(values)
}

/// A poll interval, and the times at which it changes.
fn beats() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let every = || prop_oneof![100_u64..1_500, 1_500_u64..8_000];
    (every(), prop::collection::vec((1_u64..20_000, every()), 0..3)).prop_map(|(first, others)| {
        let mut beats = vec![(0, first)];
        beats.extend(others);
        beats
    })
}

proptest! {
    #[test]
    fn no_answer_before_a_second_timeout_is_sealed_for_a_later_poll(
        timeout in 20_u64..800,
        beats in beats(),
        manners in prop::collection::vec((0_u64..100, prop::option::weighted(0.8, 0_u64..1_000), 0_u64..60), 1..60),
    ) {
        let shortest = beats.iter().map(|(_, every)| *every).min().unwrap();
        let manners: Vec<_> = manners
            .into_iter()
            .map(|(again, permille, repeats)| Manner {
                delay: permille.map(|permille| permille * (timeout.min(shortest) + timeout) / 1_000),
                again: (repeats < 20).then_some(again),
            })
            .collect();
        check(&sealed(timeout, &beats, &manners, true))?;
    }

    #[test]
    fn no_answer_of_a_sensor_that_is_always_slow_is_sealed_for_a_later_poll(
        timeout in 20_u64..800,
        beats in beats(),
        permille in 0_u64..1_000,
        jitter in prop::collection::vec(0_u64..100, 1..60),
    ) {
        let slowest = timeout * 10 * permille / 1_000;
        let manners: Vec<_> = jitter
            .into_iter()
            .map(|percent| Manner { delay: Some(slowest * (1_000 - percent / 2) / 1_000), again: None })
            .collect();
        check(&sealed(timeout, &beats, &manners, false))?;
    }

    #[test]
    fn a_sensor_that_answers_in_time_loses_nothing(
        beats in beats(),
        delays in prop::collection::vec(0_u64..100, 1..60),
    ) {
        let manners: Vec<_> =
            delays.iter().map(|delay| Manner { delay: Some(*delay), again: None }).collect();
        let log = sealed(500, &beats, &manners, true);
        prop_assert_eq!(check(&log)?, log.iter().filter(|event| event.status.is_some()).count());
        prop_assert!(!log.iter().any(|event| event.action.as_deref() == Some("READINGS_MISSING")));
    }
}

#[test]
fn a_second_answer_is_not_taken_for_the_late_one_of_the_next_poll() {
    // The sensor counts. It answers its first two polls after their deadlines, and its first one
    // twice: the second time when its second poll has just failed.
    let manners = [
        Manner { delay: Some(96), again: Some(59) },
        Manner { delay: Some(101), again: None },
        Manner { delay: None, again: None },
    ];
    check(&sealed(55, &[(0, 100)], &manners, true)).unwrap();
}

#[test]
fn a_sensor_slower_than_its_timeout_has_no_value_and_every_poll_is_accounted_for() {
    let trace = run(&[
        "0 beat a every=600",
        "700 answer a 1",
        "1400 answer a 2",
        "2100 answer a 3",
        "2110 stop",
    ]);
    assert_eq!(
        trace,
        [
            "0 subscribe a sim.read.a",
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "500 a COMM_ERROR N/A",
            "700 poll a", // due since 600
            "1200 a COMM_ERROR N/A",
            "1400 poll a",
            "1900 a COMM_ERROR N/A",
            "2100 poll a",
            "2110 a READINGS_MISSING 4 stopped",
            "polls=4 timeouts=3 late=3 skipped=1",
        ]
    );
}

#[test]
fn an_answer_after_a_silent_poll_waits_until_no_other_can_follow() {
    let trace = run(&[
        "0 beat a every=1500",
        "1510 answer a 2", // to the first poll or to the second?
        "3509 end",
        "3510 end", // the other one would have come by now
        "3520 answer a 3",
        "3530 stop",
    ]);
    let values: Vec<_> =
        trace.iter().filter(|line| line.contains("READ") || line.contains("SUCC")).collect();
    assert_eq!(values, ["3510 a SUCCESS 2", "3520 a SUCCESS 3"], "{trace:?}");
}

#[test]
fn a_second_answer_is_known_by_the_sensors_own_number() {
    let trace = run(&[
        "0 beat a",
        r#"10 answer a {"value":1,"seq":7}"#,
        r#"2010 answer a {"value":1,"seq":7}"#, // it says the first one again
        r#"2020 answer a {"value":2,"seq":8}"#,
        "2030 stop",
    ]);
    let tail: Vec<_> = trace.iter().skip(3).map(String::as_str).collect();
    assert_eq!(
        tail,
        ["10 a SUCCESS 1", "2000 poll a", "2020 a SUCCESS 2", "polls=2 answers=2 duplicates=1"]
    );
}
