//! Devices on another machine: Python with paho-mqtt, and NATS' protocol over Python's `ssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Elsewhere;
use crate::{
    attacks::credentials::{Device, member, order},
    site::{Site, sealwire, succeeds, until},
};

/// A seed that nobody was given.
const UNKNOWN_SEED: &str = "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY";
const PROTOCOLS: [&str; 2] = ["nats", "mqtt"];

/// Writes down what goes over the line to the other machine.
struct Tapped {
    child: Child,
    file: PathBuf,
}

impl Tapped {
    fn begin(elsewhere: &Elsewhere, file: PathBuf) -> Self {
        let listen = "import socket, sys\n\
                      line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))\n\
                      line.bind((sys.argv[1], 0))\n\
                      line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)\n\
                      with open(sys.argv[2], 'wb', 0) as file:\n    \
                          while True: file.write(line.recv(1 << 16))";
        let child = Command::new("python3")
            .args(["-c", listen, &format!("{}a", elsewhere.name)])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the line is tapped", || file.exists().then_some(()));
        Self { child, file }
    }

    fn end(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::read(&self.file).unwrap()
    }
}

/// A device on the other machine.
fn device(elsewhere: &Elsewhere, site: &Site, protocol: &str, file: &Path, ca: &[&str]) -> Device {
    let mut command = Device::command(&["ip", "netns", "exec", &elsewhere.name]);
    command.args([protocol, &elsewhere.here, &Device::port(site, protocol).to_string()]);
    Device::run(command.arg(file).args(ca))
}

/// Waits for a reading of this sensor after a leaf, and returns its leaf.
pub(super) fn is_read_after(site: &Site, alias: &str, leaf: u64) -> u64 {
    until(&format!("{alias} is read after leaf {leaf}"), || {
        let is_it = |event: &&serde_json::Value| {
            let of = &event["envelope"]["event"];
            of["source"] == format!("Hall.{alias}")
                && of["status"] == "SUCCESS"
                && event["leaf"].as_u64().unwrap() > leaf
        };
        let events = site.events("SENSOR_READING");
        events.iter().find(is_it).map(|event| event["leaf"].as_u64().unwrap())
    })
}

#[test]
fn devices_on_other_machines_meet_tls_and_need_their_credential() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let (data, here) = (data_dir.to_str().unwrap(), elsewhere.here.as_str());
    refuses_to_open(data, here, &["sealwire ca init", "sealwire ca issue --host", "--tls-cert"]);
    let ca = &elsewhere.certify(&data_dir, &[]);
    refuses_to_open(&format!("{data} --open"), here, &["--open", "sealwire sensor add"]);
    let output = folder.path().join("credentials");
    let tap = folder.path().join("tap");

    let mut site = Site::start_in(folder, &["--nats-listen", here, "--mqtt-listen", "0.0.0.0"]);
    assert!(site.addresses.nats.starts_with(&format!("tls://{here}:")), "{:?}", site.addresses);
    assert!(site.addresses.mqtt.starts_with(&format!("mqtts://{here}:")), "{:?}", site.addresses);
    order(&site, &["add", "Pump-1", "Pump-2", "--output", output.to_str().unwrap()]);
    let file = |name: &str| output.join(format!("{name}.json"));

    let line = Tapped::begin(&elsewhere, tap);
    let by_nats = device(&elsewhere, &site, "nats", &file("Pump-1"), &[ca]);
    let by_mqtt = device(&elsewhere, &site, "mqtt", &file("Pump-2"), &[ca]);
    for alias in ["Pump-1", "Pump-2"] {
        is_read_after(&site, alias, 0);
    }
    let line = line.end();
    let has = |words: &str| line.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(has("server_id"), "what NATS says before it goes over to TLS");
    for secret in ["Pump-1", "Pump-2", &member(&file("Pump-2"), "mqtt_password"), "poll_interval"] {
        assert!(!has(secret), "{secret} went over the line in clear text");
    }

    drop((by_mqtt, by_nats));
    simulated_sensors_have_credentials_too(&elsewhere, &site, &output, ca);
    let by_nats = device(&elsewhere, &site, "nats", &file("Pump-1"), &[ca]);
    let by_mqtt = device(&elsewhere, &site, "mqtt", &file("Pump-2"), &[ca]);
    by_nats.says("connected");
    by_mqtt.says("connected");
    strangers_are_refused(&elsewhere, &site, &output, ca);
    order(&site, &["revoke", "Pump-1"]);
    by_nats.says("closed");
    let again = device(&elsewhere, &site, "nats", &file("Pump-1"), &[ca]);
    again.says("Authorization Violation");

    // Each port shows a renewed certificate, and devices stay.
    order(&site, &["add", "Pump-3", "Pump-4", "--output", output.to_str().unwrap()]);
    let third = device(&elsewhere, &site, "nats", &file("Pump-3"), &[ca]);
    let fourth = device(&elsewhere, &site, "mqtt", &file("Pump-4"), &[ca]);
    let before = third.says("certificate");
    let mqtt = Device::port(&site, "mqtt");
    let before_mqtt = elsewhere.serial(ca, mqtt);
    is_read_after(&site, "Pump-3", is_read_after(&site, "Pump-4", 0));
    succeeds(&["ca", "renew", "--data-dir", data]);
    until("MQTT shows the new certificate", || {
        (elsewhere.serial(ca, mqtt) != before_mqtt).then_some(())
    });
    let newest = site.events("SENSOR_READING")[0]["leaf"].as_u64().unwrap();
    for alias in ["Pump-2", "Pump-3", "Pump-4"] {
        is_read_after(&site, alias, newest);
    }
    assert!([&by_mqtt, &third, &fourth].iter().all(|device| !device.has_said("closed")));
    // A device that stayed is known as before: it may do what it might, and is revoked at once.
    order(&site, &["revoke", "Pump-4"]);
    fourth.says("closed");
    drop(third);
    let third = device(&elsewhere, &site, "nats", &file("Pump-3"), &[ca]);
    assert_ne!(third.says("certificate"), before);
    let leaf = is_read_after(&site, "Pump-3", newest);

    // The site itself comes back to the server, too.
    site.kill_engine("nats");
    third.says("closed");
    let _third = comes_back(&elsewhere, &site, "nats", &file("Pump-3"), ca);
    let _second = comes_back(&elsewhere, &site, "mqtt", &file("Pump-2"), ca);
    is_read_after(&site, "Pump-2", is_read_after(&site, "Pump-3", leaf));
    site.stop();
}

