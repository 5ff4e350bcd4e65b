//! Devices that speak MQTT, with independent clients.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use crate::{
    house,
    pangea::python,
    site::{Follower, Site, pause, port, sealwire, until},
};

/// The oldest device: strings for values, topics with slashes, no optional field.
const OLDEST: &str = "0b5a6e0c-1111-4222-8333-944455566677";

/// An MQTT device that reconnects whenever the broker is back.
pub(crate) struct Device {
    client: Client,
    disconnect_topic: String,
    stop: Arc<AtomicBool>,
    /// Polls it has answered.
    pub(crate) answered: Arc<AtomicU64>,
    _running: JoinHandle<()>,
}

impl Device {
    /// Connects. `heartbeat` is its heartbeat, and `answer` makes its payload for the poll of this
    /// number, counted from 1.
    pub(crate) fn start(
        site: &Site,
        heartbeat: Value,
        answer: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let id = heartbeat["id"].as_str().unwrap().to_owned();
        let mut options =
            MqttOptions::new(format!("device-{id}"), "127.0.0.1", port(&site.addresses.mqtt));
        options.set_keep_alive(Duration::from_secs(5));
        let (client, mut connection) = Client::new(options, 64);
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (sender, stopped, count) = (client.clone(), Arc::clone(&stop), Arc::clone(&answered));
        let topic = |name: &str| heartbeat[name].as_str().unwrap_or_default().to_owned();
        let disconnect_topic = topic("disconnect_topic");
        let (poll_topic, read_topic) = (topic("poll_topic"), topic("read_topic"));
        let running = std::thread::spawn(move || {
            for event in connection.iter() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        sender.try_subscribe(&poll_topic, QoS::AtMostOnce).unwrap();
                        sender
                            .try_publish(
                                "picow/heartbeat",
                                QoS::AtMostOnce,
                                false,
                                heartbeat.to_string(),
                            )
                            .unwrap();
                    }
                    Ok(Event::Incoming(Packet::Publish(poll))) => {
                        assert_eq!(&poll.payload[..], b"poll");
                        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                        // The queue is full only while the broker is unavailable, and then nothing
                        // is polled.
                        let _away =
                            sender.try_publish(&read_topic, QoS::AtMostOnce, false, answer(number));
                    }
                    Ok(_) => {}
                    // The broker is away; the next turn connects again.
                    Err(_) => pause(),
                }
            }
        });
        Self { client, disconnect_topic, stop, answered, _running: running }
    }

    /// Announces that it leaves. From then on it answers no polls.
    pub(crate) fn disconnect(&self) {
        self.client.try_publish(&self.disconnect_topic, QoS::AtMostOnce, false, "bye").unwrap();
    }

    pub(crate) fn beat(&self, heartbeat: &Value) {
        self.client
            .try_publish("picow/heartbeat", QoS::AtMostOnce, false, heartbeat.to_string())
            .unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _away = self.client.try_disconnect();
    }
}

/// A heartbeat with the oldest fields alone.
pub(crate) fn heartbeat(id: &str, alias: &str, poll_interval_ms: u64) -> Value {
    json!({
        "alias": alias, "id": id, "poll_interval": poll_interval_ms, "poll_topic": format!("picow/{id}/poll"),
        "read_topic": format!("picow/{id}/read"), "disconnect_topic": format!("picow/{id}/disconnect"),
        "ip_addr": "192.168.1.7", "mac_addr": [40, 205, 193, 3, 226, 159], "location": "Hall",
    })
}

fn of_sensor(id: &str) -> impl Fn(&Value) -> bool + '_ {
    move |envelope| envelope["sealwire"]["sensor"] == id
}

#[test]
fn the_oldest_device_appears_beside_the_simulated_ones() {
    let mut site = Site::start(&["--simulate", "2"]);
    let _device = Device::start(&site, heartbeat(OLDEST, "PicoTemp", 500), |number| match number {
        2 => String::from("23.5C"), // garbled once
        _ => String::from("\"23.50\""),
    });
    let reading = site.wait_for_event("SENSOR_READING", |envelope| {
        of_sensor(OLDEST)(envelope) && envelope["event"]["status"] == "SUCCESS"
    });
    let event = &reading["envelope"]["event"];
    assert_eq!(event["new"], "23.50", "digit for digit");
    assert_eq!(event["message"], "Hall.PicoTemp: 23.50");
    let garbled = site
        .wait_for_event("SENSOR_READING", |envelope| envelope["event"]["status"] == "VALUE_ERROR");
    assert_eq!(garbled["envelope"]["sealwire"]["raw"], "23.5C");
    until("three sensors are there", || (site.sensors().len() == 3).then_some(()));
    site.stop();
}

