//! Devices name their topics as they like: each is heard and polled there, and none gets in another's way.

use serde_json::{Value, json};

use crate::{
    mqtt::{Device, heartbeat},
    site::{Site, until},
};

#[test]
fn mqtt_topics_are_polled_wherever_nats_server_puts_them() {
    let mut site = Site::start(&[]);
    let forms = [
        ("tp/192.168.1.5", "/poll", "/read", "/gone"), // dots within a level
        ("/tp/6", "/poll", "/read", "/gone"),          // a first level that is empty
        ("tp//7", "/poll/", "/read//", "/gone/"),      // others that are
        ("v1.2", ".poll", ".read", "/gone"),           // NATS' form, by MQTT
    ];
    let devices: Vec<_> = (0..)
        .zip(forms)
        .map(|(number, (prefix, poll, read, gone))| {
            let id = format!("0b5a6e0c-6{number}66-4222-8333-944455566677");
            let mut beat = heartbeat(&id, prefix, 500);
            beat["poll_topic"] = json!(format!("{prefix}{poll}"));
            beat["read_topic"] = json!(format!("{prefix}{read}"));
            beat["disconnect_topic"] = json!(format!("{prefix}{gone}"));
            (Device::start(&site, beat, move |_| format!("{number}")), id)
        })
        .collect();
    for (number, (device, id)) in devices.iter().enumerate() {
        let of_sensor = |envelope: &Value| envelope["sealwire"]["sensor"] == *id;
        site.wait_for_event("SENSOR_READING", |envelope| {
            of_sensor(envelope) && envelope["event"]["new"] == number.to_string()
        });
        device.disconnect();
        site.wait_for_event("SENSOR_DISCONNECTED", of_sensor);
    }
    // A poll sent there would be a heartbeat.
    let id = "0b5a6e0c-7777-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Loud", 500);
    beat["poll_topic"] = json!("loud/heartbeat");
    let _device = Device::start(&site, beat, |_| String::from("1"));
    until("its heartbeat is refused", || {
        let (_, answer) = site.get("/api/site");
        (answer["counters"]["refused_heartbeats"] == 1).then_some(())
    });
    assert_eq!(site.sensors().len(), forms.len());
    site.stop();
}
