//! Orders about sensors, and two devices with one id.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use model::{Event, Given, Heartbeat, InForce, SensorOrder, SensorState};
use poll::{Action, Config, Guard, Past, Poller};

use crate::script::{BEAT, at, heartbeat, run, sensor};

/// The lines of a script's trace, without those about subscriptions.
#[track_caller]
fn trace(script: &[&str]) -> Vec<String> {
    let mut trace = run(script);
    trace.retain(|line| !line.contains("subscribe"));
    trace
}

/// 2026-11-23T19:01:23Z is the begin of the scripts.
fn maintenance(until: &str) -> String {
    format!(
        r#"order a {{"order":"maintain","from":"2026-11-23T19:01:23Z","until":"2026-11-23T{until}Z"}}"#
    )
}

fn given(order: SensorOrder) -> Given {
    Given { order, by: String::from("ada"), at: at(0).wall, reason: String::from("a test") }
}

fn events(poller: &mut Poller) -> Vec<Event> {
    let actions = std::iter::from_fn(|| poller.poll_action());
    actions
        .filter_map(|action| match action {
            Action::Seal(event) => Some(*event),
            _ => None,
        })
        .collect()
}

#[test]
fn a_retired_sensor_is_neither_polled_nor_missed_until_it_is_recalled() {
    let retire = r#"{"order":"retire"}"#;
    let trace = trace(&[
        "0 beat a every=10000",
        "1 answer a 1",
        &format!("5000 order a {retire}"),
        "30000 beat a every=10000",
        &format!("40000 order a {retire}"),
        "600000 gone a",
        r#"600000 order a {"order":"recall"}"#,
        r#"600000 order a {"order":"recall"}"#,
        "610000 beat a every=10000",
        "610001 answer a 2",
        "611000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "1 a SUCCESS 1",
            &format!("40000 refused: sensor {} is already retired", sensor("a")),
            &format!("600000 refused: sensor {} is not retired", sensor("a")),
            "610000 a HEARTBEAT_RESUMED",
            "610000 poll a",
            "610001 a SUCCESS 2",
            "polls=2 answers=2",
        ]
    );
}

#[test]
fn a_sensor_in_maintenance_is_missed_when_that_is_over() {
    let until_ten_minutes = maintenance("19:11:23");
    let missed = |end: &str| -> Vec<String> {
        let script = ["0 beat a every=60000", &format!("1 {until_ten_minutes}"), end];
        trace(&script).into_iter().filter(|line| line.contains("MISSED")).collect()
    };
    assert_eq!(missed("599999 end"), [""; 0]);
    assert_eq!(missed("600000 end"), ["600000 a HEARTBEAT_MISSED"]);
    // A sensor that left meanwhile, too; and not if it is back.
    let left = ["0 beat a", &format!("1 {until_ten_minutes}"), "1000 gone a", "600000 end"];
    let left = trace(&left);
    assert!(left.contains(&String::from("600000 a HEARTBEAT_MISSED")), "{left:?}");
    let back = [
        "0 beat a",
        &format!("1 {until_ten_minutes}"),
        "1000 gone a",
        "590000 beat a",
        "610000 end",
    ];
    let back = trace(&back);
    assert!(!back.concat().contains("MISSED"), "{back:?}");
    let over = ["0 beat a", &format!("700000 {until_ten_minutes}")];
    assert!(trace(&over).concat().contains("the maintenance would be over already"));
}

