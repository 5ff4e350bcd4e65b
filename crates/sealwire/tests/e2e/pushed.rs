//! Devices that report by themselves: recorded messages of other firmwares, published over MQTT.

use std::{collections::BTreeMap, fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tempfile::TempDir;

use crate::site::{Site, port, sealwire, until};

/// Folder with the recorded messages.
const MESSAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pushed/tests/it/messages");
/// Rules for all of them, and one of a device that promises to report every second.
const RULES: &str = r#"
presets = ["tasmota", "zigbee2mqtt", "shelly-gen1", "shelly-gen2", "esphome", "homeassistant", "sparkplug"]

[[rule]]
name = "every second"
topic = "promised/{device}"
format = "text"
sensor = "{device}"
interval_s = 1
[[rule.value]]
quantity = "temperature"
"#;

/// A recorded message. `nats-server` cuts off a client that names a topic with a space, so the
/// names of the Sparkplug specification lose theirs here.
fn recorded(line: &str) -> (String, Vec<u8>) {
    let line: Value = serde_json::from_str(line).unwrap();
    let payload = match line["payload_base64"].as_str() {
        Some(base64) => STANDARD.decode(base64).unwrap(),
        None => line["payload"].as_str().unwrap().as_bytes().to_vec(),
    };
    (line["topic"].as_str().unwrap().replace(' ', "_"), payload)
}

fn all_recorded() -> Vec<(String, Vec<u8>)> {
    let files = ["tasmota", "zigbee2mqtt", "shelly-gen1", "shelly-gen2", "esphome", "sparkplug"];
    let texts = files.map(|file| fs::read_to_string(format!("{MESSAGES}/{file}.jsonl")).unwrap());
    texts.iter().flat_map(|text| text.lines()).map(recorded).collect()
}

/// Publishes messages in order, and waits until the server has acknowledged each.
fn publish(site: &Site, messages: &[(String, Vec<u8>)]) {
    let mut options = MqttOptions::new("pushing-device", "127.0.0.1", port(&site.addresses.mqtt));
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, messages.len() + 1);
    for (topic, payload) in messages {
        client.publish(topic, QoS::AtLeastOnce, false, payload.clone()).unwrap();
    }
    let mut acknowledged = 0;
    for event in connection.iter() {
        if let Event::Incoming(Packet::PubAck(_)) = event.unwrap() {
            acknowledged += 1;
            if acknowledged == messages.len() {
                return;
            }
        }
    }
}

