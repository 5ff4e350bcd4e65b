//! A device of rumqttc. It runs in a process of its own, because a process is on one machine.

use std::{path::Path, time::Duration};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};

use super::{Plant, Sensor};
use crate::attacks::credentials::{Device, member};

/// Starts it on the other machine.
pub(super) fn start(plant: &Plant, name: &str) -> Device {
    let program = std::env::current_exe().unwrap();
    let mut command = plant.runs(&[program.to_str().unwrap()]);
    command.args([
        "--ignored",
        "--nocapture",
        "--exact",
        "off_loopback::strangers::rumqttc_device::run",
    ]);
    command.envs([
        ("DEVICE_HOST", plant.elsewhere.here.clone()),
        ("DEVICE_PORT", plant.mqtt_port().to_string()),
        ("DEVICE_FILE", plant.file(name).display().to_string()),
        ("DEVICE_CA", plant.ca.display().to_string()),
    ]);
    Device::run(&mut command)
}

#[test]
#[ignore = "it is a device, which other tests start on another machine"]
fn run() {
    let [host, port, file, ca] = ["HOST", "PORT", "FILE", "CA"]
        .map(|name| std::env::var(format!("DEVICE_{name}")).expect("another test starts this"));
    let file = Path::new(&file);
    let sensor = Sensor::of(file).remove(0);
    let mut options = MqttOptions::new(member(file, "mqtt_client_id"), host, port.parse().unwrap());
    options.set_credentials(member(file, "mqtt_user"), member(file, "mqtt_password"));
    options.set_keep_alive(Duration::from_secs(30));
    let ca = std::fs::read(ca).unwrap();
    let tls = TlsConfiguration::Simple { ca, alpn: None, client_auth: None };
    options.set_transport(Transport::Tls(tls));
    let (client, mut connection) = Client::new(options, 16);
    let beat = || {
        let heartbeat = sensor.heartbeat.to_string();
        client.publish(&sensor.heartbeat_topic, QoS::AtLeastOnce, false, heartbeat).unwrap();
    };
    let mut answered = 0;
    for event in connection.iter() {
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                println!("connected");
                client.subscribe(&sensor.poll_topic, QoS::AtLeastOnce).unwrap();
                beat();
            }
            Ok(Event::Incoming(Packet::Publish(_))) => {
                answered += 1;
                let answer = Sensor::answer(answered);
                client.publish(&sensor.read_topic, QoS::AtLeastOnce, false, answer).unwrap();
                if Sensor::beats_with(answered) {
                    beat();
                }
            }
            Ok(_) => {}
            Err(failure) => {
                println!("closed: {failure}");
                return;
            }
        }
    }
}
