//! An operator's orders to a running and to a stopped site, and what clients may read on the log
//! port.

use std::fs;

use serde_json::{Value, json};

use crate::site::{Follower, Site, sealwire, until, verify};

/// Gives an order with `sealwire log`, and returns the result.
#[track_caller]
fn order(site: &Site, arguments: &[&str]) -> Value {
    let (code, printed, errors) = give(site, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    serde_json::from_str(&printed).unwrap()
}

/// Gives an order that is refused, and returns the error.
#[track_caller]
fn refused(site: &Site, arguments: &[&str]) -> String {
    let (code, printed, errors) = give(site, arguments);
    assert_eq!(code, Some(1), "{arguments:?}: {printed}");
    errors
}

fn give(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data_dir = site.data_dir();
    let common = ["log", "--json", "--data-dir", data_dir.to_str().unwrap()];
    sealwire(&[&common, arguments].concat())
}

/// The envelopes on the log port, from a leaf on.
fn envelopes(site: &Site, from: u64, count: usize) -> Vec<Value> {
    let path = format!("/envelopes?from={from}&count={count}&token={}", site.access_token());
    let (status, lines) = site.get_log(&path, "localhost");
    assert_eq!(status, 200, "{lines}");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn orders_are_carried_out_sealed_and_survive() {
    let mut site = Site::start(&["--simulate", "4", "--checkpoint-interval", "3600000"]);
    let follower = Follower::start(&site);
    follower.wait_for_more("SENSOR_READING", 5);
    let readings: Vec<u64> = follower
        .seen()
        .iter()
        .filter(|(_, envelope)| envelope["event"]["action"] == "SENSOR_READING")
        .map(|(leaf, _)| *leaf)
        .collect();
    let [first, second, third] = readings[..3] else { panic!("{readings:?}") };
    let by = ["--actor", "ada", "--reason", "asked for by letter"];
    let with = |words: &[&str]| {
        [words, &by[..]].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let order_by = |site: &Site, words: &[&str]| {
        order(site, &with(words).iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused_by = |site: &Site, words: &[&str]| {
        refused(site, &with(words).iter().map(String::as_str).collect::<Vec<_>>())
    };

    // Checkpoints on demand: by itself this site makes one an hour.
    let checkpoint = order(&site, &["checkpoint"])["checkpoint"].as_str().unwrap().to_owned();
    assert_eq!(site.get_log("/checkpoint", "localhost"), (200, checkpoint));

    // Erasing: the envelope goes, the leaf stays.
    let erased = order_by(&site, &["erase", &first.to_string()]);
    assert_eq!((&erased["done"], &erased["envelopes"]), (&json!("erase"), &json!(1)), "{erased}");
    assert_eq!(envelopes(&site, first, 1), [json!({ "leaf": first })]);
    assert!(envelopes(&site, second, 1)[0]["envelope"]["event"].is_object());
    let event = site.wait_for_event("ENVELOPES_ERASED", |_| true);
    let account = access::Account::own();
    assert_eq!(event["envelope"]["event"]["actor"], format!("{} as ada", account.name()));
    let said = refused_by(&site, &["erase", &first.to_string()]);
    assert!(said.contains("nothing to erase"), "{said}");
    let said = refused_by(&site, &["erase", "0"]);
    assert!(said.contains("leaf 0 is an event of the log itself"), "{said}");

    // Holds.
    let hold = order_by(&site, &["hold", "--to", "9000-01-01T00:00:00Z"])["leaf"].to_string();
    let said = refused_by(&site, &["erase", &second.to_string()]);
    assert!(said.contains(&format!("under a hold (placed at leaf {hold})")), "{said}");
    assert_eq!(order(&site, &["holds"])["holds"][0]["leaf"].to_string(), hold);
    order_by(&site, &["release", &hold]);
    assert_eq!(order(&site, &["holds"]), json!({ "done": "holds", "holds": [] }));
    let said = refused_by(&site, &["release", &hold]);
    assert!(said.contains(&format!("no hold placed at leaf {hold} is in force")), "{said}");

    // Retention, with a file that is empty, then invalid, then valid.
    assert_eq!(
        order(&site, &["retain", "--actor", "ada"]),
        json!({ "done": "retain", "classes": [] })
    );
    let file = site.data_dir().join("retention");
    fs::write(&file, "SENSOR_READING forever\n").unwrap();
    let said = refused(&site, &["retain", "--actor", "ada"]);
    assert!(said.contains("line 1: `forever` is not a time"), "{said}");
    fs::write(&file, "SENSOR_READING 1h\n").unwrap();
    assert_eq!(
        order(&site, &["retain", "--actor", "ada"])["classes"],
        json!([]),
        "nothing is that old"
    );

    // The key: the site's first key no longer signs, and the log has the rotation.
    let rotated = order(&site, &["rotate-key", "--actor", "ada"]);
    let vkey = rotated["vkey"].as_str().unwrap();
    assert_ne!(vkey, site.addresses.vkey);
    let (code, printed) = verify(&site.addresses.log);
    assert!(code == Some(0) && printed.contains(vkey), "{printed}");

    site.stop();
    assert!(!site.data_dir().join("run.json").exists());
    assert!(!site.data_dir().join("site.key.next").exists());

    // The same orders while the site is stopped.
    order_by(&site, &["erase", "--with-derived", &format!("{second},{third}")]);
    let again = order(&site, &["rotate-key", "--actor", "ada"]);
    let (code, printed) = verify(site.data_dir().to_str().unwrap());
    let newest = again["vkey"].as_str().unwrap();
    assert!(code == Some(0) && printed.contains(newest), "{printed}");
    assert!(printed.contains("3 envelopes were erased"), "{printed}");

    site.start_again();
    assert_eq!(site.addresses.vkey, newest, "it goes on with the newest key");
    assert_eq!(envelopes(&site, second, 1), [json!({ "leaf": second })]);
    Follower::start(&site).wait_for_more("SENSOR_READING", 3);

    // A crash leaves run.json behind; the lock shows that no site runs.
    site.kill();
    assert!(site.data_dir().join("run.json").exists());
    order(&site, &["holds"]);
}

#[test]
fn a_sensor_is_forgotten_by_order() {
    let mut site = Site::start(&["--simulate", "2"]);
    Follower::start(&site).wait_for_more("SENSOR_READING", 4);
    let sensor = site.sensors()[0]["id"].as_str().unwrap().to_owned();
    let forget = |id| ["forget", id, "--reason", "scrapped"];
    let said = refused(&site, &forget("00000000-0000-4000-8000-000000000000"));
    assert!(said.contains("has no sensor 00000000-0000"), "{said}");

    let leaf = order(&site, &forget(&sensor))["leaf"].as_u64().unwrap();
    let sealed = &envelopes(&site, leaf, 1)[0]["envelope"];
    assert_eq!(sealed["event"]["action"], "SENSOR_FORGOTTEN");
    assert_eq!(sealed["event"]["actor"], access::Account::own().name());
    assert_eq!(sealed["sealwire"]["sensor"], sensor.as_str());
    let message = sealed["event"]["message"].as_str().unwrap();
    assert!(message.ends_with(": forgotten: scrapped"), "{message}");

    // The log says no more of the sensor until its next heartbeat, and then it is a new sensor.
    let next = until("it comes back", || {
        let later = envelopes(&site, leaf + 1, 10_000);
        later.into_iter().find(|line| line["envelope"]["sealwire"]["sensor"] == sensor.as_str())
    });
    assert_eq!(next["envelope"]["event"]["action"], "SENSOR_DISCOVERED", "{next}");

    site.stop();
    let said = refused(&site, &forget(&sensor));
    assert!(said.contains("only a running site can carry out an order about a sensor"), "{said}");
}

#[test]
fn envelopes_need_their_token() {
    let site = Site::start(&["--simulate", "4"]);
    for path in ["/envelopes", "/live", "/live?token=", "/envelopes?token=0123"] {
        let (status, said) = site.get_log(path, "localhost");
        assert!(status == 401 && said.contains("access-token"), "{path}: {status} {said}");
    }
    for path in ["/checkpoint", "/vkey", "/keys", "/metrics"] {
        assert_eq!(site.get_log(path, "localhost").0, 200, "{path}");
    }
    let token = site.access_token();
    let all =
        until("there are leaves", || Some(envelopes(&site, 0, 1_000)).filter(|all| all.len() > 5));
    assert!(
        all.iter().enumerate().all(|(leaf, line)| line["leaf"] == leaf),
        "in order, from the first on"
    );
    assert_eq!(envelopes(&site, 2, 3).len(), 3);
    for (path, status, words) in [
        ("/envelopes?from=x", 400, "`from` must be a leaf"),
        ("/envelopes?count=-1", 400, "`count` a number"),
        ("/envelopes?from=999999999", 404, "leaves: ask for a smaller leaf"),
    ] {
        let (got, said) = site.get_log(&format!("{path}&token={token}"), "localhost");
        assert!(got == status && said.contains(words), "{path}: {got} {said}");
    }

    // Orders cannot be given through a port.
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for bearer in [token.as_str(), ""] {
        let post = agent
            .post(format!("{}/operator", site.addresses.log))
            .header("authorization", format!("Bearer {bearer}"));
        assert_eq!(post.send(r#"{"order":"holds"}"#).unwrap().status().as_u16(), 404);
    }
}
