//! Messages of the named firmwares, verbatim, with their sources in the files. Every message meets
//! the rules of all presets together, so a preset that took another's messages would show.

use proptest::prelude::*;
use pushed::Recorded;

use crate::{all_presets, at, map_all};

macro_rules! recorded {
    ($($test:ident, $file:literal;)*) => {$(
        #[test]
        fn $test() {
            let lines = include_str!(concat!("messages/", $file, ".jsonl"));
            insta::assert_snapshot!($file, map_all(&mut all_presets(), lines));
        }
    )*};
}

recorded! {
    tasmota_reports_telemetry, "tasmota";
    zigbee2mqtt_reports_what_a_device_exposes, "zigbee2mqtt";
    the_first_shellies_have_a_topic_for_each_value, "shelly-gen1";
    later_shellies_notify_what_changed, "shelly-gen2";
    esphome_has_a_topic_for_each_sensor, "esphome";
    home_assistants_discovery_declares_topics, "homeassistant";
    a_sparkplug_node_is_born_reports_and_dies, "sparkplug";
}

#[test]
fn what_was_declared_can_be_taken_up_again() {
    let lines = include_str!("messages/homeassistant.jsonl");
    let mut mapper = all_presets();
    map_all(&mut mapper, lines);
    let kept: Vec<String> = mapper.declarations().map(Recorded::into_line).collect();
    assert!(!kept.is_empty());
    let mut later = all_presets();
    map_all(&mut later, &kept.join("\n"));
    let again: Vec<String> = later.declarations().map(Recorded::into_line).collect();
    assert_eq!(kept, again);
    // Both understand the messages that follow in the same way.
    assert_eq!(map_all(&mut mapper, lines), map_all(&mut later, lines));
}

#[test]
fn digits_stay_as_they_were_written() {
    for digits in ["20.60", "-0.0", "1e2", "0.1000000000000000000001", "9007199254740993", "1E400"]
    {
        let payload = format!(r#"{{"temperature":{digits}}}"#);
        let mapping = all_presets().map("zigbee2mqtt/x", payload.as_bytes(), at());
        let values: Vec<&str> = mapping.readings.iter().map(|reading| &*reading.value).collect();
        assert_eq!(values, [digits]);
    }
}

#[test]
fn a_series_is_known_by_name_and_quantity_alone() {
    let sensor = |topic: &str, payload: &str| {
        let mapping = all_presets().map(topic, payload.as_bytes(), at());
        mapping.readings.first().unwrap().sensor.to_string()
    };
    assert_eq!(
        sensor("zigbee2mqtt/a", r#"{"temperature":1}"#),
        sensor("zigbee2mqtt/a", r#"{"battery":null,"temperature":2}"#)
    );
    // Logs hold it, so it stays. Python's uuid.uuid5 says the same but for beginning and version.
    let one = sensor("zigbee2mqtt/a", r#"{"temperature":1}"#);
    insta::assert_snapshot!(one, @"5ea1eda3-389c-89dd-bb30-429fdb096eb9");
    assert_ne!(one, sensor("zigbee2mqtt/a", r#"{"humidity":1}"#));
    assert_ne!(one, sensor("zigbee2mqtt/b", r#"{"temperature":1}"#));
}

#[test]
fn what_is_too_much_is_refused_in_words() {
    let long = format!(r#"{{"temperature":"{}"}}"#, "x".repeat(1_025));
    let huge = vec![b'1'; (256 << 10) + 1];
    let name = format!("zigbee2mqtt/{}", "x".repeat(60));
    let parts: Vec<String> =
        (0..300).map(|part| format!(r#""p{part}":{{"Temperature":1}}"#)).collect();
    let parts = format!("{{{}}}", parts.join(","));
    for (topic, payload, words) in [
        ("zigbee2mqtt/x", long.as_bytes(), "at most 1024 are taken"),
        ("zigbee2mqtt/x", &huge, "at most 262144 are read"),
        (&name, br#"{"temperature":1}"#, "at most 64 are taken"),
        ("zigbee2mqtt/x", b"{", "the payload is not JSON"),
        ("zigbee2mqtt/x", br#"{"temperature":[1]}"#, "the value is an array"),
        ("zigbee2mqtt/x", br#"{"temperature":1,"temperature":2}"#, "stands there twice"),
        ("zigbee2mqtt/\u{7}", br#"{"temperature":1}"#, "control character"),
        ("a/sensor/b/state", b"\xff", "not UTF-8"),
        ("a/sensor/b/state", b"", "the value is empty"),
        ("a/sensor/b/state", b"{}", "the payload is JSON"),
        ("tele/x/SENSOR", parts.as_bytes(), "at most 256 values"),
        ("spBv1.0/g/NDATA/n", b"\xff", "the payload is not Sparkplug B"),
        ("spBv1.0/g/DDATA/n", b"", "a topic of Sparkplug B is"),
        ("no/such/topic", b"1", "no rule is for this topic"),
    ] {
        let mapping = all_presets().map(topic, payload, at());
        let said: Vec<String> = mapping.refusals.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(words)), "{topic}: {said:?}");
    }
}

proptest! {
    #[test]
    fn any_message_is_mapped_or_refused(
        topic in "(zigbee2mqtt|tele|spBv1.0/g|homeassistant/sensor|shellies)/[a-z]{0,3}(/(NBIRTH|NDATA|DDATA|SENSOR|config|state)){0,2}(/[a-z])?",
        payload: Vec<u8>,
    ) {
        let mapping = all_presets().map(&topic, &payload, at());
        prop_assert!(!mapping.heard.is_empty() || mapping.readings.len() + mapping.refusals.len() > 0);
    }
}