#[test]
fn a_device_leaves_its_range_comes_back_goes_and_returns() {
    let mut site = Site::start(&[]);
    let id = "0b5a6e0c-2222-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Boiler", 300);
    beat["range"] = json!([0, 50]);
    beat["unit"] = json!("°C");
    let device = Device::start(&site, beat.clone(), |number| {
        json!({ "value": if number % 4 == 0 { 50.5 } else { 20.25 }, "seq": number }).to_string()
    });
    let out = site.wait_for_event("OUT_OF_RANGE", of_sensor(id));
    let event = &out["envelope"]["event"];
    assert_eq!((&event["new"], &event["actor"]), (&json!("50.5"), &json!("sensor-reader")));
    assert!(out["envelope"]["sealwire"]["component"].as_str().unwrap().starts_with("sha256:"));
    let (_, judged) = site.get(&format!("/api/proof/{}", out["envelope"]["sealwire"]["from_leaf"]));
    assert!(
        judged["envelope"].as_str().unwrap().contains("\"new\":\"50.5\""),
        "the leaf it names is the reading"
    );
    site.wait_for_event("BACK_IN_RANGE", of_sensor(id));

    device.disconnect();
    site.wait_for_event("SENSOR_DISCONNECTED", of_sensor(id));
    site.wait_for_event("SENSOR_LOST", of_sensor(id));
    until("the sensor shows as disconnected", || {
        (site.sensors().first()?["state"] == "disconnected").then_some(())
    });
    device.beat(&beat);
    site.wait_for_event("HEARTBEAT_RESUMED", of_sensor(id));
    site.wait_for_event("SENSOR_BACK", of_sensor(id));

    beat["poll_interval"] = json!(250);
    device.beat(&beat);
    site.wait_for_event("SENSOR_CHANGED", of_sensor(id));
    site.stop();
}

#[test]
fn several_values_of_one_answer_are_one_event() {
    let mut site = Site::start(&[]);
    let id = "0b5a6e0c-5555-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Climate", 300);
    beat["channels"] = json!([
        { "name": "temperature", "kind": "number", "unit": "°C", "scale": -2, "range": [0, 50] },
        { "name": "humidity", "unit": "%", "range": [0, 100] },
    ]);
    let device = Device::start(&site, beat, |number| {
        let humidity = if number % 4 == 0 { "101.0" } else { "41.0" };
        format!(
            r#"{{"values":{{"temperature":2350, "humidity":{humidity}}},"seq":{number},"boot":"2a","uptime":{number}}}"#
        )
    });
    let out = site.wait_for_event("OUT_OF_RANGE", of_sensor(id));
    let event = &out["envelope"]["event"];
    assert_eq!(event["message"], "Hall.Climate: humidity 101.0 is outside 0..100");
    assert_eq!(event["new"], "101.0");
    site.wait_for_event("BACK_IN_RANGE", of_sensor(id));

    let reading = site.wait_for_event("SENSOR_READING", |envelope| {
        of_sensor(id)(envelope) && envelope["sealwire"]["seq"] == 1
    });
    let (event, own) = (&reading["envelope"]["event"], &reading["envelope"]["sealwire"]);
    assert_eq!(event["new"], r#"{"temperature":2350, "humidity":41.0}"#, "as it was written");
    assert_eq!(event["message"], "Hall.Climate: temperature 23.50 °C, humidity 41.0 %");
    assert_eq!(
        own["channels"],
        r#"[{"kind":"number","name":"temperature","range":"0..50","scale":-2,"unit":"°C"},{"name":"humidity","range":"0..100","unit":"%"}]"#
    );
    assert_eq!((&own["boot"], &own["uptime"]), (&json!("2a"), &json!(1)));

    // Each value is found by search. The sensor's own series has the text of both, and each channel
    // a series with its numbers.
    let found = json!({ "query": format!("sensor:{id} 23.50 humidity") });
    until("a search finds the values", || {
        let (_, page) = site.post("/api/logs", &found.to_string());
        (page["count"].as_u64()? > 0).then_some(())
    });
    let (status, plot) = site.get(&format!("/api/sensors/{id}/readings?points=500"));
    assert_eq!((status, plot["kind"].as_str()), (200, Some("readings")), "{plot}");
    assert_eq!(plot["readings"][0]["value"], event["new"]);
    let of_channel = |channel: &str, more: &str| {
        site.get(&format!("/api/sensors/{id}/readings?channel={channel}&{more}"))
    };
    let (status, temperature) = of_channel("temperature", "limit=3");
    let newest = &temperature["readings"][0];
    assert_eq!((status, &newest["value"], &newest["unit"]), (200, &json!("23.50"), &json!("°C")));
    let started = temperature["clock"]["started_at"].as_str().unwrap();
    assert!(started < newest["timestamp"].as_str().unwrap(), "{temperature}");
    let humidity = until("there are buckets of one channel", || {
        let (_, plot) = of_channel("humidity", "points=2");
        (plot["kind"] == "buckets" && plot["buckets"][0]["max"] == 101.0).then_some(plot)
    });
    for bucket in humidity["buckets"].as_array().unwrap() {
        assert_eq!(bucket["readings"], bucket["numbers"], "{humidity}");
        assert!([41.0, 101.0].contains(&bucket["min"].as_f64().unwrap()), "{humidity}");
    }
    assert_eq!(of_channel("pressure", "limit=3").0, 404);
    let channels = site.sensors()[0]["channels"].clone();
    assert_eq!(
        (&channels[0]["name"], &channels[0]["standing"]),
        (&json!("temperature"), &json!("inside"))
    );
    assert_eq!(channels[0]["last"]["value"], "23.50", "{channels}");
    drop(device);
    let data_dir = site.data_dir();
    let file_of = |channel: &str| {
        let site = ["readings", "--data-dir", data_dir.to_str().unwrap(), "--sensor", id];
        let how = ["--format", "csv", "--output", "-", "--actor", "ada", "--reason", "a test"];
        sealwire(&[&site[..], &how[..], &["--channel", channel][..]].concat())
    };
    let (code, csv, errors) = file_of("temperature");
    assert_eq!(code, Some(0), "{errors}");
    let first = csv.lines().nth(1).unwrap();
    assert!(first.starts_with(id) && first.ends_with(",SUCCESS,23.50,,°C,,"), "{csv}");
    let (code, _, errors) = file_of("pressure");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("no reading of this span has a value of `pressure`"), "{errors}");
    site.stop();
    let kept = house::open(&site.data_dir());
    kept.assert_answers_are_there_once();
}

