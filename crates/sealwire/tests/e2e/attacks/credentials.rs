//! Devices with credentials: their own, others', none, and revoked ones.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rumqttc::{Event, LastWill, MqttOptions, Packet, QoS};
use serde_json::Value;

use super::bus::Nats;
use crate::{
    flood::allow_at_least,
    site::{Site, port, sealwire, succeeds, until},
};

/// A device of `credential_device.py`, in a process of its own.
pub(crate) struct Device {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Device {
    pub(crate) fn start(site: &Site, protocol: &str, file: &Path) -> Self {
        let mut command = Self::command(&[]);
        command.arg(protocol).args(["127.0.0.1", &Self::port(site, protocol).to_string()]);
        Self::run(command.arg(file))
    }

    /// The port for this protocol.
    pub(crate) fn port(site: &Site, protocol: &str) -> u16 {
        port(if protocol == "nats" { &site.addresses.nats } else { &site.addresses.mqtt })
    }

    /// The command of a device without its arguments, run by `launcher`.
    pub(crate) fn command(launcher: &[&str]) -> Command {
        let python = std::env::var("SEALWIRE_TEST_PYTHON").expect(
            "SEALWIRE_TEST_PYTHON names a Python with paho-mqtt; `cargo xtask test` sets it",
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/credential_device.py");
        let words = [launcher, &[&python, script]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }

    pub(crate) fn run(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&said));
        std::thread::spawn(move || {
            lines.lines().map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line));
        });
        Self { child, said }
    }

    /// Waits for a line with these words, and returns it.
    #[track_caller]
    pub(crate) fn says(&self, wanted: &str) -> String {
        until(&format!("the device says {wanted}"), || {
            self.said.lock().unwrap().iter().find(|line| line.contains(wanted)).cloned()
        })
    }

    /// Whether it has said these words.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(words))
    }

    /// What it has said so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it is connected or has ended. Returns whether it is connected.
    #[track_caller]
    pub(crate) fn connects(&mut self) -> bool {
        until("the device is let in or gives up", || {
            let has_ended = self.child.try_wait().unwrap().is_some();
            let is_in = self.said.lock().unwrap().iter().any(|line| line == "connected");
            (has_ended || is_in).then_some(is_in)
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Gives an order about credentials.
#[track_caller]
pub(crate) fn order(site: &Site, words: &[&str]) -> String {
    let data_dir = site.data_dir();
    succeeds(&[&["sensor", "--data-dir", data_dir.to_str().unwrap()], words].concat())
}

pub(crate) fn member(file: &Path, name: &str) -> String {
    let json: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    json[name].as_str().unwrap().to_owned()
}

/// Connects by MQTT with the credential Pump-1 and a last will for this topic, and is cut off.
fn leaves_with_a_will(site: &Site, password: &str, topic: &str) {
    let mut options = MqttOptions::new("Pump-1", "127.0.0.1", port(&site.addresses.mqtt));
    options.set_credentials("Pump-1", password);
    options.set_last_will(LastWill::new(topic, "gone", QoS::AtMostOnce, false));
    let (_client, mut connection) = rumqttc::Client::new(options, 1);
    let first = connection.iter().next();
    assert!(matches!(first, Some(Ok(Event::Incoming(Packet::ConnAck(_))))), "{first:?}");
}

/// Publishes by MQTT with the credential Pump-1, until the server ends the connection.
fn publishes(site: &Site, password: &str, topic: &str) {
    let mut options = MqttOptions::new("Pump-1", "127.0.0.1", port(&site.addresses.mqtt));
    options.set_credentials("Pump-1", password);
    let (client, mut connection) = rumqttc::Client::new(options, 1);
    client.publish(topic, QoS::AtMostOnce, false, "1").unwrap();
    let ended = connection.iter().find_map(Result::err);
    assert!(ended.is_some(), "the server takes `{topic}`");
}

/// Connects as a client of MQTT 5, until the server ends the connection.
fn speaks_mqtt_5(site: &Site) {
    let mut stream = TcpStream::connect(("127.0.0.1", port(&site.addresses.mqtt))).unwrap();
    stream.write_all(b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x05five5").unwrap();
    let mut answer = Vec::new();
    // The server may close the connection in any way.
    let _end = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x20, "{answer:?}");
}

/// A NATS client that names a credential and its password.
fn client(site: &Site, user: &str, password: &str) -> Nats {
    let options = format!(r#""user":"{user}","pass":"{password}","#);
    Nats::connect(port(&site.addresses.nats), &options)
}

/// Connects by NATS as this credential, with a password that is not its.
pub(crate) fn comes_with_a_wrong_password(site: &Site, user: &str) {
    let _refused = client(site, user, "wrong");
}

#[test]
fn a_device_speaks_as_its_own_sensor_and_as_no_other() {
    let mut site = Site::start(&[]);
    let output = site.data_dir().with_file_name("credentials");
    let folder = output.to_str().unwrap();
    // Without credentials every device is let in, until there is the first.
    let mut anyone = Nats::device(&site);
    assert_eq!(anyone.say("SUB > 1\r\n"), (vec![], true));
    let added = order(&site, &["add", "Pump-1", "Pump-2", "--output", folder]);
    assert!(added.contains("2 credentials added"), "{added}");
    assert!(!anyone.goes_on(), "who has no credential loses the connection");
    let [one, two] = ["Pump-1", "Pump-2"].map(|name| output.join(format!("{name}.json")));

    let by_nats = Device::start(&site, "nats", &one);
    let by_mqtt = Device::start(&site, "mqtt", &two);
    by_nats.says("connected");
    by_mqtt.says("connected");
    for alias in ["Pump-1", "Pump-2"] {
        let reading = site.wait_for_event("SENSOR_READING", |envelope| {
            envelope["event"]["source"] == format!("Hall.{alias}")
                && envelope["event"]["status"] == "SUCCESS"
        });
        let id = reading["envelope"]["sealwire"]["sensor"].as_str().unwrap().to_owned();
        site.wait_for_event("CREDENTIAL_ADDED", |envelope| envelope["sealwire"]["sensor"] == id);
        site.wait_for_event("CREDENTIAL_USED", |envelope| envelope["event"]["target"] == alias);
    }

    let password = member(&one, "mqtt_password");
    for (user, password) in
        [("Pump-2", password.as_str()), ("Pump-1", "wrong"), ("Pump-1", ""), ("Pump-3", "x")]
    {
        let (said, goes_on) = client(&site, user, password).say("");
        assert!(!goes_on && said == ["-ERR 'Authorization Violation'"], "{user}: {said:?}");
    }
    assert!(!Nats::device(&site).say("").1, "nobody without credentials");

    let mut device = client(&site, "Pump-1", &password);
    assert_eq!(device.say("SUB Pump-1.receipt 1\r\n"), (vec![], true));
    for words in [
        "SUB Pump-2.poll 2",
        "SUB Pump-2.read 3",
        "SUB Pump-1.read 3",
        "SUB *.poll 4",
        "SUB Pump-1.* 5",
        "SUB Pump-1.> 6",
        "SUB > 7",
        "SUB _INBOX.> 8",
        "SUB $SYS.> 9",
        "SUB $JS.> 10",
        "SUB $MQTT.sub.> 11",
        "SUB $SYS.REQ.USER.AUTH 12",
        "PUB Pump-2.read 1\r\n1",
        "PUB Pump-2.heartbeat 2\r\n{}",
        "PUB Pump-2.disconnect 0\r\n",
        "PUB Pump-1.poll 4\r\npoll",
        "PUB picow.heartbeat 2\r\n{}",
        "PUB _INBOX.a 0\r\n",
        "PUB $JS.API.INFO 0\r\n",
        "PUB $SYS.REQ.SERVER.PING 0\r\n",
        "PUB $MQTT.sess.a 0\r\n",
    ] {
        let (said, goes_on) = device.say(&format!("{words}\r\n"));
        let [refusal] = said.as_slice() else { panic!("{words}: {said:?}") };
        assert!(refusal.starts_with("-ERR 'Permissions Violation"), "{words}: {refusal}");
        assert!(goes_on, "{words}");
    }
    // The server publishes a last will in the name of its client.
    for topic in ["Pump-2/disconnect", "Pump-1/disconnect"] {
        leaves_with_a_will(&site, &password, topic);
    }
    let leaves = |alias: &'static str| {
        move |envelope: &Value| envelope["event"]["source"] == format!("Hall.{alias}")
    };
    site.wait_for_event("SENSOR_DISCONNECTED", leaves("Pump-1"));
    let gone = site.events("SENSOR_DISCONNECTED");
    assert!(!gone.iter().any(|event| leaves("Pump-2")(&event["envelope"])), "{gone:?}");
    // On its own topic, in the name of the other sensor.
    let id: Value = serde_json::from_slice(&fs::read(&two).unwrap()).unwrap();
    let id = id["sensors"][0]["id"].as_str().unwrap().to_owned();
    let beat = format!(
        r#"{{"alias":"Pump-2","id":"{id}","poll_interval":60000,"poll_topic":"Pump-1.poll","read_topic":"Pump-1.read"}}"#
    );
    device.say(&format!("PUB Pump-1.heartbeat {}\r\n{beat}\r\n", beat.len()));
    site.wait_for_event("HEARTBEATS_REFUSED", |envelope| {
        let message = envelope["event"]["message"].as_str().unwrap();
        message.contains("its credential sends heartbeats on another topic")
    });
    // What the server alone knows.
    speaks_mqtt_5(&site);
    publishes(&site, &password, "Pump-1/read x");
    let (said, goes_on) = client(&site, "Pump-1", &password).say("PUB Pump-1.read 10000000\r\n");
    assert!(!goes_on && said == ["-ERR 'Maximum Payload Violation'"], "{said:?}");
    until("the refusals are listed", || {
        let refused = order(&site, &["refused"]);
        let is_told = |who: &str, why: &str| {
            refused.lines().any(|line| line.contains(who) && line.contains(why))
        };
        let all = [
            ("Pump-1", "its password is wrong (from 127.0.0.1 by NATS)"),
            ("Pump-3", "there is no credential"),
            ("a device at 127.0.0.1", "it has no credentials"),
            ("a device at 127.0.0.1", "it speaks MQTT 5, and the site MQTT 3.1.1"),
            ("Pump-1", "a topic of it has a space"),
            ("Pump-1", "a message of it is too long"),
            ("Pump-1", "it may not publish to `Pump-2.read`"),
            ("Pump-1", "it may not hear `Pump-2.poll`"),
            ("Pump-1", "it may not publish to `Pump-2.disconnect` (from 127.0.0.1 by MQTT)"),
        ];
        all.iter().all(|(who, why)| is_told(who, why)).then_some(())
    });
    site.wait_for_event("DEVICES_REFUSED", |envelope| envelope["event"]["target"] == "Pump-2");

    for (name, device, protocol) in [("Pump-1", &by_nats, "nats"), ("Pump-2", &by_mqtt, "mqtt")] {
        order(&site, &["revoke", name]);
        device.says("closed");
        site.wait_for_event("CREDENTIAL_REVOKED", |envelope| envelope["event"]["target"] == name);
        let again = Device::start(&site, protocol, &output.join(format!("{name}.json")));
        again.says(if protocol == "nats" { "Authorization Violation" } else { "refused" });
    }
    assert!(!device.goes_on(), "every connection of a revoked credential is closed");
    site.stop();
    // What was made outlives the site; it lets nobody in before there is a credential that stands.
    site.start_again();
    assert!(!Nats::device(&site).say("").1);
    site.stop();
}

#[test]
fn who_connects_too_often_loses_the_oldest_connection() {
    /// Connections of a credential, and files that this process has besides.
    const CONNECTIONS: usize = 1_000;
    const FILES: u64 = 1_024;
    allow_at_least(FILES + CONNECTIONS as u64);
    let mut site = Site::start(&[]);
    let output = site.data_dir().with_file_name("credentials");
    order(&site, &["add", "Pump-1", "Pump-2", "--output", output.to_str().unwrap()]);
    let [one, two] = ["Pump-1", "Pump-2"]
        .map(|name| member(&output.join(format!("{name}.json")), "mqtt_password"));
    let mut other = client(&site, "Pump-2", &two);
    let mut held: Vec<Nats> = (0..CONNECTIONS).map(|_| client(&site, "Pump-1", &one)).collect();
    // The server asks about them in any order.
    assert!(held.iter_mut().all(|device| device.say("").1), "so many are let in");
    let mut newest = client(&site, "Pump-1", &one);
    assert!(newest.say("").1);
    until("one of them is closed", || {
        held.iter_mut().any(|device| !device.say("").1).then_some(())
    });
    assert!(newest.say("").1 && other.say("").1);
    let refused = order(&site, &["refused"]);
    assert!(refused.contains("it has more than 1000 connections"), "{refused}");
    drop(held);
    site.stop();
}

#[test]
fn an_existing_device_keeps_its_id_and_its_topics() {
    let mut site = Site::start(&[]);
    let output = site.data_dir().with_file_name("credentials");
    let id = "0b5a6e0c-1111-4222-8333-944455566677";
    let beat = format!(
        r#"{{"alias":"Old-1","id":"{id}","poll_interval":60000,"poll_topic":"picow.7.poll","read_topic":"picow.7.read","disconnect_topic":"picow.7.gone"}}"#
    );
    let mut device = Nats::device(&site);
    std::thread::scope(|scope| {
        let folder = output.to_str().unwrap();
        let adding = scope.spawn(|| order(&site, &["add", "Old-1", "--learn", "--output", folder]));
        until("the device was learned of", || {
            // The site closes the connection once there is a credential.
            device.say(&format!("PUB picow.heartbeat {}\r\n{beat}\r\n", beat.len()));
            adding.is_finished().then_some(())
        });
        let added = adding.join().unwrap();
        assert!(added.contains("1 credentials added"), "{added}");
    });
    assert!(!device.goes_on());
    let file = output.join("Old-1.json");
    let content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let sensor = &content["sensors"][0];
    for (field, value) in [
        ("id", id),
        ("heartbeat_topic", "picow.heartbeat"),
        ("poll_topic", "picow.7.poll"),
        ("read_topic", "picow.7.read"),
        ("disconnect_topic", "picow.7.gone"),
    ] {
        assert_eq!(sensor[field], value);
    }
    let by_mqtt = Device::start(&site, "mqtt", &file);
    by_mqtt.says("connected");
    site.wait_for_event("SENSOR_READING", |envelope| {
        envelope["sealwire"]["sensor"] == id && envelope["event"]["status"] == "SUCCESS"
    });
    site.stop();
}

#[test]
fn a_rotation_cuts_nobody_off_before_the_new_key_is_used() {
    let mut site = Site::start(&[]);
    let output = site.data_dir().with_file_name("credentials");
    let (old, new) = (output.join("old"), output.join("new"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    order(&site, &["add", "Pump-1", "--output", old]);
    let password = |folder: &str| member(&Path::new(folder).join("Pump-1.json"), "mqtt_password");
    let mut device = client(&site, "Pump-1", &password(old));
    assert!(device.say("").1);
    order(&site, &["rotate", "Pump-1", "--output", new]);
    assert!(device.say("").1 && client(&site, "Pump-1", &password(old)).say("").1);
    assert!(client(&site, "Pump-1", &password(new)).say("").1);
    assert!(!device.goes_on(), "the old key ends");
    until("the old key lets nobody in", || {
        (!client(&site, "Pump-1", &password(old)).say("").1).then_some(())
    });
    assert!(client(&site, "Pump-1", &password(new)).say("").1);
    let listed = order(&site, &["list"]);
    assert!(listed.contains("Pump-1"), "{listed}");
    // The files are private, and nothing is replaced.
    let data_dir = site.data_dir();
    let again =
        ["sensor", "--data-dir", data_dir.to_str().unwrap(), "add", "Pump-1", "--output", new];
    let (code, _, said) = sealwire(&again);
    assert!(code == Some(1) && said.contains("cannot create"), "{said}");
    site.stop();
}
