//! What clients of other makers may not do from another machine: refused, counted, sealed, and no
//! reason for another device to wait.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::{
    Plant, Sensor,
    mosquitto::{Shown, are_installed, arguments},
};
use crate::{
    attacks::credentials::{Device, member, order},
    off_loopback::{Elsewhere, devices::is_read_after},
    pangea::python,
    site::{Site, pause, until},
};

/// Polls that another device answers while a flood goes on.
const ANSWERS: usize = 10;

impl Plant {
    /// Runs one of mosquitto's clients to its end as somebody.
    fn mosquitto(&self, program: &str, shown: Shown<'_>, words: &[&str]) -> Output {
        let arguments = arguments(self, shown);
        self.runs(&[program]).args(arguments).args(words).output().unwrap()
    }

    fn password(&self, name: &str) -> String {
        member(&self.file(name), "mqtt_password")
    }

    /// Waits until `sealwire sensor refused` says this of somebody.
    #[track_caller]
    fn has_refused(&self, who: &str, why: &str) {
        until(&format!("{who} is refused: {why}"), || {
            let refused = order(&self.site, &["refused"]);
            let is_it = |line: &str| line.contains(who) && line.contains(why);
            refused.lines().any(|line| is_it(line) && line.contains("from 10.83.")).then_some(())
        });
    }
}

/// Polls of the device that nobody attacks after a leaf: how many were answered in time, and how
/// many were not.
fn polls_of_the_bystander(site: &Site, leaf: u64) -> (usize, usize) {
    let readings = site.events("SENSOR_READING");
    let later = readings.iter().filter(|reading| reading["leaf"].as_u64().unwrap() > leaf);
    let of = later.map(|reading| &reading["envelope"]["event"]);
    let own: Vec<&Value> = of.filter(|it| it["source"] == "Hall.Bystander").collect();
    let answered = own.iter().filter(|it| it["status"] == "SUCCESS").count();
    (answered, own.len() - answered)
}

/// A value of `/metrics`.
fn metric(site: &Site, name: &str) -> u64 {
    let (_, text) = site.get_log("/metrics", "localhost");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn what_other_makers_clients_may_not_do_is_refused_and_the_next_device_is_served() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(failed) => {
            eprintln!("skipped: `{failed}` needs root, iproute2 and network namespaces");
            return;
        }
    };
    if let Err(missing) = are_installed() {
        eprintln!("skipped: {missing}");
        return;
    }
    let mut plant = Plant::start(elsewhere, Some("named.pem"));
    plant.add(&["Bystander", "Rogue", "Flooder", "Hoarder", "Revoked-1", "Revoked-2"]);
    let bystander = plant.nats_py("Bystander", &[]);
    bystander.says("connected");
    is_read_after(&plant.site, "Bystander", 0);
    assert_eq!(metric(&plant.site, "sealwire_devices_refused_total"), 0);

    others_credentials_let_nobody_in(&plant);
    subjects_of_others_are_refused(&plant);
    messages_that_no_device_sends_are_refused(&plant);
    who_subscribes_too_often_loses_the_connection(&plant);
    a_flood_keeps_nobody_waiting(&plant);
    who_is_revoked_loses_the_connection(&plant);
    assert!(metric(&plant.site, "sealwire_devices_refused_total") >= 12);
    drop(bystander);
    nobody_believes_a_certificate_that_has_ended(&plant);
    plant.site.stop();
}

/// Whoever shows another's password, a wrong one or none.
fn others_credentials_let_nobody_in(plant: &Plant) {
    let rogue = plant.password("Rogue");
    for (shown, who, why) in [
        (Some(("Bystander", rogue.as_str())), "Bystander", "its password is wrong"),
        (Some(("Nobody", "secret")), "Nobody", "there is no credential"),
        // The server gives it a name of its own.
        (None, "", "it has no credentials"),
    ] {
        let words = ["-t", "Bystander/read", "-m", "1"];
        let said = plant.mosquitto("mosquitto_pub", shown, &words);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success() && errors.contains("not authorised"), "{shown:?}: {said:?}");
        plant.has_refused(who, why);
        let sealed = |it: &Value| it["event"]["message"].as_str().unwrap().contains(why);
        plant.site.wait_for_event("DEVICES_REFUSED", sealed);
    }
}

/// Wildcards, subjects of the server and the site, and those of another device.
fn subjects_of_others_are_refused(plant: &Plant) {
    let password = plant.password("Rogue");
    let own = Some(("Rogue", password.as_str()));
    for topic in ["#", "+/poll", "$SYS/#", "$JS/API/#", "sealwire/#", "Bystander/poll"] {
        let said = plant.mosquitto("mosquitto_sub", own, &["-t", topic, "-W", "60"]);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(errors.contains("All subscription requests were denied"), "{topic}: {said:?}");
        assert!(said.stdout.is_empty(), "{topic}: {said:?}");
    }
    plant.has_refused("Rogue", "it may not hear `Bystander.poll`");
    for topic in ["$SYS/REQ/SERVER/PING", "$JS/API/INFO", "sealwire/x", "Bystander/read"] {
        plant.mosquitto("mosquitto_pub", own, &["-t", topic, "-m", "1"]);
        plant.has_refused("Rogue", &format!("it may not publish to `{}`", topic.replace('/', ".")));
    }
    // The same by NATS, whose clients are told.
    let subjects =
        [">", "Bystander.*", "$SYS.>", "$JS.API.INFO", "_INBOX.>", "sealwire.query.own.site"];
    let device = plant.nats_py("Rogue", &subjects);
    // nats-py makes all of it lower case.
    let is_told = |what: &str, subject: &str| {
        device.says(&format!("permissions violation for {what} to \"{}\"", subject.to_lowercase()));
    };
    for subject in ["$JS.API.INFO", "sealwire.query.own.site"] {
        is_told("publish", subject);
    }
    for subject in subjects {
        is_told("subscription", subject);
        plant.has_refused("Rogue", &format!("it may not hear `{subject}`"));
    }
}