/// What `sealwire map test` says that the messages become, without what it says of rules and times:
/// name, quantity and value, and how often.
fn expected(folder: &TempDir, messages: &[(String, Vec<u8>)]) -> BTreeMap<String, usize> {
    let line = |(topic, payload): &(String, Vec<u8>)| {
        let payload = STANDARD.encode(payload);
        serde_json::json!({ "topic": topic, "payload_base64": payload }).to_string()
    };
    let lines: Vec<String> = messages.iter().map(line).collect();
    let file = folder.path().join("messages.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let rules = folder.path().join("rules.toml");
    let (code, printed, said) =
        sealwire(&["map", "test", "--rules", rules.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let mut expected = BTreeMap::new();
    for reading in printed.lines().filter(|line| line.contains("  (rule ")) {
        let (reading, _rest) = reading.trim().split_once("  (rule ").unwrap();
        let mut parts = reading.splitn(3, "  ");
        let (name, quantity, value) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        *expected.entry(format!("{name}.{quantity}: {value}")).or_default() += 1;
    }
    expected
}

/// The pushed readings of a site, in the same words.
fn sealed(site: &Site) -> BTreeMap<String, usize> {
    let mut sealed = BTreeMap::new();
    for event in site.events("SENSOR_READING") {
        let (event, own) = (&event["envelope"]["event"], &event["envelope"]["sealwire"]);
        if own["rule"] == "every second" {
            continue;
        }
        let unit = own["unit"].as_str().map(|unit| format!(" {unit}")).unwrap_or_default();
        *sealed.entry(format!("{}{unit}", event["message"].as_str().unwrap())).or_default() += 1;
    }
    sealed
}

#[test]
fn recorded_messages_of_other_firmwares_are_sealed_once_each() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, RULES).unwrap();
    let messages = all_recorded();
    let expected = expected(&folder, &messages);
    assert!(expected.len() > 50, "{expected:?}");
    let mut site = Site::start(&["--map", rules.to_str().unwrap()]);
    publish(&site, &messages);
    until("everything is sealed and in the index", || (sealed(&site) == expected).then_some(()));

    // What a device says of the time is kept, and not believed if it cannot be right.
    let old = site.wait_for_event("SENSOR_READING", |envelope| {
        envelope["event"]["source"] == "Sparkplug_B_Devices/Raspberry_Pi.Supply Voltage"
    });
    let own = &old["envelope"]["sealwire"];
    assert_eq!(
        (&own["device_time"], &own["topic"]),
        (
            &Value::from("1486144502122"),
            &Value::from("spBv1.0/Sparkplug_B_Devices/NDATA/Raspberry_Pi"),
        )
    );
    assert_eq!(own["flags"], "too_early");
    site.wait_for_event("PUSHES_REFUSED", |envelope| {
        envelope["event"]["source"] == "spBv1.0/plant/DDATA/press-7/hydraulics"
    });

    let listed = site.sensors();
    let listed = listed.iter().find(|sensor| sensor["alias"] == "zigbee2mqtt/wall_switch.power");
    let listed = listed.expect("it is on the page");
    assert_eq!((&listed["rule"], &listed["last"]["value"]), (&"zigbee2mqtt".into(), &"0".into()));

    // A series has no number until a rule declares how often it is due.
    let data_dir = site.data_dir();
    let completeness = || sealwire(&["verify", "--completeness", data_dir.to_str().unwrap()]);
    let printed = until("a checkpoint covers the readings", || {
        let (_, printed, _) = completeness();
        printed.contains("NOT ASKED").then_some(printed)
    });
    assert!(!printed.contains("accounted for"), "{printed}");
    publish(&site, &[("promised/oven".into(), b"21.50".to_vec())]);
    let gap = site.wait_for_event("READINGS_MISSING", |envelope| {
        envelope["sealwire"]["rule"] == "every second"
    });
    assert_eq!(gap["envelope"]["sealwire"]["reason"], "not_reported");
    let heard = sealed(&site);
    site.stop();
    site.start_again();
    publish(&site, &[("promised/oven".into(), b"21.60".to_vec())]);
    site.wait_for_event("SENSOR_READING", |envelope| envelope["event"]["new"] == "21.60");
    assert_eq!(sealed(&site), heard, "nothing is sealed again");
    site.stop();
    let (code, printed, said) = completeness();
    assert_eq!(code, Some(0), "{printed}{said}");
    assert!(printed.contains("1 sensors: all ") && printed.contains("NOT ASKED"), "{printed}");
    assert!(printed.contains("missing, \"stopped\"") || printed.contains("\"not_reported\""));
}

#[test]
fn orders_about_a_series_hold_over_a_restart() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, RULES).unwrap();
    let mut site = Site::start(&["--map", rules.to_str().unwrap()]);
    let say = |site: &Site, topic: &str, value: &str| {
        publish(site, &[(topic.to_owned(), value.as_bytes().to_vec())]);
    };
    say(&site, "promised/pump", "20.5");
    let alias_of = |sensor: &Value| sensor["alias"].as_str().unwrap().to_owned();
    let find = |site: &Site, alias: &str| {
        until("the series is listed", || {
            site.sensors().into_iter().find(|sensor| alias_of(sensor) == alias)
        })
    };
    let pump = find(&site, "pump.temperature")["id"].as_str().unwrap().to_owned();
    let data_dir = site.data_dir();
    let order = |words: &[&str]| {
        let common = ["sensor", "--data-dir", data_dir.to_str().unwrap()];
        let (code, _, said) = sealwire(&[&common, words, &["--reason", "a works order"]].concat());
        (code, said)
    };
    for words in [
        ["rename", &pump, "--to", "Oven"],
        ["move", &pump, "--to", "Hall"],
        ["calibrate", &pump, "--gain", "2"],
    ] {
        let (code, said) = order(&words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
    let (code, said) = order(&["pause", &pump]);
    assert!(code == Some(1) && said.contains("a device reports it by itself"), "{said}");
    site.stop();
    site.start_again();
    say(&site, "promised/pump", "21");
    let of_oven = |envelope: &Value| {
        envelope["event"]["source"] == "Hall.Oven.temperature" && envelope["event"]["new"] == "21"
    };
    let sealed = site.wait_for_event("SENSOR_READING", of_oven);
    assert_eq!(sealed["envelope"]["sealwire"]["calibration"], "2 0");
    until("the corrected number is shown", || {
        let oven = find(&site, "Oven.temperature");
        (oven["last"]["calibrated"] == 42.0 && oven["location"] == "Hall").then_some(())
    });

    // Another device continues the series, and the former one is refused.
    say(&site, "promised/spare", "3");
    let spare = find(&site, "spare.temperature")["id"].as_str().unwrap().to_owned();
    assert_eq!(order(&["replace", &pump, "--with", &spare]).0, Some(0));
    say(&site, "promised/spare", "4");
    let of_spare = |envelope: &Value| envelope["event"]["new"] == "4";
    let sealed = site.wait_for_event("SENSOR_READING", of_spare);
    assert_eq!(sealed["envelope"]["sealwire"]["sensor"], pump.as_str());
    say(&site, "promised/pump", "5");
    site.wait_for_event("PUSHES_REFUSED", |envelope| {
        envelope["event"]["message"].as_str().unwrap().contains("another device is in the place")
    });
    assert!(site.sensors().iter().all(|sensor| alias_of(sensor) != "spare.temperature"));
}

#[test]
fn a_topic_that_a_device_declares_is_heard() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, "presets = [\"homeassistant\"]\n").unwrap();
    let mut site = Site::start(&["--map", rules.to_str().unwrap()]);
    let text = fs::read_to_string(format!("{MESSAGES}/homeassistant.jsonl")).unwrap();
    let messages: Vec<_> = text.lines().map(recorded).collect();
    let [_, first, second, state, ..] = messages.as_slice() else { panic!("four messages") };
    publish(&site, &[first.clone(), second.clone()]);
    // What is sent before the site hears the topic is lost, so the device goes on.
    let values = until("both values are sealed", || {
        publish(&site, std::slice::from_ref(state));
        let readings = site.events("SENSOR_READING");
        let values: BTreeMap<String, Value> = readings
            .iter()
            .map(|event| {
                let source = event["envelope"]["event"]["source"].as_str().unwrap().to_owned();
                (source, event["envelope"]["event"]["new"].clone())
            })
            .collect();
        (values.len() == 2).then_some(values)
    });
    assert_eq!(values["homeassistant/sensorBedroomT.temperature"], "23.20");
    assert_eq!(values["homeassistant/sensorBedroomH.humidity"], "43.70");
    site.stop();
    site.start_again();
    let (topic, payload) = state;
    let later = String::from_utf8(payload.clone()).unwrap().replace("23.20", "23.30");
    let later = (topic.clone(), later.into_bytes());
    until("the topic is heard without another declaration", || {
        publish(&site, std::slice::from_ref(&later));
        let readings = site.events("SENSOR_READING");
        readings.iter().any(|event| event["envelope"]["event"]["new"] == "23.30").then_some(())
    });
}