#[test]
fn what_is_sealed_in_maintenance_says_so_and_a_calibration_is_beside_what_the_device_wrote() {
    let mut poller = Poller::new(Config::default());
    poller.handle_heartbeat(heartbeat("a", &[]).as_bytes(), BEAT, at(0)).unwrap();
    let order = |json: &str| given(serde_json::from_str(json).unwrap());
    let window =
        r#"{"order":"maintain","from":"2026-11-23T19:01:23Z","until":"2026-11-23T19:01:27Z"}"#;
    let line = r#"{"order":"calibrate","gain":"2","offset":"-0.5","from":"2026-11-01T00:00:00Z"}"#;
    for json in [window, line] {
        poller.handle_order(sensor("a"), &order(json), at(0)).unwrap();
    }
    events(&mut poller);
    let mut flags = Vec::new();
    for (millis, payload) in [(20, "1.0"), (2_020, r#"{"value":"x"}"#), (4_020, "3")] {
        poller.handle_timeout(at(millis - 20));
        poller.handle_answer(sensor("a"), payload.as_bytes(), at(millis));
        let event = events(&mut poller).pop().unwrap();
        flags.push(event.is_in_maintenance());
        let calibration = event.sealwire.unwrap().calibration.unwrap();
        let calibration: model::Calibration = calibration.parse().unwrap();
        if millis == 20 {
            assert_eq!(event.new.as_deref(), Some("1.0"), "as the device wrote it");
            assert_eq!(calibration.apply("1.0"), Some(1.5));
        }
    }
    assert_eq!(flags, [true, true, false], "it ends by itself");
}

#[test]
fn a_channel_is_calibrated_by_its_name_and_takes_no_more_than_it_may() {
    let mut poller = Poller::new(Config::default());
    let channels = r#"{"channels":[{"name":"t"},{"name":"door","kind":"boolean"}],"#;
    let beat = heartbeat("a", &[]).replacen('{', channels, 1);
    poller.handle_heartbeat(beat.as_bytes(), BEAT, at(0)).unwrap();
    let mut order = |channel: &str, minute: u32| {
        let line = format!(
            r#"{{"order":"calibrate","gain":"2","offset":"1"{channel},"from":"2026-11-01T{:02}:{:02}:00Z"}}"#,
            minute / 60,
            minute % 60
        );
        let given = given(serde_json::from_str(&line).expect(&line));
        poller.handle_order(sensor("a"), &given, at(0)).map(|_| ()).map_err(|it| it.to_string())
    };
    for (channel, words) in [
        ("", "name the one to calibrate"),
        (r#","channel":"h""#, "declares no channel `h`"),
        (r#","channel":"door""#, "has no single numbers to calibrate"),
    ] {
        let refusal = order(channel, 0).expect_err(channel);
        assert!(refusal.contains(words), "{refusal}");
    }
    let most = u32::try_from(SensorOrder::CALIBRATIONS_MAX).unwrap();
    for minute in 0..most {
        order(r#","channel":"t""#, minute).unwrap();
    }
    let refusal = order(r#","channel":"t""#, most).unwrap_err();
    assert!(refusal.contains("already has 100 calibrations"), "{refusal}");
    order(r#","channel":"t""#, 7).expect("it replaces one");

    events(&mut poller);
    poller.handle_timeout(at(0));
    poller.handle_answer(sensor("a"), br#"{"values":{"t":3,"door":true}}"#, at(20));
    let detail = events(&mut poller).pop().unwrap().sealwire.unwrap();
    assert_eq!(detail.calibration.as_deref(), Some(r#"{"t":"2 1"}"#));
}

#[test]
fn two_devices_that_answer_on_one_topic_are_found_and_neither_counts_until_an_order() {
    let trace = trace(&[
        "0 beat a every=20000 mac=m1",
        "1 answer a 1",
        "10000 beat a every=20000 mac=m2",
        "20001 answer a 2",
        "30000 beat a every=20000 mac=m1",
        "40001 answer a 3",
        "55000 beat a every=20000 mac=m2",
        "60001 answer a 4",
        "60002 answer a 5",
        "100000 beat a every=20000 mac=m1",
        r#"130000 order a {"order":"settle","mac":"m2"}"#,
        "135000 beat a every=20000 mac=m1",
        "136000 beat a every=20000 mac=m2",
        "140001 answer a 6",
        "141000 end",
    ]);
    assert_eq!(
        trace,
        [
            "0 a SENSOR_DISCOVERED",
            "0 poll a",
            "1 a SUCCESS 1",
            "10000 a SENSOR_CHANGED",
            "20000 poll a",
            "20001 a SUCCESS 2",
            "30000 a SENSOR_CHANGED",
            "40000 poll a",
            "40001 a SUCCESS 3",
            "55000 a SENSOR_DOUBLED",
            "120000 a READINGS_MISSING 4-6 several_devices",
            &format!(
                "135000 refused: sensor {} is refused: by order, only the device with another hardware address is this sensor",
                sensor("a")
            ),
            "136000 a SENSOR_CHANGED",
            "140000 poll a",
            "140001 a READINGS_MISSING 7 several_devices",
            "140001 a SUCCESS 6",
            "polls=4 answers=4 duplicates=2 skipped=4 refused_heartbeats=1",
        ]
    );
}

#[test]
fn answers_that_contradict_each_other_are_of_two_devices_and_repeated_ones_are_not() {
    let answers = |second: &dyn Fn(u32) -> Vec<String>| {
        let mut script = vec![String::from("0 beat a every=1000")];
        for poll in 0..10 {
            let at = poll * 1_000;
            script.push(format!("{} answer a {poll}", at + 10));
            script.extend(second(poll).iter().map(|it| format!("{} answer a {it}", at + 20)));
        }
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        let found = trace(&script);
        found.into_iter().find(|line| line.contains("SENSOR_DOUBLED"))
    };
    let found = answers(&|poll| vec![(poll + 100).to_string()]);
    assert_eq!(found.as_deref(), Some("4020 a SENSOR_DOUBLED"));
    let of_three = |poll: u32| vec![(poll + 100).to_string(), (poll + 200).to_string()];
    assert_eq!(answers(&of_three).as_deref(), Some("4020 a SENSOR_DOUBLED"));
    assert_eq!(answers(&|poll| vec![poll.to_string()]), None, "delivered twice");
    assert_eq!(answers(&|poll| vec![(poll + 1).to_string(); 5]), None, "a flood");
    let now_and_then = |poll| if poll % 4 == 3 { vec![] } else { vec![String::from("x")] };
    assert_eq!(answers(&now_and_then), None);
}

#[test]
fn starts_that_alternate_are_of_two_devices() {
    let answer = |poll: u32, boot: &str| {
        format!(r#"{} answer a {{"value":1,"boot":"{boot}"}}"#, poll * 2_000 + 10)
    };
    let is_found = |boots: &[&str]| {
        let mut script = vec![String::from("0 beat a")];
        script.extend((0..).zip(boots).map(|(poll, boot)| answer(poll, boot)));
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        trace(&script).concat().contains("SENSOR_DOUBLED")
    };
    assert!(is_found(&["x", "y", "x", "y"]));
    assert!(!is_found(&["x", "x", "y", "z", "z"]), "it restarts");
}

#[test]
fn a_second_device_that_answers_elsewhere_is_kept_apart_as_a_sensor_of_its_own() {
    let beat = |at: u32, read: &str| format!("{at} beat a every=60000 read=sim/read/{read}");
    let script = [
        beat(0, "one"),
        beat(10_000, "two"),
        beat(40_000, "one"),
        beat(65_000, "two"),
        beat(90_000, "one"),
        beat(110_000, "two"),
        String::from("140000 end"),
    ];
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    let trace = trace(&script);
    let told: Vec<&String> = trace.iter().filter(|line| line.contains("S")).collect();
    let apart = trace.iter().position(|line| line == "65000 a DEVICE_KEPT_APART").unwrap();
    assert_eq!(trace.get(apart + 1).map(String::as_str), Some("65000 Ð SENSOR_DISCOVERED"));
    let later = trace.iter().skip(apart + 2);
    assert!(later.clone().all(|line| !line.contains("CHANGED")), "{told:?}");
    assert!(later.clone().any(|line| line.ends_with("poll Ð")), "{told:?}");
    assert!(later.clone().any(|line| line.ends_with("poll a")), "{told:?}");
}

#[test]
fn three_devices_with_one_id_are_found_as_two_are() {
    let turns = |answer: &dyn Fn(u32) -> &'static str| {
        let beat = |turn: u32| {
            let (at, mac, read) = (turn * 10_000, turn % 3, answer(turn % 3));
            format!("{at} beat a every=60000 mac=m{mac} read=sim/read/{read}")
        };
        let script: Vec<String> = (0..24).map(beat).collect();
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        trace(&script)
    };
    let on_one_topic = turns(&|_device| "a");
    assert!(on_one_topic.contains(&String::from("40000 a SENSOR_DOUBLED")), "{on_one_topic:?}");
    let on_three = turns(&|device| ["a", "b", "c"][device as usize]);
    let apart = on_three.iter().filter(|line| line.ends_with("DEVICE_KEPT_APART"));
    assert_eq!(apart.count(), 2, "{on_three:?}");
    assert!(on_three.iter().all(|line| !line.ends_with("SENSOR_DOUBLED")), "{on_three:?}");
    // The second and the third answer on one topic: none of these two counts, and the first does.
    let on_two = turns(&|device| ["a", "b", "b"][device as usize]);
    let doubled: Vec<&String> =
        on_two.iter().filter(|line| line.ends_with("SENSOR_DOUBLED")).collect();
    assert!(
        matches!(doubled.as_slice(), [one] if !one.ends_with("a SENSOR_DOUBLED")),
        "{on_two:?}"
    );
}

#[test]
fn a_device_in_another_ones_place_continues_its_series() {
    let mut poller = Poller::new(Config::default());
    let beat = |poller: &mut Poller, name: &str, millis| {
        poller.handle_heartbeat(heartbeat(name, &[]).as_bytes(), BEAT, at(millis))
    };
    beat(&mut poller, "a", 0).unwrap();
    beat(&mut poller, "b", 0).unwrap();
    poller.handle_timeout(at(1));
    poller.handle_answer(sensor("a"), b"1", at(20));
    events(&mut poller);
    let replace = given(SensorOrder::Replace { device: Some(sensor("b")) });
    let described = poller.handle_order(sensor("a"), &replace, at(100)).unwrap();
    assert_eq!(described.id, sensor("a"));
    let told: Vec<_> = events(&mut poller).into_iter().filter_map(|it| it.action).collect();
    assert_eq!(told.last().map(String::as_str), Some("SENSOR_FORGOTTEN"), "b is no own sensor");
    assert_eq!(poller.state(sensor("b")), None);
    let refused = beat(&mut poller, "a", 200).unwrap_err().to_string();
    assert!(refused.contains("another device is in its place"), "{refused}");
    assert_eq!(beat(&mut poller, "b", 300).unwrap(), sensor("a"));
    poller.handle_timeout(at(2_010));
    let polled: Vec<_> = std::iter::from_fn(|| poller.poll_action())
        .filter_map(|action| match action {
            Action::SendPoll { subject, poll, .. } => Some((subject.to_string(), poll)),
            _ => None,
        })
        .collect();
    assert_eq!(polled, [(String::from("sim.poll.b"), 2)], "its topics, and the next number");
    for (place, device, words) in
        [("a", "a", "is the sensor's own id"), ("b", "c", "polls no sensor")]
    {
        let order = given(SensorOrder::Replace { device: Some(sensor(device)) });
        let refused = poller.handle_order(sensor(place), &order, at(3_000)).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

#[test]
fn who_may_not_speak_any_more_is_not_polled_and_leaves_its_topics_to_others() {
    let covered = Arc::new(Mutex::new(vec![sensor("a")]));
    let asked = Arc::clone(&covered);
    let covers = move |device, _: &Heartbeat| asked.lock().unwrap().contains(&device);
    let guard = Guard::new(|_, _| Ok(()), |_, _| true, covers);
    let mut poller = Poller::new(Config::default()).guarded(guard);
    let beat = |poller: &mut Poller, name: &str, millis| {
        let topics = ["poll=sim/poll/a", "read=sim/read/a", "gone=sim/gone/a"];
        poller.handle_heartbeat(heartbeat(name, &topics).as_bytes(), BEAT, at(millis))
    };
    beat(&mut poller, "a", 0).unwrap();
    poller.handle_answer(sensor("a"), b"1", at(20));
    poller.handle_guard(at(30));
    assert_eq!(poller.state(sensor("a")), Some(SensorState::Online));
    assert!(beat(&mut poller, "b", 40).unwrap_err().to_string().contains("already uses"));
    events(&mut poller);
    *covered.lock().unwrap() = vec![sensor("b")];
    poller.handle_guard(at(50));
    let told: Vec<_> = events(&mut poller).into_iter().filter_map(|it| it.action).collect();
    assert_eq!(told, ["SENSOR_DISCONNECTED"]);
    beat(&mut poller, "b", 60).unwrap();
    poller.handle_timeout(at(4_000));
    let polled: Vec<_> = std::iter::from_fn(|| poller.poll_action())
        .filter_map(|action| match action {
            Action::SendPoll { sensor, .. } => Some(sensor),
            _ => None,
        })
        .collect();
    assert!(!polled.is_empty() && polled.iter().all(|polled| *polled == sensor("b")));

    // The device of another id that is in a sensor's place counts, and not the sensor's own.
    let own = heartbeat("c", &[]);
    poller.handle_heartbeat(own.as_bytes(), BEAT, at(5_000)).unwrap();
    let order = given(SensorOrder::Replace { device: Some(sensor("d")) });
    poller.handle_order(sensor("c"), &order, at(5_100)).unwrap();
    *covered.lock().unwrap() = vec![sensor("d")];
    poller.handle_guard(at(5_200));
    assert_eq!(poller.state(sensor("c")), Some(SensorState::Online));
    assert_eq!(poller.state(sensor("b")), Some(SensorState::Disconnected));
}

#[test]
fn orders_are_in_force_after_a_restart() {
    let heartbeat_of = |name| Heartbeat::parse(heartbeat(name, &[]).as_bytes()).unwrap();
    let name = |text: &str| text.parse().ok();
    let renamed = InForce::default()
        .after(given(SensorOrder::Rename { alias: name("Boiler") }))
        .after(given(SensorOrder::Move { location: name("Hall 2") }))
        .doubled_since(Some(at(0).wall));
    let in_force = BTreeMap::from([
        (sensor("a"), renamed.clone()),
        (sensor("b"), InForce::default().after(given(SensorOrder::Retire))),
    ]);
    let mut poller = Poller::new(Config::default());
    poller.restore_orders(in_force);
    let known =
        [(heartbeat_of("a"), SensorState::Online), (heartbeat_of("b"), SensorState::Retired)];
    assert!(poller.restore(known, BTreeMap::new(), Past::default(), at(0)).is_empty());
    let described: Vec<String> = poller.sensors().map(|(it, _)| it.source()).collect();
    assert_eq!(described, ["Hall 2.Boiler", "b"]);
    for millis in [1, 30_000, 60_000] {
        for name in ["a", "b"] {
            let payload = heartbeat(name, &[]);
            poller.handle_heartbeat(payload.as_bytes(), BEAT, at(millis)).unwrap();
        }
    }
    let polls = std::iter::from_fn(|| poller.poll_action())
        .filter(|action| matches!(action, Action::SendPoll { .. }));
    assert_eq!(polls.count(), 0, "one has two devices, and one is retired");
    assert_eq!(poller.orders_in_force().first(), Some(&(sensor("a"), renamed)));
    // What is forgotten keeps its name, and nothing else holds it back.
    poller.handle_forget(sensor("b"), at(61_000)).unwrap();
    poller.handle_heartbeat(heartbeat("b", &[]).as_bytes(), BEAT, at(62_000)).unwrap();
    assert_eq!(poller.state(sensor("b")), Some(SensorState::Online));
}
