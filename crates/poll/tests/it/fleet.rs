//! Many sensors at once.

use core::time::Duration;
use std::collections::BTreeMap;

use model::{Heartbeat, SensorId, SensorState};
use poll::{Action, Config, Instant, Now, Past, Poller};

use crate::script::at;

fn fleet(count: u32) -> impl Iterator<Item = (Heartbeat, SensorState)> {
    (0..count).map(|index| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&index.to_be_bytes());
        let id = SensorId::from_bytes(bytes);
        let text = format!(
            r#"{{"id":"{id}","alias":"s{index}","poll_interval":10000,"poll_topic":"p.{index}","read_topic":"r.{index}"}}"#
        );
        (Heartbeat::parse(text.as_bytes()).unwrap(), SensorState::Online)
    })
}

/// Restores `count` sensors, runs for `seconds`, and returns when polls were sent.
fn polls(count: u32, seconds: u64) -> Vec<Duration> {
    let mut poller = Poller::new(Config::default());
    let mut sent = Vec::new();
    let mut drain = |poller: &mut Poller, now: Instant| {
        while let Some(action) = poller.poll_action() {
            if let Action::SendPoll { sensor, .. } = action {
                sent.push(now.saturating_duration_since(Instant::default()));
                poller.handle_answer(sensor, b"1", Now { monotonic: now, wall: at(0).wall });
            }
        }
    };
    assert!(poller.restore(fleet(count), BTreeMap::new(), Past::default(), at(0)).is_empty());
    drain(&mut poller, at(0).monotonic);
    let end = at(seconds * 1_000).monotonic;
    while let Some(now) = poller.poll_timeout().filter(|next| *next < end) {
        poller.handle_timeout(Now { monotonic: now, wall: at(0).wall });
        drain(&mut poller, now);
    }
    sent
}

#[test]
fn forty_sensors_are_asked_at_once() {
    let sent = polls(40, 10);
    assert_eq!(sent.len(), 40);
    assert!(*sent.last().unwrap() < Duration::from_millis(20), "{:?}", sent.last());
}

#[test]
fn twenty_thousand_are_spread_and_stay_so() {
    let sent = polls(20_000, 40);
    let mut per_second = [0; 40];
    for moment in sent {
        per_second[usize::try_from(moment.as_secs()).unwrap()] += 1;
    }
    assert!(per_second.iter().all(|count| (1_800..2_200).contains(count)), "{per_second:?}");
    assert_eq!(per_second[10..20], per_second[30..40], "each has its own point of the interval");
}

#[test]
fn a_sensor_has_the_same_point_of_its_interval_after_each_start() {
    let first = |count: u32| {
        let mut sent = polls(count, 10);
        sent.retain(|moment| *moment > Duration::from_millis(60));
        sent
    };
    assert_eq!(first(3_000), first(3_000));
    // Whoever comes besides changes nothing for those that are spread.
    let more = first(4_000);
    assert!(first(3_000).iter().all(|moment| more.contains(moment)));
}