fn refuses_to_open(data: &str, here: &str, reasons: &[&str]) {
    for listen in [["--nats-listen", here], ["--mqtt-listen", "0.0.0.0"]] {
        let words: Vec<&str> =
            ["up", "--data-dir"].into_iter().chain(data.split(' ')).chain(listen).collect();
        let (code, _, said) = sealwire(&words);
        assert_eq!(code, Some(1), "{said}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{said}");
    }
}

/// Simulated sensors with the credentials of a folder are polled and sealed, each answer once.
fn simulated_sensors_have_credentials_too(
    elsewhere: &Elsewhere,
    site: &Site,
    output: &Path,
    ca: &str,
) {
    let folder = output.with_file_name("simulated");
    let to = ["--output", folder.to_str().unwrap()];
    order(site, &[&["add", "Sim-1", "Sim-2", "--set", "Sim-hall"], &to[..]].concat());
    order(site, &[&["add", "Sim-3", "Sim-4"], &to[..]].concat());
    let tally = folder.join("tally");
    let mut simulator = elsewhere
        .command(&[
            env!("CARGO_BIN_EXE_sealwire"),
            "simulate",
            "--interval",
            "500",
            "--mqtt",
            "0.5",
        ])
        .args(["--nats", &site.addresses.nats, "--broker", &site.addresses.mqtt, "--ca", ca])
        .args(["--creds", folder.to_str().unwrap(), "--tally", tally.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let sealed = |alias: &str| {
        let is_its = |event: &&serde_json::Value| {
            let of = &event["envelope"]["event"];
            of["status"] == "SUCCESS"
                && of["source"].as_str().unwrap().ends_with(&format!(".{alias}"))
        };
        site.events("SENSOR_READING").iter().filter(is_its).count() as u64
    };
    for alias in ["Sim-1", "Sim-2", "Sim-3", "Sim-4"] {
        until(&format!("{alias} is read"), || (sealed(alias) >= 2).then_some(()));
    }
    // `ip netns exec` became the simulator.
    kill_process(Pid::from_child(&simulator), Signal::INT).unwrap();
    assert!(simulator.wait().unwrap().success());
    let tally = fs::read_to_string(tally).unwrap();
    assert_eq!(tally.lines().count(), 4, "{tally}");
    for line in tally.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (alias, sent) = (line["alias"].as_str().unwrap(), line["answers"].as_u64().unwrap());
        until(&format!("all {sent} answers of {alias} are sealed"), || {
            let sealed = sealed(alias);
            assert!(sealed <= sent, "{sealed} of {sent} by {alias}");
            (sealed == sent).then_some(())
        });
    }
}

fn strangers_are_refused(elsewhere: &Elsewhere, site: &Site, output: &Path, ca: &str) {
    let own = fs::read_to_string(output.join("Pump-2.json")).unwrap();
    let changed = |name: &str, pairs: [(String, &str); 2]| {
        let text = pairs.iter().fold(own.clone(), |text, (old, new)| text.replace(old, new));
        let file = output.join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let [seed, password] = ["nkey_seed", "mqtt_password"]
        .map(|member_name| member(&output.join("Pump-2.json"), member_name));
    let others = member(&output.join("Pump-1.json"), "mqtt_password");
    let pairs = [(seed.clone(), UNKNOWN_SEED), (password.clone(), others.as_str())];
    let others = changed("others.json", pairs);
    let none = changed("none.json", [(seed, UNKNOWN_SEED), (password, "")]);
    let refusals = [("nats", "Authorization Violation"), ("mqtt", "refused")];
    for file in [others, none] {
        for (protocol, refusal) in refusals {
            device(elsewhere, site, protocol, &file, &[ca]).says(refusal);
        }
    }
    let own = output.join("Pump-2.json");
    for protocol in PROTOCOLS {
        let mut plain = device(elsewhere, site, protocol, &own, &[]);
        assert!(!plain.connects(), "{protocol} takes clear text");
        // One that does not believe the site's authority.
        let mut stranger =
            device(elsewhere, site, protocol, &own, &["/etc/ssl/certs/ca-certificates.crt"]);
        assert!(!stranger.connects(), "{protocol} shows a certificate that everybody believes");
    }
    until("the refusals are listed", || {
        let refused = order(site, &["refused"]);
        let all = ["its password is wrong", "there is no credential with its key", "from 10.83."];
        all.iter().all(|why| refused.contains(why)).then_some(())
    });
}

/// Starts a device until it is let in: the server may be starting.
fn comes_back(elsewhere: &Elsewhere, site: &Site, protocol: &str, file: &Path, ca: &str) -> Device {
    until("the device is let in again", || {
        let mut device = device(elsewhere, site, protocol, file, &[ca]);
        device.connects().then_some(device)
    })
}