/// The test vectors of the wire format, checked by a program that shares no code with ours.
#[test]
fn a_stranger_makes_the_signed_bytes_of_the_vectors_again() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/testdata/readings.json");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/wire_vectors.py");
    let output = Command::new(python()).args(["-B", script, vectors]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let checked: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(checked >= 6, "{checked}");
}

#[test]
fn silence_is_noticed() {
    let site = Site::start(&["--lost-after", "2", "--heartbeats", "nowhere.else,picow/+"]);
    let id = "0b5a6e0c-3333-4222-8333-944455566677";
    let _device = Device::start(&site, heartbeat(id, "Silent", 500), |_| String::from("1"));
    site.wait_for_event("HEARTBEAT_MISSED", of_sensor(id));
    site.wait_for_event("SENSOR_LOST", of_sensor(id));
    until("the sensor shows as lost", || {
        (site.sensors().first()?["state"] == "lost").then_some(())
    });
}

/// A device written with paho-mqtt, in a process of its own.
struct PahoDevice(Child);

impl Drop for PahoDevice {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn a_paho_device_goes_on_whoever_is_killed() {
    let python = std::env::var("SEALWIRE_TEST_PYTHON")
        .expect("SEALWIRE_TEST_PYTHON names a Python with paho-mqtt; `cargo xtask test` sets it");
    let mut site = Site::start(&[]);
    let id = "0b5a6e0c-4444-4222-8333-944455566677";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/paho_device.py");
    let port = port(&site.addresses.mqtt).to_string();
    let device =
        Command::new(python).args([script, &port, id]).stdin(Stdio::null()).spawn().unwrap();
    let _device = PahoDevice(device);
    let follower = Follower::start(&site);
    follower.wait_for_more_values(5);
    for engine in ["wash", "nats", "hosts"] {
        site.kill_engine(engine);
        follower.wait_for_more_values(5);
    }
    site.kill();
    let mut told = follower.seen();
    site.start_again();
    let follower = Follower::start(&site);
    follower.wait_for_more_values(5);
    site.stop();
    told.extend(follower.seen());
    let kept = house::open(&site.data_dir());
    kept.assert_holds(&told);
    kept.assert_answers_are_there_once();
}