/// Ten megabytes, and a heartbeat that asks for a poll each millisecond.
fn messages_that_no_device_sends_are_refused(plant: &Plant) {
    let (password, file) = (plant.password("Rogue"), plant.credentials.join("large"));
    fs::write(&file, vec![b'7'; 10 << 20]).unwrap();
    let words = ["-q", "1", "-t", "Rogue/read", "-f", file.to_str().unwrap()];
    let said = plant.mosquitto("mosquitto_pub", Some(("Rogue", &password)), &words);
    assert!(!said.status.success(), "{said:?}");
    plant.has_refused("Rogue", "a message of it is too long");

    let mut heartbeat = Sensor::of(&plant.file("Rogue")).remove(0).heartbeat;
    heartbeat["poll_interval"] = 1.into();
    let words = ["-t", "Rogue/heartbeat", "-m", &heartbeat.to_string()];
    assert!(plant.mosquitto("mosquitto_pub", Some(("Rogue", &password)), &words).status.success());
    plant.site.wait_for_event("HEARTBEATS_REFUSED", |it| {
        it["event"]["message"].as_str().unwrap().contains("poll_interval")
    });
    assert!(metric(&plant.site, "sealwire_refused_heartbeats_total") >= 1);
}

fn who_subscribes_too_often_loses_the_connection(plant: &Plant) {
    let own = vec!["Hoarder.poll"; 5_000];
    let device = plant.nats_py("Hoarder", &own);
    device.says("closed");
    plant.has_refused("Hoarder", "it has more than 4096 subscriptions");
}

/// A program that floods, until it is dropped.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn a_flood_keeps_nobody_waiting(plant: &Plant) {
    let (password, sensor) =
        (plant.password("Flooder"), Sensor::of(&plant.file("Flooder")).remove(0));
    let own = Some(("Flooder", password.as_str()));
    let words = ["-t", &sensor.heartbeat_topic, "-m", &sensor.heartbeat.to_string()];
    assert!(plant.mosquitto("mosquitto_pub", own, &words).status.success());
    plant.site.wait_for_event("SENSOR_READING", |it| it["event"]["source"] == "Hall.Flooder");
    let arguments = arguments(plant, own);
    let mut flood = plant.runs(&["mosquitto_pub"]);
    flood.args(arguments).args(["-t", "Flooder/read", "-l"]).stdin(Stdio::piped());
    let mut flood = Flood(flood.spawn().unwrap());
    let mut answers = flood.0.stdin.take().unwrap();
    std::thread::spawn(move || {
        while answers.write_all(&b"{\"value\":1}\n".repeat(5_000)).is_ok() {
            // mosquitto_pub keeps what it cannot send yet.
            pause();
        }
    });
    until("the flood has come", || {
        let came = ["sealwire_dropped_total", "sealwire_duplicates_total"]
            .map(|name| metric(&plant.site, name));
        (came.iter().sum::<u64>() > 10_000).then_some(())
    });
    let newest = plant.site.events("SENSOR_READING")[0]["leaf"].as_u64().unwrap();
    let (answered, missed) = until("another device is served", || {
        let polls = polls_of_the_bystander(&plant.site, newest);
        (polls.0 >= ANSWERS).then_some(polls)
    });
    assert!(
        missed < answered,
        "{missed} polls without an answer in time beside {answered} with one"
    );
    assert!(flood.0.try_wait().unwrap().is_none(), "the flood goes on");
}

fn who_is_revoked_loses_the_connection(plant: &Plant) {
    let start = |name: &str| {
        if name == "Revoked-1" { plant.nats_py(name, &[]) } else { plant.umqtt(name) }
    };
    for (name, refusal) in
        [("Revoked-1", "Authorization Violation"), ("Revoked-2", "MQTTException(5")]
    {
        let device: Device = start(name);
        device.says("connected");
        order(&plant.site, &["revoke", name]);
        device.says("closed");
        start(name).says(refusal);
        plant.has_refused(name, "its credential was revoked");
    }
}

fn nobody_believes_a_certificate_that_has_ended(plant: &Plant) {
    let tls = plant.ca.parent().unwrap();
    let named = plant.site.data_dir().with_file_name("named.pem");
    let script =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/off_loopback/strangers/expired.py");
    let mut make = Command::new(python());
    let made = make.arg(script).arg(tls).arg(&plant.elsewhere.here).arg(&named).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    // Devices that are connected stay, and those that come see it.
    until("the port shows it", || (!plant.nats_py("Bystander", &[]).connects()).then_some(()));
    plant.nats_py("Bystander", &[]).says("certificate has expired");
    let umqtt = plant.umqtt("Rogue");
    umqtt.says("certificate has expired");
    plant.has_refused("a device at", "it did not go over to TLS");
    // The operator renews it, and devices come again.
    fs::copy(tls.join("site.pem"), &named).unwrap();
    until("nats-py is let in again", || plant.nats_py("Bystander", &[]).connects().then_some(()));
}
