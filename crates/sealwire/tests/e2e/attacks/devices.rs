//! Unusual devices: their names, what they write, when they answer.

use serde_json::{Value, json};

use crate::{
    mqtt::{Device, heartbeat},
    site::{Site, until},
};

#[test]
fn devices_are_polled_wherever_their_topics_are_and_judged_by_what_they_wrote() {
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
        let value = json!(number.to_string());
        site.wait_for_event("SENSOR_READING", |envelope| {
            of_sensor(envelope) && envelope["event"]["new"] == value
        });
        device.disconnect();
        site.wait_for_event("SENSOR_DISCONNECTED", of_sensor);
    }
    let id = "0b5a6e0c-8888-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Odd", 500);
    beat["range"] = json!([0, 50]);
    beat["unit"] = json!("°C");
    let answers = ["1e400", "25", r#"{"value":77,"unit":"°F","uptime":"long"}"#, "26"];
    let odd = Device::start(&site, beat, move |number| {
        let place = usize::try_from(number).unwrap() % answers.len();
        answers[place].to_owned()
    });
    for (action, value) in
        [("OUT_OF_RANGE", "1e400"), ("RANGE_NOT_JUDGED", "77"), ("BACK_IN_RANGE", "26")]
    {
        site.wait_for_event(action, |envelope| {
            envelope["sealwire"]["sensor"] == id && envelope["event"]["new"] == value
        });
    }
    site.wait_for_event("FIELDS_LEFT_OUT", |envelope| envelope["sealwire"]["sensor"] == id);
    drop(odd);
    // A poll sent there would be a heartbeat.
    let id = "0b5a6e0c-7777-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Loud", 500);
    beat["poll_topic"] = json!("loud/heartbeat");
    let _device = Device::start(&site, beat, |_| String::from("1"));
    until("its heartbeat is refused", || {
        let (_, answer) = site.get("/api/site");
        (answer["counters"]["refused_heartbeats"] == 1).then_some(())
    });
    assert_eq!(site.sensors().len(), forms.len() + 1);
    site.stop();
}
