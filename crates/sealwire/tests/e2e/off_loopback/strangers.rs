//! Devices of other makers on another machine, side by side: nats-py, Debian's `mosquitto_pub` and
//! `mosquitto_sub`, sensors behind a mosquitto that bridges, rumqttc, and umqtt.simple under
//! MicroPython. tshark reads along.

mod mosquitto;
mod refusals;
mod rumqttc_device;
mod tshark;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Elsewhere, devices::is_read_after};
use crate::{
    attacks::credentials::{Device, member, order},
    house,
    pangea::python,
    site::{Site, port, succeeds},
};
use tshark::Tshark;

/// What each of these devices answers: a text that does not appear by chance.
const VALUE: &str = "8414.25";

/// A site that another machine reaches, and that machine.
struct Plant {
    elsewhere: Elsewhere,
    site: Site,
    /// Folder with the files of credentials.
    credentials: PathBuf,
    /// The certificate of the site's authority.
    ca: PathBuf,
}

impl Plant {
    /// Starts the site. `certificate` is the file of the certificate that it shows and does not
    /// renew by itself, in the site's folder; without one it has its own.
    fn start(elsewhere: Elsewhere, certificate: Option<&str>) -> Self {
        let folder = TempDir::new().unwrap();
        let data_dir = folder.path().join("data");
        let (data, here) = (data_dir.to_str().unwrap(), elsewhere.here.as_str());
        succeeds(&["ca", "init", "--data-dir", data]);
        succeeds(&["ca", "issue", "--data-dir", data, "--host", here]);
        let (ca, credentials) = (data_dir.join("tls/ca.pem"), folder.path().join("credentials"));
        let mut words = vec!["--nats-listen", here, "--mqtt-listen", here];
        let named = certificate.map(|name| folder.path().join(name));
        if let Some(named) = &named {
            std::fs::copy(data_dir.join("tls/site.pem"), named).unwrap();
            let named = named.to_str().unwrap();
            words.extend(["--tls-cert", named, "--tls-key", named]);
        }
        let site = Site::start_in(folder, &words);
        Self { elsewhere, site, credentials, ca }
    }

    /// Makes credentials.
    fn add(&self, names: &[&str]) {
        let output = ["--output", self.credentials.to_str().unwrap()];
        order(&self.site, &[&["add"], names, &output].concat());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.credentials.join(format!("{name}.json"))
    }

    fn mqtt_port(&self) -> u16 {
        port(&self.site.addresses.mqtt)
    }

    /// A program on the other machine.
    fn runs(&self, words: &[&str]) -> Command {
        self.elsewhere.command(words)
    }

    /// A device of nats-py that also tries to hear and to publish to these subjects.
    fn nats_py(&self, name: &str, subjects: &[&str]) -> Device {
        let script =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/off_loopback/nats_py_device.py");
        let nats = port(&self.site.addresses.nats).to_string();
        let mut command = self.runs(&[&python(), script]);
        command.args([&self.elsewhere.here, &nats]).arg(&self.credentials).arg(name);
        Device::run(command.arg(&self.ca).args(subjects))
    }

    fn umqtt(&self, name: &str) -> Device {
        let script =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/off_loopback/micropython/device.mjs");
        let mut command = self.runs(&["node", script, &self.elsewhere.here]);
        command.arg(self.mqtt_port().to_string()).arg(self.file(name));
        Device::run(command.arg(&self.ca))
    }
}

/// A sensor of a credential: the heartbeat that it sends by MQTT, and its topics.
struct Sensor {
    heartbeat: Value,
    heartbeat_topic: String,
    poll_topic: String,
    read_topic: String,
}

impl Sensor {
    /// The sensors in a file of a credential.
    fn of(file: &Path) -> Vec<Self> {
        let credential: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        credential["sensors"].as_array().unwrap().iter().map(Self::parse).collect()
    }

    fn parse(sensor: &Value) -> Self {
        let topic = |name: &str| sensor[name].as_str().unwrap().replace('.', "/");
        let (poll_topic, read_topic) = (topic("poll_topic"), topic("read_topic"));
        let heartbeat = json!({
            "alias": sensor["alias"], "id": sensor["id"], "poll_interval": 500, "location": "Hall",
            "poll_topic": poll_topic, "read_topic": read_topic,
        });
        Self { heartbeat, heartbeat_topic: topic("heartbeat_topic"), poll_topic, read_topic }
    }

    fn answer(number: u64) -> String {
        format!(r#"{{"value":{VALUE},"seq":{number}}}"#)
    }

    /// Whether the device sends another heartbeat with this answer.
    const fn beats_with(answer: u64) -> bool {
        answer.is_multiple_of(20)
    }
}

#[test]
fn devices_of_other_makers_on_another_machine_are_read_and_nobody_reads_along() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut plant = Plant::start(elsewhere, None);
    plant.add(&["Nats-py", "Umqtt", "Rumqttc", "Mosquitto"]);
    plant.add(&["--set", "Gateway", "Bridged-1", "Bridged-2"]);
    let skipped = |why: &&str| eprintln!("skipped: {why}");
    let line = Tshark::begin(&plant).inspect_err(skipped).ok();

    let nats_py = plant.nats_py("Nats-py", &[]);
    let umqtt = plant.umqtt("Umqtt");
    let rumqttc = rumqttc_device::start(&plant, "Rumqttc");
    let mut aliases = vec!["Nats-py", "Umqtt", "Rumqttc"];
    let mosquitto = mosquitto::Pair::of_credential(&plant, "Mosquitto").inspect_err(skipped).ok();
    aliases.extend(mosquitto.is_some().then_some("Mosquitto"));
    let bridge = mosquitto::Bridge::start(&plant, "Gateway").inspect_err(skipped).ok();
    aliases.extend(bridge.is_some().then_some(["Bridged-1", "Bridged-2"]).into_iter().flatten());
    for (device, client) in
        [(&nats_py, "connected"), (&umqtt, "MicroPython"), (&rumqttc, "connected")]
    {
        device.says(client);
    }
    let first = aliases.iter().map(|alias| is_read_after(&plant.site, alias, 0));
    let newest = first.max().unwrap();
    for alias in &aliases {
        is_read_after(&plant.site, alias, newest);
    }
    let value = |event: &&Value| event["envelope"]["event"]["status"] == "SUCCESS";
    let readings = plant.site.events("SENSOR_READING");
    for reading in readings.iter().filter(value) {
        assert_eq!(reading["envelope"]["event"]["new"], VALUE, "{reading}");
    }

    if let Some(line) = line {
        let line = line.end();
        let mut secrets = vec![String::from(VALUE), String::from("poll_interval")];
        secrets.extend(aliases.iter().map(|alias| String::from(*alias)));
        for name in ["Nats-py", "Umqtt", "Rumqttc", "Mosquitto", "Gateway"] {
            let file = plant.file(name);
            secrets.extend(["mqtt_password", "nkey_seed"].map(|secret| member(&file, secret)));
        }
        line.has("server_id", "what NATS says before it goes over to TLS");
        line.has_none_of(&secrets);
        let mqtt_devices = aliases.len() - 1;
        line.greets_by_tls(
            plant.mqtt_port(),
            if bridge.is_some() { mqtt_devices - 1 } else { mqtt_devices },
        );
    }
    drop((nats_py, umqtt, rumqttc, mosquitto, bridge));
    plant.site.stop();
    let kept = house::open(&plant.site.data_dir());
    kept.assert_answers_are_there_once();
}