#[test]
fn a_sparkplug_node_that_is_not_known_is_asked_for_its_births() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, "presets = [\"sparkplug\"]\n").unwrap();
    let site = Site::start(&["--map", rules.to_str().unwrap()]);
    let text = fs::read_to_string(format!("{MESSAGES}/sparkplug.jsonl")).unwrap();
    let messages: Vec<_> = text.lines().map(recorded).collect();
    let of = |verb: &str| {
        let topic = format!("spBv1.0/plant/{verb}/press-7");
        messages.iter().filter(move |(other, _)| other.starts_with(&topic)).cloned()
    };
    let births: Vec<_> = of("NBIRTH").chain(of("DBIRTH")).collect();
    let data = of("DDATA").next().unwrap();

    let mut options = MqttOptions::new("press-7", "127.0.0.1", port(&site.addresses.mqtt));
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe("spBv1.0/plant/NCMD/press-7", QoS::AtLeastOnce).unwrap();
    let mut acknowledged = 0;
    for event in connection.iter() {
        match event.unwrap() {
            // The data names its metrics by aliases alone.
            Event::Incoming(Packet::SubAck(_)) => {
                client.publish(&data.0, QoS::AtLeastOnce, false, data.1.clone()).unwrap();
            }
            Event::Incoming(Packet::Publish(command)) => {
                let said = String::from_utf8_lossy(&command.payload);
                assert!(said.contains("Node Control/Rebirth"), "{command:?}");
                for (topic, payload) in births.iter().chain([&data]) {
                    client.publish(topic, QoS::AtLeastOnce, false, payload.clone()).unwrap();
                }
            }
            Event::Incoming(Packet::PubAck(_)) => {
                acknowledged += 1;
                if acknowledged == births.len() + 2 {
                    break;
                }
            }
            _ => {}
        }
    }
    let level = site.wait_for_event("SENSOR_READING", |envelope| {
        envelope["event"]["source"] == "plant/press-7/hydraulics.Oil/Level"
    });
    assert_eq!(level["envelope"]["event"]["new"], "0.1");
}

#[test]
fn a_file_of_rules_with_a_mistake_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, "[[rule]]\nname = \"x\"\ntopik = \"a/b\"\n").unwrap();
    let data_dir = folder.path().join("data");
    let (code, _, said) = sealwire(&[
        "up",
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--map",
        rules.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(1));
    assert!(said.contains("line 3: unknown field `topik`"), "{said}");
    assert!(!data_dir.exists());
}
