//! A gateway on another machine: a `nats-server` of its own, to which devices connect, and which
//! is a leaf node of the site's with one credential for all of them. And a leaf node that keeps to
//! no rule.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Elsewhere, devices::is_read_after};
use crate::{
    attacks::credentials::{Device, member, order},
    pangea::python,
    site::{Site, port, sealwire, succeeds, until},
};

/// Port of the gateway's server on its own machine.
const PORT: &str = "4222";

/// The gateway's server, until it is dropped.
struct Gateway(Child);

impl Gateway {
    /// Starts it on the other machine. `login` is what it shows to the site.
    fn start(elsewhere: &Elsewhere, url: &str, ca: &str, login: &str, folder: PathBuf) -> Self {
        let configuration = format!(
            "listen: \"127.0.0.1:{PORT}\"\n\
             leafnodes {{\n  reconnect: \"1s\"\n  remotes: [ {{ url: \"{url}\", {login}, \
             tls {{ ca_file: \"{ca}\" }} }} ]\n}}\n"
        );
        fs::create_dir(&folder).unwrap();
        let file = folder.join("gateway.conf");
        fs::write(&file, configuration).unwrap();
        let program = engine::find(&engine::release::NATS_SERVER, &|_line| {}).unwrap();
        let log = folder.join("gateway.log");
        let words = [program.to_str().unwrap(), "--config", file.to_str().unwrap()];
        let mut command = elsewhere.command(&words);
        command.args(["--log", log.to_str().unwrap()]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A site that leaf nodes reach from another machine.
struct Plant {
    elsewhere: Elsewhere,
    site: Site,
    ca: String,
    credentials: PathBuf,
}

impl Plant {
    fn port(&self) -> u16 {
        port(self.site.addresses.leaf.as_ref().unwrap())
    }

    fn gateway(&self, login: &str, name: &str) -> Gateway {
        let url = self.site.addresses.leaf.as_ref().unwrap();
        let folder = self.credentials.with_file_name(name);
        Gateway::start(&self.elsewhere, url, &self.ca, login, folder)
    }

    /// A device that connects to the gateway and speaks for one sensor of its credential, by
    /// position.
    fn device(&self, sensor: usize) -> Device {
        let mut credential: Value =
            serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap();
        credential["sensors"] = json!([credential["sensors"][sensor]]);
        let file = self.credentials.join(format!("{sensor}.json"));
        fs::write(&file, credential.to_string()).unwrap();
        until("the gateway takes the device", || {
            let mut command = Device::command(&["ip", "netns", "exec", &self.elsewhere.name]);
            let command = command.args(["nats", "127.0.0.1", PORT]).arg(&file);
            let mut device = Device::run(command);
            device.connects().then_some(device)
        })
    }

    /// A leaf node with the gateway's credential that sends these lines.
    fn rogue(&self, lines: &[&str]) -> Device {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/off_loopback/rogue_leaf.py");
        let mut command = self.elsewhere.command(&[&python(), script, &self.elsewhere.here]);
        command.arg(self.port().to_string()).arg(self.file()).arg(&self.ca);
        Device::run(command.args(lines))
    }

    /// Serial number of the certificate that the port shows.
    fn certificate(&self) -> String {
        self.rogue(&[]).says("certificate")
    }

    /// File of the gateway's credential.
    fn file(&self) -> PathBuf {
        self.credentials.join("hall.json")
    }

    /// Waits for another reading of each sensor of the gateway.
    fn is_read_again(&self) {
        let newest = self.site.events("SENSOR_READING")[0]["leaf"].as_u64().unwrap();
        is_read_after(&self.site, "A-1", newest);
        is_read_after(&self.site, "A-2", newest);
    }

    #[track_caller]
    fn has_refused(&self, why: &str) {
        until(&format!("it is refused: {why}"), || {
            let refused = order(&self.site, &["refused"]);
            let is_it = |line: &&str| line.contains(why) && line.contains("as a leaf node");
            refused.lines().any(|line| is_it(&line)).then_some(())
        });
    }
}

#[test]
fn a_gateway_speaks_for_its_own_sensors_and_for_no_other() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let listen = ["--leaf-port=0", "--leaf-listen", elsewhere.here.as_str()];
    nothing_is_opened_without_protection(&data_dir, &listen);
    let ca = elsewhere.certify(&data_dir, &[]);
    let credentials = folder.path().join("credentials");
    let site = Site::start_in(folder, &listen);
    let plant = Plant { elsewhere, site, ca, credentials };
    assert_eq!(
        plant.site.addresses.leaf.as_deref(),
        Some(format!("tls://{}:{}", plant.elsewhere.here, plant.port()).as_str())
    );
    let output = ["--output", plant.credentials.to_str().unwrap()];
    order(&plant.site, &[&["add", "--set", "hall", "A-1", "A-2"], &output[..]].concat());
    order(&plant.site, &[&["add", "Pump-1"], &output[..]].concat());
    let pump = Device::start(&plant.site, "nats", &plant.credentials.join("Pump-1.json"));

    // Nobody without a credential.
    let stranger = plant.gateway("account: \"$G\"", "stranger");
    plant.has_refused("it has no credentials");
    drop(stranger);

    let seed = member(&plant.file(), "nkey_seed");
    let login = format!("nkey: \"{seed}\"");
    let gateway = plant.gateway(&login, "gateway");
    let devices = [0, 1].map(|sensor| plant.device(sensor));
    is_read_after(&plant.site, "A-1", is_read_after(&plant.site, "A-2", 0));
    plant.site.wait_for_event("CREDENTIAL_USED", |it| {
        let message = it["event"]["message"].as_str().unwrap();
        message.starts_with("credential hall:") && message.ends_with("by NATS as a leaf node")
    });

    rogues_are_cut_off(&plant);

    // A new certificate keeps the gateway, and what it may do.
    let data = plant.site.data_dir();
    let before = plant.certificate();
    succeeds(&["ca", "renew", "--data-dir", data.to_str().unwrap()]);
    until("the port shows the new certificate", || (plant.certificate() != before).then_some(()));
    plant.is_read_again();
    rogues_are_cut_off(&plant);

    // The site's server comes back, and the gateway to it.
    plant.site.kill_engine("nats");
    plant.is_read_again();

    order(&plant.site, &["revoke", "hall"]);
    plant.has_refused("its credential was revoked");
    plant.site.wait_for_event("SENSOR_DISCONNECTED", |it| {
        it["event"]["source"].as_str().is_some_and(|source| source.ends_with("A-1"))
    });
    drop((devices, gateway, pump));
}

fn nothing_is_opened_without_protection(data_dir: &Path, listen: &[&str]) {
    let data = data_dir.to_str().unwrap();
    for (more, reason) in [(&[][..], "sealwire ca init"), (&["--open"], "sealwire sensor add")] {
        let (code, _, said) = sealwire(&[&["up", "--data-dir", data], listen, more].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("leaf nodes cannot listen") && said.contains(reason), "{said}");
    }
}

/// Leaf nodes with the gateway's credential that want what is another's, or the server's own.
fn rogues_are_cut_off(plant: &Plant) {
    for subject in ["Pump-1.read", "Pump-1.heartbeat", "sealwire.x", "$MQTT.x", "$JS.API.INFO"] {
        let rogue = plant.rogue(&[&format!("LMSG {subject} 1\\r\\n1")]);
        rogue.says("Permissions Violation for Publish");
        rogue.says("closed");
        plant.has_refused(&format!("it may not publish to `{subject}`"));
    }
    for subject in ["Pump-1.poll", "$MQTT.x", "sealwire.query.x", "_INBOX.x"] {
        let rogue = plant.rogue(&[&format!("LS+ {subject}")]);
        rogue.says("Permissions Violation for Subscription");
        rogue.says("closed");
        plant.has_refused(&format!("it may not hear `{subject}`"));
    }
    // A wildcard is taken, and brings only what the credential may hear.
    let newest = plant.site.events("SENSOR_READING")[0]["leaf"].as_u64().unwrap();
    let heard = plant.rogue(&["LS+ >", "LS+ *.poll", "LS+ $MQTT.>", "LS+ $JS.>"]);
    heard.says("LMSG A-1.poll");
    heard.says("LMSG A-2.poll");
    is_read_after(&plant.site, "Pump-1", is_read_after(&plant.site, "Pump-1", newest));
    let is_for_another = |line: &String| line.starts_with("LMSG") && !line.contains("A-");
    assert_eq!(heard.all().into_iter().find(is_for_another), None);

    let many: Vec<String> = (0..5_000).map(|number| format!("LS+ a.{number}.*")).collect();
    let hoarder = plant.rogue(&[&many.join("\\r\\n")]);
    hoarder.says("closed");
    plant.has_refused("it has more than 4096 subscriptions");
}
