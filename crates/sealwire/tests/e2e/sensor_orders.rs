//! Orders about sensors, and two devices with one id, on a whole site.

use serde_json::{Value, json};

use crate::{
    simulator::Fleet,
    site::{Follower, Site, sealwire, until},
};

/// Gives an order with `sealwire sensor`, and returns the result.
#[track_caller]
fn order(site: &Site, arguments: &[&str]) -> Value {
    let (code, printed, errors) = give(site, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    serde_json::from_str(&printed).unwrap()
}

fn give(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data_dir = site.data_dir();
    let common = ["sensor", "--json", "--data-dir", data_dir.to_str().unwrap()];
    sealwire(&[&common, arguments].concat())
}

/// The envelope of a leaf.
fn envelope(site: &Site, leaf: u64) -> Value {
    let path = format!("/envelopes?from={leaf}&count=1&token={}", site.access_token());
    let (status, line) = site.get_log(&path, "localhost");
    assert_eq!(status, 200, "{line}");
    let mut sealed: Value = serde_json::from_str(&line).unwrap();
    sealed["envelope"].take()
}

/// A sensor as the page is told of it.
fn shown(site: &Site, id: &str) -> Value {
    site.sensors().into_iter().find(|sensor| sensor["id"] == id).unwrap()
}

/// Stops the site and checks that its log accounts for every poll.
#[track_caller]
fn assert_complete(site: &mut Site) {
    site.stop();
    let folder = site.data_dir();
    let (code, printed, errors) = sealwire(&["verify", "--completeness", folder.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{printed}{errors}");
}

/// Waits for a reading of a sensor that was sealed after a leaf.
fn wait_for_reading(site: &Site, id: &str, after: u64) -> Value {
    until("the sensor has a later reading", || {
        let last = shown(site, id)["last"].take();
        (last["leaf"].as_u64()? > after).then_some(last)
    })
}

#[test]
fn orders_about_sensors_are_sealed_shown_and_survive() {
    let mut site = Site::start(&["--simulate", "4"]);
    Follower::start(&site).wait_for_more("SENSOR_READING", 8);
    let sensors = site.sensors();
    let [retired, named, maintained, calibrated] =
        [0, 1, 2, 3].map(|at: usize| sensors[at]["id"].as_str().unwrap().to_owned());
    let by = ["--actor", "ada", "--reason", "a works order"];
    let give_order = |site: &Site, words: &[&str]| {
        let leaf = order(site, &[words, &by[..]].concat())["leaf"].as_u64().unwrap();
        (leaf, envelope(site, leaf))
    };

    let (leaf, sealed) = give_order(&site, &["retire", &retired]);
    assert_eq!(sealed["event"]["action"], "SENSOR_RETIRED");
    assert_eq!(sealed["sealwire"]["order"], r#"{"order":"retire"}"#);
    assert_eq!(sealed["sealwire"]["why"], "a works order");
    assert!(sealed["event"]["actor"].as_str().unwrap().ends_with(" as ada"), "{sealed}");
    let retired_at = leaf;
    give_order(&site, &["rename", &named, "--to", "Boiler north"]);
    give_order(&site, &["move", &named, "--to", "Hall 2"]);
    let (leaf, sealed) = give_order(&site, &["maintain", &maintained, "--for", "2h"]);
    assert_eq!(sealed["event"]["action"], "MAINTENANCE_SET");
    wait_for_reading(&site, &maintained, leaf);
    let is_flagged = |envelope: &Value| {
        envelope["sealwire"]["sensor"] == maintained.as_str()
            && envelope["sealwire"]["flags"] == "maintenance"
    };
    site.wait_for_event("SENSOR_READING", is_flagged);
    let line = ["calibrate", &calibrated, "--gain", "2", "--offset", "-0.5"];
    let (leaf, _) = give_order(&site, &line);
    let last = wait_for_reading(&site, &calibrated, leaf);
    let sealed = envelope(&site, last["leaf"].as_u64().unwrap());
    assert_eq!(sealed["sealwire"]["calibration"], "2 -0.5", "{sealed}");
    let written: f64 = last["value"].as_str().unwrap().parse().unwrap();
    assert_eq!(last["calibrated"].as_f64(), Some(2.0 * written - 0.5), "{last}");

    let is_shown = |site: &Site| {
        assert_eq!(shown(site, &retired)["state"], "retired");
        let renamed = shown(site, &named);
        assert_eq!(
            (&renamed["alias"], &renamed["location"]),
            (&json!("Boiler north"), &json!("Hall 2"))
        );
        let maintenance = &shown(site, &maintained)["orders"][0];
        assert_eq!(maintenance["order"], "maintain");
        assert_eq!(maintenance["reason"], "a works order");
        let listed = order(site, &["orders"]);
        assert_eq!(listed["sensors"].as_array().unwrap().len(), 4, "{listed}");
    };
    is_shown(&site);
    let is_named = |envelope: &Value| {
        envelope["event"]["message"].as_str().unwrap().starts_with("Hall 2.Boiler north: ")
    };
    site.wait_for_event("SENSOR_READING", is_named);

    // All of it is in force after a restart.
    site.stop();
    let (code, _, errors) = give(&site, &["retire", &named, "--reason", "x"]);
    assert!(code == Some(1) && errors.contains("only a running site"), "{errors}");
    site.start_again();
    Follower::start(&site).wait_for_more("SENSOR_READING", 6);
    is_shown(&site);
    let leaf = shown(&site, &retired)["last"]["leaf"].as_u64().unwrap();
    assert!(leaf < retired_at, "nobody asked it any more");

    // It comes back by order, and not before.
    let (code, _, errors) = give(&site, &["retire", &retired, "--reason", "x"]);
    assert!(code == Some(1) && errors.contains("is already retired"), "{errors}");
    let (leaf, _) = give_order(&site, &["recall", &retired]);
    give_order(&site, &["end-maintenance", &maintained]);
    site.stop();
    site.start_again();
    wait_for_reading(&site, &retired, leaf);
    assert_eq!(shown(&site, &retired)["state"], "online");
    assert_eq!(shown(&site, &maintained)["orders"], json!([]));
    assert_complete(&mut site);
}

#[test]
fn two_devices_with_one_id_are_found_and_neither_counts_until_an_order_decides() {
    let mut site = Site::start(&[]);
    let follower = Follower::start(&site);
    let _fleet = Fleet::start(&site, 8, "0", "[[doubled_id]]\nsensors = \"TempSensor*\"\n");
    follower.wait_for_more("SENSOR_DOUBLED", 1);
    let found = site.wait_for_event("SENSOR_DOUBLED", |_| true);
    let (leaf, sealed) = (found["leaf"].as_u64().unwrap(), &found["envelope"]);
    let id = sealed["sealwire"]["sensor"].as_str().unwrap();
    let first = |action: &str| {
        let events = site.events(action);
        let of_sensor = events.iter().filter(|it| it["envelope"]["sealwire"]["sensor"] == id);
        let at = |it: &Value| it["envelope"]["event"]["timestamp"].as_str().unwrap().to_owned();
        of_sensor.map(at).min().unwrap().parse::<model::Timestamp>().unwrap()
    };
    let took = first("SENSOR_DOUBLED").since(first("SENSOR_DISCOVERED"));
    assert!(took.as_secs() <= 60, "{took:?}");
    assert!(!shown(&site, id)["doubled"].is_null());

    // Its polls are due, and none counts.
    let gap =
        site.wait_for_event("READINGS_MISSING", |envelope| envelope["sealwire"]["sensor"] == id);
    assert_eq!(gap["envelope"]["sealwire"]["reason"], "several_devices");
    let last = shown(&site, id)["last"]["leaf"].as_u64().unwrap();
    assert!(last < leaf, "{last}");

    // An order decides; both are still there, so they are found again.
    order(&site, &["settle", id, "--reason", "the spare is off"]);
    wait_for_reading(&site, id, leaf);
    site.wait_for_event("SENSOR_DOUBLED", |envelope| {
        envelope["sealwire"]["sensor"] == id && *envelope != *sealed
    });
    assert_complete(&mut site);
}
